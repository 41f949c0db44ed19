"""Computing stages of the workflow, one function each."""
