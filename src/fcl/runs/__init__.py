"""What every run needs: files, run manifests, digests of code, locks of GPUs, the log."""
