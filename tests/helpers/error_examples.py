"""Errors of single structures with known ratios, as evaluations and calibrations write them."""

import json

import numpy as np

from fcl.evaluation.errors import STRUCTURE_COLUMNS
from fcl.runs.files import write_csv

NESTS = {"fcl_seed1": 0, "fcl_seed2": 0, "fcl_seed3": 7, "fcl_seed4": 8}
LAMBDAS = (1e-2, 1e-4)


def structure_row(number, group, subset, atoms, error, pairs, **labels):
    """The row of a structure whose energy and all force components have the same ``error``."""
    forces = (3 * atoms * error**2, 3 * atoms * error)
    values = (number, number, group, subset, atoms, error, *forces, pairs)
    return {**labels, **dict(zip(STRUCTURE_COLUMNS, values, strict=True))}


class ErrorFiles:
    """Subsets A and B of 40 structures each in 20 groups; force errors of all are ``rms`` times the same scatter."""

    def __init__(self, folder, skilled=("A", "B")):
        self.folder, self.skilled = folder, skilled
        self.random = np.random.default_rng(0)
        self.scale, self.atoms = self.random.lognormal(0.0, 0.3, size=80), self.random.integers(2, 9, size=80)

    def rows(self, rms, pairs, subsets="AB", **labels):
        """One row per structure; subsets without skill have the error of zero forces, 2, times ``rms``."""
        noise = np.exp(0.01 * self.random.normal(size=80))
        found = []
        for n in range(80):
            subset = "AB"[n % 2]
            error = rms * self.scale[n] * noise[n] * (1.0 if subset in self.skilled else 2.2)
            if subset in subsets:
                found.append(structure_row(n, n // 4 * 2 + n % 2, subset, self.atoms[n], error, pairs, **labels))
        return found

    def uniform(self):
        """Trivial predictions 2, FCL models 1 at 6 A (60 pairs), static models 1.2 at 4 A (40) and 1.1 at 5 A (50)."""
        files = {"trivial": self.rows(2.0, 0.0)}
        if set(self.skilled) != set("AB"):
            for row in files["trivial"]:
                row["force_square_sum"] = row["force_square_sum"] / (1.0 if row["subset"] in self.skilled else 2.2**2)
        files |= {model: self.rows(1.0, 60.0, cutoff_angstrom=6.0) for model in NESTS}
        for cutoff, rms in ((4.0, 1.2), (5.0, 1.1)):
            for seed in (1, 2, 3):
                rows = self.rows(rms, 10.0 * cutoff, cutoff_angstrom=cutoff)
                files[f"static_r{cutoff}_seed{seed}"] = rows
        paths = []
        for model, rows in files.items():
            paths.append(self.folder / f"{model}.csv.gz")
            write_csv(paths[-1], rows)
        return paths

    def calibrations(self, optimised, uniform, name="calibration"):
        """One file per subset, lambda and seed: 1 at 6 A, ``optimised`` and ``uniform`` by lambda at 30 or 48 pairs."""
        paths = []
        for subset in "AB":
            for lam, pairs in zip(LAMBDAS, (30.0, 48.0), strict=True):
                for seed in (1, 2, 3, 4):
                    rows = []
                    for configuration, rms, cutoff in (
                        ("initial", 1.0, 6.0), ("optimised", optimised[lam], ""), ("uniform", uniform[lam], 4.5),
                    ):  # fmt: skip
                        labels = {"lambda": lam, "configuration": configuration, "seed": seed}
                        at = 60.0 if configuration == "initial" else pairs
                        rows += self.rows(rms, at, subset, **labels, cutoff_angstrom=cutoff)
                    paths.append(self.folder / f"{name}_{subset}_lambda{lam:.0e}_seed{seed}_errors.csv.gz")
                    write_csv(paths[-1], rows[::-1] if seed == 2 else rows)
        return paths

    def choices(self, chosen):
        """One file per subset and seed; ``chosen`` by seed, the same for both subsets, by 80% of the resamples."""
        paths = []
        for subset in "AB":
            for seed, lam in chosen.items():
                trials = [{"lambda": one, "share_of_resamples": 0.8 if one == lam else 0.1} for one in (None, *LAMBDAS)]
                facts = {"subset": subset, "seed": seed, "lambda": lam, "max_error_increase": 0.03, "trials": trials}
                paths.append(self.folder / f"{subset}_seed{seed}.json")
                paths[-1].write_text(json.dumps(facts))
        return paths
