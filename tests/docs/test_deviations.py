"""docs/deviations.md: its settings exist, its values are accepted, and each setting does what the page says."""

import math
import re
from dataclasses import replace

import pytest
import torch
import yaml

from examples import enlarged
from fcl.calibration.optimise import calibrate, objective
from fcl.config.errors import ConfigError, _models_of
from fcl.config.load import load_config
from fcl.config.study import SECTION_MODELS
from fcl.cutoffs.mixing import geometric_mean
from fcl.models.files import build_model
from fcl.models.interface import count_parameters
from fcl.training.fit import fit, static_recipe
from fcl.training.loss import LOSS
from project import ROOT
from tolerances import DEVIATION_DIFFERENCE

PAGE = (ROOT / "docs/deviations.md").read_text(encoding="utf-8")
#: `section.key`, or `section.key: value`.
SETTING = re.compile(rf"`((?:{'|'.join(SECTION_MODELS)})\.[\w.]+)(?:: ([^`]+))?`")
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and SETTING.search(line)]
COST = ("structures", "atoms")


def keys_of(model, prefix):
    """Dotted keys of all settings below a model of the configuration."""
    for name, field in model.model_fields.items():
        yield f"{prefix}.{name}"
        for inner in _models_of(field.annotation):
            yield from keys_of(inner, f"{prefix}.{name}")


def nested(settings):
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    result = {}
    for dotted, value in settings.items():
        *parents, last = dotted.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result


def resolve(settings):
    """The paper's study with dotted ``settings`` put over it, checked as a whole."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["studies"]["changed"] = nested(settings)
    return load_config(raw).resolve("changed")


def value_at(study, dotted):
    for name in dotted.split("."):
        study = getattr(study, name)
    return study


# -- the page ----------------------------------------------------------------------------------------------------------


def test_every_setting_named_exists():
    known = {key for section, model in SECTION_MODELS.items() for key in keys_of(model, section)}
    named = {match[1] for match in SETTING.finditer(PAGE)}
    assert len(named) >= 20
    assert named <= known
    # Nothing that looks like a setting escapes the pattern above.
    dotted = {text.split(":")[0] for text in re.findall(r"`([a-z_]+\.[a-z_.]+(?:: [^`]*)?)`", PAGE)}
    assert {name for name in dotted if not name.endswith((".py", ".yaml", ".md"))} <= named


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_values_of_a_row_are_accepted_and_differ_from_the_papers(row):
    changes = {match[1]: yaml.safe_load(match[2]) for match in SETTING.finditer(row) if match[2]}
    assert changes
    paper, changed = resolve({}), resolve(changes)
    for dotted in changes:
        assert value_at(changed, dotted) != value_at(paper, dotted), dotted


# -- what the settings do ----------------------------------------------------------------------------------------------


def selected(graphs, model, cutoffs):
    batch = graphs.batch(torch.arange(len(graphs)))
    return graphs.select_pairs(batch, cutoffs, model.selector)


def test_scalar_features_alone_run_on_the_reference_path(graphs):
    """hidden_irreps and mlp_irreps of the released code: builds, right backend, forces by central differences."""
    settings = resolve({"model.hidden_irreps": "32x0e", "model.mlp_irreps": "32x0e"}).model
    model = enlarged(build_model("fcl", settings, 7.0, dtype=torch.float64))
    assert model.backend == "reference"
    assert count_parameters(model) != 371_962
    with pytest.raises(ValueError, match="fast"):
        model.backend = "fast"
    cutoffs = torch.linspace(4.0, 6.5, len(graphs.numbers)).requires_grad_(True)
    batch = selected(graphs, model, cutoffs)
    output = model(batch, cutoffs, training=True)
    (output["energy"].sum() + output["forces"].square().sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    for part in (model.radial_embedding, model.cutoff_embedding, model.readouts, model.node_embedding):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    assert cutoffs.grad.abs().max() > 0
    step, moved = 1e-4, []
    for sign in (1, -1):
        positions = batch.positions.clone()
        positions[3, 1] += sign * step
        moved.append(model(replace(batch, positions=positions), cutoffs.detach(), forces=False)["energy"].sum())
    numeric = (moved[1] - moved[0]) / (2 * step)
    torch.testing.assert_close(output["forces"][3, 1].detach(), numeric, **DEVIATION_DIFFERENCE)


def test_a_wider_readout_alone_stays_on_the_fast_path():
    settings = resolve({"model.mlp_irreps": "32x0e"}).model
    assert build_model("static", settings, 5.0, 30.0).backend == "fast"


@pytest.mark.parametrize(("kind", "added"), [("released", 9_162), ("released_no_silu", 9_162), ("literal", 5_034)])
def test_the_embeddings_of_the_cutoff(kind, added, graphs):
    settings = resolve({"model.cutoff_embedding": kind}).model
    model = build_model("fcl", settings, 7.0, dtype=torch.float64)
    assert count_parameters(model) == 362_800 + added
    cutoffs = torch.full((len(graphs.numbers),), 5.0, requires_grad=True)
    energy = model(selected(graphs, model, cutoffs), cutoffs, forces=False, training=True)["energy"].sum()
    (gradient,) = torch.autograd.grad(energy, cutoffs)
    assert (gradient != 0).sum() == len(torch.unique(selected(graphs, model, cutoffs).pair_index))


def test_validation_at_3_angstrom_needs_it_in_the_sampled_interval():
    with pytest.raises(ConfigError, match=r"fcl\.validation_cutoffs: 3 A lies outside \[3\.5, 7\] A"):
        resolve({"fcl.validation_cutoffs": [3.0, 4.0, 5.0, 6.0]})
    study = resolve({"fcl.validation_cutoffs": [3.0, 4.0, 5.0, 6.0], "cutoffs.r_min": 3.0})
    assert study.fcl.validation_cutoffs == (3.0, 4.0, 5.0, 6.0) and study.cutoffs.r_min == 3.0
    assert resolve({"evaluation.uniform_cutoffs.start": 3.0}).evaluation.uniform_cutoffs.values()[0] == 3.0


def test_the_test_split_cannot_calibrate():
    assert resolve({"calibration.split": "val"}).calibration.split == "val"
    with pytest.raises(ConfigError, match=r"calibration\.split"):
        resolve({"calibration.split": "test"})


@pytest.fixture
def small_model(small_settings):
    return enlarged(build_model("fcl", small_settings, 7.0, dtype=torch.float64))


def calibration(**changes):
    """Settings of a calibration that runs down to the lower bound at a large lambda."""
    settings = resolve({f"calibration.{key}": value for key, value in changes.items()}).calibration
    return settings.model_copy(update={"epochs": 12, "learning_rate": 0.5, "batch_size": 9})


def test_bounds_of_optimised_cutoffs(small_model, graphs):
    paper = calibrate(small_model, graphs, calibration(), LOSS, 1e3, seed=0).cutoffs
    assert set(paper.values()) == {3.5}
    wide = calibrate(small_model, graphs, calibration(lower_bound=0.5), LOSS, 1e3, seed=0).cutoffs
    assert all(0.5 <= value < 3.5 for value in wide.values())
    with pytest.raises(ConfigError, match=r"calibration\.upper_bound: 7\.5 A lies outside"):
        resolve({"calibration.upper_bound": 7.5})


def test_the_start_of_optimised_cutoffs(small_model, graphs):
    settings = calibration(initial_cutoff=5.0)
    first = calibrate(small_model, graphs, settings, LOSS, 1e-3, seed=0).history[0]
    assert {value for key, value in first.items() if key.startswith("cutoff_")} == {5.0}


def test_the_cost_as_a_mean_over_atoms(small_model, graphs):
    """Both means are 6^3 A^3 at the start; with another cutoff for hydrogen each is what its definition says."""
    runs = {mean: calibrate(small_model, graphs, calibration(cost=mean), LOSS, 1.0, seed=0) for mean in COST}
    assert runs["atoms"].history[0]["cost"] == pytest.approx(216.0) == runs["structures"].history[0]["cost"]
    numbers, table = graphs.numbers, torch.full((119,), 4.0)
    table[1] = 5.0
    everything = torch.arange(len(graphs))
    parts = {
        mean: float(objective(small_model, graphs, everything, table, LOSS, 1.0, mean)[1]["cost"]) for mean in COST
    }
    hydrogen = (numbers == 1).double()
    assert parts["atoms"] == pytest.approx(float((64.0 + 61.0 * hydrogen).mean()))
    share = torch.zeros(len(graphs)).index_add(0, graphs.batch(everything).structure, hydrogen) / graphs.ptr.diff()
    assert parts["structures"] == pytest.approx(float(64.0 + 61.0 * share.mean()))
    assert parts["atoms"] != pytest.approx(parts["structures"], rel=1e-3)
    with pytest.raises(ValueError, match="mean 'pairs' of the cost is unknown; known are structures, atoms"):
        objective(small_model, graphs, everything, table, LOSS, 1.0, "pairs")


def test_the_geometric_mixing_rule_decides_pairs_and_taper(small_settings, graphs):
    rule = resolve({"model.mixing_rule": "geometric"}).model.mixing_rule
    settings = small_settings.model_copy(update={"mixing_rule": rule})
    model = enlarged(build_model("fcl", settings, 7.0, dtype=torch.float64))
    assert model.mixing is geometric_mean
    cutoffs = torch.where(torch.arange(len(graphs.numbers)) % 2 == 0, 3.5, 7.0)
    arithmetic = build_model("fcl", small_settings, 7.0, dtype=torch.float64)
    fewer, more = selected(graphs, model, cutoffs), selected(graphs, arithmetic, cutoffs)
    assert fewer.pair_index.shape[1] < more.pair_index.shape[1]
    # A pair between the two means of 3.5 A and 7 A, 4.95 A and 5.25 A, is beyond the taper's end.
    pair, vector = torch.tensor([[0], [1]]), torch.tensor([[0.0, 0.0, 5.1]])
    ends, numbers = torch.tensor([3.5, 7.0]), torch.tensor([1, 8])
    alone = model.site_energies(numbers, pair[:, :0], vector[:0], ends)
    torch.testing.assert_close(model.site_energies(numbers, pair, vector, ends), alone, rtol=0, atol=0)
    assert not arithmetic.site_energies(numbers, pair, vector, ends).equal(
        arithmetic.site_energies(numbers, pair[:, :0], vector[:0], ends)
    )


def test_the_normalisation_of_fcl_and_the_radial_network():
    settings = resolve({"model.fcl_avg_num_neighbors": 65.4, "model.radial_mlp": [32, 32]}).model
    model = build_model("fcl", settings, 7.0)
    assert [interaction.avg_num_neighbors for interaction in model.interactions] == [65.4, 65.4]
    assert [layer.weight.shape[1] for layer in model.interactions[0].conv_tp_weights][:2] == [32, 32]


def test_no_gradient_clipping(small_settings, graphs):
    """null is the same as a norm that is never reached, and not the same as a small one."""
    weights = {}
    for norm in (None, 1e9, 1e-6):
        settings = resolve({"static.gradient_clip_norm": norm}).static.model_copy(update={"epochs": 1, "batch_size": 3})
        torch.manual_seed(0)
        model = build_model("static", small_settings, 5.0, 20.0, dtype=torch.float64)
        fit(model, graphs, graphs, settings, LOSS, static_recipe("test", 5.0, torch.float64), order_seed=1)
        weights[norm] = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert weights[None].equal(weights[1e9]) and not weights[None].equal(weights[1e-6])


@pytest.mark.parametrize("key", ["pretrain.seeds", "fcl.seeds", "static.seeds", "compute.dtype", "diatomics.points"])
def test_the_stages_read_the_settings_that_stand_in_no_other_test_here(key):
    """Seeds, precision and grids: used where their stage is run (tests of the stages and of the workflow)."""
    sources = [*(ROOT / "src/fcl/study/stages").glob("*.py"), *(ROOT / "workflow").rglob("*.smk")]
    sources.append(ROOT / "src/fcl/config/study.py")  # which pre-trained model has which seed
    used = "".join(path.read_text(encoding="utf-8") for path in sources)
    section, name = key.split(".")
    assert re.search(rf"\b(?:{section}|settings)\.{name}\b", used)


@pytest.mark.parametrize(
    ("name", "structures"), [("paper", 76476), ("mini", 384), ("embedded", 384), ("mad-sample", 700)]
)
def test_batches_and_steps_of_the_small_studies_are_those_of_the_configuration(name, structures):
    """The numbers in the columns of the last table, counted from the settings."""
    study = load_config(ROOT / "config.yaml").resolve(name)
    table = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.split("\n## ")[-1].splitlines() if "|" in line
    ]
    cells = {
        row[0].split(",")[0].split(" of ")[0]: row[[cell.strip("`") for cell in table[0]].index(name)] for row in table
    }
    steps = [math.ceil(structures / one.batch_size) * one.epochs for one in (study.pretrain, study.fcl, study.static)]
    assert steps[1] == steps[2] and study.fcl.epochs == study.static.epochs
    assert cells["optimiser steps"] == " / ".join(f"{number:,}".replace(",", " ") for number in steps[:2])
    assert cells["epochs"] == f"{study.pretrain.epochs} / {study.fcl.epochs}"
    batch = {one.batch_size for one in (study.pretrain, study.fcl, study.static)}
    assert [int(cells["batch size"].split(";")[0])] == list(batch)
    rates = (study.pretrain.learning_rate, study.fcl.learning_rate, study.static.learning_rate)
    assert rates == (0.02, 0.01 if name == "mini" else 0.001, 0.02)
    assert cells["pre-trained models x FCL seeds"] == (
        f"{len(study.pretrain.seeds)} x {len(study.fcl.seeds) // len(study.pretrain.seeds)}"
    )
    assert int(cells["FCL models calibrated"]) == len(study.calibration.seeds)
