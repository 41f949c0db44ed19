"""The figure of the trainings: every run is drawn in its panel as its history has it, and files are told apart."""

import numpy as np
import pandas as pd
import pytest

from fcl.study.figures.training import figure_training, read_runs
from figure_examples import HISTORIES, TITLE, drawn_figures, lines, outputs, write_histories

pytestmark = pytest.mark.heavy

COLUMNS = ("pre-training", "FCL", "static, 4.0 Å", "static, 5.0 Å")
VALUES = ("train_loss", "val_loss", "learning_rate")


def draw(tmp_path, monkeypatch, names=HISTORIES):
    """Panels [row][column] and histories by model."""
    drawn = drawn_figures(monkeypatch)
    files = write_histories(tmp_path, names)
    figure_training(files[::-1], **outputs(tmp_path, "training", csv=False), title=TITLE)  # their order does not count
    panels = np.array(drawn[0].axes).reshape(len(VALUES), -1)
    return panels, {file.stem: pd.read_csv(file) for file in files}


def test_every_run_is_drawn_in_its_panel_as_its_history_has_it(tmp_path, monkeypatch):
    panels, histories = draw(tmp_path, monkeypatch)
    assert [axes.get_title(loc="left")[4:] for axes in panels[0]] == list(COLUMNS)
    places = dict(zip(HISTORIES, (0, 1, 1, 2, 2, 3), strict=True))
    for row, value in zip(panels, VALUES, strict=True):
        assert all(axes.get_yscale() == "log" for axes in row)
        for name, table in histories.items():
            line = lines(row[places[name]])[f"seed {name[-1]}" if "seed" in name else "pre-training"]
            np.testing.assert_allclose(line.get_xdata(), table["epoch"])
            np.testing.assert_allclose(line.get_ydata(), table[value])
        assert [len(lines(axes)) for axes in row] == [1, 2, 2, 1]


def test_a_mark_is_at_the_epoch_whose_weights_are_kept(tmp_path, monkeypatch):
    panels, histories = draw(tmp_path, monkeypatch, ("pretrain",))
    (mark,) = [line for line in panels[1, 0].lines if line.get_marker() == "o"]
    kept = histories["pretrain"].iloc[3]
    assert (mark.get_xdata().item(), mark.get_ydata().item()) == (kept["epoch"], kept["val_loss"])


def test_seeds_look_alike_in_all_panels_and_unlike_each_other(tmp_path, monkeypatch):
    panels, _ = draw(tmp_path, monkeypatch)
    looks = [
        {name: (line.get_color(), line.get_linestyle()) for name, line in lines(axes).items()} for axes in panels[0]
    ]
    assert looks[1] == looks[2] and looks[3] == {"seed 1": looks[1]["seed 1"]}
    assert len({color for color, _ in looks[1].values()}) == len({dashes for _, dashes in looks[1].values()}) == 2


def test_files_that_cannot_be_drawn_are_named(tmp_path):
    with pytest.raises(ValueError, match="no file in metrics/history"):
        read_runs([])
    with pytest.raises(ValueError, match=r"metrics\.csv: not the history of a model of the study"):
        read_runs([tmp_path / "metrics.csv"])
    (tmp_path / "pretrain.csv").write_text("epoch,train_loss\n1,1\n")
    with pytest.raises(ValueError, match=r"pretrain\.csv is of an .* no column 'learning_rate\'"):
        figure_training([tmp_path / "pretrain.csv"], **outputs(tmp_path, "training", csv=False), title=TITLE)
    assert not list(tmp_path.glob("training*"))
