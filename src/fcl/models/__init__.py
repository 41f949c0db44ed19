"""Models: files, conditioning on cutoffs, compilation, the models that ship with the package."""
