"""Studies set beside the one that they are based on: ablations, the learning curve, a training that was repeated.

`fcl.evaluation.statistics` judges differences, `fcl.study.comparisons.ablations` and `fcl.study.comparisons.learning`
make the tables and the figure, `fcl.study.comparisons.repeat` compares two runs bit for bit.
"""
