"""Models whose error at given cutoffs is known."""

import torch

from examples import ARITHMETIC


class Shrinking(torch.nn.Module):
    """A model whose error in every force component is slope (6 - mean cutoff of the structure)^power, 0 above 6 A."""

    flexible, single_cutoff, cutoff_limit, card = True, False, 7.0, {"r_min_angstrom": 3.5}

    def __init__(self, slope, power=1.0):
        super().__init__()
        self.slope, self.power = slope, power
        self.selector = ARITHMETIC

    def check_cutoff(self, cutoff):
        assert cutoff <= self.cutoff_limit

    def forward(self, batch, cutoffs, **_):
        mean = cutoffs.new_zeros(batch.n_structures).index_add(0, batch.structure, cutoffs) / batch.atoms_per_structure
        offset = self.slope * ((6.0 - mean).clamp(min=0.0) + 1e-4).index_select(0, batch.structure) ** self.power
        return {"energy": batch.energy, "forces": batch.forces + offset[:, None]}


class Offset(Shrinking):
    """1 eV/A in every force component at 6 A and above, more by ``slope`` per A below."""

    def forward(self, batch, cutoffs, **options):
        found = super().forward(batch, cutoffs, **options)
        return found | {"forces": found["forces"] + 1.0}
