"""Physical quantities and how they are computed with a calculator."""
