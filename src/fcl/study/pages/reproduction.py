"""Print the reproduction page of a study.

python -m fcl.study.pages.reproduction results/embedded > docs/reproduction.md

Verdicts first, then each claim with its numbers and the ablations that test likely reasons.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from fcl.config.load import Config, derived
from fcl.config.study import Study
from fcl.data.manifest import load_data_manifest
from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, NotEvaluated
from fcl.study.claims.table import SHOWN, claims_markdown, claims_table, read_sample
from fcl.study.claims.verdicts import NOT_COMPARABLE, StudyData
from fcl.study.comparisons.ablations import COLUMNS as ABLATION_COLUMNS
from fcl.study.comparisons.ablations import readable as readable_ablations
from fcl.study.comparisons.folds import readable as readable_folds
from fcl.study.comparisons.learning import WORTHWHILE, static_family, steps
from fcl.study.comparisons.repeat import repeated_digests
from fcl.study.pages import reproduction_optimised as optimised
from fcl.study.pages import reproduction_uniform as uniform
from fcl.study.pages.reproduction_forces import zero_forces
from fcl.study.pages.text import INTERVALS, interval_text, listed, or_reason, print_page, table
from fcl.study.read import read_table
from fcl.study.results import Results

NOT_RUN = "*Not evaluated*: {}."
HEAD = """# Reproduction: which of the paper's claims hold

*Written by `python -m fcl.study.pages.reproduction record/{study}` from the committed numbers of that study; a test
compares. Every number, verdict and sentence about them is computed.*

Study `{study}`; data: **{title}**. {evidence}

{intervals}

A verdict is a vote of the models and of resampled structures, corrected for the number of comparisons in its table; its
rule is in [claims.md](claims.md). *Undecided* means that these data and seeds do not say, not that nothing differs.
"""
NOT_MAD = "what follows says how the method behaves on them, and is no evidence about MAD."


def data_of(study: Study) -> StudyData:
    """What the data of the study are to the paper's."""
    manifest, sample = load_data_manifest(study.data.manifest), Path(study.data.manifest).with_name("claims.csv")
    whole = study.data.takes_every_frame and manifest.as_published
    return StudyData(manifest.name, manifest.title, whole, read_sample(sample if sample.is_file() else None))


def claims(results: Results, data: StudyData, source: Path) -> str:
    """The claims that can be judged on the data of the study, and apart from them those about the model."""
    everything = claims_table(results, source, data)
    judged = everything[everything["verdict"] != NOT_COMPARABLE]
    columns = {name: SHOWN[name] for name in ("where", "claim", "paper_text", "value_text", "verdict", "reason")}
    left = f"The other {len(everything) - len(judged)} of the paper's claims cannot be judged on these data."
    return f"{claims_markdown(judged, columns)}\n{left}"


def _section(title: str, *parts: Callable[[], str]) -> str:
    """A section; a part that cannot be evaluated is replaced by the reason."""
    return "\n\n".join([f"## {title}", *filter(None, (or_reason(part, NOT_RUN) for part in parts))])


def ablations_of(folder: Path) -> pd.DataFrame:
    """The ablation table of the study."""
    return read_table(folder / "ablations.csv", ABLATION_COLUMNS, "ablations of this study")


def tested(folder: Path, word: str) -> str:
    """What the ablations show of the quantities whose name contains ``word``: the reasons tested."""
    ablations = ablations_of(folder)
    rows = ablations[ablations["quantity"].str.contains(word, regex=False)]
    changed = rows[rows["verdict"] != UNDECIDED]
    changing = [f"`{row.change}` ({row.quantity}: {row.verdict})" for row in changed.itertuples()]
    idle = [f"`{change}`" for change in rows["change"].unique() if change not in set(changed["change"])]
    return (
        f"Tested by ablations (verdicts of the whole table below): it is changed by {listed(changing, 'no ablation')}; "
        f"undecided: {listed(idle, 'none of the others')}."
    )


def learning(folder: Path, studies: list[Study]) -> str:
    """Error against training structures, and whether more data would help."""
    if not studies:
        raise NotEvaluated("the learning curve of this study")
    cutoff = studies[0].static.cutoffs[0]
    found = steps(dict(static_family(one, cutoff) for one in (*(folder.parent / s.name for s in studies), folder)))
    pays = {HOLDS: "pay", FAILS: "do not pay", UNDECIDED: "may pay: it is undecided"}
    rows = [
        (str(size), f"{interval_text(error, '.0f', 1000.0)}",
         "" if change is None else f"{interval_text(change, '+.1f', 100.0)}%", verdict)
        for size, error, change, verdict in found
    ]  # fmt: skip
    (few, *_), (many, *_, last) = found[-2:]
    sentence = (
        f"By the rule that a fall by {WORTHWHILE:.0%} is worth it, more data than {many} structures {pays[last]}, "
        f"judged by the step from {few} to {many}. Static models at {cutoff:g} Å, on the same test structures."
    )
    heads = ("training structures", "force RMSE (meV/Å)", "change", f"falls by more than {WORTHWHILE:.0%}")
    return f"{sentence}\n\n{table(heads, rows)}"


def repeated(folder: Path, studies: list[str], seed: int) -> str:
    """Whether a repeated training is bitwise identical, with both digests."""
    if not studies:
        raise NotEvaluated("no study repeats a training of this one")
    digests = repeated_digests(folder, folder.parent / studies[0], seed)
    same = all(first == second for first, second in digests.values())
    rows = [(name, f"`{first}`", f"`{second}`") for name, (first, second) in digests.items()]
    sentence = f"FCL training of seed {seed}, run twice: " + ("the same bit for bit." if same else "**not** the same.")
    return f"{sentence}\n\n{table(('SHA-256 of', 'first run', 'second run'), rows)}"


def reproduction_page(folder: Path, config: Config, source: Path) -> str:
    """Page of the study with results in ``folder`` (named like the study); ``source`` is resources/claims.csv."""
    study = config.resolve(folder.name)
    data = data_of(study)
    results = Results.of_folder(folder, study.nests, sample=bool(data.sample))
    curve = [config.resolve(name) for name in derived(config.studies, study.name, "learning_curve")]
    evidence = f"These are {data.difference}: {NOT_MAD}" if data.difference else ""
    sections = [
        HEAD.format(study=study.name, title=data.title, evidence=evidence, intervals=INTERVALS).strip(),
        _section("Verdicts", lambda: claims(results, data, source)),
        _section(
            "One FCL model beside a static model for each cutoff",
            lambda: uniform.against_static(folder),
            lambda: tested(folder, "force RMSE at"),
        ),
        _section(
            "Plateau, and upturn at 7 Å", lambda: uniform.plateau(results), lambda: tested(folder, "force RMSE, ")
        ),
        _section("Oscillation of diatomic curves", lambda: uniform.diatomics(results), lambda: tested(folder, "turns")),
        _section(
            "Fewer pairs by optimised cutoffs",
            lambda: optimised.savings(results),
            lambda: optimised.chosen(folder),
            lambda: optimised.controls(folder),
        ),
        _section("Cutoffs of elements in the subsets", lambda: optimised.orderings(results)),
        *([_section("Errors and zero forces", lambda: zero_forces(folder))] if data.of_paper else []),
        _section("Ablations", lambda: readable_ablations(ablations_of(folder))),
        _section(
            "Cross-validation over groups",
            lambda: readable_folds(read_table(folder / "folds.csv", otherwise="the cross-validation of this study")),
        ),
        _section("Learning curve", lambda: learning(folder, curve)),
        _section(
            "The same training twice",
            lambda: repeated(folder, derived(config.studies, study.name, "repeat"), study.fcl.seeds[0]),
        ),
    ]
    return "\n\n".join(sections)


def main(arguments: list[str] | None = None) -> None:
    """Print the page of a study."""
    print_page("fcl.study.pages.reproduction", __doc__, reproduction_page, arguments)


if __name__ == "__main__":
    main()
