"""Studies set beside the one that they are based on: ablations, the learning curve, a training that was repeated.

`fcl.comparisons.statistics` judges differences, `fcl.comparisons.ablations` and `fcl.comparisons.learning` make the
tables and the figure, `fcl.comparisons.repeat` compares two runs bit for bit.
"""

from fcl.comparisons.ablations import write_ablations
from fcl.comparisons.learning import learning_curve

__all__ = ["learning_curve", "write_ablations"]
