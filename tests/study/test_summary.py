"""The README's numbers are computed from the committed results, and the summary computes what it says."""

import re

import pandas
import pytest

from fcl.study.pages.summary import main, markdown, sweeps, uniform_errors
from project import ROOT

RECORD = ROOT / "record" / "embedded"


@pytest.fixture
def study(tmp_path):
    """Two FCL seeds, one static model, one calibration with known ratios."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / "calibration").mkdir()

    def errors(kind, seed, values):
        rows = [
            {"model_kind": kind, "seed": seed, "cutoff_angstrom": c, "subset": s, "force_rmse_ev_per_angstrom": v * k}
            for c, v in values.items()
            for s, k in (("all", 1.0), ("MC3D", 9.0))
        ]
        pandas.DataFrame(rows).to_csv(tmp_path / "metrics" / f"{kind}_{seed}_{min(values)}.csv", index=False)

    errors("fcl", 1, {4.0: 0.30, 4.5: 0.2, 5.0: 0.20})
    errors("fcl", 2, {4.0: 0.34, 4.5: 0.2, 5.0: 0.20})
    errors("static", 1, {4.0: 0.25})
    errors("static", 1, {5.0: 0.16})
    for lam, pairs, force in ((1e-2, 20.0, 0.30), (1e-4, 60.0, 0.202)):
        rows = [
            {"configuration": c, "lambda": lam, "subset": "MC3D", "seed": 1, "pairs_per_atom": p,
             "force_rmse_ev_per_angstrom": f}
            for c, p, f in (("initial", 100.0, 0.2), ("optimised", pairs, force))
        ]  # fmt: skip
        pandas.DataFrame(rows).to_csv(tmp_path / "calibration" / f"MC3D_{lam:.0e}_metrics.csv", index=False)
    return tmp_path


def test_numbers_of_a_known_study(study):
    errors = uniform_errors(study).set_index("cutoff_angstrom")
    assert list(errors.index) == [4.0, 5.0]
    assert errors.loc[4.0, "fcl"] == pytest.approx(320.0) and errors.loc[4.0, "ratio"] == pytest.approx(1.28)
    sweep = sweeps(study).set_index("lambda")
    assert sweep.loc[1e-4, "saving"] == pytest.approx(0.4) and sweep.loc[1e-4, "increase"] == pytest.approx(0.01)
    text = markdown(study, ROOT / "resources" / "claims.csv")
    assert "| 4.0 Å | 320 ± 28 | 250 | 1.28 | 370 |" in text
    assert "| MC3D | 100.0 | 80% / +50.0% | 40% / +1.0% |" in text and "cross-validation" not in text
    (study / "tables").mkdir()
    row = {
        "quantity": "force RMSE",
        "subset": "MC3D",
        "chosen": "1e-04 (80%)",
        "saving": 0.4,
        "max_error_increase": 0.03,
    }
    row |= {"optimised_to_initial": 0.01, "optimised_to_initial_low": -0.02, "optimised_to_initial_high": 0.04}
    pandas.DataFrame([{**row, "quantity": "force MAE"}, row]).to_csv(study / "tables/chosen.csv")
    text = markdown(study, ROOT / "resources" / "claims.csv")
    assert "λ chosen for ≤ 3% by cross-validation" in text
    assert "| 80% / +50.0% | 40% / +1.0% | 1e-04 (80%): 40% / +1.0 [-2.0, +4.0]% |" in text


def test_changes_of_several_seeds_have_a_spread(study):
    file = study / "calibration" / "MC3D_1e-04_metrics.csv"
    second = pandas.read_csv(file).assign(seed=2)
    second.loc[second["configuration"] == "optimised", "force_rmse_ev_per_angstrom"] = 0.206  # +3%, the first has +1%
    second.to_csv(study / "calibration" / "MC3D_1e-04_seed2_metrics.csv", index=False)
    assert "| MC3D | 100.0 | 80% / +50.0% | 40% / +2.0 ± 1.4% |" in markdown(study, ROOT / "resources/claims.csv")


def test_an_unfinished_study(tmp_path):
    with pytest.raises(FileNotFoundError, match="metrics"):
        uniform_errors(tmp_path)
    with pytest.raises(FileNotFoundError, match="calibration"):
        sweeps(tmp_path)


def test_the_readme_shows_the_committed_numbers():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- numbers -->\n(.*?)\n<!-- /numbers -->", readme, flags=re.DOTALL).group(1).strip()
    assert shown == markdown(RECORD, ROOT / "resources" / "claims.csv")


def test_the_command_says_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 1 and "has this study been run?" in capsys.readouterr().err
