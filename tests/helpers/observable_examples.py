"""Records of a comparison of cutoffs, as the stages of `fcl.study.stages.observables` write them."""

import copy
import json

import numpy as np

DISTANCES = np.linspace(0.025, 5.975, 120)


def statics():
    """A record whose two configurations agree."""
    values = {
        "relaxation": {
            "energy_ev_per_atom": -4.0, "steps": 20, "converged": True, "max_force_ev_per_angstrom": 0.005,
            "pairs_per_atom": 90.0,
        },
        "equation_of_state": {
            "volume_angstrom3_per_atom": 10.0, "energy_ev_per_atom": -4.0, "bulk_modulus_gpa": 50.0,
            "volumes_angstrom3_per_atom": [9.5, 10.0, 10.5], "energies_ev_per_atom": [-3.99, -4.0, -3.99],
        },
        "phonons": {"frequencies_per_cm": [50.0, 100.0, 3000.0], "imaginary_modes": 0, "displacements": 24},
    }  # fmt: skip
    return {"structure": 1, "formula": "H8S4", "atoms": 12, "rmsd_angstrom": 0.01, **_both(values)}


def nve():
    run = {
        "timestep_fs": 0.5, "duration_ps": 1.0, "drift_mev_per_atom_ps": 0.01, "fluctuation_mev_per_atom": 0.1,
        "mean_temperature_kelvin": 290.0, "max_temperature_kelvin": 400.0, "pairs_per_atom": 90.0,
        "neighbour_lists": 3, "microseconds_per_atom_step": 400.0,
        "trace": {"times_ps": [0.0, 0.5, 1.0], "energy_mev_per_atom": [0.0, 0.01, 0.01]},
    }  # fmt: skip
    return {"structure": 1, "formula": "H8S4", "atoms": 12, **_both([run, {**run, "timestep_fs": 1.0}])}


def rdf():
    values = {"distances_angstrom": DISTANCES.tolist(), "g": [1.0] * 120, "g_standard_error": [0.01] * 120}
    return {"structure": 1, "formula": "H8S4", "atoms": 12, **_both({**values, "mean_temperature_kelvin": 300.0})}


def _both(values):
    return {"uniform": values, "calibrated": copy.deepcopy(values)}


def files_of(folder, *records):
    """One file of each stage, as the stages write them; the records may be None."""
    paths = []
    for stage, record in zip(("statics", "nve", "rdf"), records, strict=True):
        path = folder / f"{stage}.json"
        path.write_text(json.dumps({"subset": "crystals", "structures": [record]}))
        paths.append([path] if record else [])
    return paths
