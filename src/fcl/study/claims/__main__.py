"""Print the README's claims block of a finished study: ``python -m fcl.study.claims results/mini``."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcl.study.claims.table import readme_block


def main(arguments: list[str] | None = None) -> None:
    """Print the block of a study's folder."""
    parser = argparse.ArgumentParser(prog="python -m fcl.study.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, such as results/mini")
    options = parser.parse_args(arguments)
    try:
        print(readme_block(options.study))
    except (FileNotFoundError, ValueError) as error:
        parser.exit(1, f"error: {error}; has `snakemake claims` been run?\n")


if __name__ == "__main__":
    main()
