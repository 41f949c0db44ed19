"""The table and the figure of the physics with optimised cutoffs: verdicts, failures, and what is drawn."""

import json

import numpy as np
import pandas as pd
import pytest

from fcl.study.figures.observables import figure_observables, observable_curves
from fcl.study.tables.observables import observable_rows, rdf_difference, summary, table_observables
from observable_examples import files_of, nve, rdf, statics

TOLERANCES = {
    "energy": 5.0, "rmsd": 0.05, "volume": 0.01, "bulk_modulus": 0.1, "phonon_rms": 10.0, "phonon_max": 50.0,
    "drift": 1.0, "rdf": 0.1,
}  # fmt: skip


def verdicts(folder, *records):
    table = observable_rows(*files_of(folder, *records), TOLERANCES).set_index("quantity")
    return table["verdict"].dropna().to_dict()


def test_what_agrees_is_within_and_what_informs_has_no_verdict(tmp_path):
    table = observable_rows(*files_of(tmp_path, statics(), nve(), rdf()), TOLERANCES).set_index("quantity")
    assert set(table["verdict"].dropna()) == {"within"}
    informing = table.index[table["verdict"].isna()]
    assert {"steps of the relaxation", "pairs per atom in NVE, 0.5 fs", "time of a step in NVE, 1 fs"} <= set(informing)
    assert table.loc["energy of the minimum", "uniform"] == -4000.0
    assert table.loc["volume at zero pressure", "tolerance"] == pytest.approx(0.1)
    assert table.loc["bulk modulus", "tolerance"] == pytest.approx(5.0)
    assert summary(table) == "Of 10 comparisons: within: 10."


@pytest.mark.parametrize(
    ("place", "value", "quantity", "verdict"),
    [
        (("relaxation", "energy_ev_per_atom"), -4.0051, "energy of the minimum", "outside"),
        (("relaxation", "energy_ev_per_atom"), -3.9951, "energy of the minimum", "within"),
        (("relaxation", "converged"), False, "energy of the minimum", "not converged"),
        (("relaxation", "converged"), False, "distance of the minima (RMSD)", "not converged"),
        (("relaxation", "converged"), False, "imaginary modes at Γ", "not converged"),
        (("equation_of_state", "volume_angstrom3_per_atom"), 9.89, "volume at zero pressure", "outside"),
        (("equation_of_state", "bulk_modulus_gpa"), 56.0, "bulk modulus", "outside"),
        (("equation_of_state",), {"failure": "no minimum", "reason": ""}, "bulk modulus", "no minimum (calibrated)"),
        (("phonons", "frequencies_per_cm"), [50.0, 100.0, 3049.0], "phonons at Γ, largest difference", "within"),
        (("phonons", "frequencies_per_cm"), [50.0, 100.0, 3049.0], "phonons at Γ, RMS difference", "outside"),
        (("phonons", "frequencies_per_cm"), [50.0, 100.0, 3051.0], "phonons at Γ, largest difference", "outside"),
        (("phonons", "imaginary_modes"), 1, "imaginary modes at Γ", "outside"),
        (("phonons",), {"failure": "unstable", "reason": ""}, "imaginary modes at Γ", "unstable (calibrated)"),
    ],
)
def test_verdicts_at_the_minimum(tmp_path, place, value, quantity, verdict):
    record = statics()
    target = record["calibrated"]
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    assert verdicts(tmp_path, record, None, None)[quantity] == verdict


def test_minima_far_apart_are_outside(tmp_path):
    assert (
        verdicts(tmp_path, {**statics(), "rmsd_angstrom": 0.06}, None, None)["distance of the minima (RMSD)"]
        == "outside"
    )


def test_the_tolerance_of_the_drift_is_on_the_calibrated_one(tmp_path):
    record = nve()
    for drifts, expected in (
        ((0.0, -1.1), "outside"),
        ((5.0, 0.9), "within"),
        ((-3.0, 2.0), "outside in both"),
    ):
        for name, drift in zip(("uniform", "calibrated"), drifts, strict=True):
            record[name][0]["drift_mev_per_atom_ps"] = drift
        found = verdicts(tmp_path, None, record, None)
        assert found == {"energy drift, 0.5 fs": expected, "energy drift, 1 fs": "within"}


def test_unstable_runs_have_a_verdict_and_no_numbers(tmp_path):
    record = nve()
    failed = {"timestep_fs": 0.5, "duration_ps": 1.0, "failure": "unstable", "reason": "after 0.1 ps of 1 ps: 3000 K"}
    record["calibrated"][0] = failed
    assert verdicts(tmp_path, None, record, None)["energy drift, 0.5 fs"] == "unstable (calibrated)"
    record["uniform"][0] = failed
    table = observable_rows(*files_of(tmp_path, None, record, None), TOLERANCES).set_index("quantity")
    assert table.loc["energy drift, 0.5 fs", "verdict"] == "unstable in both"
    assert table.loc["pairs per atom in NVE, 0.5 fs", ["uniform", "calibrated"]].isna().all()


def test_the_difference_of_distributions_is_an_integral_with_a_floor(tmp_path):
    record = rdf()
    record["calibrated"]["g"] = [1.1] * 60 + [0.9] * 60
    difference, chance = rdf_difference(record["uniform"], record["calibrated"])
    assert difference == pytest.approx(0.6)
    assert chance == pytest.approx(6.0 * np.sqrt(2 / np.pi) * 0.01 * np.sqrt(2))
    rng = np.random.default_rng(0)
    draws = [dict(record["uniform"], g=(1 + 0.01 * rng.normal(size=120)).tolist()) for _ in range(200)]
    alone = [rdf_difference(a, b)[0] for a, b in zip(draws[::2], draws[1::2], strict=True)]
    assert np.mean(alone) == pytest.approx(chance, rel=0.05)  # the same distribution, sampled twice


def test_a_difference_that_may_be_chance_is_not_called_one(tmp_path):
    record = rdf()
    record["calibrated"]["g"] = [1.02] * 120
    assert verdicts(tmp_path, None, None, record) == {"radial distribution, ∫|Δg| dr": "not resolved"}
    record["calibrated"]["g"] = [1.1] * 120
    assert list(verdicts(tmp_path, None, None, record).values()) == ["outside"]
    record["calibrated"] = {"failure": "not applicable", "reason": ""}
    record["uniform"] = record["calibrated"]
    table = observable_rows(*files_of(tmp_path, None, None, record), TOLERANCES)
    assert list(table["verdict"]) == ["not applicable"]
    assert summary(table) == "Nothing could be compared."


def test_the_four_formats_say_what_was_compared(tmp_path):
    record = statics()
    record["calibrated"]["relaxation"]["energy_ev_per_atom"] = -3.9
    outputs = [tmp_path / f"observables.{suffix}" for suffix in ("csv", "md", "tex", "html")]
    table_observables(
        *files_of(tmp_path, record, nve(), rdf()), *outputs, tolerances=TOLERANCES, at_lambda=1e-4,
        uniform_cutoff=6.0, title="a toy set, not MAD",
    )  # fmt: skip
    text = outputs[1].read_text()
    assert "uniform cutoff of 6 Å" in text and "λ = 0.0001" in text and "a toy set, not MAD" in text
    assert "Of 10 comparisons: within: 9, outside: 1." in text
    table = pd.read_csv(outputs[0])
    assert list(table.columns[:4]) == ["subset", "structure", "formula", "quantity"]
    assert table.loc[table["verdict"] == "outside", "difference"].tolist() == pytest.approx([100.0])
    assert all(path.stat().st_size for path in outputs)


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "statics.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"statics.json: key 'structures' is missing"):
        observable_rows([path], [], [], TOLERANCES)


def test_the_figure_draws_the_first_structure_and_says_where_there_is_nothing(tmp_path):
    record = statics()
    record["calibrated"]["phonons"] = {"failure": "not applicable", "reason": ""}
    paths = files_of(tmp_path, record, nve(), rdf())
    content = json.loads(paths[0][0].read_text())
    content["structures"].append({**statics(), "structure": 2, "formula": "CH4"})
    paths[0][0].write_text(json.dumps(content))
    outputs = [tmp_path / f"observables.{suffix}" for suffix in ("png", "pdf", "csv")]
    table = figure_observables(*paths, *outputs, title="toy", at_lambda=1e-4, uniform_cutoff=6.0)
    assert all(path.stat().st_size for path in outputs)
    assert table.groupby("panel").size().to_dict() == {"drift": 12, "eos": 6, "rdf": 240}
    eos = table[(table["panel"] == "eos") & (table["configuration"] == "uniform")]
    np.testing.assert_allclose(eos["y"], [10.0, 0.0, 10.0])
    assert observable_curves(*paths)[1] == {"crystals": "H8S4"}
    with pytest.raises(ValueError, match="no structure"):
        figure_observables([], [], [], *outputs, title="toy", at_lambda=1e-4, uniform_cutoff=6.0)
