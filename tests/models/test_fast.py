"""The fast and the compiled path against mace-torch's blocks in float64, on embedded structures of every kind."""

import pytest
import torch

from examples import ARITHMETIC, enlarged
from fcl.cutoffs.rules import uniform_cutoffs
from fcl.cutoffs.sampling import sample_cutoffs
from fcl.data.batch import GraphData
from fcl.data.read import read_frames
from fcl.data.store import arrays_from_frames
from fcl.models.compile import CompiledEnergies
from fcl.models.compile_cpu import onednn_multiplies
from fcl.models.files import build_model
from project import ROOT
from tolerances import FLOAT32

VALIDATION = ROOT / "resources" / "embedded" / "val.xyz.gz"
RELATIVE = 1e-10  # float64, the same mathematics in another order
CUTOFF = 5.5


@pytest.fixture(scope="module")
def kinds(frames):
    """Two embedded structures of each subset, and the difficult cells of `examples.structures`."""
    chosen, embedded = {}, list(read_frames(VALIDATION))
    for frame in sorted(embedded, key=len):
        chosen.setdefault(frame.subset, []).append(frame)
    assert len(chosen) == 4
    picked = [frame for group in chosen.values() for frame in (group[0], group[len(group) // 2])]
    return GraphData(arrays_from_frames([*picked, *frames], 7.0), torch.float64)


def model_of(kind, settings):
    torch.manual_seed(1)
    return enlarged(build_model(kind, settings, 7.0 if kind == "fcl" else CUTOFF, 31.0, dtype=torch.float64))


def selected(graphs, kind, indices, seed=3):
    """A batch with pairs, and cutoffs that want a gradient (None for a static model)."""
    batch = graphs.batch(indices)
    if kind == "static":
        return graphs.select_pairs(batch, uniform_cutoffs(batch.numbers, CUTOFF, torch.float64), ARITHMETIC), None
    cutoffs = sample_cutoffs(batch.n_atoms, 3.5, 7.0, torch.Generator().manual_seed(seed), torch.float64)
    cutoffs = cutoffs.to(graphs.dtype)
    return graphs.select_pairs(batch, cutoffs, ARITHMETIC), cutoffs.requires_grad_(True)


def results(model, backend, graphs, kind, indices, seed=3, stress=False):
    """Everything that a training step or an evaluation gives, by name."""
    model.backend = backend
    return evaluated(model, graphs, kind, indices, seed, stress)


def evaluated(model, graphs, kind, indices, seed=3, stress=False):
    batch, cutoffs = selected(graphs, kind, indices, seed)
    model.zero_grad()
    output = model(batch, cutoffs, training=True, stress=stress)
    loss = ((output["energy"] - batch.energy).abs() / batch.atoms_per_structure).mean()
    loss = loss + (output["forces"] - batch.forces).abs().mean()
    loss.backward()
    found = {name: value.detach() for name, value in output.items()}
    found |= {f"gradient of {name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    if cutoffs is not None:
        found["gradient of the cutoffs"] = cutoffs.grad.clone()
    plain = model(batch, None if cutoffs is None else cutoffs.detach(), stress=stress)
    return found | {f"evaluated {name}": value for name, value in plain.items()}


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        scale = float(value.abs().max())
        assert torch.isfinite(found[name]).all(), name
        assert float((found[name] - value).abs().max()) <= RELATIVE * scale, name


def with_volume(graphs):
    return torch.nonzero(torch.linalg.det(graphs.cells).abs() > 0).flatten()


@pytest.mark.parametrize("kind", ["static", "fcl"])
def test_fast_equals_reference(model_settings, kinds, kind):
    model = model_of(kind, model_settings)
    for indices, stress in ((torch.arange(len(kinds)), False), (with_volume(kinds), True)):
        expected = results(model, "reference", kinds, kind, indices, stress=stress)
        gradients = [value for name, value in expected.items() if name.startswith("gradient")]
        assert len(gradients) > 20 and all(value.abs().max() > 0 for value in gradients)
        assert_equal(results(model, "fast", kinds, kind, indices, stress=stress), expected)


@pytest.mark.heavy
@pytest.mark.parametrize("kind", [pytest.param("static", marks=pytest.mark.slow), "fcl"])
def test_the_compiled_program_equals_reference(small_settings, kinds, kind):
    """The traced program with its derivative taken by AOTAutograd, without code generation (which takes a minute)."""
    model = model_of(kind, small_settings)
    batches = [torch.arange(len(kinds)), torch.arange(5), with_volume(kinds)]
    expected = [results(model, "reference", kinds, kind, indices) for indices in batches]
    stressed = results(model, "reference", kinds, kind, batches[2], stress=True)
    model.backend = "compiled"
    assert model.backend == "compiled"
    model._compiled = CompiledEnergies(model, backend="aot_eager")
    torch._dynamo.utils.counters.clear()
    for indices, values in zip(batches, expected, strict=True):
        assert_equal(evaluated(model, kinds, kind, indices), values)
    programs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert programs == 2  # training and evaluation; no other for another size
    assert_equal(evaluated(model, kinds, kind, batches[2], stress=True), stressed)
    # Parameters are inputs of the program: it follows them.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    changed = evaluated(model, kinds, kind, batches[0])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == programs
    assert_equal(changed, results(model, "reference", kinds, kind, batches[0]))


@pytest.mark.slow
def test_compiled_code_equals_reference(small_settings, kinds, tmp_path, monkeypatch):
    """The same with generated code, in training of a flexible model."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model, everything = model_of("fcl", small_settings), torch.arange(len(kinds))
    model.backend = "reference"
    expected = training_step(model, kinds, everything)
    model.backend = "compiled"
    assert_equal(training_step(model, kinds, everything), expected)


@pytest.mark.slow
@pytest.mark.skipif(not onednn_multiplies(torch.zeros(1)), reason="this PyTorch has no oneDNN")
def test_products_by_onednn_in_float32(small_settings, frames):
    """Float32 on a CPU: pairs fill whole blocks, products are oneDNN's, and only rounding changes."""
    arrays, everything = arrays_from_frames(frames, 7.0), torch.arange(len(frames))
    model = model_of("fcl", small_settings)
    expected = training_step(model, GraphData(arrays, torch.float64), everything)
    model = model.float()
    model.backend = "compiled"
    model._compiled = CompiledEnergies(model, backend="aot_eager")
    found = training_step(model, GraphData(arrays, torch.float32), everything)
    ((_, program),) = model._compiled._programs.values()
    products = program._orig_mod.graph.find_nodes(op="call_function", target=torch.ops.fcl.tall_product.default)
    assert len(products) >= 10
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert float((found[name] - value).abs().max()) <= FLOAT32 * float(value.abs().max()), name


def training_step(model, graphs, indices):
    """Loss, and its gradients with respect to parameters and cutoffs."""
    batch, cutoffs = selected(graphs, "fcl", indices)
    output = model(batch, cutoffs, training=True)
    loss = (output["energy"] - batch.energy).abs().mean() + (output["forces"] - batch.forces).abs().mean()
    named = dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, [cutoffs, *named.values()], allow_unused=True)
    found = {name: value for name, value in zip(["cutoffs", *named], gradients, strict=True) if value is not None}
    return found | {"loss": loss.detach(), "forces": output["forces"].detach()}


def test_compiled_without_pairs_is_evaluated_eagerly(small_settings, graphs):
    """A lonely atom, and two atoms out of reach: there is no program for sizes 0 and 1."""
    model = model_of("fcl", small_settings)
    for indices in (torch.tensor([6]), torch.tensor([7])):
        expected = results(model, "reference", graphs, "fcl", indices)
        found = results(model, "compiled", graphs, "fcl", indices)
        assert model._compiled._programs == {}
        torch.testing.assert_close(found["energy"], expected["energy"])
        assert float(found["forces"].abs().max()) == 0.0


@pytest.mark.heavy
def test_a_program_is_made_for_each_precision(small_settings, frames):
    model = model_of("fcl", small_settings)
    model.backend = "compiled"
    model._compiled = CompiledEnergies(model, backend="eager")
    double, single = (GraphData(arrays_from_frames(frames[:3], 7.0), dtype) for dtype in (torch.float64, torch.float32))
    for data in (double, single, double):
        model.to(data.dtype)
        batch = data.batch(torch.arange(3))
        cutoffs = uniform_cutoffs(batch.numbers, 5.0, data.dtype)
        batch = data.select_pairs(batch, cutoffs, ARITHMETIC)
        assert model(batch, cutoffs)["forces"].dtype == data.dtype


def test_what_the_path_does_not_cover_is_said(model_settings):
    settings = model_settings.model_copy(update={"correlation": 2})
    with pytest.raises(ValueError, match="compiled path covers"):
        build_model("static", settings, 4.0, 10.0, backend="compiled")


@pytest.mark.heavy
def test_a_program_is_made_for_each_number_of_threads(small_settings, frames, monkeypatch):
    """The number is given to TorchInductor, whose caches on disk do not look at torch's: it is part of the code."""
    wanted = []

    def compiled(program, backend, fullgraph, options):
        wanted.append(options)
        return program

    monkeypatch.setattr(torch, "compile", compiled)
    model = model_of("fcl", small_settings)
    model.backend = "compiled"
    data = GraphData(arrays_from_frames(frames[:3], 7.0), torch.float64)
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            batch = data.batch(torch.arange(3))
            cutoffs = uniform_cutoffs(batch.numbers, 5.0, data.dtype)
            model(data.select_pairs(batch, cutoffs, ARITHMETIC), cutoffs)
    finally:
        torch.set_num_threads(1)
    assert wanted == [{"cpp.threads": 1}, {"cpp.threads": 2}]


@pytest.mark.slow
def test_sums_of_several_threads_are_in_order(small_settings, kinds):
    """With two threads the program sums by kernels that give the same bits again, and the same derivatives."""
    model, everything = model_of("fcl", small_settings), torch.arange(len(kinds))
    expected = results(model, "reference", kinds, "fcl", everything)
    model.backend = "compiled"
    model._compiled = CompiledEnergies(model, backend="aot_eager")
    try:
        torch.set_num_threads(2)
        assert_equal(evaluated(model, kinds, "fcl", everything), expected)
    finally:
        torch.set_num_threads(1)
    ((_, program),) = model._compiled._programs.values()
    targets = {str(node.target) for node in program._orig_mod.graph.nodes}
    assert "aten.scatter_add_.default" in targets and "aten.gather.default" in targets
    assert not any(name.startswith(("aten.index_add", "aten.index_select")) for name in targets)
