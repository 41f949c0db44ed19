"""Studies compared with their base study: ablations, learning curve, cross-validation, repeated training.

`fcl.evaluation.statistics` evaluates differences, `fcl.study.comparisons.ablations`, `fcl.study.comparisons.folds` and
`fcl.study.comparisons.learning` make the tables and the figure, `fcl.study.comparisons.repeat` compares two runs bit
for bit.
"""
