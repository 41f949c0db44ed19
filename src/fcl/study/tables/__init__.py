"""The tables of the study as CSV, Markdown, LaTeX and HTML, each made from small files or from the settings."""
