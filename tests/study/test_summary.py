"""The README's numbers are computed from the committed results, and the summary computes what it says."""

import re
import shutil

import pytest

from claim_examples import NESTS, SUBSETS, structure_rows, write, write_study, write_uniform_table
from fcl.config.load import load_config
from fcl.study.pages.summary import main, markdown
from project import ROOT

RECORD = ROOT / "record" / "embedded"
CLAIMS = ROOT / "resources" / "claims.csv"


@pytest.fixture(scope="module")
def config():
    return load_config(ROOT / "config.yaml")


@pytest.fixture
def study(tmp_path):
    """The invented study, under the name of one whose FCL models have the same seeds."""
    folder = write_study(tmp_path / "mini")
    write_uniform_table(folder)
    return folder


def test_numbers_of_a_known_study(study, config):
    text = re.sub(" +", " ", markdown(study, config, CLAIMS))
    assert "| force RMSE | all structures | 1000 | 370, 185 (-50% [-50, -50]) |" in text
    assert "| force MAE | MC2D |" in text and "| energy MAE | all structures | 100 | 37, 18 " in text
    assert "energy RMSE" not in text
    assert "| SHIFTML-molcrys | 61% / +0.5% | 61% / +0.5% | 61% / +0.5% |" in text
    assert "force RMSE of FCL 370 meV/Å at 4 Å, 325 meV/Å at 5 Å" in text and "60% of the pairs or more" in text
    assert "Brackets are 95% intervals" in text and "±" not in text


def test_a_saving_has_an_interval(study, config):
    """The same lambda, another saving for each structure: the groups scatter."""
    for seed in NESTS.values():
        path = f"calibration/MC3D_lambda1e-04_seed{seed}_errors.csv.gz"
        rows = []
        for name, pairs in (("initial", 90.0), ("optimised", 35.0)):
            found = structure_rows(0.2, pairs, ("MC3D",), **{"lambda": 1e-4, "configuration": name, "seed": seed})
            rows += [
                {**row, "cutoff_angstrom": "", "pairs_per_atom": pairs + 3.0 * row["group"] * (name == "optimised")}
                for row in found
            ]
        write(study, path, rows)
    text = re.sub(" +", " ", markdown(study, config, CLAIMS))
    assert re.search(r"\| MC3D \| 61% / \+0\.5% \| 58 \[\d+, \d+\]% / \+0\.0% \|", text)


def test_the_chosen_lambda_has_a_column(study, config):
    row = {"quantity": "force RMSE", "chosen": "1e-04 (80%)", "saving": 0.4, "max_error_increase": 0.03}
    row |= {"optimised_to_initial": 0.01, "optimised_to_initial_low": -0.02, "optimised_to_initial_high": 0.04}
    write(
        study, "tables/chosen.csv", [{"subset": name, **row, **q} for name in SUBSETS for q in ({}, {"quantity": "x"})]
    )
    text = re.sub(" +", " ", markdown(study, config, CLAIMS))
    assert "λ chosen for ≤ 3% by cross-validation" in text
    assert "| MC3D | 61% / +0.5% | 61% / +0.5% | 61% / +0.5% | 1e-04 (80%): 40% / +1.0 [-2.0, +4.0]% |" in text


def test_what_a_study_lacks_is_said(study, config):
    shutil.rmtree(study / "tables")
    for file in study.glob("calibration/*_errors.csv.gz"):
        file.unlink()
    text = markdown(study, config, CLAIMS)
    assert "Not evaluated: tables/uniform.csv is missing." in text
    assert "Not evaluated: calibration/MC2D_lambda1e-03_seed1_errors.csv.gz is missing." in text


def test_the_readme_shows_the_committed_numbers():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- numbers -->\n(.*?)\n<!-- /numbers -->", readme, flags=re.DOTALL).group(1).strip()
    assert shown == markdown(RECORD, load_config(ROOT / "config.yaml"), CLAIMS)


def test_the_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 1 and "has this study been run?" in capsys.readouterr().err
