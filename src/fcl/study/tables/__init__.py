"""The tables of the study as CSV, Markdown, LaTeX and HTML, made from small files or from the settings."""
