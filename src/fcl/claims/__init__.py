"""The paper's claims beside the values of a study: each value from result files by a named function, and a verdict.

`fcl.claims.results` reads the files, `fcl.claims.values` and `fcl.claims.shapes` compute, `fcl.claims.verdicts`
judges, and `fcl.claims.table` makes the table. docs/claims.md states the rules and the criteria of the shape claims.
"""

from fcl.claims.table import claims_table, readme_block, write_claims

__all__ = ["claims_table", "readme_block", "write_claims"]
