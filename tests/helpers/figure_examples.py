"""Small tables to draw figures from, and what tests read from a drawn figure."""

import json

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

TITLE = "a toy set, not MAD"
PAIRS = ("H-O", "C-C", "C-O")
LAMBDAS = {1e-2: (10.0, 0.25), 1e-4: (30.0, 0.20), 1e-6: (50.0, 0.19)}
#: Columns of errors and cost.
ERRORS = ("force_rmse_ev_per_angstrom", "energy_rmse_ev_per_atom", "pairs_per_atom")
CALIBRATION = {"initial_cutoff": 6.0, "bounds": (3.5, 7.0)}


def outputs(folder, name, csv=True):
    """Output files of a figure."""
    return {kind: folder / f"{name}.{kind}" for kind in ("png", "pdf", *(["csv"] if csv else []))}


def write_metrics(folder, seeds=(1, 2, 3)):
    """FCL at three cutoffs, a static model of 5 A, trivial predictions: one file per kind and seed."""
    files = []
    for seed in seeds:
        fcl = [
            ("fcl", np.nan, seed, cutoff, subset, 0.2 / cutoff + 0.01 * seed + extra, 0.1 / cutoff, cutoff**3)
            for cutoff in (4.0, 4.5, 5.0)
            for subset, extra in (("all", 0.0), ("MC3D", 5.0))
        ]
        static = [("static", 5.0, seed, cutoff, "all", 0.03 * seed, 0.01 * seed, cutoff**3) for cutoff in (4.0, 5.0)]
        trivial = [("trivial", np.nan, np.nan, np.nan, subset, 0.06, 9.0, 0.0) for subset in ("all", "MC3D")]
        for kind, rows in (("fcl", fcl), ("static", static), *([("trivial", trivial)] if seed == seeds[0] else [])):
            columns = ["model_kind", "training_cutoff_angstrom", "seed", "cutoff_angstrom", "subset", *ERRORS]
            files.append(folder / f"{kind}_{seed}.csv")
            pd.DataFrame(rows, columns=columns).to_csv(files[-1], index=False)
    return files


def write_diatomics(folder, seeds=(1, 2)):
    """Oscillating energies that scale with the seed and vanish at the cutoff, one file per seed."""
    files = []
    for seed in seeds:
        distances = np.linspace(0.5, 8.0, 61)
        tables = [
            pd.DataFrame(
                {
                    "pair": pair,
                    "cutoff_angstrom": cutoff,
                    "seed": seed,
                    "distance_angstrom": distances,
                    "energy_ev": -seed * np.exp(-distances) * np.cos(9 * distances) * (distances < cutoff),
                    "force_ev_per_angstrom": 0.0,
                }
            )
            for pair in PAIRS
            for cutoff in (4.0, 5.0, 6.0, 7.0)
        ]
        files.append(folder / f"diatomics_{seed}.csv")
        pd.concat(tables).to_csv(files[-1], index=False)
    return files


HISTORIES = ("pretrain", "fcl_seed1", "fcl_seed2", "static_r4.0_seed1", "static_r4.0_seed2", "static_r5.0_seed1")


def write_histories(folder, names=HISTORIES):
    """Five epochs of each training, the fourth the best; every number is another one, so that none can be mixed up."""
    files = []
    for number, name in enumerate(names, start=1):
        epochs = np.arange(1, 6)
        table = pd.DataFrame(
            {
                "epoch": epochs,
                "learning_rate": 0.01 * number / epochs,
                "train_loss": 2.0 * number / epochs,
                "val_loss": 3.0 * number / np.minimum(epochs, 4) + 0.1 * (epochs == 5),
                "best": epochs <= 4,
            }
        )
        files.append(folder / f"{name}.csv")
        table.to_csv(files[-1], index=False)
    return files


def write_calibration_metrics(folder, seeds=(1,)):
    """Errors and pairs before and after calibration, a file a subset, lambda and seed."""
    files = []
    for subset in ("MC3D", "SHIFTML-molcrys"):
        for value, (pairs, error) in LAMBDAS.items():
            for seed in seeds:
                rows = [
                    (seed, name, value, configuration, 6.0 if configuration == "initial" else "", e, e / 3, p + seed)
                    for name in (subset, "all")
                    for configuration, e, p in (("initial", 0.195, 48.0), ("optimised", error, pairs))
                ]
                columns = ["seed", "subset", "lambda", "configuration", "cutoff_angstrom", *ERRORS]
                files.append(folder / f"{subset}_{value}_seed{seed}_metrics.csv")
                pd.DataFrame(rows, columns=columns).to_csv(files[-1], index=False)
    return files


def write_calibration(folder, subset, lam, cutoffs, seed=1, not_calibrated=(), shared=()):
    """Optimised cutoffs as a calibration writes them."""
    provenance = {"subset": subset, "lambda": lam, "seed": seed, "not_calibrated": list(not_calibrated)}
    if shared:  # files of earlier versions have no such entry
        provenance["convergence"] = {"shared_cutoff": list(shared)}
    file = folder / f"{subset}_lambda{lam:.0e}_seed{seed}.json"
    file.write_text(json.dumps({"cutoffs": cutoffs, "provenance": provenance}))
    return file


def wall_clock_rows(memory=True):
    """Two subsets whose time is 10 + 5 x pairs, memory 2 x pairs; B has twice the pairs."""
    cases = [("uniform", 6.0, ""), ("optimised", "", 1e-3), ("uniform", 4.0, ""), ("optimised", "", 1e-2)]
    made = []
    for factor, subset in ((1.0, "A"), (2.0, "B")):
        for (configuration, cutoff, lam), pairs in zip(cases, (40.0, 20.0, 12.0, 10.0), strict=True):
            pairs = factor * pairs
            time, used = 10.0 + 5.0 * pairs, 2.0 * pairs if memory else ""
            made.append((subset, configuration, cutoff, lam, pairs, time, used, 1, "a processor"))
    names = ["subset", "configuration", "cutoff_angstrom", "lambda", "pairs_per_atom", "microseconds_per_atom"]
    return pd.DataFrame(made, columns=[*names, "peak_memory_kb_per_atom", "threads", "device"])


def drawn_figures(monkeypatch):
    """A list that will hold each `Figure` that is written as PNG."""
    figures = []
    original = Figure.savefig

    def savefig(self, *arguments, **options):
        if options.get("format") == "png":
            figures.append(self)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def points(container):
    """Markers and error bars of an errorbar: x, y, standard deviations (none: None)."""
    line, _, bars = container
    x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
    if not container.has_yerr:
        return x, y, None
    segments = np.array(bars[-1].get_segments())  # yerr is the last one that is drawn
    return x, y, (segments[:, 1, 1] - segments[:, 0, 1]) / 2


def containers(axes):
    """Series with error bars of a panel by their labels."""
    return {container.get_label(): container for container in axes.containers}


def lines(axes):
    """Lines of a panel by their labels; those without one are left out."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
