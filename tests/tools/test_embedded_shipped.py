"""The generation can be resumed from what is shipped, and packaging it again gives the same files."""

import json

import pytest

from embedded_data.generate import read_lines, results_file
from embedded_data.package import package
from embedded_data.shipped import FILE, pack_results, restore_results
from embedded_data.structures import SUBSETS, load_settings
from project import ROOT

SHIPPED = ROOT / "resources" / "embedded"


def test_restoring_and_packaging_gives_the_shipped_files(tmp_path):
    count = restore_results(SHIPPED, tmp_path / "work")
    assert count >= 4 * 120
    package(tmp_path / "work", tmp_path / "out", count // 4, load_settings())
    for path in SHIPPED.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_results_that_are_there_already_stay(tmp_path):
    mine = results_file(tmp_path, SUBSETS[0])
    mine.write_text('{"key": "mine"}\n')
    assert restore_results(SHIPPED, tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]
    with pytest.raises(FileNotFoundError):
        restore_results(tmp_path / "nothing", tmp_path / "other")


def test_round_trip(tmp_path):
    records = [{"key": f"{subset}-0", "subset": subset} for subset in SUBSETS]
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / FILE).write_bytes(pack_results(records, [{"key": "x"}], {"H": -13.0}))
    assert restore_results(tmp_path / "from", tmp_path / "to") == 4
    assert [read_lines(results_file(tmp_path / "to", subset)) for subset in SUBSETS] == [[r] for r in records]
    assert read_lines(tmp_path / "to" / "failures.jsonl") == [{"key": "x"}]
    assert json.loads((tmp_path / "to" / "atoms.json").read_text()) == {"H": -13.0}
