"""The committed records of finished runs."""
