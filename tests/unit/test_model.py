"""The models: parameter counts, equality with mace-torch, both backends, derivatives, initialisation."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from examples import enlarged
from fcl.cutoffs import sample_cutoffs, uniform_cutoffs
from fcl.model.backbone import ScaleShiftMACE, backbone_arguments
from fcl.model.mace import FlexibleMACE, StaticMACE, count_parameters

EQUAL = {"rtol": 1e-10, "atol": 1e-10}  # float64, the same mathematics in another order


@pytest.fixture(scope="module")
def flexible(model_settings):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    return enlarged(FlexibleMACE(model_settings, 7.0))


@pytest.fixture(scope="module")
def static(model_settings):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    return enlarged(StaticMACE(model_settings, 5.5, 31.0))


def everything(graphs):
    return graphs.batch(torch.arange(len(graphs)))


def periodic(graphs):
    """Batch of the structures that have a volume."""
    return graphs.batch(torch.nonzero(torch.linalg.det(graphs.cells).abs() > 0).flatten())


def sampled(batch, seed=3):
    return sample_cutoffs(batch.n_atoms, 3.5, 7.0, torch.Generator().manual_seed(seed), torch.float64)


def mace_inputs(batch):
    """A batch as the dictionary of directed edges that mace-torch takes."""
    cells = batch.cells.index_select(0, batch.pair_structure)
    shifts = torch.einsum("ps,psd->pd", batch.pair_shifts, cells)
    return {
        "positions": batch.positions.clone(),
        "node_attrs": torch.nn.functional.one_hot(batch.numbers - 1, 100).double(),
        "edge_index": torch.cat([batch.pair_index, batch.pair_index.flip(0)], dim=1),
        "shifts": torch.cat([shifts, -shifts]),
        "unit_shifts": torch.cat([batch.pair_shifts, -batch.pair_shifts]),
        "cell": batch.cells.reshape(-1, 3),
        "batch": batch.structure,
        "ptr": batch.ptr,
    }


def test_parameter_counts(model_settings):
    static = count_parameters(StaticMACE(model_settings, 6.0, 50.0))
    assert static == 362_800
    released = count_parameters(FlexibleMACE(model_settings, 7.0))
    assert released == 371_962 and released - static == 9_162
    literal = model_settings.model_copy(update={"cutoff_embedding": "literal"})
    assert count_parameters(FlexibleMACE(literal, 7.0)) - static == 5_034


@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_static_equals_mace_torch(static, model_settings, graphs, backend):
    """Energies, forces and stress of `StaticMACE` are those of mace-torch's own model with the same weights."""
    theirs = ScaleShiftMACE(**backbone_arguments(model_settings, 5.5, 31.0))
    theirs.load_state_dict(static.state_dict())
    static.backend = backend
    batch = periodic(graphs)
    batch = graphs.select_pairs(batch, uniform_cutoffs(batch.numbers, 5.5, torch.float64))
    ours = static(batch, stress=True)
    expected = theirs(mace_inputs(batch), compute_stress=True)
    assert ours["forces"].abs().max() > 1e-3
    for key in ("energy", "forces", "stress"):
        torch.testing.assert_close(ours[key], expected[key], **EQUAL)


@pytest.mark.parametrize("cutoff", [4.0, 6.0])
@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_neutral_flexible_equals_mace_torch(model_settings, graphs, cutoff, backend):
    """With u replaced by the identity on the Bessel features and q = 0, FCL at a uniform cutoff is plain MACE."""

    class Identity(torch.nn.Module):
        def forward(self, features):
            return features[:, :-1]

    theirs = enlarged(ScaleShiftMACE(**backbone_arguments(model_settings, cutoff, 50.0)))
    ours = FlexibleMACE(model_settings, cutoff, backend=backend)
    ours.load_backbone(theirs.state_dict())
    ours.radial_embedding.network = Identity()
    torch.nn.init.zeros_(ours.cutoff_embedding.projection.weight)
    for batch, stress in ((periodic(graphs), True), (everything(graphs), False)):
        cutoffs = uniform_cutoffs(batch.numbers, cutoff, torch.float64)
        batch = graphs.select_pairs(batch, cutoffs)
        result = ours(batch, cutoffs, stress=stress)
        expected = theirs(mace_inputs(batch), compute_stress=stress)
        for key in ("energy", "forces", "stress") if stress else ("energy", "forces"):
            torch.testing.assert_close(result[key], expected[key], **EQUAL)


def test_backends_agree_with_sampled_cutoffs(flexible, graphs):
    """Fast and reference: energies, forces, parameter gradients and cutoff gradients of a training loss."""
    results = {}
    for backend in ("reference", "fast"):
        flexible.backend = backend
        flexible.zero_grad()
        batch = everything(graphs)
        cutoffs = sampled(batch).requires_grad_(True)
        batch = graphs.select_pairs(batch, cutoffs)
        output = flexible(batch, cutoffs, training=True)
        loss = output["energy"].abs().sum() + (output["forces"] - batch.forces).abs().mean()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in flexible.named_parameters() if p.grad is not None}
        results[backend] = (output["energy"].detach(), output["forces"].detach(), cutoffs.grad, gradients)
    reference, fast = results["reference"], results["fast"]
    for a, b in zip(fast[:3], reference[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    assert set(fast[3]) == set(reference[3])
    for name in fast[3]:
        torch.testing.assert_close(fast[3][name], reference[3][name], rtol=1e-8, atol=1e-9, msg=name)


def energy_of(model, graphs, batch, cutoffs):
    return model(graphs.select_pairs(batch, cutoffs), cutoffs, forces=False)["energy"].sum()


def test_forces_are_minus_the_energy_gradient(flexible, graphs):
    from dataclasses import replace

    flexible.backend = "auto"
    batch = everything(graphs)
    cutoffs = sampled(batch)
    batch = graphs.select_pairs(batch, cutoffs)
    forces = flexible(batch, cutoffs)["forces"]
    step = 1e-4
    for atom, axis in [(0, 0), (5, 2), (12, 1), (20, 0)]:
        energies = []
        for sign in (1, -1):
            moved = batch.positions.clone()
            moved[atom, axis] += sign * step
            energies.append(flexible(replace(batch, positions=moved), cutoffs, forces=False)["energy"].sum())
        numeric = -(energies[0] - energies[1]) / (2 * step)
        torch.testing.assert_close(forces[atom, axis], numeric, rtol=1e-5, atol=1e-7)


def test_stress_is_the_strain_derivative(flexible, graphs):
    from dataclasses import replace

    batch = periodic(graphs)
    cutoffs = sampled(batch)
    batch = graphs.select_pairs(batch, cutoffs)
    stress = flexible(batch, cutoffs, stress=True)["stress"]
    step = 1e-4
    for a, b in [(0, 0), (1, 2)]:
        energies = []
        for sign in (1, -1):
            strain = torch.eye(3)
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            strained = replace(batch, positions=batch.positions @ strain, cells=batch.cells @ strain)
            energies.append(flexible(strained, cutoffs, forces=False)["energy"])
        numeric = (energies[0] - energies[1]) / (2 * step) / torch.linalg.det(batch.cells).abs()
        torch.testing.assert_close(stress[:, a, b], numeric, rtol=1e-5, atol=1e-8)


def test_cutoff_gradient(flexible, graphs):
    """dE/da by central differences, with the pairs selected anew on each side (the taper makes this smooth)."""
    batch = everything(graphs)
    cutoffs = sampled(batch).requires_grad_(True)
    selected = graphs.select_pairs(batch, cutoffs)
    energy = flexible(selected, cutoffs, forces=False, training=True)["energy"].sum()
    (gradient,) = torch.autograd.grad(energy, cutoffs)
    assert gradient.abs().max() > 1e-3
    for atom in (0, 8, 13, 22):
        energies = []
        for sign in (1, -1):
            shifted = cutoffs.detach().clone()
            shifted[atom] += sign * 1e-4
            energies.append(energy_of(flexible, graphs, batch, shifted))
        numeric = (energies[0] - energies[1]) / 2e-4
        torch.testing.assert_close(gradient[atom], numeric, rtol=1e-4, atol=1e-7)


def test_pair_vanishes_smoothly_at_its_own_cutoff(flexible):
    """A pair's energy and force go to zero at m_ij = (a_i + a_j) / 2, not at either atom's own radius."""
    pair = torch.tensor([[0], [1]])
    numbers, cutoffs = torch.tensor([6, 8]), torch.tensor([4.0, 5.0])

    def at(distance):
        vectors = torch.tensor([[0.0, 0.0, distance]], requires_grad=True)
        energy = flexible.site_energies(numbers, pair, vectors, cutoffs).sum()
        return energy.detach(), torch.autograd.grad(energy, vectors)[0][0, 2]

    empty = flexible.site_energies(numbers, pair[:, :0], torch.zeros(0, 3), cutoffs).sum().detach()
    inside_energy, inside_slope = at(4.3)
    assert abs(inside_energy - empty) > 1e-6 and abs(inside_slope) > 1e-6
    for distance in (4.5 - 1e-5, 4.5, 4.5 + 1e-5):
        energy, slope = at(distance)
        assert abs(energy - empty) < 1e-12 and abs(slope) < 1e-7
    assert at(4.7)[0] == pytest.approx(float(empty), abs=1e-14)


def test_batch_equals_single(flexible, graphs):
    batch = everything(graphs)
    cutoffs = sampled(batch)
    together = flexible(graphs.select_pairs(batch, cutoffs), cutoffs)
    for k in range(len(graphs)):
        single = graphs.batch(torch.tensor([k]))
        own = cutoffs[batch.structure == k]
        alone = flexible(graphs.select_pairs(single, own), own)
        torch.testing.assert_close(alone["energy"][0], together["energy"][k], **EQUAL)
        torch.testing.assert_close(alone["forces"], together["forces"][batch.structure == k], **EQUAL)


def test_total_force_is_zero(flexible, graphs):
    batch = everything(graphs)
    cutoffs = sampled(batch)
    forces = flexible(graphs.select_pairs(batch, cutoffs), cutoffs)["forces"]
    total = torch.zeros(len(graphs), 3).index_add(0, batch.structure, forces)
    assert total.abs().max() < 1e-11


def test_load_backbone_takes_the_weights_and_refuses_others(model_settings, static):
    flexible = FlexibleMACE(model_settings, 7.0)
    fresh = flexible.radial_embedding.network[0].weight.clone()
    flexible.load_backbone(static.state_dict())
    torch.testing.assert_close(flexible.interactions[1].linear.weight, static.interactions[1].linear.weight)
    assert torch.equal(flexible.radial_embedding.network[0].weight, fresh)
    assert flexible.interactions[0].avg_num_neighbors == 50.0
    assert float(flexible.r_max) == 7.0
    small = model_settings.model_copy(update={"hidden_irreps": "16x0e + 16x1o"})
    with pytest.raises(ValueError, match="do not fit"):
        FlexibleMACE(small, 7.0).load_backbone(static.state_dict())


def test_misuse_is_an_error(flexible, model_settings, graphs):
    batch = everything(graphs)
    with pytest.raises(ValueError, match="select_pairs"):
        flexible(batch)
    cutoffs = uniform_cutoffs(batch.numbers, 4.0, torch.float64)
    with pytest.raises(ValueError, match="needs the cutoffs"):
        flexible(graphs.select_pairs(batch, cutoffs))
    with pytest.raises(ValueError, match="r_max"):
        graphs.select_pairs(batch, cutoffs + 3.5)
    with pytest.raises(ValueError, match="fast path"):
        StaticMACE(model_settings.model_copy(update={"correlation": 2}), 4.0, 10.0, backend="fast")
    assert StaticMACE(model_settings.model_copy(update={"correlation": 2}), 4.0, 10.0).backend == "reference"
    assert np.isfinite(float(flexible.r_max))


def test_safe_loading_stays_on():
    """Importing mace-torch would allow pickles for the whole process; importing ours must not."""
    program = "import os, fcl.model.mace as m; assert 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ"
    environment = {name: value for name, value in os.environ.items() if name != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, env=environment)
