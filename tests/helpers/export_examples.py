"""What the tests of exported models share: a model, cutoffs for each element, structures of every kind."""

from examples import contract_model, random_structures, structures
from fcl import FCLCalculator

#: Other cutoffs (A) for each element of the structures.
CUTOFFS = {
    "H": 3.9, "Li": 4.2, "C": 4.6, "N": 4.9, "O": 5.2, "F": 5.0, "Na": 6.5, "Si": 5.7, "P": 5.4, "S": 5.6, "Cl": 6.1,
    "K": 6.8, "Ca": 5.5, "Ti": 6.4, "Fe": 6.3,
}  # fmt: skip
#: Energies (eV), forces (eV/A) and stresses (eV/A^3) in float64: the same mathematics in another order.
TOLERANCE = 1e-10


def all_structures():
    """Molecule, wire, layers, crystals, a single atom, two atoms without a pair: `structures` and random ones."""
    return [*structures(), *random_structures()]


def export_model(settings, **changes):
    """A small model in evaluation mode with forces of order 0.1 eV/A."""
    return contract_model(settings, **changes).eval()


def expected(model, atoms, cutoffs=CUTOFFS, radial="tables"):
    """The atoms with the calculator that everything is compared with."""
    atoms = atoms.copy()
    atoms.calc = FCLCalculator(model, cutoffs, radial=radial)
    return atoms
