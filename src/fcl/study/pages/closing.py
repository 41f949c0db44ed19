"""Summary at the end of a run: what was computed, main numbers next to those of the record, and paths of the results.

python -m fcl.study.pages.closing results/mini record/mini     prints it; the record is optional
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.errors import ALL
from fcl.study.pages.reproduction_uniform import uniform_table
from fcl.study.paper import nearest_lambda, shown_subset
from fcl.study.records.comparison import compare
from fcl.study.records.manifests import RECORD_MANIFEST, read_manifests


def main_numbers(study: Path) -> dict[str, str]:
    """Test force RMSE of FCL and static models at two cutoffs, and savings and error of one calibration.

    Geometric means over models; nothing is judged here. `NotEvaluated` if errors were not judged (`uniform_table`).
    """
    errors = uniform_table(study)
    errors = errors[(errors["quantity"] == "force RMSE") & (errors["subset"] == ALL)]
    numbers = {}
    for _, row in errors.iloc[[0, -1]].iterrows():
        for kind, name in (("fcl", "FCL"), ("static", "static models")):
            where = f"{name} at {row['cutoff_angstrom']:.1f} A (meV/A)"
            numbers[f"force RMSE of {where}"] = f"{1000.0 * row[kind]:.0f}"
    files = sorted((study / "calibration").glob("*_metrics.csv"))
    table = pd.concat([pd.read_csv(file) for file in files])
    subset, lam = shown_subset(sorted(table["subset"].unique())), nearest_lambda(sorted(table["lambda"].unique()))
    columns = ["pairs_per_atom", "force_rmse_ev_per_angstrom"]
    rows = table[(table["subset"] == subset) & (table["lambda"] == lam)].set_index(["configuration", "seed"])[columns]
    ratios = rows.loc["optimised"] / rows.loc["initial"]
    where = f"{subset}, lambda {lam:.0e}"
    numbers[f"pairs saved by optimised cutoffs ({where})"] = f"{1.0 - ratios['pairs_per_atom'].mean():.0%}"
    increase = ratios["force_rmse_ev_per_angstrom"].mean() - 1.0
    numbers[f"and change of their force RMSE ({where})"] = f"{increase:+.1%}"
    return numbers


def closing_text(run: Path, record: Path) -> str:
    """About ten lines on the finished ``run``, next to the ``record`` of the same study if available."""
    manifests = read_manifests(run)
    minutes = sum(content["seconds"] for content in manifests.values()) / 60.0
    here, there = main_numbers(run), {}
    lines = [f"{run.name}: results of {len(manifests)} jobs, {minutes:.0f} minutes of computing in all"]
    if (record / RECORD_MANIFEST).is_file():
        with suppress(NotEvaluated):  # an old record
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
