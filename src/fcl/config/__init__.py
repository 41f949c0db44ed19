"""The configuration: sections, checks, studies, reading it."""
