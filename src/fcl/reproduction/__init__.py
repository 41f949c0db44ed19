"""docs/reproduction.md: which of the paper's qualitative claims hold on a study's own data, from its committed numbers.

Every number, verdict and sentence that depends on one is computed; the rules are `fcl.claims` and
`fcl.comparisons.statistics`.
"""

from fcl.reproduction.page import reproduction_page

__all__ = ["reproduction_page"]
