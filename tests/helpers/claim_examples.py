"""Result files of an invented study whose claims can be worked out by hand; the numbers are those of a study on MAD."""

import json

import numpy as np
import pandas

from fcl.runs.files import write_csv
from fcl.study.results import Results
from fcl.study.tables.uniform import table_uniform
from table_examples import table_files

SUBSETS = ("MC3D", "MC2D", "SHIFTML-molcrys", "SHIFTML-molfrags")
ELEMENTS = ("H", "C", "N", "O", "F", "Na", "Mg", "P", "S", "Cl", "K", "Ca")
SEEDS = (1, 2, 3)
#: Each FCL model has a pre-trained model of its own.
NESTS = {f"fcl_seed{seed}": seed for seed in SEEDS}
FCL = {4.0: 0.370, 5.0: 0.325, 6.0: 0.324, 7.0: 0.345}
TRIVIAL = 1.0
#: Cutoffs (A) of the molecular crystals for which every claim of Fig. 7 holds.
AT_1E_3 = dict.fromkeys(ELEMENTS, 3.8) | {"Na": 3.6, "Mg": 4.7, "K": 4.8}
AT_1E_6 = dict.fromkeys(ELEMENTS, 5.5) | {"Na": 6.6, "K": 6.8, "Ca": 7.0}
#: Test structures of each subset, two to a group.
STRUCTURES = 6


def curve(cutoff, distances, oscillates=False):
    """Energy (eV) that falls smoothly to zero at the cutoff, with waves of 5 meV if asked for."""
    tail = np.where(distances < cutoff, -0.01 * (cutoff - distances), 0.0)
    waves = 0.005 * np.sin(2 * np.pi * (distances - 3.0)) * (distances < cutoff)
    return tail + (waves if oscillates else 0.0)


def write(folder, name, rows):
    write_csv(folder / name, pandas.DataFrame(rows))


def structure_rows(rmse, pairs=10.0, subsets=SUBSETS, **labels):
    """Structures of 5 atoms with the same force error (eV/A) each, so that resampling them changes nothing."""
    rows = []
    for number in range(STRUCTURES * len(subsets)):
        row = {"structure": number, "frame": number, "group": number // 2, "subset": subsets[number // STRUCTURES]}
        errors = {"force_square_sum": 15 * rmse**2, "force_absolute_sum": 15 * rmse, "pairs_per_atom": pairs}
        rows.append({**labels, **row, "atoms": 5, "energy_error_ev_per_atom": rmse / 10, **errors})
    return rows


def write_uniform(folder, fcl=FCL, scatter=0.001, static=0.5, seeds=SEEDS, wide=40.0):
    """FCL's errors and static ones ``static`` times as large; at 7 A the static spread is ``wide`` times as large."""
    for seed in seeds:
        shift = (seed - 2) * scatter
        rows = [row for r, rmse in fcl.items() for row in structure_rows(rmse * (1.0 + shift), r**3, cutoff_angstrom=r)]
        write(folder, f"errors/fcl_seed{seed}.csv.gz", rows)
        for cutoff, rmse in fcl.items():
            spread = shift * (wide if cutoff == 7.0 else 1.0)
            rows = structure_rows(static * rmse * (1.0 + spread), cutoff**3, cutoff_angstrom=cutoff)
            write(folder, f"errors/static_r{cutoff}_seed{seed}.csv.gz", rows)
    write(folder, "errors/trivial.csv.gz", structure_rows(TRIVIAL, 0.0))


def write_diatomics(folder, oscillating=(7.0,), seeds=SEEDS):
    distances = np.arange(0.5, 8.0001, 0.025)
    for seed in seeds:
        rows = []
        for pair in ("H-O", "C-C", "C-O"):
            for cutoff in FCL:
                energy = curve(cutoff, distances, cutoff in oscillating)
                labels = {"pair": pair, "cutoff_angstrom": cutoff, "seed": seed}
                columns = zip(distances, energy, strict=True)
                rows += [{**labels, "distance_angstrom": r, "energy_ev": e} for r, e in columns]
        write(folder, f"diatomics/fcl_seed{seed}.csv", rows)


def write_calibration(
    folder, subset, lam, cutoffs, pairs=(90.0, 35.0), errors=(0.19436, 0.19542), idle=(), shared=(), seeds=SEEDS
):
    for seed in seeds:
        stem = f"calibration/{subset}_lambda{lam:.0e}_seed{seed}"
        rows = []
        for name, pair, rmse in zip(("initial", "optimised"), pairs, errors, strict=True):
            labels = {"lambda": lam, "configuration": name, "seed": seed, "cutoff_angstrom": ""}
            found = structure_rows(rmse * (1.0 + 1e-4 * seed), pair, **labels)
            rows += [row for row in found if row["subset"] == subset]
        write(folder, f"{stem}_errors.csv.gz", rows)
        provenance = {"subset": subset, "lambda": lam, "seed": seed, "not_calibrated": list(idle)}
        provenance["convergence"] = {"shared_cutoff": list(shared)}
        (folder / f"{stem}.json").write_text(json.dumps({"cutoffs": cutoffs, "provenance": provenance}))


def write_calibrations(folder):
    at_1e_4 = {"MC3D": 4.5, "MC2D": 5.2, "SHIFTML-molcrys": 4.4, "SHIFTML-molfrags": 4.0}
    for subset in SUBSETS:
        for lam in (1e-3, 1e-4, 1e-6):
            cutoffs = dict.fromkeys(ELEMENTS, at_1e_4[subset])
            if subset == "SHIFTML-molcrys":
                cutoffs = {1e-3: AT_1E_3, 1e-6: AT_1E_6}.get(lam, cutoffs)
            if subset == "MC2D" and lam == 1e-4:
                cutoffs = cutoffs | {"S": 5.4}
            write_calibration(folder, subset, lam, cutoffs)


def write_data(folder):
    rows = [
        {
            "split": split,
            "cutoff_angstrom": cutoff,
            "per_connected_atom": value,
            "per_atom": 1.0,
            "per_structure": value,
        }
        for split, values in (
            ("train", {4.0: 19.3, 5.0: 38.2, 6.0: 65.4, 7.0: 104.1}),
            ("test", {3.7: 12.6, 4.0: 16.0}),
        )
        for cutoff, value in values.items()
    ]
    write(folder, "data/neighbors.csv", rows)
    row = {"split": "train", "subset": "SHIFTML-molcrys"}
    write(
        folder,
        "data/elements.csv",
        [{**row, "element": "H", "fraction": 0.42}, {**row, "element": "C", "fraction": 0.5}],
    )
    counts = (("parameters", 362800, 371962), ("parameters_added", "", 9162), ("parameters_added_fraction", "", 0.0253))
    write(folder, "tables/table02.csv", [{"key": key, "static": static, "fcl": fcl} for key, static, fcl in counts])
    for seed in SEEDS:
        history = [{"epoch": 1, "mean_cutoff_angstrom": 5.24}, {"epoch": 2, "mean_cutoff_angstrom": 5.26 + seed / 1e4}]
        write(folder, f"metrics/history/fcl_seed{seed}.csv", history)


def write_study(folder):
    """All of it in ``folder``."""
    write_uniform(folder)
    write_diatomics(folder)
    write_calibrations(folder)
    write_data(folder)
    return folder


def write_uniform_table(folder):
    """tables/uniform.csv as the study makes it."""
    files = Results.of_folder(folder, NESTS).errors
    table_uniform(files, **table_files(folder / "tables", "uniform"), nests=NESTS, cutoffs=[4.0, 7.0])
