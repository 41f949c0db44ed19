"""Print the reproduction page of a study: ``python -m fcl.reproduction record/embedded > docs/reproduction.md``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fcl.config import load_config
from fcl.reproduction.page import reproduction_page


def main(arguments: list[str] | None = None) -> None:
    """Print the page of a study's folder; the folder's name is that of the study."""
    parser = argparse.ArgumentParser(prog="python -m fcl.reproduction", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study, such as record/embedded")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="default: config.yaml")
    parser.add_argument("--claims", type=Path, default=Path("resources/claims.csv"), help="the paper's claims")
    options = parser.parse_args(arguments)
    if not (options.study / "metrics").is_dir():
        parser.exit(1, f"error: {options.study}: no metrics/; has this study been run?\n")
    sys.stdout.write(reproduction_page(options.study, load_config(options.config), options.claims))


if __name__ == "__main__":
    main()
