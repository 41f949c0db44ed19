"""The model in TorchSim: batches of systems give the calculator's numbers, and its dynamics conserve energy."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from export_examples import CUTOFFS, TOLERANCE, all_structures, expected

torch_sim = pytest.importorskip("torch_sim", reason="torch-sim-atomistic is not installed")

from torch_sim.models.interface import validate_model_outputs  # noqa: E402

from fcl.engines.torchsim import FCLTorchSimModel  # noqa: E402

CPU = torch.device("cpu")


def compared(model, potential, frames, pbc=None, cutoffs=CUTOFFS):
    """Every system of one batch against the calculator; with ``pbc`` in place of TorchSim's own."""
    state = torch_sim.io.atoms_to_state(frames, CPU, torch.float64)
    if pbc is not None:
        state.pbc = pbc
    output = potential(state)
    assert ("stress" in output) == potential.compute_stress
    first = 0
    for index, atoms in enumerate(frames):
        reference = expected(model, atoms, cutoffs)
        assert float(output["energy"][index]) == pytest.approx(reference.get_potential_energy(), abs=TOLERANCE)
        forces = output["forces"][first : first + len(atoms)].numpy()
        np.testing.assert_allclose(forces, reference.get_forces(), rtol=0, atol=TOLERANCE)
        if potential.compute_stress:
            stress = output["stress"][index].numpy()
            np.testing.assert_allclose(stress, reference.get_stress(voigt=False), rtol=0, atol=TOLERANCE)
        first += len(atoms)


def test_batches(model):
    groups = {tuple(pbc): [] for pbc in ([True] * 3, [False] * 3, [True, True, False], [True, False, False])}
    for atoms in all_structures():
        groups[tuple(atoms.pbc)].append(atoms)
    assert all(len(frames) > 1 for frames in groups.values())
    for pbc, frames in groups.items():
        potential = FCLTorchSimModel(model, CUTOFFS, compute_stress=all(pbc))
        # TorchSim 0.3 knows periodic and not; later versions have one value an axis
        compared(model, potential, frames, None if len(set(pbc)) == 1 else torch.tensor(pbc))


def test_cutoffs_that_follow_the_environment(model):
    crystals = [atoms for atoms in all_structures() if atoms.pbc.all()]
    for scheme in ("neighbours=9.5,lower=3.5", "dynamic=14,lower=3.5"):
        compared(model, FCLTorchSimModel(model, scheme), crystals, cutoffs=scheme)


def test_the_interface_is_that_of_torchsim(model):
    potential = FCLTorchSimModel(model, CUTOFFS, compute_stress=False)
    validate_model_outputs(potential, CPU, torch.float64)
    assert potential.dtype == torch.float64 and potential.device == CPU
    assert potential.memory_scales_with == "n_atoms_x_density"


def test_stress_without_a_volume_is_refused(model):
    state = torch_sim.io.atoms_to_state([molecule("CH4")], CPU, torch.float64)
    with pytest.raises(ValueError, match="without a cell volume"):
        FCLTorchSimModel(model, CUTOFFS)(state)


def test_the_skin_changes_nothing_but_the_number_of_lists(model):
    """Ten steps of two crystals that move, then one of a cell that was strained."""
    frames = [bulk("KCl", "rocksalt", a=6.3), bulk("Si", "diamond", a=5.43)]
    state = torch_sim.io.atoms_to_state(frames, CPU, torch.float64)
    fresh, kept = FCLTorchSimModel(model, CUTOFFS, skin=0.0), FCLTorchSimModel(model, CUTOFFS, skin=0.4)
    generator = torch.Generator().manual_seed(5)
    for step in range(11):
        state.positions = state.positions + 0.06 * torch.randn(state.positions.shape, generator=generator)
        if step == 10:
            state.cell, state.positions = 0.9 * state.cell, 0.9 * state.positions
        for name, value in fresh(state).items():
            assert torch.allclose(kept(state)[name], value, rtol=0, atol=1e-12), (step, name)
    assert fresh.rebuilds == 11 and 2 < kept.rebuilds < 9


def test_dynamics_conserve_energy(model):
    frames = [bulk("KCl", "rocksalt", a=6.3, cubic=True), bulk("Si", "diamond", a=5.43, cubic=True)]
    potential = FCLTorchSimModel(model, CUTOFFS, compute_stress=False)
    start = torch_sim.io.atoms_to_state(frames, CPU, torch.float64)
    kT = torch.tensor(600 * 8.617333262e-5)
    begin, step = torch_sim.integrators.nve(
        potential, dt=torch.tensor(0.001 * torch_sim.units.MetalUnits.time), kT=kT, seed=3
    )
    state = begin(start)

    def kinetic(state):
        each = 0.5 * (state.momenta**2).sum(1) / state.masses
        return torch.zeros_like(state.energy).index_add(0, state.system_idx, each)

    before = state.energy + kinetic(state)
    moved = state.energy.clone()
    for _ in range(50):
        state = step(state)
    assert ((state.energy - moved).abs() > 5e-4).all()  # five times what may drift
    assert ((state.energy + kinetic(state) - before).abs() < 1e-4).all()


def test_what_is_refused(model):
    with pytest.raises(ValueError, match="atom by atom"):
        FCLTorchSimModel(model, np.array([4.0, 5.0]))
    with pytest.raises(ValueError, match="skin: -1.0 A is not a length"):
        FCLTorchSimModel(model, CUTOFFS, skin=-1.0)
    potential = FCLTorchSimModel(model, {"Si": 5.0}, compute_stress=False)
    with pytest.raises(ValueError, match="no cutoff is given for C"):
        potential(torch_sim.io.atoms_to_state([molecule("CH4")], CPU, torch.float64))
    state = torch_sim.io.atoms_to_state([bulk("Si")], CPU, torch.float64)
    state.positions[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        potential(state)
