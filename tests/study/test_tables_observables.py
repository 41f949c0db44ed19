"""The table and the figure of the physics with optimised cutoffs: differences, nulls, verdicts, and what is drawn."""

import numpy as np
import pandas as pd
import pytest

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.figures.observables import figure_observables
from fcl.study.tables.observables import (
    DRIFT,
    MINIMUM,
    MODULUS,
    PHONONS,
    RDF,
    RMSD,
    VOLUME,
    observable_rows,
    summary,
    table_observables,
)
from figure_examples import outputs
from observable_examples import BINS, BLOCKS, TOLERANCES, failed, files_of, nve, rdf, statics
from table_examples import table_files

OPTIONS = {"tolerances": TOLERANCES, "at_lambda": 1e-4, "uniform_cutoff": 6.0, "title": "a toy set, not MAD"}


def rows(folder, *records):
    return observable_rows(*files_of(folder, *records), TOLERANCES).set_index("quantity")


def changed(record, path, value):
    *keys, last = path
    target = record
    for key in keys:
        target = target[key]
    target[last] = value
    return record


def test_what_agrees_holds_and_stands_beside_its_nulls(tmp_path):
    table = rows(tmp_path, statics(), nve(), rdf())
    assert list(table.index) == [RMSD, VOLUME, MODULUS, PHONONS, DRIFT, RDF]
    assert set(table["verdict"]) == {"holds"} and table["reason"].isna().all()
    assert table.loc[RMSD, ["difference", "other_seed"]].tolist() == [0.01, 0.2]
    assert table["repeated"].notna().tolist() == table["uncertainty"].notna().tolist() == [False] * 4 + [True] * 2
    assert table.loc[[VOLUME, MODULUS], "tolerance"].tolist() == pytest.approx([0.1, 5.0])  # of the reference
    assert summary(table.reset_index()) == "Of 6 comparisons: holds: 6. No reference: 0 of 1 structures."


@pytest.mark.parametrize(
    ("path", "value", "quantity", "verdict"),
    [
        (("rmsd_angstrom", "calibrated"), 0.06, RMSD, "does not hold"),
        (("rmsd_angstrom", "other_seed"), 0.06, RMSD, "holds"),  # a null is shown, not judged
        (("calibrated", "relaxation"), failed("not converged"), RMSD, "undecided"),
        (("calibrated", "relaxation"), failed("unstable"), RMSD, "does not hold"),
        (("calibrated", "equation_of_state", "volume_angstrom3_per_atom"), 9.89, VOLUME, "does not hold"),
        (("calibrated", "equation_of_state", "bulk_modulus_gpa"), 56.0, MODULUS, "does not hold"),
        (("calibrated", "equation_of_state"), failed("no minimum"), MODULUS, "does not hold"),
        (("calibrated", "equation_of_state"), failed("not converged"), MODULUS, "undecided"),
        (("calibrated", "phonons", "frequencies_per_cm"), [50.0, 100.0, 3017.0], PHONONS, "holds"),
        (("calibrated", "phonons", "frequencies_per_cm"), [50.0, 100.0, 3018.0], PHONONS, "does not hold"),
    ],
)
def test_verdicts_at_the_minimum(tmp_path, path, value, quantity, verdict):
    row = rows(tmp_path, changed(statics(), path, value), None, None).loc[quantity]
    assert row["verdict"] == verdict
    assert (
        (row["reason"] == f"calibrated: {value['failure']} (a reason)")
        if isinstance(value, dict)
        else not row["reason"]
    )


@pytest.mark.parametrize(
    ("calibrated", "error", "repeated", "verdict", "half_width"),
    [
        (0.5, 0.02, 0.01, "holds", 0.0652),  # t of 8 degrees of freedom times 0.02 sqrt(2)
        (-1.5, 0.02, 0.01, "does not hold", 0.0652),
        (0.95, 0.02, 0.01, "undecided", 0.0652),
        (0.5, 0.02, 0.7, "undecided", 0.69),  # runs of one potential differ by as much
        (9.0, 1.0, 0.01, "undecided", 3.26),  # cannot see the tolerance
    ],
)
def test_the_drift_is_judged_by_its_interval(tmp_path, calibrated, error, repeated, verdict, half_width):
    record = changed(nve(), ("calibrated", "drift_mev_per_atom_ps"), 0.01 + calibrated)
    record["repeated"]["drift_mev_per_atom_ps"] = repeated
    for name in ("uniform", "calibrated"):
        record[name]["drift_standard_error"] = error
    row = rows(tmp_path, None, record, None).loc[DRIFT]
    assert (row["verdict"], row["difference"]) == (verdict, pytest.approx(calibrated))
    assert row["uncertainty"] == pytest.approx(half_width, rel=0.01)
    assert row["repeated"] == pytest.approx(repeated - 0.01)


def test_runs_that_fail(tmp_path):
    record = changed(nve(), ("calibrated",), failed("unstable"))
    row = rows(tmp_path, None, record, None).loc[DRIFT]
    assert (row["verdict"], row["reason"]) == ("does not hold", "calibrated: unstable (a reason)")
    record["repeated"] = failed("unstable")  # the reference is no better
    assert rows(tmp_path, None, record, None).loc[DRIFT, "verdict"] == "undecided"
    record["calibrated"] = record["uniform"]
    assert rows(tmp_path, None, record, None).loc[DRIFT, "verdict"] == "undecided"


def test_a_reference_that_drifts_is_none(tmp_path):
    row = rows(tmp_path, None, changed(nve(), ("uniform", "drift_mev_per_atom_ps"), -1.1), None).loc[DRIFT]
    assert (row["verdict"], row["reason"]) == ("no reference", "drifts by -1.1 meV/atom/ps")


@pytest.mark.parametrize(
    ("shift", "noise", "verdict"),
    [(0.02, 0.02, "holds"), (0.2, 0.02, "does not hold"), (0.05, 0.05, "undecided"), (0.2, 0.5, "undecided")],
)
def test_radial_distributions_are_judged_beyond_their_noise(tmp_path, shift, noise, verdict):
    """The true integral is 6 A times the shift."""
    rng, record = np.random.default_rng(0), rdf()
    for name in ("uniform", "repeated", "calibrated", "other_seed"):
        true = 1.0 + (shift if name == "calibrated" else 0.0)
        record[name]["g_blocks"] = (true + noise * rng.normal(size=(BLOCKS, BINS))).tolist()
    row = rows(tmp_path, None, None, record).loc[RDF]
    assert row["verdict"] == verdict
    assert abs(row["difference"] - 6.0 * shift) < row["uncertainty"]


def test_without_reference_there_is_one_row_and_no_verdict(tmp_path):
    bad = {"structure": 2, "formula": "H12N4", "no_reference": "volume +1530% from that in the data"}
    hot = nve(no_reference="mean temperature 900 K")
    table = rows(tmp_path, [statics(), statics(**bad)], hot, None)
    assert table.loc[MINIMUM, ["structure", "verdict", "reason"]].tolist() == [2, "no reference", bad["no_reference"]]
    assert table.loc[DRIFT, ["verdict", "reason"]].tolist() == ["no reference", "mean temperature 900 K"]
    assert table.loc[[MINIMUM, DRIFT], ["difference", "other_seed", "tolerance"]].isna().all(axis=None)
    assert summary(table.reset_index()).endswith("No reference: 1 of 2 structures, 1 further runs.")


def test_what_a_molecule_lacks_has_no_row_and_a_failed_null_says_so(tmp_path):
    record = changed(statics(), ("other_seed", "relaxation"), failed("not converged"))
    for name in ("uniform", "calibrated", "other_seed"):
        record[name]["equation_of_state"] = record[name]["phonons"] = failed("not applicable")
    table = rows(tmp_path, record, None, {**rdf(), "uniform": failed("not applicable")})
    assert list(table.index) == [RMSD]
    assert table.loc[RMSD, "verdict"] == "holds" and table["other_seed"].isna().all()
    assert table.loc[RMSD, "reason"] == "other seed: not converged (a reason)"


def test_a_model_without_another_seed_has_no_such_null(tmp_path):
    record = statics()
    del record["other_seed"], record["rmsd_angstrom"]["other_seed"]
    assert rows(tmp_path, record, None, None)["other_seed"].isna().all()


def test_files_of_an_earlier_version_or_of_none_are_named(tmp_path):
    old = statics()
    del old["no_reference"]
    files = files_of(tmp_path, old, None, None)
    with pytest.raises(NotEvaluated, match=r"statics.json was written by an earlier version"):
        observable_rows(*files, TOLERANCES)
    text, _ = written(tmp_path, *files)
    assert "Not evaluated: statics.json was written by an earlier version" in text
    files[0][0].write_text("{}")
    with pytest.raises(ValueError, match=r"statics.json: key 'structures' is missing"):
        observable_rows(*files, TOLERANCES)


def written(folder, *files):
    """The table in Markdown, and the numbers of the figure."""
    table, drawings = table_files(folder), outputs(folder, "figure")
    table_observables(*files, **table, **OPTIONS)
    figure_observables(*files, **drawings, **OPTIONS)
    assert all(path.stat().st_size for path in (*table.values(), *drawings.values()))
    return table["markdown"].read_text(), pd.read_csv(drawings["csv"])


def test_table_and_figure_show_the_same_differences(tmp_path):
    record = changed(statics(), ("calibrated", "equation_of_state", "bulk_modulus_gpa"), 40.0)
    text, drawn = written(
        tmp_path, *files_of(tmp_path, [record, statics(structure=2, no_reference="gas")], nve(), rdf())
    )
    for words in ("uniform cutoff of 6 Å", "λ = 0.0001", "a toy set, not MAD", "holds: 5, does not hold: 1", "| gas"):
        assert words in text
    modulus = drawn.set_index("quantity").loc[MODULUS]
    assert modulus[["unit", "difference", "tolerance", "verdict"]].tolist() == ["%", -20.0, 10.0, "does not hold"]
    assert set(drawn["label"]) == {"H8S4 (crystals 1)", "H8S4 (crystals 2)"}
    _, nothing = written(tmp_path, [], [], [])
    assert nothing.empty
