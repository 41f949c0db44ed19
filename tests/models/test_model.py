"""The models: parameter counts, equality with mace-torch, both backends, initialisation from pre-trained weights."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from examples import ARITHMETIC, enlarged, mace_inputs
from fcl.cutoffs.rules import uniform_cutoffs
from fcl.cutoffs.sampling import sample_cutoffs
from fcl.models.conditioning import CutoffEmbedding
from fcl.models.interface import count_parameters
from fcl.models.mace.backbone import ScaleShiftMACE, backbone_arguments
from fcl.models.mace.model import build
from tolerances import EQUAL, EQUAL_GRADIENTS


@pytest.fixture(scope="module")
def flexible(model_settings):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    return enlarged(build("fcl", model_settings, 7.0))


@pytest.fixture(scope="module")
def static(model_settings):
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1)
    return enlarged(build("static", model_settings, 5.5, 31.0))


def everything(graphs):
    return graphs.batch(torch.arange(len(graphs)))


def periodic(graphs):
    """Batch of the structures that have a volume."""
    return graphs.batch(torch.nonzero(torch.linalg.det(graphs.cells).abs() > 0).flatten())


def sampled(batch, seed=3):
    return sample_cutoffs(batch.n_atoms, 3.5, 7.0, torch.Generator().manual_seed(seed), torch.float64)


def test_parameter_counts(model_settings):
    static = count_parameters(build("static", model_settings, 6.0, 50.0))
    assert static == 362_800
    released = count_parameters(build("fcl", model_settings, 7.0))
    assert released == 371_962 and released - static == 9_162
    literal = model_settings.model_copy(update={"cutoff_embedding": "literal"})
    assert count_parameters(build("fcl", literal, 7.0)) - static == 5_034


def test_the_released_embedding_is_that_of_the_authors_code():
    """Their code calls mace-torch's GenericJointEmbedding: with its weights the values are the same."""
    from mace.modules.embeddings import GenericJointEmbedding

    spec = {"type": "continuous", "per": "node", "in_dim": 1, "emb_dim": 64}
    theirs = GenericJointEmbedding(base_dim=32, embedding_specs={"cutoff": spec}, out_dim=32)
    ours = {kind: CutoffEmbedding(64, 32, kind) for kind in ("released", "released_no_silu")}
    cutoffs = torch.linspace(0.5, 9.0, 50)[:, None]
    expected = theirs(torch.zeros(50, dtype=torch.int64), {"cutoff": cutoffs})
    for embedding in ours.values():
        embedding.network.load_state_dict(theirs.embedders["cutoff"].state_dict())
        embedding.projection.load_state_dict({"weight": theirs.project[0].weight})
    torch.testing.assert_close(ours["released"](cutoffs), expected, rtol=0, atol=1e-14)
    before = ours["released_no_silu"](cutoffs)
    torch.testing.assert_close(torch.nn.functional.silu(before), expected, rtol=0, atol=1e-14)
    assert (before - expected).abs().max() > 0.01


@pytest.mark.parametrize("backend", ["fast", "reference"])
def test_static_equals_mace_torch(static, model_settings, contract_graphs, backend):
    """Energies, forces and stress of a static model are those of mace-torch's own model with the same weights."""
    theirs = ScaleShiftMACE(**backbone_arguments(model_settings, 5.5, 31.0))
    theirs.load_state_dict(static.state_dict())
    static.backend = backend
    batch = periodic(contract_graphs)
    batch = contract_graphs.select_pairs(batch, uniform_cutoffs(batch.numbers, 5.5, torch.float64), ARITHMETIC)
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
    ours = build("fcl", model_settings, cutoff, backend=backend)
    ours.load_backbone(theirs.state_dict())
    ours.radial_embedding.network = Identity()
    torch.nn.init.zeros_(ours.cutoff_embedding.projection.weight)
    for batch, stress in ((periodic(graphs), True), (everything(graphs), False)):
        cutoffs = uniform_cutoffs(batch.numbers, cutoff, torch.float64)
        batch = graphs.select_pairs(batch, cutoffs, ARITHMETIC)
        result = ours(batch, cutoffs, stress=stress)
        expected = theirs(mace_inputs(batch), compute_stress=stress)
        for key in ("energy", "forces", "stress") if stress else ("energy", "forces"):
            torch.testing.assert_close(result[key], expected[key], **EQUAL)


def test_backends_agree_with_sampled_cutoffs(flexible, contract_graphs):
    """Fast and reference: energies, forces, parameter gradients and cutoff gradients of a training loss."""
    results = {}
    for backend in ("reference", "fast"):
        flexible.backend = backend
        flexible.zero_grad()
        batch = everything(contract_graphs)
        cutoffs = sampled(batch).requires_grad_(True)
        batch = contract_graphs.select_pairs(batch, cutoffs, ARITHMETIC)
        output = flexible(batch, cutoffs, training=True)
        loss = output["energy"].abs().sum() + (output["forces"] - batch.forces).abs().mean()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in flexible.named_parameters() if p.grad is not None}
        results[backend] = (output["energy"].detach(), output["forces"].detach(), cutoffs.grad, gradients)
    reference, fast = results["reference"], results["fast"]
    for a, b in zip(fast[:3], reference[:3], strict=True):
        torch.testing.assert_close(a, b, **EQUAL)
    assert set(fast[3]) == set(reference[3])
    for name in fast[3]:
        torch.testing.assert_close(fast[3][name], reference[3][name], **EQUAL_GRADIENTS, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"radial_mlp": (16,)},
        {"num_bessel": 1, "polynomial_order": 2},
        {"mlp_irreps": "4x0e + 3x0e", "num_elements": 118},
        {"cutoff_embedding": "literal", "mixing_rule": "geometric"},
    ],
    ids=str,
)
def test_backends_agree_for_other_settings(small_settings, contract_graphs, changes):
    """Whatever the fast path claims to cover it evaluates as mace-torch's blocks do."""
    model = build("fcl", small_settings.model_copy(update=changes), 7.0, 10.0)
    model = enlarged(model, factor=60.0)
    assert model.backend == "fast"
    batch = periodic(contract_graphs)
    cutoffs = sampled(batch)
    batch = contract_graphs.select_pairs(batch, cutoffs, model.selector)
    fast = model(batch, cutoffs, stress=True)
    model.backend = "reference"
    for key, expected in model(batch, cutoffs, stress=True).items():
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(fast[key], expected, **EQUAL)


def test_load_backbone_takes_the_weights_and_refuses_others(model_settings, static):
    flexible = build("fcl", model_settings, 7.0)
    fresh = flexible.radial_embedding.network[0].weight.clone()
    flexible.load_backbone(static.state_dict())
    torch.testing.assert_close(flexible.interactions[1].linear.weight, static.interactions[1].linear.weight)
    assert torch.equal(flexible.radial_embedding.network[0].weight, fresh)
    assert flexible.interactions[0].avg_num_neighbors == 50.0
    assert float(flexible.r_max) == 7.0
    small = model_settings.model_copy(update={"hidden_irreps": "16x0e + 16x1o"})
    with pytest.raises(ValueError, match="do not fit"):
        build("fcl", small, 7.0).load_backbone(static.state_dict())


def test_misuse_is_an_error(flexible, model_settings, graphs):
    batch = everything(graphs)
    with pytest.raises(ValueError, match="select_pairs"):
        flexible(batch)
    cutoffs = uniform_cutoffs(batch.numbers, 4.0, torch.float64)
    with pytest.raises(ValueError, match="requires per-atom cutoffs"):
        flexible(graphs.select_pairs(batch, cutoffs, ARITHMETIC))
    with pytest.raises(ValueError, match="r_max"):
        graphs.select_pairs(batch, cutoffs + 3.5, ARITHMETIC)
    with pytest.raises(ValueError, match="fast path"):
        build("static", model_settings.model_copy(update={"correlation": 2}), 4.0, 10.0, backend="fast")
    assert build("static", model_settings.model_copy(update={"correlation": 2}), 4.0, 10.0).backend == "reference"
    assert np.isfinite(float(flexible.r_max))


@pytest.mark.heavy
def test_safe_loading_stays_on():
    """Importing mace-torch would allow pickles for the whole process; importing ours must not."""
    program = "import os, fcl.models.mace.wrapper as m; assert 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD' not in os.environ"
    environment = {name: value for name, value in os.environ.items() if name != "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, env=environment)
