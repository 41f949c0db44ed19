"""The numbers of a finished study as a Markdown table beside the paper's.

python -m fcl.study.pages.summary results/mini        prints it

Every number is computed from the study's result files and from `resources/claims.csv`, the paper's own numbers.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas

#: The paper's numbers.
CLAIMS = Path("resources/claims.csv")


def uniform_errors(study: Path) -> pandas.DataFrame:
    """Test force RMSE (meV/A) of FCL and static models at each static cutoff: mean and standard deviation over seeds.

    Columns: cutoff_angstrom, fcl, fcl_std, static, static_std, ratio (FCL / static). Raises `FileNotFoundError`.
    """
    files = sorted((study / "metrics").glob("fcl_*.csv")) + sorted((study / "metrics").glob("static_*.csv"))
    if not files:
        raise FileNotFoundError(f"{study / 'metrics'}: no fcl_*.csv or static_*.csv")
    table = pandas.concat([pandas.read_csv(file) for file in files])
    table = table[table["subset"] == "all"]
    groups = 1000.0 * table.groupby(["model_kind", "cutoff_angstrom"])["force_rmse_ev_per_angstrom"].agg(
        ["mean", "std"]
    )
    static, fcl = groups.loc["static"], groups.loc["fcl"]
    result = static.rename(columns={"mean": "static", "std": "static_std"}).join(
        fcl.rename(columns={"mean": "fcl", "std": "fcl_std"}), how="inner"
    )
    result["ratio"] = result["fcl"] / result["static"]
    return result.reset_index()


def sweeps(study: Path) -> pandas.DataFrame:
    """One row per (subset, lambda): pairs per atom before and after, ``saving``, ``increase`` of the test force RMSE.

    ``saving`` = 1 - pairs / initial pairs, ``increase`` = RMSE / initial RMSE - 1, means over the calibrated seeds;
    ``increase_std`` is their standard deviation. Raises `FileNotFoundError`.
    """
    files = sorted((study / "calibration").glob("*_metrics.csv"))
    if not files:
        raise FileNotFoundError(f"{study / 'calibration'}: no *_metrics.csv")
    table = pandas.concat([pandas.read_csv(file) for file in files])
    keys = ["subset", "lambda", "seed"]
    values = ["pairs_per_atom", "force_rmse_ev_per_angstrom"]
    wide = table.pivot(index=keys, columns="configuration", values=values)
    pairs, errors = wide["pairs_per_atom"], wide["force_rmse_ev_per_angstrom"]
    result = pandas.DataFrame(
        {
            "initial_pairs": pairs["initial"],
            "pairs": pairs["optimised"],
            "saving": 1.0 - pairs["optimised"] / pairs["initial"],
            "increase": errors["optimised"] / errors["initial"] - 1.0,
        }
    )
    groups = result.groupby(["subset", "lambda"])
    return groups.mean().assign(increase_std=groups["increase"].std()).reset_index()


def chosen(study: Path) -> pandas.DataFrame | None:
    """Force RMSE at the lambda chosen by cross-validation, by subset; None for results without a choice."""
    file = study / "tables/chosen.csv"
    if not file.is_file():
        return None
    table = pandas.read_csv(file)
    return table[table["quantity"] == "force RMSE"].set_index("subset")


def _chosen_cell(row: pandas.Series) -> str:
    """``1e-04 (87%): 54% / -3.2 [-6.0, +1.2]%``."""
    change, low, high = (100.0 * row[f"optimised_to_initial{end}"] for end in ("", "_low", "_high"))
    return f"{row['chosen']}: {row['saving']:.0%} / {change:+.1f} [{low:+.1f}, {high:+.1f}]%"


def _sweep_cell(row: pandas.Series) -> str:
    """``61% / -3.8 ± 0.5%``; no standard deviation for a single seed."""
    spread = "" if math.isnan(row["increase_std"]) else f" ± {100.0 * row['increase_std']:.1f}"
    return f"{row['saving']:.0%} / {100.0 * row['increase']:+.1f}{spread}%"


def _paper(claims: pandas.DataFrame, name: str, scale: float = 1.0, pattern: str = "{:.0f}") -> str:
    return pattern.format(scale * float(claims.loc[name, "paper_value"]))


def markdown(study: Path, claims_file: Path = CLAIMS) -> str:
    """Table shown in the README: force RMSE at uniform cutoffs, then the cutoff sweeps of the subsets."""
    claims = pandas.read_csv(claims_file).set_index("id")
    lines = [
        "| test force RMSE (meV/Å) at a uniform cutoff | FCL, one model | static, a model a cutoff | FCL / static "
        "| FCL in the paper, on MAD |",
        "|---|---|---|---|---|",
    ]
    for row in uniform_errors(study).itertuples():
        cutoff, published = row.cutoff_angstrom, f"fig3_fcl_force_rmse_{row.cutoff_angstrom:.0f}"
        paper = _paper(claims, published, 1000.0) if published in claims.index else "not stated"
        spread = ["" if math.isnan(value) else f" ± {value:.0f}" for value in (row.fcl_std, row.static_std)]
        lines.append(
            f"| {cutoff:.1f} Å | {row.fcl:.0f}{spread[0]} | {row.static:.0f}{spread[1]} | {row.ratio:.2f} | {paper} |"
        )
    table = sweeps(study)
    lambdas = sorted(table["lambda"].unique(), reverse=True)
    head = " | ".join(f"λ = {lam:.0e}".replace("e-0", "e-") for lam in lambdas)
    choice = chosen(study)
    lines += ["", f"| optimised cutoffs: pairs saved / change of test force RMSE | pairs at 6.0 Å | {head} |"]
    lines += ["|---|---|" + "---|" * len(lambdas)]
    if choice is not None:
        tolerance = choice["max_error_increase"].iloc[0]
        lines[-2] += f" λ chosen for ≤ {tolerance:.0%} by cross-validation (resamples that agree) |"
        lines[-1] += "---|"
    for subset, rows in table.groupby("subset", sort=True):
        by_lambda = rows.set_index("lambda")
        cells = [_sweep_cell(by_lambda.loc[lam]) for lam in lambdas]
        cells += [] if choice is None else [_chosen_cell(choice.loc[subset])]
        lines.append(f"| {subset} | {rows['initial_pairs'].iloc[0]:.1f} | " + " | ".join(cells) + " |")
    saving, penalty = claims.loc["fig5_molcrys_1e-4_saving"], claims.loc["fig5_molcrys_1e-4_penalty"]
    lines += [
        "",
        f"The paper's headline, on MAD's SHIFTML-molcrys at λ = 1e-4: {float(saving['paper_value']):.0%} of the pairs "
        f"or more for less than {float(penalty['paper_value']):.0%} of force RMSE.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print the table for a study folder."""
    parser = argparse.ArgumentParser(
        prog="python -m fcl.study.pages.summary", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("study", type=Path, help="folder of a finished study, such as results/mini")
    parser.add_argument("--claims", type=Path, default=CLAIMS, help=f"the paper's numbers (default {CLAIMS})")
    options = parser.parse_args(arguments)
    try:
        print(markdown(options.study, options.claims))
    except FileNotFoundError as error:
        parser.exit(1, f"error: {error}; has this study been run?\n")


if __name__ == "__main__":
    main()
