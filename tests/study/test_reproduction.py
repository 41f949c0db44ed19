"""docs/reproduction.md: what its generator says of studies that are known, and that the page is that of the record."""

import json
import shutil

import pandas as pd
import pytest

from claim_examples import ELEMENTS, FCL, write, write_calibration, write_study, write_uniform
from fcl.config.load import load_config
from fcl.study.comparisons.ablations import write_ablations
from fcl.study.pages.reproduction import main, reproduction_page
from fcl.study.pages.text import mean_text
from project import ROOT

CLAIMS = ROOT / "resources/claims.csv"
PAGE = ROOT / "docs/reproduction.md"


@pytest.fixture(scope="module")
def config():
    return load_config(ROOT / "config.yaml")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The invented study on which every claim holds, under the name of a real one, with one ablation of it."""
    folder = tmp_path_factory.mktemp("results")
    write_study(folder / "embedded")
    shutil.copytree(folder / "embedded", folder / "embedded-rmax")
    write_uniform(folder / "embedded-rmax", fcl=FCL | {7.0: 0.300})
    return folder


@pytest.fixture(scope="module")
def page(results, config):
    return reproduction_page(results / "embedded", config, CLAIMS)


def section(page, title):
    return page.split(f"## {title}\n")[1].split("\n## ")[0]


def test_verdicts_are_those_of_the_claims_judged_on_any_data(page):
    text = section(page, "Verdicts")
    assert "14 claims: holds 14, does not hold 0, cannot be said 0." in text
    assert "not comparable" not in text and "mad-test" not in text
    assert "embedded data set (CP2K PBEsol, GTH pseudopotentials; not MAD)" in page


def test_a_section_says_what_its_numbers_show(page):
    static = section(page, "One FCL model beside a static model for each cutoff")
    assert "Static models have the lower error at 4 Å, 5 Å, 6 Å and 7 Å, the one FCL model at no cutoff" in static
    upturn = section(page, "Plateau, and upturn at 7 Å")
    assert "The error falls from 4 to 5 Å, falls from 5 to 6 Å and rises from 6 to 7 Å." in upturn
    assert "Curves turn most often at 7 Å." in section(page, "Oscillation of diatomic curves")
    saved = section(page, "Fewer pairs by optimised cutoffs")
    assert "At the paper's λ = 1e-4 more than 60% of the pairs of SHIFTML-molcrys are saved for less than 1%" in saved
    assert "by 1 of 1 models" in saved and saved.count("λ = ") == 1  # other lambdas would be chosen on test structures
    assert "*Not run*: tables/chosen.csv of this study." in saved
    orders = section(page, "Orderings of cutoffs among subsets")
    assert "H in SHIFTML-molfrags and MC2D" in orders


def test_a_spread_has_no_sign():
    assert mean_text({1: 0.01, 2: 0.03}, "{:+.2%}") == "+2.00% ± 1.41%"


def test_what_was_not_run_is_said(page):
    for title in ("Ablations", "Learning curve", "The same training twice"):
        assert "*Not run*" in section(page, title)
    assert "the study embedded-repeat has not been run" in page


def test_other_numbers_make_other_sentences(results, config, tmp_path):
    folder = tmp_path / "embedded"
    shutil.copytree(results / "embedded", folder)
    write_uniform(folder, fcl=FCL | {7.0: 0.300}, static=1.1)
    write_calibration(folder, "SHIFTML-molcrys", 1e-4, dict.fromkeys(ELEMENTS, 4.4), errors=(0.19, 0.20))
    page = reproduction_page(folder, config, CLAIMS)
    assert "Static models have the lower error at no cutoff, the one FCL model at 4 Å, 5 Å, 6 Å and 7 Å" in page
    assert "falls from 6 to 7 Å" in page
    assert "by 0 of 1 models" in page
    assert "holds 11, does not hold 3" in page  # static below, upturn, penalty


def test_ablations_tell_which_reason_was_tested(results, config, tmp_path):
    shutil.copytree(results, tmp_path / "results")
    folder, ablation = tmp_path / "results/embedded", tmp_path / "results/embedded-rmax"
    changes = {"embedded-rmax": {"cutoffs.r_max": (7.0, 7.5), "diatomics.points": (601, 641)}}
    write_ablations(folder, {"embedded-rmax": ablation}, changes, folder / "ablations.csv", folder / "a.md", title="")
    page = reproduction_page(folder, config, CLAIMS)
    tested = (
        "Tested: it is changed by `cutoffs.r_max 7.0 -> 7.5` (force RMSE, 7 A / 6 A: lower); not by none of the others."
    )
    assert tested in section(page, "Plateau, and upturn at 7 Å")
    assert "changed by no ablation; not by `cutoffs.r_max 7.0 -> 7.5`" in section(
        page, "Oscillation of diatomic curves"
    )
    assert "embedded-rmax" in section(page, "Ablations")


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ((600.0, 602.0, 598.0), "the error falls by 14.3% ± 0.6% (95%). By the rule that a fall of 5% is worth it"),
        ((600.0, 602.0, 598.0), "more data pay."),
        ((690.0, 692.0, 688.0), "more data do not pay."),
        ((600.0, 700.0, 500.0), "more data may pay: the seeds do not decide."),
    ],
)  # fmt: skip
def test_the_learning_curve_decides_whether_more_data_pay(results, config, tmp_path, errors, words):
    folder = tmp_path / "embedded"
    shutil.copytree(results / "embedded", folder)
    sizes = {192: (700.0, 702.0, 698.0), 384: errors}
    rows = [
        {"subset": "all", "structures": size, "seed": seed, "force_rmse_mev_per_angstrom": error}
        for size, values in sizes.items()
        for seed, error in enumerate(values, start=1)
    ]
    write(folder, "figures/learning_curve.csv", rows)
    assert words in section(reproduction_page(folder, config, CLAIMS), "Learning curve")


@pytest.mark.parametrize(("weights", "words"), [("ab", "the same bit for bit"), ("cd", "**not** the same")])
def test_a_repeated_training_is_reported_with_both_digests(results, config, tmp_path, weights, words):
    for name, digest in (("embedded", "ab"), ("embedded-repeat", weights)):
        shutil.copytree(results / "embedded", tmp_path / name)
        for seed in (1, 2, 3):
            file = tmp_path / name / f"metrics/history/fcl_seed{seed}.csv"
            pd.read_csv(file).assign(seconds=len(name)).to_csv(file, index=False)  # of no account
        (tmp_path / name / "models").mkdir()
        record = json.dumps({"inputs": {}, "extra": {"weights_sha256": digest}})
        (tmp_path / name / "models/fcl_seed1.manifest.json").write_text(record)
    text = section(reproduction_page(tmp_path / "embedded", config, CLAIMS), "The same training twice")
    assert words in text and f"`{weights}`" in text


def test_the_command(results, capsys, tmp_path):
    arguments = ["--config", str(ROOT / "config.yaml"), "--claims", str(CLAIMS)]
    (tmp_path / "none").mkdir()
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none"), *arguments])
    assert "no metrics/; has this study been run?" in capsys.readouterr().err


def test_the_page_is_that_of_the_committed_numbers(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = reproduction_page(ROOT / "record/embedded", config, CLAIMS)
    assert page.startswith("# Reproduction")
    assert PAGE.read_text(encoding="utf-8") == page
