"""The tables of controls and of the chosen lambda, from errors of single structures with known ratios."""

import numpy as np
import pandas as pd
import pytest

from error_examples import NESTS, ErrorFiles
from fcl.evaluation.statistics import FAILS, HOLDS, UNDECIDED, NotEvaluated
from fcl.study.errors import CalibratedErrors, UniformErrors
from fcl.study.pages import reproduction_optimised as page
from fcl.study.read import read_choices
from fcl.study.tables.chosen import chosen_lambdas, chosen_table, chosen_text, table_chosen
from fcl.study.tables.controls import NO_SKILL, controls_table, table_controls
from table_examples import table_files

#: Optimised cutoffs save a tenth of the error of uniform ones at 1e-2, and nothing at 1e-4.
OPTIMISED, UNIFORM = {1e-2: 1.08, 1e-4: 1.0}, {1e-2: 1.2, 1e-4: 1.0}


def tables(folder, **options):
    files = ErrorFiles(folder, **options)
    return files, CalibratedErrors(files.calibrations(OPTIMISED, UNIFORM), NESTS), UniformErrors(files.uniform(), NESTS)


def test_a_real_effect_is_found_and_a_null_effect_is_not(tmp_path):
    _, calibrated, errors = tables(tmp_path)
    table = controls_table(calibrated, errors)
    assert len(table) == 4 * 2 * 2 and list(table["lambda"].unique()) == [1e-2, 1e-4]
    rows = table.set_index(["quantity", "subset", "lambda"])
    short, long = (rows.loc[("force RMSE", "A", lam)] for lam in (1e-2, 1e-4))
    assert short["optimised_to_uniform"] == pytest.approx(-0.1, abs=0.01) and short["below_uniform"] == HOLDS
    assert long["optimised_to_uniform"] == pytest.approx(0.0, abs=0.01) and long["below_uniform"] == UNDECIDED
    assert short["optimised_to_uniform_low"] < -0.1 < short["optimised_to_uniform_high"] < 0.0
    # the nearest static models in pairs: 40 to 30, and 50 to 48
    assert (short["static_cutoff_angstrom"], long["static_cutoff_angstrom"]) == (4.0, 5.0)
    assert (short["static_pairs"], long["static_pairs"]) == (40.0, 50.0)
    assert short["optimised_to_static"] == pytest.approx(-0.1, abs=0.01) and short["below_static"] == HOLDS
    assert (short["pairs_per_atom"], short["initial_pairs"], short["saving"]) == (30.0, 60.0, 0.5)
    assert short["optimised_to_initial"] == pytest.approx(0.08, abs=0.01) and short["skill"] == HOLDS
    assert (short["fcl_models"], short["fcl_nests"], short["groups"], short["structures"]) == (4, 3, 20, 40)
    assert short["optimised_median"] == pytest.approx(1.08 * np.median(ErrorFiles(tmp_path).scale[::2]), rel=0.02)
    assert np.isnan(rows.loc[("force MAE", "A", 1e-2), "optimised_median"])
    assert rows.loc[("energy MAE", "B", 1e-2), "optimised_to_uniform"] == pytest.approx(-0.1, abs=0.01)


def test_without_skill_there_is_no_verdict(tmp_path):
    """Forces of subset B are worse than zero forces, by a tenth: whatever the calibration does, nothing is said."""
    files, calibrated, errors = tables(tmp_path, skilled="A")
    table = controls_table(calibrated, errors)
    rows = table.set_index(["quantity", "subset", "lambda"])
    none, some = (rows.loc[("force RMSE", subset, 1e-2)] for subset in "BA")
    assert none["optimised_to_uniform"] == pytest.approx(-0.1, abs=0.01) and none["optimised_to_trivial"] > 0.1
    assert none["below_uniform"] == none["below_static"] == NO_SKILL
    assert some["below_uniform"] == HOLDS
    chosen = chosen_table(calibrated, errors, read_choices(files.choices(dict.fromkeys((1, 2, 3, 4), 1e-4))))
    chosen = chosen.set_index(["quantity", "subset"])
    assert [chosen.loc[("force RMSE", subset), "within"] for subset in "BA"] == [NO_SKILL, HOLDS]


def test_the_calibration_on_the_other_split_is_beside_its_own_control(tmp_path):
    files, calibrated, errors = tables(tmp_path)
    others = files.calibrations({1e-2: 1.3, 1e-4: 1.0}, {1e-2: 1.2, 1e-4: 1.0}, "other")
    outputs = table_files(tmp_path)
    uniform = list(errors.files.values())
    table_controls(calibrated.files, uniform, others, **outputs, title="made-up data", nests=NESTS, split="train")
    table = pd.read_csv(outputs["csv"]).set_index(["quantity", "subset", "lambda"])
    row = table.loc[("force RMSE", "A", 1e-2)]
    assert row["val_to_uniform"] == pytest.approx(1.3 / 1.2 - 1.0, abs=0.01) and row["val_pairs"] == 30.0
    text = outputs["markdown"].read_text()
    assert "calibrated on val: pairs, error, to uniform" in text and "on the val split instead of the train" in text
    assert "4 FCL models from 3 pre-trained, 3 static models" in text and "made-up data" in text
    table_controls(calibrated.files, uniform, [], **outputs, title="made-up data", nests=NESTS, split="train")
    assert "calibrated on" not in outputs["markdown"].read_text()


def test_each_model_has_the_lambda_that_was_chosen_for_it(tmp_path):
    files, calibrated, errors = tables(tmp_path)
    choices = read_choices(files.choices({1: 1e-4, 2: 1e-4, 3: 1e-4, 4: None}))
    assert chosen_lambdas(choices, "A") == {1: 1e-4, 2: 1e-4, 3: 1e-4, 4: None}
    assert chosen_text(choices, "A") == "1e-04 (3 of 4 models), none (1 of 4 models) (80%)"
    row = chosen_table(calibrated, errors, choices).set_index(["quantity", "subset"]).loc[("force RMSE", "A")]
    assert row["pairs_per_atom"] == pytest.approx((3 * 48.0 + 60.0) / 4)
    assert row["within"] == HOLDS and row["optimised_to_initial"] == pytest.approx(0.0, abs=0.01)
    costly = read_choices(files.choices(dict.fromkeys((1, 2, 3, 4), 1e-2)))
    row = chosen_table(calibrated, errors, costly).set_index(["quantity", "subset"]).loc[("force RMSE", "A")]
    assert row["within"] == FAILS and row["optimised_to_initial"] == pytest.approx(0.08, abs=0.01)
    assert row["chosen"] == "1e-02 (80%)"


def test_the_table_of_the_choice_in_four_formats(tmp_path):
    files, calibrated, errors = tables(tmp_path)
    outputs = table_files(tmp_path)
    choices = files.choices(dict.fromkeys((1, 2, 3, 4), 1e-4))
    uniform = list(errors.files.values())
    table_chosen(calibrated.files, uniform, choices, **outputs, title="made-up data", nests=NESTS)
    text = outputs["markdown"].read_text()
    assert "rises by at most 3%" in text and "1e-04 (80%)" in text
    assert set(pd.read_csv(outputs["csv"])["quantity"]) == {"force RMSE", "force MAE"}


def test_what_is_missing_is_named(tmp_path):
    files, calibrated, _ = tables(tmp_path)
    with pytest.raises(NotEvaluated, match="A: no calibration at lambda 0.001 with seed 1"):
        calibrated.tables("A", 1e-3, "optimised")
    old = tmp_path / "old_errors.csv.gz"
    pd.read_csv(calibrated.files[0]).drop(columns="configuration").to_csv(old)
    with pytest.raises(NotEvaluated, match=r"old_errors.csv.gz is of an .* no column 'configuration'"):
        CalibratedErrors([old], NESTS).subsets()
    with pytest.raises(NotEvaluated, match="no file in calibration/"):
        CalibratedErrors([], NESTS).subsets()
    with pytest.raises(NotEvaluated, match="none_errors.csv.gz is missing"):
        CalibratedErrors([tmp_path / "none_errors.csv.gz"], NESTS).subsets()
    with pytest.raises(NotEvaluated, match="no choice of lambda in choice/"):
        read_choices([])
    bad = tmp_path / "bad.json"
    bad.write_text('{"subset": "A", "seed": 1}')
    with pytest.raises(ValueError, match=r"bad.json: key 'lambda' is missing"):
        read_choices([bad])
    with pytest.raises(NotEvaluated, match="C: no choice of lambda"):
        chosen_lambdas(read_choices(files.choices({1: None})), "C")


def test_the_reproduction_page_shows_both_tables(tmp_path):
    files, calibrated, errors = tables(tmp_path)
    (tmp_path / "tables").mkdir()
    others = {"val": CalibratedErrors(files.calibrations(OPTIMISED, UNIFORM, "other"), NESTS)}
    controls_table(calibrated, errors, others).to_csv(tmp_path / "tables/controls.csv")
    choices = read_choices(files.choices(dict.fromkeys((1, 2, 3, 4), 1e-4)))
    chosen_table(calibrated, errors, choices).to_csv(tmp_path / "tables/chosen.csv")
    text = page.controls(tmp_path) + page.chosen(tmp_path)
    assert "energy" not in text.split("|")[5] and "force MAE" not in text
    assert "calibrated on val" in text and "1e-04 (80%)" in text and "4 FCL models from 3 pre-trained" in text
    assert text.count("| force RMSE") == 2 * 2 + 2
