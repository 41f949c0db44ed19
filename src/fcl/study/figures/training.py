"""Training curves: losses and learning rate against the epoch, one column per stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.figures.common import ANGSTROM, TEXT_WIDTH, Drawing, drawn, key, new_figure, panel_title
from fcl.study.read import PathLike, read_table

COLUMNS = ("epoch", "learning_rate", "train_loss", "val_loss", "best")
#: Column of a history -> label of its row of panels.
ROWS = {"train_loss": "training loss", "val_loss": "validation loss", "learning_rate": "learning rate"}
KINDS = {"pretrain": "pre-training", "fcl": "FCL", "static": "static"}
MODEL = re.compile(r"(?P<kind>pretrain|fcl|static)(_r(?P<cutoff>\d+\.\d))?(_seed(?P<seed>\d+))?")
DASHES = ("-", (0, (4, 1.2)), (0, (1, 0.8)), (0, (4, 1, 1, 1)))  # of the seeds; repeated from the fifth on


@dataclass(frozen=True)
class Run:
    """One training: kind, cutoff (A; static models), seed (None for the pre-training) and history."""

    kind: str
    cutoff: float | None
    seed: int | None
    history: pd.DataFrame

    @property
    def column(self) -> str:
        """Title of its column of panels."""
        return KINDS[self.kind] if self.cutoff is None else f"{KINDS[self.kind]}, {self.cutoff:.1f} {ANGSTROM}"


def read_runs(histories: Sequence[PathLike]) -> list[Run]:
    """The trainings of a study from ``metrics/history/<model>.csv``; the file name identifies the model.

    Raises `NotEvaluated` as `read_table` or if no files are given, ValueError for an unknown model name.
    """
    if not histories:
        raise NotEvaluated("no file in metrics/history/")
    runs = []
    for file in map(Path, histories):
        name = MODEL.fullmatch(file.stem)
        if name is None:
            known = "pretrain, fcl_seed1, static_r4.0_seed1"
            raise ValueError(f"{file}: not the history of a model of the study ({known})")
        cutoff, seed = name["cutoff"] and float(name["cutoff"]), name["seed"] and int(name["seed"])
        runs.append(Run(name["kind"], cutoff, seed, read_table(file, COLUMNS)))
    return sorted(runs, key=lambda run: (list(KINDS).index(run.kind), run.cutoff or 0.0, run.seed or 0))


@drawn
def figure_training(histories: Sequence[PathLike], *, title: str) -> Drawing:
    """Training curves from ``metrics/history/*.csv``.

    A marker is the epoch with the lowest validation loss, whose weights are kept.
    """
    runs = read_runs(histories)
    columns = list(dict.fromkeys(run.column for run in runs))
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    styles = {
        seed: {"color": f"C{index}", "linestyle": DASHES[index % len(DASHES)]} for index, seed in enumerate(seeds)
    }
    styles[None] = {"color": "0.3", "linestyle": "-"}
    figure = new_figure(TEXT_WIDTH, 4.3, title)
    panels = figure.subplots(
        len(ROWS), len(columns), sharex="col", sharey="row", squeeze=False, height_ratios=(1.0, 1.0, 0.7)
    )
    for axes, (value, label) in zip(panels, ROWS.items(), strict=True):
        for run in runs:
            _curve(axes[columns.index(run.column)], run, value, **styles[run.seed])
        axes[0].set_ylabel(label)
        axes[0].set_yscale("log")
        drawn = pd.concat([run.history[value] for run in runs])
        digits = (1.0, 2.0, 5.0) if drawn.max() < 30.0 * drawn.min() else (1.0,)
        axes[0].yaxis.set_major_locator(LogLocator(subs=digits))
        axes[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes[0].yaxis.set_minor_formatter(NullFormatter())
    for index, column in enumerate(columns):
        panels[0, index].set_title(panel_title(index, column))
        panels[-1, index].set_xlabel("epoch")
        panels[-1, index].xaxis.set_major_locator(MaxNLocator(3, integer=True))
    keys = [key(f"seed {seed}", **styles[seed]) for seed in seeds]
    keys.append(key("epoch whose weights are kept", color="0.3", marker="o", markersize=3, linestyle="none"))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    figure.align_ylabels()
    return figure, None


def _curve(axes: Axes, run: Run, value: str, **style) -> None:
    """One line of a panel; the learning rate is constant over an epoch and drawn as steps."""
    table = run.history
    drawing = {"drawstyle": "steps-mid"} if value == "learning_rate" else {}
    label = KINDS[run.kind] if run.seed is None else f"seed {run.seed}"
    axes.plot(table["epoch"], table[value], linewidth=1.0, label=label, **style, **drawing)
    if value == "val_loss":
        kept = table[table["best"].astype(bool)].iloc[-1:]
        axes.plot(
            kept["epoch"], kept[value], color=style["color"], marker="o", markersize=3, linestyle="none", zorder=3
        )
