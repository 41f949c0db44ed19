"""Studies compared with their base study: ablations, learning curve, repeated training.

`fcl.evaluation.statistics` evaluates differences, `fcl.study.comparisons.ablations` and
`fcl.study.comparisons.learning` make the tables and the figure, `fcl.study.comparisons.repeat` compares two runs bit
for bit.
"""
