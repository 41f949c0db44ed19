"""The embedded data set: small PBEsol structures computed with CP2K (needed only to regenerate or extend it)."""
