# Output files of figures and tables, and their entries in the report.


def table_files(number, title):
    """Outputs of one of the paper's tables."""
    return named_table_files(f"table{number}", title, caption="../report/table.rst")


def named_table_files(name, title, caption):
    """Outputs of a table: the four formats (HTML is shown in the report) and the run manifest."""
    path = f"results/{{study}}/tables/{name}"
    page = report(
        f"{path}.html",
        caption=caption,
        category="Tables",
        labels={"study": "{study}", "table": title},
    )
    files = {"csv": f"{path}.csv", "markdown": f"{path}.md", "latex": f"{path}.tex", "html": page}
    return {**files, "manifest": f"{path}.manifest.json"}


def figure_files(number, title, numbers=True):
    """Outputs of one of the paper's figures."""
    return named_figure_files(f"fig{number}", title, numbers)


def named_figure_files(name, title, numbers=True):
    """Outputs of a figure: as for any picture, plus the numbers drawn, if any."""
    path = f"results/{{study}}/figures/{name}"
    files = picture_files(path, name, title)
    return {**files, "numbers": f"{path}.csv"} if numbers else files


def picture_files(path, caption, title):
    """Outputs of a picture: PNG (for the report) and PDF, and the run manifest."""
    picture = report(
        f"{path}.png",
        caption=f"../report/{caption}.rst",
        category="Figures",
        labels={"study": "{study}", "figure": title},
    )
    return {"png": picture, "pdf": f"{path}.pdf", "manifest": f"{path}.manifest.json"}
