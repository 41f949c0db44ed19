"""Claims: every one has a function, the values are right on results made by hand, and verdicts follow the rules."""

import re

import numpy as np
import pandas
import pytest

import claim_examples as examples
from fcl.data.manifest import load_data_manifest
from fcl.evaluation.statistics import NotEvaluated
from fcl.study.claims import shapes
from fcl.study.claims.__main__ import main
from fcl.study.claims.measured import Measured, over_seeds, ratio, share
from fcl.study.claims.table import COLUMNS, claims_table, counts, read_claims, readme_block, write_claims
from fcl.study.claims.values import FUNCTIONS
from fcl.study.claims.verdicts import PAPER_DATA, Tolerance, agrees, data_difference, parse_tolerance, verdict
from fcl.study.results import Results
from project import ROOT

CLAIMS = ROOT / "resources/claims.csv"
RECORDS = [ROOT / "record/mini", ROOT / "record/embedded"]
MAD = {"dataset": PAPER_DATA, "whole": True}
OTHER = {"dataset": "toy", "whole": True}


@pytest.fixture
def study(tmp_path):
    return examples.write_study(tmp_path)


def table_of(study, **data):
    return claims_table(Results.of_folder(study), CLAIMS, **(data or MAD)).set_index("id")


def value(study, claim):
    return FUNCTIONS[claim](Results.of_folder(study))


# -- the file of claims ------------------------------------------------------------------------------------------------


def test_every_claim_has_a_function_and_every_function_a_claim():
    claims = pandas.read_csv(CLAIMS)
    assert set(claims["id"]) == set(FUNCTIONS)
    assert len(read_claims(CLAIMS)) == len(claims) == 57


def test_every_shape_has_a_written_criterion_with_the_numbers_of_the_code():
    text = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
    claims = pandas.read_csv(CLAIMS)
    documented = set(re.findall(r"^\| `(\w[\w-]*)` \|", text, flags=re.MULTILINE))
    assert set(claims.loc[claims["kind"] == "shape", "id"]) == documented
    assert f"r = {shapes.BEYOND_WELL} Å" in text and f"more than {1000 * shapes.NOISE_FLOOR:.0f} meV" in text
    assert shapes.OSCILLATES == 2 and "at least twice" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "nobody"}, "'nobody': no function"),
        ({"kind": "guess"}, "kind 'guess' is unknown"),
        ({"unit": "kg"}, "unit 'kg' is unknown"),
        ({"tolerance": "about 5%"}, "tolerance 'about 5%'"),
        ({"tolerance": "0.3 A"}, "tolerance '0.3 A'"),
        ({"tolerance": ""}, "either both"),
        ({"paper_value": ""}, "either both"),
    ],
)
def test_a_fault_in_the_claims_file_is_named(tmp_path, changes, words):
    claims = pandas.read_csv(CLAIMS, dtype=str, keep_default_na=False).head(1).assign(**changes)
    claims.to_csv(tmp_path / "claims.csv", index=False)
    with pytest.raises(ValueError, match=rf"claims\.csv: claim .*{re.escape(words)}"):
        read_claims(tmp_path / "claims.csv")


def test_a_claim_given_twice_and_a_missing_column_are_errors(tmp_path):
    claims = pandas.read_csv(CLAIMS)
    pandas.concat([claims, claims.head(1)]).to_csv(tmp_path / "twice.csv", index=False)
    with pytest.raises(ValueError, match="'table3_avg_neighbors_4' occurs twice"):
        read_claims(tmp_path / "twice.csv")
    claims.drop(columns="kind").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(ValueError, match="column 'kind'"):
        read_claims(tmp_path / "less.csv")


# -- tolerances and verdicts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("5%", "eV/A", Tolerance("relative", 0.05)),
        ("0.5%", "1", Tolerance("relative", 0.005)),
        ("factor 3", "eV", Tolerance("factor", 3.0)),
        ("lower bound", "1", Tolerance("lower")),
        ("upper bound", "ratio", Tolerance("upper")),
        ("0.3 A", "A", Tolerance("absolute", 0.3)),
        ("5 points", "1", Tolerance("absolute", 0.05)),
        ("", "", Tolerance("all")),
    ],
)
def test_tolerances_are_read(text, unit, expected):
    parsed = parse_tolerance(text, unit)
    assert parsed.rule == expected.rule and parsed.size == pytest.approx(expected.size)


@pytest.mark.parametrize(("text", "unit"), [("5", "1"), ("5 %", "1"), ("0.3 A", "eV"), ("5 points", "A"), ("-5%", "1")])
def test_other_tolerances_are_errors(text, unit):
    with pytest.raises(ValueError, match="is not understood"):
        parse_tolerance(text, unit)


@pytest.mark.parametrize(
    ("tolerance", "paper", "good", "bad"),
    [
        (Tolerance("relative", 0.05), 2.0, (1.9, 2.0, 2.1), (1.89, 2.11)),
        (Tolerance("absolute", 0.3), 5.4, (5.1, 5.7), (5.09, 5.71)),
        (Tolerance("factor", 3.0), 0.01, (0.0034, 0.0299), (0.0033, 0.0301)),
        (Tolerance("lower"), 0.6, (0.61,), (0.6, 0.59)),
        (Tolerance("upper"), 0.01, (0.0, -1.0), (0.01, 0.02)),
        (Tolerance("all"), None, (1.0,), (0.99, 0.0)),
    ],
)
def test_a_tolerance_has_two_sides(tolerance, paper, good, bad):
    assert all(agrees(Measured(number), paper, tolerance)[0] for number in good)
    assert not any(agrees(Measured(number), paper, tolerance)[0] for number in bad)


def test_a_bound_must_be_cleared_by_the_standard_error():
    assert agrees(Measured(1.02, 0.01), 1.0, Tolerance("lower")) == (True, "")
    good, reason = agrees(Measured(1.02, 0.03), 1.0, Tolerance("lower"))
    assert not good and "within one standard error" in reason
    assert agrees(Measured(0.9, 0.2), 1.0, Tolerance("lower")) == (False, "")


def test_only_the_whole_of_mad_is_comparable():
    assert load_data_manifest(ROOT / "resources/mad/manifest.yaml").name == PAPER_DATA
    assert data_difference(**MAD) == ""
    assert data_difference(**{**MAD, "whole": False}) == "a part of MAD 1.0"
    assert data_difference(**OTHER) == "other data than MAD 1.0"


def test_other_data_leave_shapes_models_and_methods_to_judge():
    five = Tolerance("relative", 0.05)
    for kind in ("data", "result", "headline"):
        assert verdict(kind, Measured(1.0), 1.0, five, "other data") == ("not comparable", "other data")
        assert verdict(kind, Measured(1.0, note="why"), 1.0, five, "") == ("reproduced", "why")
    for kind in ("shape", "model", "method"):
        assert verdict(kind, Measured(2.0), 1.0, five, "other data")[0] == "not reproduced"


# -- values ------------------------------------------------------------------------------------------------------------


def test_statistics_over_seeds():
    measured = over_seeds({1: 1.0, 2: 2.0, 3: 3.0})
    assert measured.value == 2.0 and measured.standard_error == pytest.approx(1.0 / np.sqrt(3.0))
    assert over_seeds({7: 4.0}).standard_error is None
    first, second = {1: 2.0, 2: 3.0}, {1: 1.0, 2: 1.5}
    assert ratio(first, second, paired=True).standard_error == pytest.approx(0.0)
    assert ratio(first, second, paired=False).standard_error == pytest.approx(2.0 * 0.2 * np.sqrt(2.0))
    with pytest.raises(NotEvaluated, match="different seeds"):
        ratio(first, {1: 1.0}, paired=True)


def test_a_share_needs_half_of_its_conditions():
    measured = share({"H": True, "C": False}, of=4)
    assert measured.value == 0.5 and "not: C" in measured.note and "2 more cannot be decided" in measured.note
    with pytest.raises(NotEvaluated, match="1 of 3"):
        share({"H": True}, of=3)


def test_a_study_like_the_papers_reproduces_what_it_should(study):
    table = table_of(study)
    assert list(table.reset_index().columns) == list(COLUMNS)
    shape = table[table["kind"] == "shape"]
    assert (shape["verdict"] == "reproduced").all(), shape[["verdict", "reason"]]
    for claim in ("table3_avg_neighbors_7", "table4_H", "params_static", "expected_cutoff", "fig3_fcl_force_rmse_4"):
        assert table.loc[claim, "verdict"] == "reproduced", claim
    assert table.loc["table4_C", "verdict"] == "not reproduced"
    assert table.loc["table4_C", "relative_difference"] == pytest.approx(0.5 / 0.327 - 1)
    assert table.loc["fig5_molcrys_1e-4_saving", "value"] == pytest.approx(1 - 35 / 90)
    assert table.loc["fig5_molcrys_1e-4_penalty", "value"] == pytest.approx(0.19542 / 0.19436 - 1)
    assert table.loc["fig5_molcrys_1e-4_rmse", "value"] == pytest.approx(195.42)
    assert (table.loc[["fig5_molcrys_1e-4_saving", "fig5_molcrys_1e-4_penalty"], "verdict"] == "reproduced").all()
    assert table.loc["fig5_molfrags_1e-4_saving", "value"] == 0.0  # relative to 1e-6, where the pairs are the same here
    assert table.loc["fig6_mc2d_sulfur", "value"] == 5.4
    assert not (table["verdict"] == "not evaluated").any()


def test_the_same_study_on_other_data(study):
    table = table_of(study, **OTHER)
    judged = table["kind"].isin(["shape", "model", "method"])
    assert (table.loc[~judged, "verdict"] == "not comparable").all()
    assert table.loc[~judged, "value"].notna().all()
    assert set(table.loc[judged, "verdict"]) == {"reproduced"}


def test_an_empty_study_evaluates_nothing_and_says_why(tmp_path):
    table = table_of(tmp_path)
    assert (table["verdict"] == "not evaluated").all()
    assert table["reason"].str.len().min() > 10 and table["value"].isna().all()
    assert not table["reason"].str.contains(str(tmp_path)).any()


def test_a_history_without_the_column_is_not_evaluated(study):
    for path in study.glob("metrics/history/*.csv"):
        pandas.read_csv(path).drop(columns="mean_cutoff_angstrom").to_csv(path, index=False)
    row = table_of(study).loc["expected_cutoff"]
    assert row["verdict"] == "not evaluated" and "no column mean_cutoff_angstrom" in row["reason"]


def test_one_seed_twice_is_an_error(study):
    path = study / "metrics/fcl_seed1.csv"
    (study / "metrics/fcl_seed1b.csv").write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match="two rows of seed 1"):
        table_of(study)


# -- shapes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "turns"),
    [
        ([0.0, 0.0, 0.0], 0),
        ([-0.02, -0.01, 0.0], 0),
        ([0.0, 0.01, 0.0], 1),
        ([0.0, 0.01, 0.0, 0.01], 2),
        ([0.0, 0.01, 0.0095, 0.02], 0),  # a wiggle below the floor
        ([0.0, 0.0005, -0.0004, 0.0005], 0),
        ([0.0, -0.005, 0.002, -0.003, 0.0], 3),
    ],
)
def test_turning_points_have_a_floor(energy, turns):
    assert shapes.turning_points(np.array(energy)) == turns
    assert shapes.turning_points(-np.array(energy)) == turns


def test_turning_points_of_a_wave_do_not_depend_on_the_grid():
    for points in (61, 301, 2001):
        r = np.linspace(3.0, 7.0, points)
        assert shapes.turning_points(0.005 * np.sin(2 * np.pi * (r - 3.0))) == 8


def test_oscillation_must_be_at_7_and_nowhere_else(study):
    assert value(study, "fig4_oscillation_7").value == 1.0
    examples.write_diatomics(study, oscillating=(6.0, 7.0))
    measured = value(study, "fig4_oscillation_7")
    assert measured.value == pytest.approx(9 / 12) and "C-C at 6 A" in measured.note
    examples.write_diatomics(study, oscillating=())
    assert value(study, "fig4_oscillation_7").value == pytest.approx(9 / 12)


def test_waves_of_the_short_range_do_not_count(study):
    for path in study.glob("diatomics/*.csv"):
        table = pandas.read_csv(path)
        short = table["distance_angstrom"] < 2.9
        table.loc[short, "energy_ev"] += np.sin(20 * table.loc[short, "distance_angstrom"])
        table.to_csv(path, index=False)
    assert value(study, "fig4_oscillation_7").value == 1.0


def test_adjacent_cutoffs_differ_by_the_median(study):
    examples.write_diatomics(study, oscillating=())
    # the curves are 0.01 eV/A apart by 0.01 eV below the smaller cutoff, so every median is close to that
    assert value(study, "fig4_adjacent_cutoffs").value == pytest.approx(0.01, rel=1e-6)


def test_curves_that_are_missing_are_not_evaluated(study):
    for path in study.glob("diatomics/*.csv"):
        table = pandas.read_csv(path)
        table[table["cutoff_angstrom"] < 7.0].to_csv(path, index=False)
    assert table_of(study).loc["fig4_oscillation_7", "verdict"] == "not evaluated"


def test_plateau_and_upturn(study):
    examples.write_uniform(study, examples.FCL | {6.0: 0.30})
    assert table_of(study).loc["fig3_plateau", "verdict"] == "not reproduced"
    examples.write_uniform(study, examples.FCL | {7.0: 0.32})
    assert table_of(study).loc["fig3_upturn_7", "verdict"] == "not reproduced"


def test_static_models_must_be_better_at_each_cutoff_by_more_than_the_scatter(study):
    assert value(study, "fig3_static_below_fcl").value == pytest.approx(0.9)
    examples.write_uniform(study, scatter=0.1, static=0.98)
    row = table_of(study).loc["fig3_static_below_fcl"]
    assert row["verdict"] == "not reproduced" and "within one standard error" in row["reason"]
    table = pandas.read_csv(study / "metrics/static_r5.0_seed1.csv")
    for seed in (1, 2, 3):
        table.assign(seed=seed, force_rmse_ev_per_angstrom=0.5).to_csv(
            study / f"metrics/static_r5.0_seed{seed}.csv", index=False
        )
    assert value(study, "fig3_static_below_fcl").value == pytest.approx(0.5 / 0.325)


def test_the_static_spread_needs_seeds(study):
    assert value(study, "fig3_static_std_7").value == pytest.approx(2 * 0.330 / 0.370)
    for path in study.glob("metrics/static_*_seed[23].csv"):
        path.unlink()
    assert "two seeds" in table_of(study).loc["fig3_static_std_7", "reason"]


def test_cutoffs_of_subsets_are_compared_where_all_have_the_element(study):
    # sulfur was left as it was in MC3D: no evidence
    examples.write_calibration(study, "MC3D", 1e-4, dict.fromkeys(examples.ELEMENTS, 9.0), idle=["S"])
    measured = value(study, "fig6_mc2d_largest")
    assert measured.value == 0.0 and "4 conditions hold (1 more cannot be decided" in measured.note
    assert value(study, "fig6_molfrags_smallest").value == 1.0


@pytest.mark.parametrize(
    ("claim", "lam", "cutoffs", "expected"),
    [
        ("fig7_1e-3_range", 1e-3, examples.AT_1E_3 | {"H": 4.1}, 7 / 8),
        ("fig7_1e-3_range", 1e-3, dict.fromkeys(examples.ELEMENTS, 5.0), 2 / 8),
        ("fig7_1e-3_sodium", 1e-3, examples.AT_1E_3 | {"Cl": 3.5}, 2 / 3),
        ("fig7_1e-6_light", 1e-6, examples.AT_1E_6 | {"F": 6.1}, 4 / 5),
        ("fig7_1e-6_metals", 1e-6, examples.AT_1E_6 | {"K": 6.4}, 2 / 3),
    ],
)
def test_conditions_of_figure_7(study, claim, lam, cutoffs, expected):
    assert value(study, claim).value == 1.0
    examples.write_calibration(study, "SHIFTML-molcrys", lam, cutoffs)
    assert value(study, claim).value == pytest.approx(expected)
    assert table_of(study).loc[claim, "verdict"] == "not reproduced"


# -- the files ---------------------------------------------------------------------------------------------------------


def test_the_written_table(study, tmp_path):
    results, out = Results.of_folder(study), tmp_path / "out"
    write_claims(
        results.metrics, results.histories, results.diatomics, results.cutoffs, results.calibrations, results.neighbors,
        results.elements, results.hyperparameters, CLAIMS, out / "claims.csv", out / "claims.md", out / "claims.html",
        title="a toy set", **OTHER,
    )  # fmt: skip
    table = pandas.read_csv(out / "claims.csv")
    assert list(table.columns) == list(COLUMNS) and len(table) == 57
    text = (out / "claims.md").read_text(encoding="utf-8")
    assert counts(table) in text and "a toy set" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 59
    page = (out / "claims.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == 58 and "<script" not in page and "http" not in page
    assert "| Fig. 5 | force RMSE at lambda 1e-4 (MC3D test) " in re.sub(" +", " ", readme_block(out))


def test_the_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 1 and "has `snakemake claims` been run?" in capsys.readouterr().err


def test_the_readme_shows_the_committed_claims():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- claims -->\n(.*?)\n<!-- /claims -->", readme, flags=re.DOTALL).group(1).strip()
    assert shown == readme_block(RECORDS[-1])


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.name)
def test_the_committed_claims_follow_from_the_committed_results(record):
    manifest = load_data_manifest(ROOT / "resources/embedded/manifest.yaml")
    table = claims_table(Results.of_folder(record), CLAIMS, dataset=manifest.name, whole=True).set_index("id")
    committed = pandas.read_csv(record / "claims.csv").set_index("id")
    assert list(committed.index) == list(table.index)
    assert committed["verdict"].tolist() == table["verdict"].tolist()
    np.testing.assert_allclose(committed["value"].astype(float), table["value"].astype(float), rtol=1e-9)
