"""The table of the convergence of calibrations: bounds, gradient, all starts."""

import json

import pandas as pd
import pytest

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.tables.convergence import convergence_row, table_convergence
from table_examples import table_files

FOUND = {
    "optimiser": "lbfgs", "status": "no further decrease", "objective": 0.4, "validation_objective": 0.5,
    "projected_gradient": 2e-3, "evaluations": 31, "core_seconds": 7.25, "at_bounds": {"H": "lower", "O": "upper"},
    "shared_cutoff": ["P", "K"], "uniform_of_equal_pairs": {"objective": 0.41, "cutoff_angstrom": 4.2},
    "starts": [
        {"cutoff_angstrom": 6.0, "objective": 0.42, "validation_objective": 0.51},
        {"cutoff_angstrom": 4.25, "objective": 0.405, "validation_objective": 0.52},
    ],
}  # fmt: skip


def write(folder, convergence, seed=1):
    file = folder / f"a_seed{seed}.json"
    provenance = {"subset": "MC3D", "lambda": 1e-3, "seed": seed}
    provenance |= {} if convergence is None else {"convergence": convergence}
    file.write_text(json.dumps({"cutoffs": {"H": 4.0}, "provenance": provenance}))
    return file


def test_every_start_and_bound_is_shown(tmp_path):
    outputs = table_files(tmp_path)
    adam = {**FOUND, "optimiser": "adam", "starts": [], "at_bounds": {}, "shared_cutoff": []}
    adam.pop("validation_objective")
    table_convergence([write(tmp_path, FOUND), write(tmp_path, adam, 2)], **outputs, title="made-up data")
    table = pd.read_csv(outputs["csv"])
    assert table["at_bounds"].fillna("").tolist() == ["H lower, O upper", ""]
    assert table["starts"][0] == "6: 0.4200 / 0.5100; 4.25: 0.4050 / 0.5200" and pd.isna(table["starts"][1])
    assert table.loc[0, ["evaluations", "core_seconds", "uniform_objective"]].tolist() == [31, 7.25, 0.41]
    text = outputs["markdown"].read_text()
    assert "no further decrease" in text and "2.0e-03" in text and "made-up data" in text and "P, K" in text


def test_a_file_made_before_is_named(tmp_path):
    with pytest.raises(NotEvaluated, match=r"a_seed1.json: provenance has no convergence"):
        convergence_row(write(tmp_path, None))
