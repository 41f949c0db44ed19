"""The table of errors at uniform cutoffs, from errors of single structures."""

import numpy as np
import pandas as pd
import pytest

from error_examples import structure_row
from fcl.evaluation.statistics import HOLDS, UNDECIDED, NotEvaluated
from fcl.runs.files import write_csv
from fcl.study.errors import UniformErrors
from fcl.study.tables.uniform import table_uniform, uniform_errors_table
from table_examples import table_files

NESTS = {"fcl_seed1": 0, "fcl_seed2": 0, "fcl_seed3": 7, "fcl_seed4": 7}


@pytest.fixture
def files(tmp_path):
    """Two subsets of 40 structures; RMS force errors: trivial 2, FCL 1 (5 A) and 1.5 (4 A), static 1.2 times FCL."""
    rng = np.random.default_rng(0)
    scale = rng.lognormal(0.0, 0.3, size=80)
    atoms = rng.integers(2, 9, size=80)
    paths = []
    static = [f"static_r{cutoff}_seed{seed}" for cutoff in ("4.0", "5.0") for seed in (1, 2, 3)]
    for model in ("trivial", *NESTS, *static):
        cutoffs = {"t": [None], "f": [4.0, 5.0], "s": [float(model[8:11]) if model[0] == "s" else None]}[model[0]]
        rows = []
        for cutoff in cutoffs:
            rms = 2.0 if cutoff is None else (1.5 if cutoff == 4.0 else 1.0) * (1.2 if model[0] == "s" else 1.0)
            error = rms * scale * np.exp(0.01 * rng.normal(size=80))
            labels = {} if cutoff is None else {"cutoff_angstrom": cutoff}
            for n in range(80):
                facts = (n, n // 2, "AB"[n % 2], atoms[n], error[n], 10.0 * (cutoff or 0.0))
                rows.append(structure_row(*facts, **labels))
        paths.append(tmp_path / f"{model}.csv.gz")
        write_csv(paths[-1], rows[::-1] if model == "fcl_seed2" else rows)
    return paths


def test_each_error_is_beside_the_trivial_one_and_that_of_static_models(files):
    table = uniform_errors_table(UniformErrors(files, NESTS), [4.0, 5.0])
    assert len(table) == 4 * 3 * 2 and set(table["subset"]) == {"all", "A", "B"}
    row = table.set_index(["quantity", "subset", "cutoff_angstrom"]).loc[("force MAE", "all", 5.0)]
    assert row["fcl_to_trivial"] == pytest.approx(-0.5, abs=0.01) and row["skill"] == HOLDS
    assert row["static_to_fcl"] == pytest.approx(0.2, abs=0.01) and row["static_below_fcl"] == "does not hold"
    assert (row["fcl_models"], row["fcl_nests"], row["static_models"], row["groups"]) == (4, 2, 3, 40)
    assert row["static_to_fcl_low"] < 0.2 < row["static_to_fcl_high"] and row["pairs_per_atom"] == 50.0
    assert set(table["skill"]) <= {HOLDS, UNDECIDED}


def test_the_table_in_four_formats(files, tmp_path):
    outputs = table_files(tmp_path)
    table_uniform(files, **outputs, title="made-up data", nests=NESTS, cutoffs=[5.0])
    text = outputs["markdown"].read_text()
    assert "made-up data" in text and "4 FCL models from 2 pre-trained" in text
    assert {"static_to_fcl_low", "votes_fcl_below_trivial"} <= set(pd.read_csv(outputs["csv"]))


def test_what_is_missing_is_named(files):
    with pytest.raises(NotEvaluated, match="no model at 6.0 A"):
        UniformErrors(files, NESTS).static("force MAE", 6.0)
    with pytest.raises(NotEvaluated, match=r"fcl_seed1.csv.gz: no row of all at 6.0 A"):
        UniformErrors(files, NESTS).fcl("force MAE", 6.0)
    files[1].unlink()
    with pytest.raises(NotEvaluated, match="fcl_seed1.csv.gz is missing"):
        UniformErrors(files, NESTS).fcl("force MAE", 5.0)
