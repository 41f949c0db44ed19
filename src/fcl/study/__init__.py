"""The study of the paper: its stages, figures, tables, claims and pages."""
