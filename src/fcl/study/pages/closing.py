"""Summary at the end of a run: what was computed, main numbers next to those of the record, and paths of the results.

python -m fcl.study.pages.closing results/mini record/mini     prints it; the record is optional
"""

from __future__ import annotations

import sys
from pathlib import Path

from fcl.study.pages.summary import sweeps, uniform_errors
from fcl.study.paper import nearest_lambda, shown_subset
from fcl.study.records.comparison import compare
from fcl.study.records.manifests import RECORD_MANIFEST, read_manifests


def main_numbers(study: Path) -> dict[str, str]:
    """Test force RMSE of FCL and static models at two cutoffs, and savings and error of one calibration."""
    errors = uniform_errors(study)
    numbers = {}
    for row in (errors.iloc[0], errors.iloc[-1]):
        for kind, name in (("fcl", "FCL"), ("static", "static models")):
            numbers[f"force RMSE of {name} at {row['cutoff_angstrom']:.1f} A (meV/A)"] = f"{row[kind]:.0f}"
    table = sweeps(study)
    subset, lam = shown_subset(sorted(table["subset"].unique())), nearest_lambda(sorted(table["lambda"].unique()))
    chosen = table[(table["subset"] == subset) & (table["lambda"] == lam)].iloc[0]
    where = f"{subset}, lambda {lam:.0e}"
    numbers[f"pairs saved by optimised cutoffs ({where})"] = f"{chosen['saving']:.0%}"
    numbers[f"and change of their force RMSE ({where})"] = f"{chosen['increase']:+.1%}"
    return numbers


def closing_text(run: Path, record: Path) -> str:
    """About ten lines on the finished ``run``, next to the ``record`` of the same study if available."""
    manifests = read_manifests(run)
    minutes = sum(content["seconds"] for content in manifests.values()) / 60.0
    here, there = main_numbers(run), {}
    lines = [f"{run.name}: results of {len(manifests)} jobs, {minutes:.0f} minutes of computing in all"]
    if (record / RECORD_MANIFEST).is_file():
        there = main_numbers(record)
        compared = compare(run, record).text(worst=0).splitlines()
    else:
        compared = [f"{record}: no record of this study to compare with"]
    width = max(map(len, here))
    lines.append(f"  {'':<{width}}  this run" + ("  record" if there else ""))
    lines += [f"  {name:<{width}}  {value:>8}  {there.get(name, ''):>6}".rstrip() for name, value in here.items()]
    return "\n".join([*lines, *compared, f"figures: {run / 'figures'}   report: {run / 'report.md'}"])


if __name__ == "__main__":
    print(closing_text(*map(Path, sys.argv[1:3])))
