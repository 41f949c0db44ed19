"""The paper's claims beside the values of a study: each value from result files by a named function, and a verdict.

`fcl.study.results` reads the files, `fcl.study.claims.values` and `fcl.study.claims.shapes` compute,
`fcl.study.claims.verdicts` judges, and `fcl.study.claims.table` makes the table. docs/claims.md states the rules and
the criteria of the shape claims.
"""
