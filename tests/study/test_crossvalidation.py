"""The table of a cross-validation, from errors of single structures of made-up folds."""

import numpy as np
import pandas as pd
import pytest

from error_examples import structure_row
from fcl.evaluation import statistics
from fcl.evaluation.statistics import FAILS, NotEvaluated
from fcl.runs.files import write_csv
from fcl.study.comparisons.folds import folds_table, write_folds
from fcl.study.errors import QUANTITIES, UniformErrors

NESTS = {"fcl_seed1": 0}
MODELS = {"trivial": 2.0, "fcl_seed1": 1.0, "static_r5.0_seed1": 1.2}  # RMS force errors


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 400)


@pytest.fixture
def folds(tmp_path):
    """Four folds of 24 and 36 structures, two per group, in two subsets; groups have the same numbers in each fold."""
    rng, found = np.random.default_rng(0), {}
    for fold, count in enumerate((24, 36, 24, 36), start=1):
        scale, atoms = rng.lognormal(0.0, 0.3, size=count), rng.integers(2, 9, size=count)
        found[f"toy-{fold}"] = []
        for model, rms in MODELS.items():
            error = rms * scale * np.exp(0.01 * rng.normal(size=count))
            labels = {} if model == "trivial" else {"cutoff_angstrom": 5.0}
            rows = [
                structure_row(n, n // 2, "AB"[n // 2 % 2], atoms[n], error[n], 50.0 + fold, **labels)
                for n in range(count)
            ]
            path = tmp_path / f"toy-{fold}/errors/{model}.csv.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_csv(path, rows)
            found[f"toy-{fold}"].append(path)
    return found


def errors(folds):
    return [UniformErrors(files, NESTS) for files in folds.values()]


def test_each_structure_counts_once_and_folds_are_paired(folds):
    table = folds_table(errors(folds), [5.0])
    assert len(table) == len(QUANTITIES) * 3
    row = table.set_index(["quantity", "subset"]).loc[("force RMSE", "all")]
    assert (row["folds"], row["structures"], row["groups"]) == (4, 120, 60)
    assert row["static_to_fcl"] == pytest.approx(0.2, abs=0.01) and row["static_below_fcl"] == FAILS
    assert row["static_to_fcl_low"] < 0.2 < row["static_to_fcl_high"]
    assert [row[f"static_to_fcl_{fold}"] for fold in range(1, 5)] == pytest.approx([0.2] * 4, abs=0.02)
    assert row["trivial"] / row["fcl"] == pytest.approx(2.0, abs=0.02)
    assert row["pairs_per_atom"] == pytest.approx((24 * 51 + 36 * 52 + 24 * 53 + 36 * 54) / 120)
    part = table.set_index(["quantity", "subset"]).loc[("force RMSE", "A")]
    assert (part["structures"], part["groups"]) == (60, 30)


def test_the_table_as_csv_and_markdown(folds, tmp_path):
    nests = dict.fromkeys(folds, NESTS)
    write_folds(folds, nests, tmp_path / "f.csv", tmp_path / "f.md", cutoffs=[5.0], title="made-up data")
    text = (tmp_path / "f.md").read_text(encoding="utf-8")
    assert "4 folds of the groups of all splits, 60 groups and 120 structures" in text and "made-up data" in text
    assert "| +20, +20, +20, +20" in text
    assert {"static_to_fcl_low", "static_to_fcl_4", "static_below_fcl"} <= set(pd.read_csv(tmp_path / "f.csv"))


def test_what_is_missing_is_named(folds):
    with pytest.raises(NotEvaluated, match="needs two folds or more"):
        folds_table(errors(folds)[:1], [5.0])
    with pytest.raises(NotEvaluated, match="no row of all at 6.0 A"):
        folds_table(errors(folds), [6.0])
    folds["toy-3"][1].unlink()
    with pytest.raises(NotEvaluated, match="fcl_seed1.csv.gz is missing"):
        folds_table(errors(folds), [5.0])
