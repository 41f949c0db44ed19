"""The configuration: sections, checks, studies, loading."""
