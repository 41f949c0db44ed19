"""Records of a comparison of cutoffs, as the stages of `fcl.study.stages.observables` write them."""

import copy
import json

import numpy as np

BLOCKS, BINS = 10, 60
TOLERANCES = {"rmsd": 0.05, "volume": 0.01, "bulk_modulus": 0.1, "phonons": 10.0, "drift": 1.0, "rdf": 0.3}
LABELS = {"structure": 1, "formula": "H8S4", "atoms": 12, "no_reference": None}


def statics(**others):
    """A record whose potentials agree."""
    values = {
        "relaxation": {"steps": 20, "max_force_ev_per_angstrom": 0.005, "pairs_per_atom": 90.0},
        "equation_of_state": {"volume_angstrom3_per_atom": 10.0, "bulk_modulus_gpa": 50.0},
        "phonons": {"frequencies_per_cm": [50.0, 100.0, 3000.0], "imaginary_modes": 0, "displacements": 24},
    }
    distances = {"calibrated": 0.01, "other_seed": 0.2}
    return {**LABELS, "rmsd_angstrom": distances, **_each(values, "uniform", "calibrated", "other_seed"), **others}


def nve(**others):
    """All drifts equal."""
    run = {
        "drift_mev_per_atom_ps": 0.01, "drift_standard_error": 0.02, "blocks": BLOCKS, "mean_temperature_kelvin": 290.0,
    }  # fmt: skip
    return {**LABELS, **_each(run, "uniform", "repeated", "calibrated", "other_seed"), **others}


def rdf(**others):
    """All g = 1 on average; blocks differ by 1% to either side."""
    blocks = 1.0 + 0.01 * (-1.0) ** np.arange(BLOCKS)[:, None] * np.ones(BINS)
    run = {"bin_width_angstrom": 0.1, "g_blocks": blocks.tolist(), "mean_temperature_kelvin": 300.0}
    return {**LABELS, **_each(run, "uniform", "repeated", "calibrated", "other_seed"), **others}


def failed(kind, reason="a reason"):
    return {"failure": kind, "reason": reason}


def _each(values, *names):
    return {name: copy.deepcopy(values) for name in names}


def files_of(folder, *records):
    """One file of each stage, as the stages write them; the records (one, or a list) may be None."""
    paths = []
    for stage, record in zip(("statics", "nve", "rdf"), records, strict=True):
        path = folder / f"{stage}.json"
        structures = record if isinstance(record, list) else [record]
        path.write_text(json.dumps({"subset": "crystals", "structures": structures}))
        paths.append([path] if record else [])
    return paths
