"""The configuration: strictness at every level, physics, merging, and what a job sees of it."""

import copy
import json

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from fcl.config import checks as config_checks
from fcl.config.errors import ConfigError, _models_of, deep_merge, nearest
from fcl.config.load import Config, load_config
from fcl.config.sections import UniformCutoffs
from fcl.config.study import SECTION_MODELS, SECTIONS, Protocol, Study
from project import ROOT

STUDIES = ("smoke", "mini", "embedded", "mad-sample", "paper")


@pytest.fixture(scope="module")
def raw():
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def config():
    return load_config(ROOT / "config.yaml")


def changed(raw, dotted, value):
    """A copy of the configuration with one dotted key set (or, with Ellipsis, deleted)."""
    copied = copy.deepcopy(raw)
    *path, last = dotted.split(".")
    place = copied
    for key in path:
        place = place.setdefault(key, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copied


def test_the_shipped_studies_are_valid_and_mini_is_the_default(config):
    assert config.study == "mini"
    assert {name for name, overrides in config.studies.items() if "base" not in overrides} == set(STUDIES)
    for name in config.studies:
        assert config.resolve(name).name == name


def test_the_paper_is_the_protocol_unabridged(config):
    assert config.studies["paper"] == {}
    assert config.resolve("paper").digest() == Study.restore({**config.protocol.model_dump(), "name": "paper"}).digest()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.num_bessel", 10),
        ("model.polynomial_order", 5),
        ("model.num_interactions", 2),
        ("model.fcl_avg_num_neighbors", 50.0),
        ("cutoffs.r_min", 3.5),
        ("cutoffs.r_max", 7.0),
        ("loss.energy_weight", 0.1),
        ("loss.force_weight", 1.0),
        ("pretrain.cutoff", 6.0),
        ("pretrain.epochs", 200),
        ("pretrain.milestones", (10, 20, 100)),
        ("pretrain.learning_rate", 0.02),
        ("fcl.epochs", 500),
        ("fcl.learning_rate", 0.001),
        ("fcl.plateau_patience", 20),
        ("fcl.early_stopping_patience", 50),
        ("fcl.validation_cutoffs", (4.0, 5.0, 6.0)),
        ("static.cutoffs", (4.0, 5.0, 6.0, 7.0)),
        ("static.milestones", (10, 20, 100, 200)),
        ("calibration.lambdas", (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)),
        ("calibration.learning_rate", 0.003),
        ("calibration.batch_size", 20),
        ("calibration.initial_cutoff", 6.0),
    ],
)
def test_the_paper_study_holds_the_numbers_of_the_paper(config, key, value):
    section, leaf = key.split(".")
    assert getattr(getattr(config.resolve("paper"), section), leaf) == value


def test_embedded_has_the_schedule_of_the_paper_uniformly_shortened(config):
    """All lengths are two fifths of the paper's. Beside them only what scales with the data differs: batch sizes, and
    how long and for which models is calibrated; and the seeds, three from each of three pre-trained models."""
    paper, embedded = config.resolve("paper"), config.resolve("embedded")
    lengths = {"epochs", "milestones", "plateau_patience", "early_stopping_patience"}
    for section in ("model", "cutoffs", "loss", "pretrain", "fcl", "static", "evaluation", "diatomics"):
        own, papers = getattr(embedded, section).model_dump(), getattr(paper, section).model_dump()
        assert {key for key in own if own[key] != papers[key]} <= {"batch_size", "seeds"} | lengths, section
        for key in lengths & own.keys():
            assert 5 * np.array(own[key]) == pytest.approx(2 * np.array(papers[key])), (section, key)
    assert embedded.calibration.learning_rate == paper.calibration.learning_rate
    starts = [embedded.pretrain_seed(seed) for seed in embedded.calibration.seeds]
    assert starts == list(embedded.pretrain.seeds) and len(embedded.fcl.seeds) == 9


def test_training_may_have_a_backend_of_its_own(config):
    compute = config.resolve("embedded").compute
    assert (compute.backend, compute.backend_of_training) == ("auto", "compiled")
    assert config.resolve("paper").compute.backend_of_training == "auto"


@pytest.mark.parametrize("name", ["smoke", "mini", "embedded"])
def test_small_studies_run_offline_and_their_calibration_can_cross_the_interval(config, name):
    study = config.resolve(name)
    assert study.data.manifest == "resources/embedded/manifest.yaml"
    frames = study.data.frame_limit("train") or 96  # at least 4 x 120 structures, 8:1:1
    assert all(study.calibration.check_reach(frames, subset) for subset in study.calibration.subsets)


@pytest.mark.parametrize(
    ("dotted", "suggestion"),
    [
        ("stduy", "study"),
        ("protocol.fcll", "fcl"),
        ("protocol.fcl.epochz", "epochs"),
        ("protocol.evaluation.uniform_cutoffs.stpo", "stop"),
        ("studies.mini.calibratoin", "calibration"),
        ("studies.mini.static.batchsize", "batch_size"),
        ("studies.smoke.data.max_frames_per_subset.tran", "train"),
        ("resources.train_fcl.mem", "mem_mb"),
        ("resources.trian_fcl", "train_fcl"),
    ],
)
def test_an_unknown_key_is_an_error_at_every_level_and_the_nearest_one_is_named(raw, dotted, suggestion):
    with pytest.raises(ConfigError) as caught:
        load_config(changed(raw, dotted, 1))
    assert f"{dotted}: unknown key; did you mean {suggestion!r}?" in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "successor"),
    [
        ("protocol.validation", "observables"),
        ("studies.mini.validation", "observables"),
        ("resources.download_mad", "download_data"),
        ("resources.validate_rdf", "observe_rdf"),
    ],
)
def test_a_former_key_is_an_error_that_names_the_present_one(raw, dotted, successor):
    with pytest.raises(ConfigError) as caught:
        load_config(changed(raw, dotted, {}))
    assert f"{dotted}: unknown key; it is now {successor!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("dotted", "value", "words"),
    [
        ("study", "minni", "did you mean 'mini'"),
        ("protocol.fcl.seeds", ..., "protocol.fcl.seeds: is missing"),
        ("protocol.model.hidden_irreps", "8x0e + 4x1o", "model.hidden_irreps: 8x0e + 4x1o: all irreps need the same"),
        ("protocol.model.hidden_irreps", "8x1o", "model.hidden_irreps: holds no scalars"),
        ("protocol.model.hidden_irreps", "8x0e + 8x0e", "model.hidden_irreps: '0e' occurs twice"),
        ("protocol.model.mlp_irreps", "8x0e + 8x1o", "model.mlp_irreps: 8x1o: the readout"),
        ("protocol.model.max_ell", 0, "protocol.model.max_ell"),
        ("protocol.cutoffs.r_min", -1.0, "protocol.cutoffs.r_min"),
        ("protocol.cutoffs.r_min", 7.1, "cutoffs.r_min: 7.1 A exceeds cutoffs.r_max"),
        ("protocol.cutoffs.r_min", 7.0, "fcl.validation_cutoffs: 4 A lies outside [7, 7] A"),
        ("protocol.cutoffs.reach", 6.9, "cutoffs.reach: 6.9 A is below cutoffs.r_max = 7 A"),
        ("studies.embedded-fixed.cutoffs.reach", 5.0, "cutoffs.reach: 5 A is below cutoffs.r_max = 6 A"),
        ("studies.embedded-fixed.cutoffs.reach", None, "static.cutoffs: 7 A lies outside [0, 6] A, as the graph store"),
        (
            "studies.embedded-fixed.evaluation.uniform_cutoffs.start",
            5.0,
            "evaluation.uniform_cutoffs: 5 A lies outside [6, 6] A, the only cutoff of FCL models",
        ),
        ("studies.embedded-fixed.diatomics.cutoffs", [6.0, 7.0], "diatomics.cutoffs: 7 A lies outside [6, 6] A"),
        ("studies.embedded-bessel.diatomics.cutoffs", [7.5], "diatomics.cutoffs: 7.5 A lies outside [0, 7] A"),
        ("studies.embedded-bessel.calibration", {"upper_bound": 7.5}, "calibration.upper_bound: 7.5 A lies outside"),
        ("studies.embedded-fold-1.data.folds", {"number": 5, "held_out": 6}, "there is no fold 6 of number = 5"),
        ("studies.embedded-25.data.group_fraction", {"train": 24}, "data.group_fraction.train"),
        ("protocol.cutoffs.r_max", float("inf"), "protocol.cutoffs.r_max"),
        ("protocol.fcl.validation_cutoffs", [3.0, 5.0], "fcl.validation_cutoffs: 3 A lies outside"),
        ("protocol.static.cutoffs", [4.0, 7.5], "static.cutoffs: 7.5 A lies outside"),
        ("protocol.static.cutoffs", [4.25], "static.cutoffs: 4.25 has more than the one decimal"),
        ("protocol.static.cutoffs", [4.0, 4.0], "static.cutoffs: 4.0 occurs twice"),
        ("protocol.pretrain.cutoff", 7.1, "pretrain.cutoff"),
        ("protocol.pretrain.milestones", [20, 10], "pretrain.milestones: [20, 10] do not ascend"),
        ("protocol.pretrain.epochs", 50, "pretrain.milestones: 100 is never reached"),
        ("protocol.evaluation.uniform_cutoffs.stop", 8.0, "evaluation.uniform_cutoffs: 8 A"),
        ("protocol.evaluation.uniform_cutoffs.step", 0.3, "step = 0.3 does not divide"),
        ("protocol.evaluation.uniform_cutoffs.step", 1e-308, "step = 1e-308 makes inf steps, more than 1000"),
        ("protocol.evaluation.uniform_cutoffs.step", 1e-6, "step = 1e-06 makes 3.5e+06 steps"),
        ("protocol.evaluation.uniform_cutoffs.start", 8.0, "stop = 7 is below start = 8"),
        ("protocol.diatomics.pairs", ["H-Xx"], "diatomics.pairs: 'H-Xx' is not a pair"),
        ("protocol.diatomics.pairs", ["HO"], "diatomics.pairs: 'HO' is not a pair"),
        ("protocol.diatomics.pairs", ["H-Og"], "Og is not among the first"),
        ("protocol.diatomics.r_start", 9.0, "diatomics.r_start"),
        ("protocol.calibration.split", "test", "protocol.calibration.split"),
        ("protocol.calibration.lambdas", [0.0], "protocol.calibration.lambdas.0"),
        (
            "protocol.calibration.lambdas",
            [1.5e-4],
            "calibration.lambdas: 0.00015 has more than the one digit",
        ),
        ("protocol.calibration.subsets", ["MC 3D"], "calibration.subsets: 'MC 3D'"),
        ("protocol.calibration.seeds", [9], "no FCL model is trained with seed 9"),
        ("protocol.calibration.initial_cutoff", 3.0, "calibration.initial_cutoff: 3 A"),
        ("protocol.calibration.upper_bound", 7.5, "calibration.upper_bound: 7.5 A"),
        ("protocol.calibration.lower_bound", 7.0, "calibration.lower_bound: 7 A is not below"),
        ("protocol.observables.subsets", ["MC 3D"], "observables.subsets: 'MC 3D'"),
        ("protocol.calibration.subsets", ["all"], "calibration.subsets: 'all' stands for something else in tables"),
        ("protocol.calibration.subsets", ["12"], "calibration.subsets: '12' does not begin with a letter"),
        ("protocol.observables.subsets", ["_x"], "observables.subsets: '_x' does not begin with a letter"),
        ("protocol.observables.subsets", ["MC3D", "MC3D"], "observables.subsets: 'MC3D' occurs twice"),
        ("protocol.observables.at_lambda", 1.5e-4, "observables.at_lambda: 0.00015 has more than the one digit"),
        ("protocol.observables.seed", 9, "observables.seed: no FCL model is trained with seed 9"),
        ("protocol.observables.uniform_cutoff", 7.5, "observables.uniform_cutoff: 7.5 A exceeds"),
        ("protocol.observables.equation_of_state.points", 3, "protocol.observables.equation_of_state.points"),
        ("protocol.observables.null_seed", 9, "observables.null_seed: no FCL model is trained with seed 9"),
        ("protocol.observables.null_seed", 1, "observables.null_seed: has to differ from observables.seed"),
        ("protocol.observables.dynamics.unstable_above", 300.0, "observables.dynamics.unstable_above"),
        ("protocol.observables.dynamics.blocks", 5000, "observables.dynamics.blocks: 5000, but rdf gives 2000 samples"),
        ("protocol.observables.nve.duration", 0.004, "observables.dynamics.blocks: 10, but nve gives 8 samples"),
        ("protocol.observables.rdf.bin_width", 9.0, "observables.rdf.bin_width"),
        ("protocol.tolerances.volume", 1.0, "protocol.tolerances.volume"),
        ("protocol.fcl.seeds", [1, 1], "fcl.seeds: 1 occurs twice"),
        ("protocol.fcl.min_learning_rate", 1.0, "fcl.min_learning_rate"),
        ("protocol.loss", {"energy_weight": 0, "force_weight": 0}, "both zero"),
        ("protocol.model.hidden_irreps", "32x0", "protocol.model.hidden_irreps"),
        ("protocol.model.mixing_rule", "harmonic", "protocol.model.mixing_rule"),
        ("protocol.compute.device", "gpu", "protocol.compute.device"),
        ("studies.mini.fcl.epochs", "many", "studies.mini.fcl.epochs"),
        ("studies.mini.cutoffs", {"r_max": 6.0}, "studies.mini: "),
        ("studies.mini.fcl", None, "studies.mini.fcl"),
        ("studies.Mini", {}, "studies.Mini"),
    ],
)
def test_impossible_settings_are_errors_that_name_their_key(raw, dotted, value, words):
    with pytest.raises(ConfigError) as caught:
        load_config(changed(raw, dotted, value))
    assert words in str(caught.value)


def test_all_faults_are_told_at_once(raw):
    faulty = changed(changed(raw, "protocol.fcl.epochz", 1), "protocol.model.num_bessel", 0)
    with pytest.raises(ConfigError) as caught:
        load_config(faulty)
    assert "protocol.fcl.epochz" in str(caught.value)
    assert "protocol.model.num_bessel" in str(caught.value)


def test_a_file_that_is_no_mapping_is_refused(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"list\.yaml: expected a mapping of keys to values"):
        load_config(path)


def test_an_override_changes_its_leaf_only(config):
    paper, mini = config.resolve("paper"), config.resolve("mini")
    assert mini.fcl.epochs != paper.fcl.epochs
    assert mini.fcl.weight_decay == paper.fcl.weight_decay
    assert mini.model == paper.model


def test_deep_merge_replaces_lists_and_leaves_its_arguments_alone():
    base = {"a": {"b": [1, 2], "c": 3}, "d": None}
    assert deep_merge(base, {"a": {"b": [4]}, "d": {"e": 5}}) == {"a": {"b": [4], "c": 3}, "d": {"e": 5}}
    assert base == {"a": {"b": [1, 2], "c": 3}, "d": None}


def test_settings_cannot_be_changed(config):
    study = config.resolve("mini")
    with pytest.raises(ValidationError):
        study.fcl.epochs = 1
    with pytest.raises(ValidationError):
        study.fcl = config.resolve("paper").fcl


def test_the_grid_includes_both_ends_and_is_free_of_rounding(config):
    values = config.resolve("paper").evaluation.uniform_cutoffs.values()
    assert values == [round(3.5 + 0.1 * index, 1) for index in range(36)]
    assert UniformCutoffs(start=6.0, stop=6.0, step=0.1).values() == [6.0]


def test_a_dump_is_plain_json_and_comes_back(config):
    study = config.resolve("mini")
    settings = json.loads(json.dumps(study.dump()))
    assert Study.model_validate(settings) == study
    assert Study.restore(settings) == study


def test_a_partial_dump_hides_the_other_sections(config):
    part = Study.restore(config.resolve("mini").dump("model", "loss"))
    assert part.name == "mini"
    assert part.model == config.resolve("mini").model
    with pytest.raises(AttributeError, match="hold no section 'fcl'"):
        _ = part.fcl
    with pytest.raises(AttributeError):
        _ = part.nonsense
    with pytest.raises(ValueError, match="did you mean 'model'"):
        config.resolve("mini").dump("modle")
    with pytest.raises(ValueError, match="did you mean 'model'"):
        Study.restore({"name": "mini", "modle": {}})


def test_a_digest_depends_on_its_sections_only(config):
    mini, paper = config.resolve("mini"), config.resolve("paper")
    assert mini.digest("model", "loss") == paper.digest("loss", "model")
    assert mini.digest("fcl") != paper.digest("fcl")
    assert mini.digest("fcl") == mini.narrowed(static={"epochs": 99}).digest("fcl")
    assert len(mini.digest()) == 64


def test_narrowing_leaves_the_rest_of_the_sweep_out(config):
    study = config.resolve("paper")
    one = study.narrowed(fcl={"seeds": [2]})
    assert one.fcl.seeds == (2,)
    assert one.fcl.epochs == study.fcl.epochs
    assert study.fcl.seeds == (1, 2, 3)
    assert study.narrowed(fcl={"seeds": [2, 3]}).narrowed(fcl={"seeds": [2]}).digest() == one.digest()
    with pytest.raises(ValidationError):
        study.narrowed(fcl={"sedes": [2]})


def test_steps_of_a_calibration_and_the_warning_when_they_are_too_few(config):
    settings = config.resolve("paper").calibration
    assert settings.steps(2000) == 1000
    assert settings.steps(2001) == 1010
    assert settings.check_reach(2400, "MC3D")
    with pytest.warns(UserWarning, match=r"calibration of MC3D: learning_rate x steps = 0\.003 x 50 = 0\.15 A"):
        assert not settings.check_reach(100, "MC3D")


def test_frame_limits_of_a_split(config):
    assert config.resolve("smoke").data.frame_limit("train") == 12
    assert config.resolve("paper").data.frame_limit("train") is None


def test_labels_in_file_names():
    assert config_checks.lambda_label(1e-4) == "1e-04"
    assert config_checks.cutoff_label(4.0) == "4.0"
    assert len(config_checks.SYMBOLS) == 118


def test_the_nearest_word_or_all_of_them():
    assert nearest("epochz", ["epochs", "seeds"]) == "; did you mean 'epochs'?"
    assert nearest("zzz", ["epochs", "seeds"]) == "; valid: epochs, seeds"


def test_every_section_has_its_model():
    assert set(SECTIONS) == set(Protocol.model_fields)
    for name, model in SECTION_MODELS.items():
        assert _models_of(Protocol.model_fields[name].annotation)[0] is model


def test_every_setting_is_described():
    pending, missing = [("", Config)], []
    while pending:
        prefix, model = pending.pop()
        for name, field in model.model_fields.items():
            inner = _models_of(field.annotation)
            pending += [(f"{prefix}{name}.", part) for part in inner]
            if not inner and not field.description and name not in ("train", "val", "test", "studies"):
                missing.append(f"{prefix}{name}")
    assert missing == []


def test_the_documented_settings_are_those_of_the_models_and_the_file(config):
    from fcl.config.docs import configuration_page

    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == configuration_page(config), "run: python -m fcl.config.docs > docs/configuration.md"
