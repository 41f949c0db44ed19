"""The numbers of a finished study as Markdown tables beside the paper's.

python -m fcl.study.pages.summary results/mini        prints it

Every number is computed from the study's result files and from `resources/claims.csv`, the paper's own numbers.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from fcl.config.load import Config
from fcl.study.pages.reproduction_optimised import changes, label
from fcl.study.pages.reproduction_uniform import against_static
from fcl.study.pages.text import CLAIMS, INTERVALS, interval_text, or_reason, print_page, table
from fcl.study.read import read_table
from fcl.study.results import Results
from fcl.study.tables.common import interval_of

QUANTITIES = ("force RMSE", "force MAE", "energy MAE")


def sweeps(results: Results, folder: Path) -> str:
    """Pairs saved and change of the test force RMSE of each subset and lambda, each with its interval.

    And at the lambda that was chosen without test structures, if the study has chosen one.
    """
    found = {(subset, lam): (saved, change) for subset, lam, saved, change in changes(results)}
    lambdas = sorted({lam for _, lam in found}, reverse=True)

    def cell(subset: str, lam: float) -> str:
        if (subset, lam) not in found:
            return "–"
        saved, change = found[subset, lam]
        return f"{interval_text(saved, '.0f', 100.0)}% / {interval_text(change, '+.1f', 100.0)}%"

    heads = ["pairs saved / change of test force RMSE", *(f"λ = {label(lam)}" for lam in lambdas)]
    rows = [[subset, *(cell(subset, lam) for lam in lambdas)] for subset in dict.fromkeys(name for name, _ in found)]
    if (folder / "tables/chosen.csv").is_file():
        choice = read_table(folder / "tables/chosen.csv", ("quantity", "chosen", "max_error_increase"))
        choice = choice[choice["quantity"] == "force RMSE"].set_index("subset")
        tolerance = choice["max_error_increase"].iloc[0]
        heads.append(f"λ chosen for ≤ {tolerance:.0%} by cross-validation (resamples that agree)")
        rows = [[*row, _chosen_cell(choice.loc[row[0]])] for row in rows]
    return table(heads, rows)


def _chosen_cell(row: pd.Series) -> str:
    """``1e-04 (87%): 54% / -3.2 [-6.0, +1.2]%``."""
    return f"{row['chosen']}: {row['saving']:.0%} / {interval_of(row, 'optimised_to_initial', '+.1f', 100.0)}%"


def markdown(folder: Path, config: Config, claims_file: Path = CLAIMS) -> str:
    """Tables shown in the README: errors at uniform cutoffs, cutoff sweeps of the subsets, and the chosen lambda."""
    results = Results.of_folder(folder, config.resolve(folder.name).nests)
    claims = pd.read_csv(claims_file).set_index("id")["paper_value"].astype(float)
    rmse = ", ".join(f"{1000.0 * claims[f'fig3_fcl_force_rmse_{r}']:.0f} meV/Å at {r} Å" for r in (4, 5))
    saving, penalty = claims["fig5_molcrys_1e-4_saving"], claims["fig5_molcrys_1e-4_penalty"]
    paper = (
        f"The paper, on MAD: force RMSE of FCL {rmse}; on SHIFTML-molcrys at λ = 1e-4 {saving:.0%} of the pairs or "
        f"more saved for less than {penalty:.0%} of force RMSE."
    )
    parts = (lambda: against_static(folder, QUANTITIES), lambda: sweeps(results, folder))
    return "\n\n".join([*(or_reason(part, "Not evaluated: {}.") for part in parts), INTERVALS, paper])


def main(arguments: list[str] | None = None) -> None:
    """Print the tables of a study."""
    print_page("fcl.study.pages.summary", __doc__, markdown, arguments)


if __name__ == "__main__":
    main()
