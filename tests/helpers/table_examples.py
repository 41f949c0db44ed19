"""Output files of tables."""


def table_files(folder, name="table"):
    """The four formats of a table, by the names of its arguments."""
    return {kind: folder / f"{name}.{kind}" for kind in ("csv", "markdown", "latex", "html")}
