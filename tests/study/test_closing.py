"""The end of a run: its main numbers, beside the record where there is one."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from fcl.study.pages.closing import closing_text
from fcl.study.records.comparison import main
from project import ROOT

RECORD = ROOT / "record/mini"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with the numbers of the record of `mini`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECORD, "results/mini", ignore=shutil.ignore_patterns("*.png", "*.md"))
    return Path("results/mini")


def test_main_numbers_stand_beside_the_record(run):
    lines = closing_text(run, RECORD).splitlines()
    assert len(lines) <= 12
    assert lines[0].startswith("mini: results of ") and "minutes of computing" in lines[0]
    assert lines[1].split() == ["this", "run", "record"]
    table = pd.read_csv(RECORD / "tables/uniform.csv")
    error = f"{1000.0 * table.loc[0, 'fcl']:.0f}"  # of the force RMSE of all structures at 4 A
    assert lines[2].split()[-2:] == [error, error] and "force RMSE of FCL at 4.0 A" in lines[2]
    saved = next(line.split()[-2:] for line in lines if "pairs saved" in line)
    assert saved[0] == saved[1] and saved[0].endswith("%")
    assert any("numbers: all equal bit for bit" in line for line in lines)
    assert lines[-1] == "figures: results/mini/figures   report: results/mini/report.md"


def test_without_a_record_there_is_nothing_to_compare_with(run):
    text = closing_text(run, Path("record/mini"))
    assert "record/mini: no record of this study to compare with" in text
    assert text.splitlines()[1].split() == ["this", "run"]


def test_the_comparison_of_the_workflow_has_an_exit_code(run, capsys):
    for content, code in ((None, 0), ("a,b\n", 1)):
        if content:
            (run / "data/neighbors.csv").write_text(content)
        with pytest.raises(SystemExit) as ended:
            main(str(run), str(RECORD))
        assert ended.value.code == code
    assert "data/neighbors.csv" in capsys.readouterr().out
