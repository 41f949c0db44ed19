"""Learning curve: test force RMSE of static models against the number of parents of their training structures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.evaluation.statistics import Family, Judgement, NotEvaluated, level, relative, verdicts
from fcl.study.claims.shapes import FORCE_RMSE
from fcl.study.errors import UniformErrors
from fcl.study.figures import common
from fcl.study.figures.common import FORCE, Drawing, drawn
from fcl.study.read import PathLike, read_table

COLUMNS = ("model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset", common.SOURCES[FORCE][0])
#: More data are worthwhile if the last step of the learning curve lowers the error by more than this fraction.
WORTHWHILE = 0.05
DODGE = 0.03  # of the number of parents, between the subsets


def size_of(manifest: PathLike, what: str) -> int:
    """Number of training structures, or of groups of these with a parent in common (``what``: structures, parents).

    ``manifest`` is the run manifest of a graph store or the collected manifests of a record. A structure without a
    parent is a group of its own. Raises ValueError naming a file without the entry: earlier versions count no parents.
    """
    try:
        content = json.loads(Path(manifest).read_text(encoding="utf-8"))
        store = content["runs"]["stores/train.manifest.json"] if "runs" in content else content
        return int(store["extra"][what])
    except (KeyError, TypeError) as error:
        reason = f"the manifest of the training store says nothing of extra.{what} ({error}): build the store again"
        raise ValueError(f"{manifest}: {reason}") from None


def errors_by_size(metrics: Sequence[PathLike], stores: Sequence[PathLike], cutoff: float) -> pd.DataFrame:
    """Test force RMSE (meV/A) of each static model at ``cutoff`` (A): structures, parents, subset, seed, `FORCE`.

    ``metrics`` has one file per model, ``stores`` the run manifest of the training store of each. Raises ValueError if
    a column is missing or there is no static model at the cutoff.
    """
    tables = []
    for file, store in zip(metrics, stores, strict=True):
        table = read_table(file, COLUMNS).assign(**{what: size_of(store, what) for what in ("structures", "parents")})
        tables.append(table[(table["model_kind"] == "static") & np.isclose(table["cutoff_angstrom"], cutoff)])
    joined = pd.concat(tables, ignore_index=True)
    if joined.empty:
        raise ValueError(f"no static model at {cutoff:g} A in the tables")
    return common.in_units_drawn(joined, [FORCE])


def static_family(folder: Path, cutoff: float) -> tuple[int, Family]:
    """Number of training structures of the study in ``folder``, and errors of its static models at ``cutoff`` (A).

    `NotEvaluated` if there are no errors per structure.
    """
    files = sorted(folder.glob(f"errors/static_r{cutoff:.1f}_seed*.csv.gz"))
    if not files:
        raise NotEvaluated(f"{folder.name} has no errors per structure of static models at {cutoff:g} A")
    manifests = [path for path in (folder / "stores/train.manifest.json", folder / "manifest.json") if path.is_file()]
    if not manifests:
        raise NotEvaluated(f"{folder.name} has no run manifest of its training structures")
    return size_of(manifests[0], "structures"), UniformErrors(files, {}).static(FORCE_RMSE, cutoff)


def steps(families: Mapping[int, Family]) -> list[tuple[int, Judgement, Judgement | None, str]]:
    """The error with each number of training structures, its change from the one before, and whether that is a fall by
    more than `WORTHWHILE`: (structures, error, change, verdict).

    Verdicts are adjusted for the number of steps (Holm). `NotEvaluated` for a single number of structures.
    """
    sizes = sorted(families)
    if len(sizes) < 2:
        raise NotEvaluated("a learning curve needs two numbers of structures")
    changes = [
        relative(families[many], families[few], -WORTHWHILE, paired=False)
        for few, many in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    levels = [level(families[size]) for size in sizes]
    return list(zip(sizes, levels, [None, *changes], ["", *verdicts(changes)], strict=True))


@drawn
def learning_curve(metrics: Sequence[PathLike], stores: Sequence[PathLike], *, cutoff: float, title: str) -> Drawing:
    """The learning curve of static models of ``cutoff`` (A), a row of numbers per model; see `errors_by_size`."""
    errors = errors_by_size(metrics, stores, cutoff)
    table = common.over_seeds(errors, ("subset", "structures", "parents"), (FORCE,))
    seeds = sorted({int(table["seeds"].min()), int(table["seeds"].max())})
    note = f"static models at {cutoff:g} Å; lines: means of {' to '.join(map(str, seeds))} seeds"
    figure = common.new_figure(common.COLUMN_WIDTH, 3.3, f"{title}; {note}")
    axes = figure.subplots()
    subsets = list(table["subset"].unique())
    for index, subset in enumerate(subsets):  # a little beside each other
        style, shift = common.subset_style(subset), 1.0 + DODGE * (index - (len(subsets) - 1) / 2)
        means, points = (part[part["subset"] == subset] for part in (table, errors))
        name = "all structures" if subset == common.ALL else common.as_text(subset)
        axes.plot(means["parents"] * shift, means[f"{FORCE}_mean"], color=style["color"])
        axes.plot(points["parents"] * shift, points[FORCE], linestyle="none", markersize=3, label=name, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = errors.groupby("parents")["structures"].unique()
    axes.set_xticks(sizes.index, [f"{parents}\n({', '.join(map(str, own))})" for parents, own in sizes.items()])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.set_yticks(_round_ticks(errors[FORCE]))
    axes.set_xlabel("parents (structures) in the training set")
    axes.set_ylabel(common.LABELS[FORCE])
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure, errors[["subset", "structures", "parents", "seed", FORCE]]


def _round_ticks(values: pd.Series) -> list[float]:
    """Round numbers spanning ``values``, roughly evenly spaced on a logarithmic axis."""
    low, high = float(values.min()) * 0.9, float(values.max()) * 1.1
    candidates = [digit * 10.0**power for power in range(6) for digit in (1, 1.5, 2, 3, 4, 5, 6, 8)]
    return [value for value in candidates if low <= value <= high] or [float(f"{low:.1g}")]
