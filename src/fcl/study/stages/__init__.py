"""The stages of the workflow that compute, a function each."""
