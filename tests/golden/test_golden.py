"""Golden numbers: the shipped weights predict what they did, and training and calibration arrive where they did.

When a change of these numbers is meant, run ``python tests/golden/regenerate.py`` and say why in the commit.
"""

import json

import numpy as np
import pytest
from safetensors.torch import load_file

from fcl.models.interface import BACKENDS
from regenerate import COMMAND, HERE, MODELS, ROOT, build_stores, calibrate, predict, read_rows, train
from tolerances import GOLDEN_BYTES, GOLDEN_PREDICTION, GOLDEN_TRAINING

#: Every backend with every model; of those that take a minute to compile a model, the one model that has all there is.
CASES = [
    pytest.param(model, backend, marks=[pytest.mark.slow] if backend == "compiled" else [])
    for backend in BACKENDS
    for model in MODELS
    if model == "fcl" or backend != "compiled"
]
GOLDEN = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))


def assert_near(values, expected, tolerance, name):
    """Deviations of at most ``tolerance`` times the largest expected value of the array."""
    values, expected = np.asarray(values, dtype=float), np.asarray(expected, dtype=float)
    assert values.shape == expected.shape, name
    assert np.isfinite(values).all(), name
    deviation = np.abs(values - expected).max() / np.abs(expected).max()
    assert deviation <= tolerance, f"{name}: {deviation:.2e} relative, {tolerance:.0e} is allowed; meant? {COMMAND}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the graph stores of the three splits."""
    folder = tmp_path_factory.mktemp("golden")
    build_stores(folder)
    return folder


@pytest.mark.parametrize(("model", "backend"), CASES)
def test_the_shipped_weights_predict_what_they_did(folder, model, backend):
    try:
        predictions = predict(folder / "test.h5", HERE / f"{model}.safetensors", backend)
    except ValueError as error:
        pytest.skip(f"{backend} does not cover the {model} model: {error}")
    expected = GOLDEN["predictions"][model]
    assert predictions.keys() == expected.keys()
    for cutoffs, quantities in expected.items():
        assert predictions[cutoffs].keys() == quantities.keys()
        for quantity, values in quantities.items():
            assert_near(predictions[cutoffs][quantity], values, GOLDEN_PREDICTION, f"{model}, {cutoffs}, {quantity}")


@pytest.mark.heavy
def test_training_from_nothing_arrives_at_the_shipped_weights(folder):
    histories = train(folder)
    for model in MODELS:
        expected = GOLDEN["histories"][model]
        assert len(histories[model]) == len(expected)
        for row, golden in zip(histories[model], expected, strict=True):
            assert row["best"] == golden["best"]
            for column in golden.keys() - {"best"}:
                assert_near(row[column], golden[column], GOLDEN_TRAINING, f"{model}, epoch {golden['epoch']}, {column}")
        weights, shipped = (load_file(place / f"{model}.safetensors") for place in (folder, HERE))
        assert weights.keys() == shipped.keys()
        for name, values in shipped.items():
            if values.is_floating_point() and values.abs().max() > 0:
                assert_near(weights[name], values, GOLDEN_TRAINING, f"{model}, {name}")
            else:
                assert weights[name].equal(values), name


@pytest.mark.heavy
def test_calibration_of_the_shipped_weights(folder):
    results = calibrate(folder, HERE / "fcl.safetensors")
    assert results.keys() == GOLDEN["calibration"].keys()
    for subset, expected in GOLDEN["calibration"].items():
        assert results[subset]["cutoffs_angstrom"] == pytest.approx(expected["cutoffs_angstrom"], abs=GOLDEN_TRAINING)
        assert_near(results[subset]["objective"], expected["objective"], GOLDEN_TRAINING, f"{subset}, objective")


def test_the_numbers_mean_something():
    """Training changed the losses, cutoffs matter, and the calibrations do not all end at a bound."""
    for rows in GOLDEN["histories"].values():
        assert len({row["val_loss"] for row in rows}) == len(rows) and any(row["best"] for row in rows[1:])
    assert not GOLDEN["histories"]["fcl"][-1]["best"]  # the weights are those of the best epoch, not of the last
    fcl = GOLDEN["predictions"]["fcl"]
    for quantity in ("energy_ev", "forces_ev_per_angstrom", "stress_ev_per_cubic_angstrom"):
        assert np.ptp([np.abs(fcl[cutoffs][quantity]).max() for cutoffs in fcl]) > 1e-3
    for result in GOLDEN["calibration"].values():
        inside = [value for value in result["cutoffs_angstrom"].values() if 3.5 < value < 7.0 and value != 6.0]
        assert len(inside) >= 2


def test_the_files_are_small_and_say_what_they_are():
    files = [path for path in HERE.iterdir() if path.suffix in (".safetensors", ".json")]
    assert sum(path.stat().st_size for path in files) <= GOLDEN_BYTES
    assert GOLDEN["regenerate"] == COMMAND and GOLDEN["data"].startswith("embedded PBEsol set (not MAD)")
    assert (ROOT / COMMAND.split()[1]).is_file() and COMMAND in (HERE / "README.md").read_text(encoding="utf-8")


def test_reading_a_history(tmp_path):
    (tmp_path / "a.csv").write_text("epoch,best\n1,True\n2,False\n")
    assert read_rows(tmp_path / "a.csv") == [{"epoch": 1.0, "best": True}, {"epoch": 2.0, "best": False}]
