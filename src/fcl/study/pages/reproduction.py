"""Print the reproduction page of a study.

python -m fcl.study.pages.reproduction results/embedded > docs/reproduction.md

Verdicts first, then each claim with its numbers and the ablations that test likely reasons.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from fcl.config.load import Config, derived, load_config
from fcl.data.manifest import load_data_manifest
from fcl.evaluation.statistics import NotEvaluated
from fcl.study.claims.table import SHOWN, claims_table, readable
from fcl.study.claims.verdicts import NOT_EVALUATED, NOT_REPRODUCED, PAPER_DATA, REPRODUCED
from fcl.study.comparisons.ablations import ALIKE
from fcl.study.comparisons.ablations import readable as readable_ablations
from fcl.study.comparisons.folds import readable as readable_folds
from fcl.study.comparisons.learning import ERROR, gain_of_last_step
from fcl.study.comparisons.repeat import repeated_digests
from fcl.study.pages import reproduction_optimised as optimised
from fcl.study.pages import reproduction_uniform as uniform
from fcl.study.pages.text import difference_text, listed, mean_text, table
from fcl.study.results import Results
from fcl.study.tables.common import markdown, shown

#: Claims about the behaviour of the method, which can be assessed on any data.
QUALITATIVE = (
    "fig3_static_below_fcl", "fig3_plateau", "fig3_upturn_7", "fig3_static_std_7", "fig4_adjacent_cutoffs",
    "fig4_oscillation_7", "fig5_molcrys_1e-4_saving", "fig5_molcrys_1e-4_penalty", "fig6_mc2d_largest",
    "fig6_molfrags_smallest", "fig7_1e-3_range", "fig7_1e-3_sodium", "fig7_1e-6_light", "fig7_1e-6_metals",
)  # fmt: skip
VERDICTS = {REPRODUCED: "holds", NOT_REPRODUCED: "does not hold", NOT_EVALUATED: "cannot be said"}
#: More data are worthwhile if the last doubling of the learning curve lowered the error by this fraction.
WORTHWHILE = 0.05
NOT_RUN = "*Not run*: {}."
HEAD = """# Reproduction: which of the paper's claims hold

*Written by `python -m fcl.study.pages.reproduction record/{study}` from the committed numbers of that study; a test
compares. Every number, verdict and sentence about them is computed.*

Study `{study}`; data: **{title}**. None of this is evidence about MAD: it says how the method behaves on these data.

± after a mean is the standard deviation over seeds. "95%" marks Student's confidence interval of a difference over
seeds (paired where they are seeds of the same models, else Welch's); a difference counts where it leaves out zero. With
three seeds that is strict, and of many comparisons one in twenty passes by chance.
"""
RULES = """The criteria are those of [claims.md](claims.md), applied to these data as to the paper's. There, a bound is
cleared by one standard error; that is milder than the intervals below."""


def verdicts(results: Results, claims: Path) -> tuple[str, pd.DataFrame]:
    """Table of the qualitative claims, and its rows by id."""
    # as if the data were the paper's: here every claim is judged, by the same rules, on whatever data the study has
    everything = claims_table(results, claims, dataset=PAPER_DATA, whole=True).set_index("id", drop=False)
    rows = readable(everything.loc[list(QUALITATIVE)]).assign(verdict=lambda rows: rows["verdict"].map(VERDICTS))
    columns = {name: SHOWN[name] for name in ("where", "claim", "paper_text", "value_text", "verdict", "reason")}
    rows = rows.assign(claim=[f"{row.quantity} ({row.dataset.removeprefix('mad-')})" for row in rows.itertuples()])
    found = rows["verdict"].value_counts()
    sentence = f"{len(rows)} claims: " + ", ".join(f"{name} {found.get(name, 0)}" for name in VERDICTS.values()) + "."
    return f"{sentence} {RULES}\n\n{markdown(shown(rows, columns))}", everything


def _section(title: str, *parts: Callable[[], str]) -> str:
    """A section; a part that cannot be evaluated is replaced by the reason."""
    texts = []
    for part in parts:
        try:
            texts.append(part())
        except NotEvaluated as missing:
            texts.append(NOT_RUN.format(missing))
    return "\n\n".join([f"## {title}", *filter(None, texts)])


def tested(ablations: pd.DataFrame | None, word: str) -> str:
    """Ablation results for the quantities whose name contains ``word``: the reasons tested."""
    if ablations is None:
        raise NotEvaluated("ablations of this study")
    rows = ablations[ablations["quantity"].str.contains(word, regex=False)]
    changed = rows[rows["verdict"] != ALIKE]
    changing = [f"`{row.change}` ({row.quantity}: {row.verdict})" for row in changed.itertuples()]
    idle = [f"`{change}`" for change in rows["change"].unique() if change not in set(changed["change"])]
    return f"Tested: it is changed by {listed(changing, 'no ablation')}; not by {listed(idle, 'none of the others')}."


def all_ablations(ablations: pd.DataFrame | None) -> str:
    """The ablation table."""
    if ablations is None:
        raise NotEvaluated("ablations of this study")
    return readable_ablations(ablations)


def crossvalidated(folder: Path) -> str:
    """FCL against static models in cross-validation."""
    file = folder / "folds.csv"
    if not file.is_file():
        raise NotEvaluated("the cross-validation of this study")
    return readable_folds(pd.read_csv(file))


def learning(folder: Path) -> str:
    """Error against training structures, and whether more data would help."""
    file = folder / "figures/learning_curve.csv"
    if not file.is_file():
        raise NotEvaluated("the learning curve of this study")
    errors = pd.read_csv(file)
    few, many, gain = gain_of_last_step(errors)
    least, most = gain.value - gain.half_width, gain.value + gain.half_width
    pays = "pay" if least > WORTHWHILE else "do not pay" if most < WORTHWHILE else "may pay: the seeds do not decide"
    whole = errors[errors["subset"] == "all"]
    rows = [
        (str(size), mean_text(dict(rows.set_index("seed")[ERROR]), "{:.0f}"))
        for size, rows in whole.groupby("structures")
    ]
    sentence = (
        f"From {few} to {many} training structures the error falls by {difference_text(gain, '{:.1f}%', 100.0)} (95%). "
        f"By the rule that a fall of {WORTHWHILE:.0%} is worth it, more data {pays}."
    )
    return f"{sentence}\n\n{table(('training structures', 'static force RMSE (meV/Å)'), rows)}"


def repeated(folder: Path, studies: list[str], seed: int) -> str:
    """Whether a repeated training is bitwise identical, with both digests."""
    if not studies:
        raise NotEvaluated("no study repeats a training of this one")
    digests = repeated_digests(folder, folder.parent / studies[0], seed)
    same = all(first == second for first, second in digests.values())
    rows = [(name, f"`{first}`", f"`{second}`") for name, (first, second) in digests.items()]
    sentence = f"FCL training of seed {seed}, run twice: " + ("the same bit for bit." if same else "**not** the same.")
    return f"{sentence}\n\n{table(('SHA-256 of', 'first run', 'second run'), rows)}"


def reproduction_page(folder: Path, config: Config, claims: Path) -> str:
    """Page of the study with results in ``folder`` (named like the study); ``claims`` is resources/claims.csv."""
    results, study = Results.of_folder(folder), config.resolve(folder.name)
    file = folder / "ablations.csv"
    ablations = pd.read_csv(file) if file.is_file() else None
    summary, judged = verdicts(results, claims)
    limits = (float(judged.loc[f"fig5_molcrys_1e-4_{name}", "paper_value"]) for name in ("saving", "penalty"))
    sections = [
        HEAD.format(study=study.name, title=load_data_manifest(study.data.manifest).title).strip(),
        f"## Verdicts\n\n{summary}",
        _section(
            "One FCL model beside a static model for each cutoff",
            lambda: uniform.against_static(results),
            lambda: tested(ablations, "force RMSE at"),
        ),
        _section(
            "Plateau, and upturn at 7 Å",
            lambda: uniform.plateau(results),
            lambda: tested(ablations, "7 A / 6 A"),
        ),
        _section(
            "Oscillation of diatomic curves",
            lambda: uniform.diatomics(results),
            lambda: tested(ablations, "turns"),
        ),
        _section("Fewer pairs by optimised cutoffs", lambda: optimised.savings(results, *limits)),
        _section("Orderings of cutoffs among subsets", lambda: optimised.orderings(results)),
        _section("Ablations", lambda: all_ablations(ablations)),
        _section("Cross-validation over groups", lambda: crossvalidated(folder)),
        _section("Learning curve", lambda: learning(folder)),
        _section(
            "The same training twice",
            lambda: repeated(folder, derived(config.studies, study.name, "repeat"), study.fcl.seeds[0]),
        ),
    ]
    return "\n\n".join(sections) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Print the page for a study folder, which is named like the study."""
    parser = argparse.ArgumentParser(
        prog="python -m fcl.study.pages.reproduction", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("study", type=Path, help="folder of a finished study, such as record/embedded")
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="default: config.yaml")
    parser.add_argument("--claims", type=Path, default=Path("resources/claims.csv"), help="the paper's claims")
    options = parser.parse_args(arguments)
    if not (options.study / "metrics").is_dir():
        parser.exit(1, f"error: {options.study}: no metrics/; has this study been run?\n")
    sys.stdout.write(reproduction_page(options.study, load_config(options.config), options.claims))


if __name__ == "__main__":
    main()
