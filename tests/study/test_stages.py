"""Every stage once, from extended XYZ to calibrated cutoffs, at the smallest size; what they write and record."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from examples import SMALL_MODEL, frame_settings, structures
from fcl.config.load import load_config
from fcl.cutoffs.file import read_cutoffs
from fcl.data.batch import average_neighbors
from fcl.data.store import read_store
from fcl.study.stages import training as stages
from fcl.study.stages.calibration import calibrate_cutoffs, choose_cutoffs
from fcl.study.stages.data import build_store
from fcl.study.stages.evaluation import METRIC_COLUMNS, diatomic_curves, evaluate_trivial, evaluate_uniform
from fcl.training.checkpoints import remove_finished
from project import ROOT

pytestmark = pytest.mark.heavy

CONFIG = ROOT / "config.yaml"


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study():
    study = load_config(CONFIG).resolve("smoke")
    return study.narrowed(
        model=SMALL_MODEL,
        pretrain={"epochs": 2, "milestones": (1,)},
        fcl={"epochs": 2},
        static={"epochs": 2, "milestones": (1,), "cutoffs": (4.0,)},
        diatomics={"points": 20},
        calibration={"epochs": 2, "batch_size": 3},
    )


@pytest.fixture(scope="module")
def done(study, tmp_path_factory):
    """All stages in one folder; the tests look at what they left."""
    folder = tmp_path_factory.mktemp("stages")
    rng = np.random.default_rng(1)
    for split in ("train", "val", "test"):
        frames = []
        for k, atoms in enumerate(structures()):
            labelled = Atoms(atoms)
            labelled.info = {"subset": "MC3D" if k % 2 else "MC2D", "split": split}
            forces = rng.normal(scale=0.2, size=(len(atoms), 3))
            labelled.calc = SinglePointCalculator(labelled, energy=-0.4 * len(atoms), forces=forces)
            frames.append(labelled)
        write(folder / f"{split}.xyz", frames, format="extxyz")
        outputs = (folder / f"{split}{end}" for end in (".h5", ".rejected.csv", ".manifest.json"))
        build_store(study, [folder / f"{split}.xyz"], frame_settings(split), 100, 1, *outputs)
    train, val, test = (folder / f"{split}.h5" for split in ("train", "val", "test"))

    def training(name):
        return (
            folder / f"{name}.safetensors",
            folder / f"{name}_history.csv",
            folder / f"{name}.manifest.json",
        )

    stages.pretrain(study, train, val, 0, *training("pretrain"))
    kept = folder / "checkpoints"
    stages.train_fcl(study, train, val, folder / "pretrain.safetensors", 1, *training("fcl"), kept)
    stages.train_static(study, train, val, 4.0, 2, *training("static"), kept)
    facts = {}
    for name, cutoffs in (("fcl", [4.0, 5.5]), ("static", [4.0]), ("pretrain", [6.0])):
        outputs = folder / f"{name}.csv", folder / f"{name}_errors.csv.gz"
        facts[name] = evaluate_uniform(study, test, folder / f"{name}.safetensors", cutoffs, *outputs)
    model = folder / "fcl.safetensors"
    facts["diatomics"] = diatomic_curves(study, model, folder / "diatomics.csv")
    own = study.narrowed(calibration={"optimiser": "lbfgs", "epochs": 10, "min_structures": 4})
    ends = (".json", "_metrics.csv")
    for name, settings in (("cal", study), ("lbfgs", own)):
        outputs, rest = (
            [folder / f"{name}{end}" for end in ends],
            {"val": val, "history": folder / f"{name}_history.csv"},
        )
        rest["errors"] = folder / f"{name}_errors.csv.gz"
        facts[name] = calibrate_cutoffs(settings, train, test, model, "MC3D", 1e-3, 1, *outputs, **rest)
    facts["choice"] = choose_cutoffs(own, train, val, model, "MC3D", 1, folder / "choice.json")
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder


def test_nothing_is_left_half_written(done):
    assert not [path.name for path in done.iterdir() if path.name.startswith(".")]


def test_cards_tell_what_a_model_is(done):
    cards = {name: json.loads((done / f"{name}.json").read_text()) for name in ("pretrain", "fcl", "static")}
    assert [cards[name]["kind"] for name in cards] == ["static", "fcl", "static"]
    assert cards["pretrain"]["training_cutoff_angstrom"] == cards["pretrain"]["r_max_angstrom"] == 6.0
    assert cards["fcl"]["r_max_angstrom"] == 7.0 and cards["fcl"]["avg_num_neighbors"] == 50.0
    expected = average_neighbors(read_store(done / "train.h5"), 4.0)["per_connected_atom"]
    assert cards["static"]["avg_num_neighbors"] == pytest.approx(expected)
    assert cards["static"]["seed"] == 2


def test_metrics_name_model_cutoff_and_subset(done):
    fcl, static, pretrain = (rows(done / f"{name}.csv") for name in ("fcl", "static", "pretrain"))
    assert list(fcl[0]) == list(METRIC_COLUMNS)
    assert [(r["cutoff_angstrom"], r["subset"]) for r in fcl] == [
        (cutoff, subset) for cutoff in ("4", "5.5") for subset in ("all", "MC2D", "MC3D")
    ]
    assert {r["model_kind"] for r in fcl + static + pretrain} == {"fcl", "static", "pretrain"}
    assert static[0]["training_cutoff_angstrom"] == "4" and fcl[0]["training_cutoff_angstrom"] == ""
    assert float(fcl[3]["pairs_per_atom"]) > float(fcl[0]["pairs_per_atom"]) == float(static[0]["pairs_per_atom"])


def test_errors_per_structure_give_those_per_subset(done):
    """All metrics follow from the table of single structures, so that statistics need no model."""
    single, metrics = pd.read_csv(done / "fcl_errors.csv.gz"), pd.read_csv(done / "fcl.csv")
    assert (done / "fcl_errors.csv.gz").read_bytes()[4:8] == bytes(4)  # no time stamp: same table, same bytes
    for row in metrics.itertuples():
        own = single[single["cutoff_angstrom"] == row.cutoff_angstrom]
        own = own if row.subset == "all" else own[own["subset"] == row.subset]
        components = 3 * own["atoms"].sum()
        assert (len(own), own["atoms"].sum()) == (row.structures, row.atoms)
        assert (own["force_square_sum"].sum() / components) ** 0.5 == pytest.approx(
            row.force_rmse_ev_per_angstrom, rel=1e-5
        )
        assert own["force_absolute_sum"].sum() / components == pytest.approx(row.force_mae_ev_per_angstrom, rel=1e-5)
        assert own["energy_error_ev_per_atom"].abs().mean() == pytest.approx(row.energy_mae_ev_per_atom, rel=1e-5)
        assert own["pairs_per_atom"].mean() == pytest.approx(row.pairs_per_atom, rel=1e-5)


def test_trivial_predictions(done, tmp_path):
    outputs = tmp_path / "trivial.csv", tmp_path / "trivial.csv.gz"
    evaluate_trivial(done / "train.h5", done / "test.h5", *outputs)
    table, single = (pd.read_csv(path) for path in outputs)
    assert list(table) == list(METRIC_COLUMNS) and set(table["model_kind"]) == {"trivial"}
    forces = read_store(done / "test.h5").forces
    assert table["force_rmse_ev_per_angstrom"][0] == pytest.approx(np.sqrt(np.mean(forces.astype(float) ** 2)))
    assert single["structure"].tolist() == list(range(len(single)))


def test_history_and_diatomics(done, study):
    history = rows(done / "fcl_history.csv")
    assert [r["epoch"] for r in history] == ["1", "2"] and any(r["best"] == "True" for r in history)
    curves = rows(done / "diatomics.csv")
    assert len(curves) == 20 * len(study.diatomics.pairs) * len(study.diatomics.cutoffs)
    assert all(
        float(r["energy_ev"]) == 0 for r in curves if float(r["distance_angstrom"]) > float(r["cutoff_angstrom"])
    )


def test_calibration_writes_cutoffs_for_every_element(done):
    result = json.loads((done / "cal.json").read_text())
    assert all(3.5 <= value <= 7.0 for value in result["cutoffs"].values())
    assert result["provenance"]["lambda"] == 1e-3 and result["provenance"]["subset"] == "MC3D"
    metrics = rows(done / "cal_metrics.csv")
    assert [r["configuration"] for r in metrics] == ["initial", "optimised", "uniform"]
    assert metrics[0]["subset"] == "MC3D" and metrics[1]["cutoff_angstrom"] == ""
    steps = rows(done / "cal_history.csv")
    assert len(steps) == 2 * 2 and {"objective", "cost", "pairs_per_atom"} <= set(steps[0])


def test_calibration_reports_its_convergence(done):
    """Also with the paper's optimiser; the file is still a cutoffs file."""
    adam, lbfgs = (read_cutoffs(done / f"{name}.json").provenance.convergence for name in ("cal", "lbfgs"))
    assert adam["optimiser"] == "adam" and adam["status"] == "all epochs done" and not adam["starts"]
    assert len(lbfgs["starts"]) >= 2 and {"validation_objective", "cutoffs"} <= set(lbfgs["starts"][0])
    assert lbfgs["objective"] < adam["objective"] and lbfgs["uniform_of_equal_pairs"]["objective"] > 0
    assert lbfgs["shared_cutoff"] and len(rows(done / "lbfgs_history.csv")) == lbfgs["evaluations"]


def test_the_control_has_the_pairs_of_the_optimised_cutoffs(done):
    """The same model at a uniform cutoff, on the same test structures, to within one pair."""
    metrics = pd.read_csv(done / "lbfgs_metrics.csv").set_index("configuration")
    single = pd.read_csv(done / "lbfgs_errors.csv.gz")
    one_pair = 2.0 / single["atoms"].min() / metrics["structures"].iloc[0]
    assert 0.0 <= metrics.loc["uniform", "pairs_per_atom"] - metrics.loc["optimised", "pairs_per_atom"] <= one_pair
    assert 3.5 <= metrics.loc["uniform", "cutoff_angstrom"] <= 7.0
    for name, rows in single.groupby("configuration"):
        assert rows["pairs_per_atom"].mean() == pytest.approx(metrics.loc[name, "pairs_per_atom"], rel=1e-5)
        rmse = (rows["force_square_sum"].sum() / (3 * rows["atoms"].sum())) ** 0.5
        assert rmse == pytest.approx(metrics.loc[name, "force_rmse_ev_per_angstrom"], rel=1e-5)
    assert set(single["seed"]) == {1} and set(single["lambda"]) == {1e-3}


def test_a_lambda_is_chosen_without_test_structures(done, study):
    choice = json.loads((done / "choice.json").read_text())
    trials = choice["trials"]
    assert [trial["lambda"] for trial in trials] == [None, 1e-4, 1e-2] and choice["lambda"] in (None, 1e-4, 1e-2)
    assert sum(trial["share_of_resamples"] for trial in trials) == pytest.approx(1.0)
    counts = {split: (read_store(done / f"{split}.h5").subset == 1).sum() for split in ("train", "val")}  # MC3D
    assert choice["structures"] == counts and min(counts.values()) > 1
    assert {"increase_train", "increase_val"} <= set(trials[1]) and trials[0]["increase_val"] == 0.0


def test_manifests_say_from_what(done):
    record = json.loads((done / "fcl.manifest.json").read_text())
    assert set(record["inputs"]) == {"train", "val", "pretrained"} and record["seed"] == 1
    assert record["extra"]["best_epoch"] in (1, 2) and record["extra"]["backend"] == "fast"
    assert set(record["settings"]) == {"model", "cutoffs", "loss", "fcl"}
    facts = json.loads((done / "facts.json").read_text())
    for name in ("fcl", "diatomics", "cal", "choice"):  # what a model of one seed was used for has its seed
        assert facts[name]["seed"] == 1


def test_a_job_depends_on_its_own_seed_and_cutoff_only(done, study):
    """Whatever else the sweep holds, a training goes on from its checkpoints and its manifest is the same."""
    identities = {name: read_identity(done / "checkpoints" / name) for name in ("fcl", "static")}
    assert identities["fcl"]["settings"]["fcl"]["seeds"] == [1] and len(study.fcl.seeds) > 1
    static = identities["static"]["settings"]["static"]
    assert (static["seeds"], static["cutoffs"]) == ([2], [4.0])
    assert set(identities["fcl"]["inputs"]) == {"train", "val", "pretrained"}
    settings = json.loads((done / "static.manifest.json").read_text())["settings"]["static"]
    assert (settings["seeds"], settings["cutoffs"]) == ([2], [4.0])


def test_checkpoints_of_finished_trainings_can_be_removed(done):
    """Their last ones stay until then, to write the results again."""
    folders = [done / "checkpoints" / name for name in ("fcl", "static")]
    assert all(list(folder.glob("*/epoch00003_step0000000.safetensors")) for folder in folders)
    remove_finished(done / "checkpoints")
    assert not (done / "checkpoints").exists()


def read_identity(folder):
    (file,) = folder.glob("*/identity.json")
    return json.loads(file.read_text())


def test_a_subset_that_is_not_there(done, study, tmp_path):
    outputs = [tmp_path / name for name in ("a.json", "b.csv")]
    files = *(done / f"{split}.h5" for split in ("train", "test")), done / "fcl.safetensors"
    with pytest.raises(ValueError, match="'SHIFTML-molcrys' is not in the data; there are MC2D, MC3D"):
        calibrate_cutoffs(study, *files, "SHIFTML-molcrys", 1e-3, 1, *outputs)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "cutoff"), [("static", 4.5), ("fcl", 7.5), ("fcl", 0.0)])
def test_a_cutoff_that_the_model_does_not_have(done, study, tmp_path, name, cutoff):
    outputs = tmp_path / "a.csv", tmp_path / "a.csv.gz"
    with pytest.raises(ValueError, match=f"{cutoff} A"):
        evaluate_uniform(study, done / "test.h5", done / f"{name}.safetensors", [cutoff], *outputs)
    assert not list(tmp_path.iterdir())
