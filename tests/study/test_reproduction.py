"""docs/reproduction.md: what its generator says of studies that are known, and that the page is that of the record."""

import json
import shutil

import pandas as pd
import pytest

from claim_examples import (
    ELEMENTS,
    FCL,
    NESTS,
    structure_rows,
    write,
    write_calibration,
    write_diatomics,
    write_study,
    write_uniform,
    write_uniform_table,
)
from fcl.config.load import load_config
from fcl.evaluation.statistics import Judgement
from fcl.study.comparisons.ablations import write_ablations
from fcl.study.pages.reproduction import main, reproduction_page
from fcl.study.pages.text import interval_text
from project import ROOT

CLAIMS = ROOT / "resources/claims.csv"
PAGE = ROOT / "docs/reproduction.md"


@pytest.fixture(scope="module")
def config():
    """The real one, in which each of three FCL models of `embedded` has a pre-trained model of its own."""
    seeds = {"pretrain": {"seeds": [11, 12, 13]}, "fcl": {"seeds": [1, 2, 3]}, "calibration": {"seeds": [1, 2, 3]}}
    seeds["observables"] = {"null_seed": None}
    config = load_config(ROOT / "config.yaml")
    config.studies["embedded"] = {**config.studies["embedded"]}
    for section, change in seeds.items():
        config.studies["embedded"][section] = {**config.studies["embedded"].get(section, {}), **change}
    return config


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The invented study on which every claim holds, under the name of a real one, with one ablation of it."""
    folder = tmp_path_factory.mktemp("results")
    write_study(folder / "embedded")
    write_uniform_table(folder / "embedded")
    shutil.copytree(folder / "embedded", folder / "embedded-rmax")
    write_uniform(folder / "embedded-rmax", fcl=FCL | {7.0: 0.300})
    return folder


@pytest.fixture(scope="module")
def page(results, config):
    return reproduction_page(results / "embedded", config, CLAIMS)


def section(page, title):
    return page.split(f"## {title}\n")[1].split("\n## ")[0]


def test_verdicts_are_those_of_the_claims_and_called_after_the_data(page):
    text = section(page, "Verdicts")
    assert "**Results.** 14 claims: 14 holds on embedded data set." in text
    assert "whatever the data.** 4 claims: 4 reproduced." in text
    assert "not comparable" not in text and "mad-test" not in text
    assert "The other 39 of the paper's claims cannot be judged on these data." in text
    assert "embedded data set (CP2K PBEsol, GTH pseudopotentials; not MAD)" in page and "no evidence about MAD" in page


def test_a_section_says_what_its_numbers_show(page):
    static = section(page, "One FCL model beside a static model for each cutoff")
    assert "Static models are shown to have the lower error: force RMSE of all structures at 4 Å and 7 Å; " in static
    assert "The one FCL model: nowhere." in static and "| force RMSE" in static and "| energy MAE" in static
    assert "370, 185 (-50% [-50, -50])" in static and "| MC3D" in static
    upturn = section(page, "Plateau, and upturn at 7 Å")
    assert "the error falls from 4 to 5 Å, falls from 5 to 6 Å and rises from 6 to 7 Å." in upturn
    assert "| 7.0 Å    | 8.00 " in section(page, "Oscillation of diatomic curves")
    saved = section(page, "Fewer pairs by optimised cutoffs")
    row = next(line for line in saved.splitlines() if "SHIFTML-molcrys" in line and "1e-4" in line)
    cells = [cell.strip() for cell in row.split("|")[3:7]]
    assert cells == ["61%", "+0.5%", "rises", "3 models, 3 groups of structures"]
    assert "best" in saved and "No λ is chosen here" in saved
    assert "| S            | 4.50   | 5.40   | 4.40" in section(page, "Cutoffs of elements in the subsets")


def test_an_interval_stands_where_there_is_one():
    assert interval_text(Judgement(0.02, 0.01, 0.03, 0.0, 1.0, 3, 3, 9), "+.1f", 100.0) == "+2.0 [+1.0, +3.0]"
    assert interval_text(Judgement(0.02, 0.02, 0.02, 0.0, 1.0, 1, 1, 0), ".0%") == "2%"


def test_what_was_not_run_is_said(page):
    for title in ("Ablations", "Learning curve", "The same training twice"):
        assert "*Not evaluated*" in section(page, title)
    assert "the study embedded-repeat has not been run" in page
    assert "tables/controls.csv is missing" in page and "tables/chosen.csv is missing" in page


def test_results_of_an_older_version_are_named(results, config, tmp_path):
    folder = tmp_path / "embedded"
    shutil.copytree(results / "embedded", folder)
    for file in (*folder.glob("errors/*"), *folder.glob("calibration/*.gz")):
        file.unlink()
    write(folder, "ablations.csv", [{"study": "x", "verdict": "lower"}])
    write(folder, "tables/uniform.csv", [{"quantity": "x"}])
    page = reproduction_page(folder, config, CLAIMS)
    assert "ablations.csv is of an older version: it has no column 'change'" in section(page, "Ablations")
    assert "tables/uniform.csv is of an older version: it has no column 'subset'" in page
    assert "no file in errors/" in section(page, "Plateau, and upturn at 7 Å")
    assert "_errors.csv.gz is missing" in section(page, "Fewer pairs by optimised cutoffs")


def test_other_numbers_make_other_sentences(results, config, tmp_path):
    folder = tmp_path / "embedded"
    shutil.copytree(results / "embedded", folder)
    write_uniform(folder, fcl=FCL | {7.0: 0.300}, static=2.0, wide=1.0)
    write_uniform_table(folder)
    write_diatomics(folder, oscillating=(4.0,), seeds=(1,))
    write_calibration(folder, "SHIFTML-molcrys", 1e-4, dict.fromkeys(ELEMENTS, 4.4), errors=(0.19, 0.20))
    page = reproduction_page(folder, config, CLAIMS)
    assert "The one FCL model: force RMSE of all structures at 4 Å and 7 Å" in page
    assert "falls from 6 to 7 Å" in page
    # static below, upturn and penalty; spread of three seeds; oscillation of one seed of three
    assert "9 holds on embedded data set, 2 undecided" in page and "3 does not hold on embedded data set" in page


def test_ablations_tell_which_reason_was_tested(results, config, tmp_path):
    shutil.copytree(results, tmp_path / "results")
    folder, ablation = tmp_path / "results/embedded", tmp_path / "results/embedded-rmax"
    changes = {"embedded-rmax": {"cutoffs.r_max": (7.0, 7.5), "diatomics.points": (601, 641)}}
    nests = dict.fromkeys(("embedded", "embedded-rmax"), NESTS)
    outputs = (folder / "ablations.csv", folder / "a.md")
    write_ablations(folder, {"embedded-rmax": ablation}, changes, *outputs, nests=nests, title="")
    page = reproduction_page(folder, config, CLAIMS)
    tested = (
        "it is changed by `cutoffs.r_max 7.0 -> 7.5` (force RMSE, 7 A / 6 A: lower); undecided: none of the others."
    )
    assert tested in section(page, "Plateau, and upturn at 7 Å")
    assert "changed by no ablation; undecided: `cutoffs.r_max 7.0 -> 7.5`" in section(
        page, "Oscillation of diatomic curves"
    )
    assert "embedded-rmax" in section(page, "Ablations")


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ((0.600, 0.602, 0.598), "more data than 384 structures pay, judged by the step from 192 to 384."),
        ((0.690, 0.692, 0.688), "more data than 384 structures do not pay, "),
        ((0.600, 0.700, 0.500), "more data than 384 structures may pay: it is undecided, "),
    ],
)  # fmt: skip
def test_the_learning_curve_decides_whether_more_data_pay(results, config, tmp_path, errors, words):
    shutil.copytree(results / "embedded", tmp_path / "embedded")
    sizes = {
        "embedded-25": (96, (0.8, 0.8, 0.8)),
        "embedded-50": (192, (0.700, 0.702, 0.698)),
        "embedded": (384, errors),
    }
    for name, (size, values) in sizes.items():
        for seed, error in enumerate(values, start=1):
            rows = structure_rows(error, cutoff_angstrom=6.0)
            write(tmp_path / name, f"errors/static_r6.0_seed{seed}.csv.gz", rows)
        store = {"stores/train.manifest.json": {"extra": {"structures": size}}}
        (tmp_path / name / "manifest.json").write_text(json.dumps({"runs": store}))
    text = section(reproduction_page(tmp_path / "embedded", config, CLAIMS), "Learning curve")
    assert words in text and "| 96 " in text


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


def test_the_page_is_that_of_the_committed_numbers(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = reproduction_page(ROOT / "record/embedded", load_config(ROOT / "config.yaml"), CLAIMS)
    assert page.startswith("# Reproduction")
    assert PAGE.read_text(encoding="utf-8") == page + "\n"
