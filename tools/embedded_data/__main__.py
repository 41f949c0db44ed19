"""Command line: ``python tools/embedded_data generate|atoms|package``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from embedded_data.cp2k import CP2KError
from embedded_data.generate import generate, isolated_atoms
from embedded_data.package import PackageError, package
from embedded_data.shipped import FILE, restore_results
from embedded_data.structures import load_settings


def parser() -> argparse.ArgumentParser:
    """Parser of the three commands."""
    root = argparse.ArgumentParser(prog="python tools/embedded_data", description="The embedded data set (needs CP2K).")
    commands = root.add_subparsers(dest="command", required=True)
    run = commands.add_parser("generate", help="compute structures with CP2K; resumes where it stopped")
    run.add_argument("--count", type=int, default=120, help="structures per subset (default 120)")
    run.add_argument("--processes", type=int, default=2, help="CP2K processes at a time, one thread each (default 2)")
    run.add_argument(
        "--resume-from",
        type=Path,
        default=Path("resources/embedded"),
        help="packaged data whose results an empty work directory starts with (default resources/embedded)",
    )
    atoms = commands.add_parser("atoms", help="compute the isolated atoms that are still missing")
    pack = commands.add_parser("package", help="write the compressed splits, the manifest and the data card")
    pack.add_argument("--output", type=Path, required=True, help="directory to write to")
    pack.add_argument("--count", type=int, default=120, help="structures per subset (default 120)")
    pack.add_argument("--allow-partial", action="store_true", help="package what there is so far")
    for command in (run, atoms, pack):
        command.add_argument("--work", type=Path, required=True, help="directory of the results so far")
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = parser().parse_args(arguments)
    settings = load_settings()
    try:
        if options.command == "generate":
            if (options.resume_from / FILE).is_file():
                restored = restore_results(options.resume_from, options.work)
                print(f"{restored} structures taken over from {options.resume_from}", file=sys.stderr)
            generate(options.work, options.count, options.processes, settings)
        elif options.command == "atoms":
            isolated_atoms(options.work, settings)
        else:
            manifest = package(
                options.work, options.output, options.count, settings, allow_partial=options.allow_partial
            )
            for split, entry in manifest["splits"].items():
                print(f"{split}: {entry['frames']} frames, {entry['size']} bytes, {entry['subsets']}")
    except (CP2KError, PackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
