"""Infrastructure of every run: atomic writes, run manifests, code digests, GPU locks, logging."""
