# Output files of figures and tables, and their entries in the report.
FIGURE_SUFFIXES = ["png", "pdf", "csv", "manifest.json"]
TABLE_SUFFIXES = ["csv", "md", "tex", "html", "manifest.json"]


def reported(file, kind, caption, title):
    """A file that the report shows: a ``kind`` (figure or table) with its caption file and ``title``."""
    labels = {"study": "{study}", kind: title}
    return report(file, caption=f"../report/{caption}.rst", category=f"{kind.title()}s", labels=labels)


def table_files(name, title, caption=None):
    """Outputs of a table: the four formats (HTML is shown in the report) and the run manifest."""
    path = f"results/{{study}}/tables/{name}"
    page = reported(f"{path}.html", "table", caption or name, title)
    files = {"csv": f"{path}.csv", "markdown": f"{path}.md", "latex": f"{path}.tex", "html": page}
    return {**files, "manifest": f"{path}.manifest.json"}


def figure_files(name, title, folder="figures/", csv=True):
    """Outputs of a figure: PNG (for the report), PDF, the run manifest, and the numbers drawn, if any."""
    path = f"results/{{study}}/{folder}{name}"
    picture = reported(f"{path}.png", "figure", name, title)
    files = {"png": picture, "pdf": f"{path}.pdf", "manifest": f"{path}.manifest.json"}
    return {**files, "csv": f"{path}.csv"} if csv else files
