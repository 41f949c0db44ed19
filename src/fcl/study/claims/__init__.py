"""The paper's claims compared with the values of a study, each computed from result files by a named function.

`fcl.study.results` reads the files, `fcl.study.claims.values` and `fcl.study.claims.shapes` compute the values,
`fcl.study.claims.verdicts` assigns verdicts, and `fcl.study.claims.table` writes the table. The rules and the criteria
for shape claims are in docs/claims.md.
"""
