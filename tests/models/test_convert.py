"""Checkpoints of mace-torch: converted they predict what mace-torch predicts; others are refused, and run nothing."""

import json
import os
import pickle
import types
import zipfile

import numpy as np
import pytest
import torch
from ase import Atoms
from typer.testing import CliRunner

from differences import copies, cutoff_differences, cutoff_gradient, force_differences
from examples import labelled
from fcl import FCLCalculator
from fcl.cli.main import app
from fcl.config.types import SYMBOLS
from fcl.data.batch import GraphData
from fcl.data.store import arrays_from_frames
from fcl.models.files import build_model, load, save_model
from fcl.models.mace.checkpoint import CheckpointError, read_checkpoint
from fcl.models.mace.convert import convert
from fcl.models.warm import warm_start
from mace_checkpoints import ELEMENTS, KINDS, checkpoint
from tolerances import DIFFERENCE, EQUAL

pytestmark = pytest.mark.heavy
HEADS = {"heads": "mine"}


def flexible(start):
    """A flexible model on the backbone of a converted one, warm."""
    settings = start.settings.model_copy(update={"bessel_range": start.bessel_range})
    torch.manual_seed(4)
    model = build_model("fcl", settings, 5.0, start.avg_num_neighbors, dtype=torch.float64)
    warm_start(model, start)
    return model.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints by kind: the model in memory, its file, and the converted file; each made when it is asked for."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def of(kind):
        if kind not in made:
            mace = checkpoint(kind)
            torch.save(mace, folder / f"{kind}.model")
            card = convert(folder / f"{kind}.model", folder / f"{kind}.safetensors", HEADS.get(kind))
            static = load(folder / f"{kind}.safetensors", dtype=torch.float64)
            made[kind] = types.SimpleNamespace(
                mace=mace, file=folder / f"{kind}.model", model=folder / f"{kind}.safetensors", card=card,
                static=static, flexible=flexible(static),
            )  # fmt: skip
        return made[kind]

    return of


def structures(seed=5):
    """A crystal, skewed and small, and a cluster, of the elements of the checkpoints, some within covalent radii."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)
    symbols = [SYMBOLS[z - 1] for z in ELEMENTS]
    cell = [[3.9, 0.2, 0.0], [0.6, 4.1, -0.3], [0.1, 0.4, 4.4]]
    crystal = Atoms(symbols[2:], grid * 2.0 + rng.uniform(-0.25, 0.25, (8, 3)), cell=cell, pbc=True)
    cluster = Atoms(symbols[:8], grid * 1.4 + rng.uniform(-0.2, 0.2, (8, 3)))
    return crystal, cluster


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_mace_torch(files, kind):
    """Energies with the atomic energies, forces and stress of mace-torch's own calculator, in float64."""
    from mace.calculators import MACECalculator

    made = files(kind)
    head = {"head": HEADS[kind]} if kind in HEADS else {}
    theirs = MACECalculator(models=[made.mace], device="cpu", default_dtype="float64", **head)
    ours = FCLCalculator(made.static)
    references = made.card["reference_energies_ev"]
    for atoms in structures():
        energy = ours.get_potential_energy(atoms) + sum(references[symbol] for symbol in atoms.symbols)
        forces = ours.get_forces(atoms)
        assert energy == pytest.approx(theirs.get_potential_energy(atoms), rel=1e-10, abs=0)
        np.testing.assert_allclose(forces, theirs.get_forces(atoms), **EQUAL)
        assert abs(forces).max() > 1e-3
        if atoms.pbc.all():
            np.testing.assert_allclose(ours.get_stress(atoms), theirs.get_stress(atoms), **EQUAL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_warm_start_equals_the_given_model_at_its_cutoff(files, kind, tmp_path):
    """For every type of functions of distance, and transforms that depend on elements; also once saved and loaded."""
    model, start = files(kind).flexible, files(kind).static
    static, ours = FCLCalculator(start), FCLCalculator(model, 5.0)
    if kind in ("density", "nonlinear"):
        save_model(model, tmp_path / "fcl.safetensors")
        ours = FCLCalculator(tmp_path / "fcl.safetensors", 5.0)
    for atoms in structures():
        expected = static.get_forces(atoms)
        assert np.sqrt(np.mean((ours.get_forces(atoms) - expected) ** 2)) < 1e-9 * np.sqrt(np.mean(expected**2))
        assert ours.get_potential_energy(atoms) == pytest.approx(static.get_potential_energy(atoms), rel=1e-10)
        shorter = FCLCalculator(model, 4.0)
        assert abs(shorter.get_forces(atoms) - expected).max() > 1e-5 * abs(expected).max()  # far beyond rounding
    assert model.avg_num_neighbors == 17.3


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_flexible_models(files, kind):
    """Forces, and dE/da of each atom, by central differences, with q and u away from their start."""
    model = files(kind).flexible
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.cutoff_embedding.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.radial_embedding.network[2].weight.add_(0.05 * torch.randn_like(model.radial_embedding.network[2].weight))
    graphs = GraphData(arrays_from_frames([labelled(atoms, 1) for atoms in structures()], 5.5), torch.float64)
    for k in range(2):
        cutoffs = 3.0 + 2.0 * torch.rand(8, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        batch = copies(graphs, k, cutoffs[None], model.selector)
        forces = model(batch, cutoffs)["forces"]
        torch.testing.assert_close(forces, force_differences(model, graphs, k, cutoffs), **DIFFERENCE)
        gradient = cutoff_gradient(model, graphs, k, cutoffs)
        torch.testing.assert_close(gradient, cutoff_differences(model, graphs, k, cutoffs)[0], **DIFFERENCE)
        assert gradient.abs().max() > 1e-4  # far beyond the tolerance
    model.load_state_dict(before)


def test_a_repulsion_does_not_end_at_a_short_cutoff(files):
    """Potassium and calcium at 3.5 A, beyond cutoffs of 2.5 A: the ZBL energy is there; it leaves at the radii."""
    model, start = files("density").flexible, files("density").static
    assert model.settings.pair_repulsion
    radii = start.pair_repulsion_fn.covalent_radii[[19, 20]].sum()
    assert 3.7 < radii < 4.0
    pair = Atoms("KCa", [[0, 0, 0], [0, 0, 3.5]])
    near, far = (FCLCalculator(model, 2.5) for _ in range(2))
    assert near.get_forces(pair)[1, 2] > 1e-6 and near.pairs_per_atom == 1.0
    pair.positions[1, 2] = float(radii) + 0.01
    assert abs(far.get_forces(pair)).max() == 0.0 and far.pairs_per_atom == 0.0
    energies = [
        FCLCalculator(model, 2.5).get_potential_energy(Atoms("KCa", [[0, 0, 0], [0, 0, r]])) for r in (3.5, 3.9)
    ]
    expected = [FCLCalculator(start).get_potential_energy(Atoms("KCa", [[0, 0, 0], [0, 0, r]])) for r in (3.5, 3.9)]
    assert energies[0] > energies[1] and energies != expected


def test_last_layer_of_a_readout_with_biases(files):
    """Site energies are linear in the features of the last layers, also with biases and one readout."""
    for kind in ("nonlinear", "heads"):
        model = files(kind).static
        graphs = GraphData(arrays_from_frames([labelled(structures()[1], 1)], 5.0), torch.float64)
        batch = graphs.batch(torch.tensor([0]))
        batch = graphs.select_pairs(batch, torch.full((8,), 5.0, dtype=torch.float64), model.selector)
        vectors = batch.positions[batch.pair_index[1]] - batch.positions[batch.pair_index[0]]
        inputs = batch.numbers, batch.pair_index, vectors
        weights, shift = model.last_layer()
        energies = model.last_layer_features(*inputs) @ weights + shift
        if model.settings.pair_repulsion:  # not a feature
            continue
        torch.testing.assert_close(energies, model.site_energies(*inputs), **EQUAL)


def test_the_command(files, tmp_path):
    """A card that says where the model is from, in words and as JSON; one head of several must be named."""
    made = files("heads")

    def run(*arguments):
        return CliRunner().invoke(app, ["convert", str(made.file), str(tmp_path / "out"), *arguments])

    refused = run()
    assert refused.exit_code == 1 and "several heads: name one of pt_head, mine" in refused.output
    assert "head 'yours' is unknown; the model has pt_head, mine" in run("--head", "yours").output
    done = run("--head", "mine")
    assert done.exit_code == 0, done.output
    assert "H C N O Si Cl K Ca Ti Fe" in done.output and "heads.model, head mine" in done.output
    card = json.loads((tmp_path / "out.json").read_text())
    assert card["avg_num_neighbors"] == 17.3 and card["model"]["head"] == "mine" and card["r_max_angstrom"] == 5.0
    assert "is there already" in run("--head", "mine").output


class Command:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def archive(path, content, **more):
    """A file as torch.save writes it, with a pickle of ``content``."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content if isinstance(content, bytes) else pickle.dumps(content, 2))
        file.writestr("archive/version", "3\n")
        file.writestr("archive/byteorder", "little")
        for name, value in more.items():
            file.writestr(f"archive/{name}", value)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_a_command(tmp_path, protocol):
    victim = tmp_path / "victim"
    archive(tmp_path / "bad.model", pickle.dumps({"model": Command(victim)}, protocol))
    with pytest.raises(CheckpointError, match=r"bad\.model: names (posix|nt)\.system, which no model needs: refused"):
        convert(tmp_path / "bad.model", tmp_path / "out.safetensors")
    assert not victim.exists() and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    "instructions",
    [
        b"ctorch.hub\nload\n(S'somebody/repository'\nS'model'\ntR.",
        b"ctorch.fx.graph_module\nreduce_graph_module\n((dS'_code'\nS'import os; os.abort()'\nstR.",
        b"cnumpy.testing\nrunstring\n(S'import os; os.abort()'\n(dtR.",
        b"c__builtin__\ngetattr\n(ctorch\nos\nS'abort'\ntR(tR.",
    ],
    ids=["hub", "fx", "numpy", "getattr"],
)
def test_functions_of_the_allowed_packages_are_not_called_either(tmp_path, instructions):
    archive(tmp_path / "bad.model", instructions)
    with pytest.raises(CheckpointError, match=r"bad\.model: holds a .*not a ScaleShiftMACE"):
        convert(tmp_path / "bad.model", tmp_path / "out.safetensors")


@pytest.mark.parametrize("name", ["eval", "exec", "__import__", "compile", "open"])
def test_builtin_functions_are_refused(tmp_path, name):
    archive(tmp_path / "bad.model", f"c__builtin__\n{name}\n(S'1'\ntR.".encode())
    with pytest.raises(CheckpointError, match=rf"names builtins\.{name}"):
        read_checkpoint(tmp_path / "bad.model")


def test_files_that_are_no_checkpoints_of_a_mace(files, tmp_path):
    made = files("gaussian")
    data = made.file.read_bytes()
    cases = {
        "text.model": (b"a pickle, perhaps", "not an archive as torch.save writes it"),
        "half.model": (data[: len(data) // 2], "not an archive as torch.save writes it"),
        "flipped.model": (
            data[:3000] + bytes(value ^ 0x55 for value in data[3000:3400]) + data[3400:],
            "half|cannot be read",
        ),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{name}: .*({said})"):
            convert(tmp_path / name, tmp_path / "out.safetensors")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "linear.model")
    torch.save({"model": made.mace.state_dict(), "epoch": 3}, tmp_path / "weights.pt")
    torch.jit.script(torch.nn.Linear(2, 3)).save(str(tmp_path / "compiled.model"))
    archive(tmp_path / "empty.model", b"")
    for name, said in {
        "linear.model": r"torch\.nn\.modules\.linear\.Linear, not a ScaleShiftMACE",
        "weights.pt": "the weights alone",
        "compiled.model": "a TorchScript program",
        "empty.model": "cannot be read",
    }.items():
        with pytest.raises(CheckpointError, match=rf"{name}: .*{said}"):
            convert(tmp_path / name, tmp_path / "out.safetensors")
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "none.model", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda mace: setattr(mace, "joint_embedding", torch.nn.Linear(2, 2)), "joint_embedding"),
        (lambda mace: setattr(mace.interactions[1], "avg_num_neighbors", 9.0), r"several avg_num_neighbors \(\[9\.0"),
        (lambda mace: setattr(mace, "extra", torch.nn.Linear(2, 2)), r"unknown or of another shape: extra\.weight"),
        (lambda mace: setattr(mace.radial_embedding, "bessel_fn", torch.nn.Identity()), "radial_type"),
        (lambda mace: mace.node_embedding.linear.__delattr__("weight"), r"node_embedding\.linear\.weight"),
    ],
    ids=["inputs", "neighbours", "extra", "functions", "missing"],
)
def test_what_is_not_supported_is_named(files, tmp_path, change, said):
    mace = torch.load(files("gaussian").file, weights_only=False)  # our own file
    change(mace)
    torch.save(mace, tmp_path / "other.model")
    with pytest.raises(CheckpointError, match=said):
        convert(tmp_path / "other.model", tmp_path / "out.safetensors")


def test_a_model_in_single_precision_and_numbers_of_numpy(files, tmp_path):
    """As foundation models are stored; avg_num_neighbors may be a NumPy scalar."""
    mace = checkpoint("gaussian").float()
    for interaction in mace.interactions:
        interaction.avg_num_neighbors = np.float64(21.5)
    torch.save(mace, tmp_path / "single.model")
    card = convert(tmp_path / "single.model", tmp_path / "single.safetensors")
    assert card["avg_num_neighbors"] == 21.5 and card["r_max_angstrom"] == 5.0
    assert load(tmp_path / "single.safetensors", dtype=torch.float64).energy_offsets.dtype == torch.float64
