"""Parents of the subsets SHIFTML-molcrys (packings) and SHIFTML-molfrags (molecules, dimers, clusters)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import s22
from ase.data import vdw_radii

# Atomic volumes (A^3) in molecular crystals; the sum over a molecule determines the density of the packing.
ATOMIC_VOLUME = {"H": 5.1, "C": 13.9, "N": 11.8, "O": 11.4, "Si": 30.0, "P": 29.5, "S": 25.2, "Cl": 25.8}


def _urea(chalcogen: str, bond: float) -> Atoms:
    """Planar urea (O) or thiourea (S); ``bond`` is the length of its double bond in A."""
    atoms = Atoms(["C", chalcogen], positions=[[0, 0, 0], [0, bond, 0]])
    for side in (1.0, -1.0):
        nitrogen = np.array([side * 1.155, -0.70, 0.0])
        atoms += Atoms("N", positions=[nitrogen])
        atoms += Atoms("HH", positions=[nitrogen + [side * 0.87, 0.50, 0.0], nitrogen + [0.0, -1.0, 0.0]])
    return atoms


def _formamide(chalcogen: str, bond: float) -> Atoms:
    """Planar formamide (O) or thioformamide (S)."""
    positions = [
        [0, 0, 0],
        [0, bond, 0],
        [1.155, -0.70, 0],
        [2.02, -0.20, 0],
        [1.155, -1.70, 0],
        [-0.96, -0.55, 0],
    ]
    return Atoms(["C", chalcogen, "N", "H", "H", "H"], positions=positions)


_CUSTOM: dict[str, Callable[[], Atoms]] = {
    "urea": lambda: _urea("O", 1.24),
    "thiourea": lambda: _urea("S", 1.69),
    "HCONH2": lambda: _formamide("O", 1.22),
    "HCSNH2": lambda: _formamide("S", 1.65),
}


def single(name: str) -> Atoms:
    """One molecule, by its name in ASE's g2 collection or in this module."""
    return _CUSTOM[name]() if name in _CUSTOM else molecule(name)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """Uniformly distributed rotation matrix (3, 3), from a random quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


_SITES = {
    1: [(0, 0, 0)],
    2: [(0, 0, 0), (0.5, 0.5, 0.5)],
    3: [(0, 0, 0), (0.5, 0.5, 1 / 3), (0, 0.5, 2 / 3)],
    4: [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)],
}


def _contact(positions: np.ndarray, radii: np.ndarray, owner: np.ndarray, cell: np.ndarray | None) -> float:
    """Smallest distance between molecules (images included) as a fraction of the sum of van der Waals radii."""
    shifts = np.zeros((1, 3)) if cell is None else np.array(list(np.ndindex(3, 3, 3))) - 1.0
    moved = positions[None] + (shifts @ cell)[:, None] if cell is not None else positions[None]
    distance = np.linalg.norm(positions[None, :, None] - moved[:, None], axis=-1)
    ratio = distance / (radii[:, None] + radii[None])
    same = owner[:, None] == owner[None]
    home = ~shifts.any(axis=1)
    ratio[np.ix_(np.flatnonzero(home))] = np.where(same, np.inf, ratio[home])
    return float(ratio.min())


def _radii(atoms: Atoms) -> np.ndarray:
    return np.array([vdw_radii[z] for z in atoms.numbers])


def packing(names: Sequence[str], seed: int, trials: int = 150) -> Atoms:
    """1 to 4 molecules in an orthorhombic cell at the density of molecular crystals.

    Orientations and edge ratios are the best of ``trials`` random draws, i.e. those with the largest closest contact.
    ``arrays["molecule"]`` is the index of the molecule of each atom.
    """
    rng = np.random.default_rng(seed)
    parts = [single(name) for name in names]
    atoms = sum(parts[1:], parts[0])
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    radii = _radii(atoms)
    volume = 1.05 * sum(ATOMIC_VOLUME[s] for s in atoms.get_chemical_symbols())
    best = (-1.0, None, None)
    for _ in range(trials):
        edges = np.exp(rng.uniform(-0.25, 0.25, size=3))
        edges *= (volume / edges.prod()) ** (1.0 / 3.0)
        positions = np.concatenate(
            [
                (p.positions - p.positions.mean(axis=0)) @ rotation(rng).T + np.array(site) * edges
                for p, site in zip(parts, _SITES[len(parts)], strict=True)
            ]
        )
        contact = _contact(positions, radii, owner, np.diag(edges))
        if contact > best[0]:
            best = (contact, positions, edges)
    packed = Atoms(atoms.numbers, positions=best[1], cell=best[2], pbc=True)
    packed.arrays["molecule"] = owner
    return packed


def cluster(names: Sequence[str], seed: int, contact: float = 0.82) -> Atoms:
    """Molecules brought together from random directions until their closest contact is ``contact`` van der Waals sums:
    a fragment of a disordered packing, without periodicity."""
    rng = np.random.default_rng(seed)
    grown = single(names[0])
    grown.positions -= grown.positions.mean(axis=0)
    owner = np.zeros(len(grown), dtype=int)
    for index, name in enumerate(names[1:], start=1):
        guest = single(name)
        turned = (guest.positions - guest.positions.mean(axis=0)) @ rotation(rng).T
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        trial = grown + guest
        labels = np.concatenate([(owner >= 0).astype(int) - 1, np.ones(len(guest), dtype=int)])
        for distance in np.arange(1.0, 15.0, 0.05):
            trial.positions[len(grown) :] = turned + distance * direction
            if _contact(trial.positions, _radii(trial), labels, None) >= contact:
                break
        owner = np.concatenate([owner, np.full(len(guest), index)])
        grown = trial
    grown.arrays["molecule"] = owner
    return grown


def _whole(atoms: Atoms) -> Atoms:
    atoms = Atoms(atoms.numbers, positions=atoms.positions)
    atoms.arrays["molecule"] = np.zeros(len(atoms), dtype=int)
    return atoms


def _isolated(name: str) -> Atoms:
    return _whole(single(name))


def dimer(name: str) -> Atoms:
    """A complex of ASE's s22 collection."""
    return _whole(s22[name])


def stretchable(name: str, moving: Sequence[int], first: int, second: int) -> Atoms:
    """A molecule whose bond ``first``-``second`` will be stretched by moving the atoms in ``moving``."""
    atoms = _whole(single(name))
    atoms.info["stretch"] = {"moving": list(moving), "bond": (first, second)}
    return atoms


PACKINGS: list[str] = """
H2O*4 NH3*4 CH4*2 CO2*4 SH2*4 HCN*4 CH3OH*2 HCONH2*2 CH3SH*2 urea*2 HCOOH*2 CH3Cl*2 thiourea*1 C2H2*4 C2H4*2
PH3*4 SiH4*2 H2O*2+NH3*2 CH4+H2O*2 H2O*2+CO2*2 NH3*2+CO2*2 H2O*2+SH2*2 HCN*2+H2O*2 CH3OH+H2O*2 CH3CN+H2O*2
HCONH2+H2O*2 HCOOH+NH3*2 CH3SH+H2O*2 H2CO*4 SO2*4 CS2*4 OCS*4 N2O*4 C2H6*2 H2CCl2*2 HCN+CH3SH HCl*4
Si2H6*1+H2O*2 PH3*2+H2O*2 N2H4*2 H2O2*4 H3CNH2*2 CH3NO2*2 C4H4S*1 C4H4O*1 C4H4NH*1 CH3CONH2*1 CH3COOH*2
C2H6SO*1 CH3CH2SH*1 NCCN*2 HCONH2+SH2*2 HCN*2+SH2*2 HCSNH2*2 urea+H2O*2 CH3SH+NH3*2 OCS+NH3*3 SO2+CH3OH*2
CH3CHO*2 thiourea*2
""".split()

_SINGLES = """
CH3SH CH3OH HCONH2 urea thiourea HCSNH2 HCOOH CH3CN CH3NO2 CH3Cl H2CCl2 CH3CH2SH SiH4 CH3SiH3 C2H6 C2H4
CH3COCH3 CO2 isobutene OCS SO2 HCOOCH3 C3H9N trans-butane C2H6CHOH C4H4S C4H4O C4H4NH C5H5N C6H6 CH3CONH2
C2H6SO CH3COCl C2H6NH CH3CHO
""".split()
_DIMERS = (
    "Ammonia_dimer Water_dimer Formic_acid_dimer Formamide_dimer Methane_dimer Ethene_dimer Ethene-ethyne_complex"
).split()
_CLUSTERS = (
    "H2O*3 CH3SH+H2O HCONH2+SH2 CH3OH+NH3 urea+H2O CO2+H2O*2 CH3SH+NH3+H2O HCSNH2+CH3OH SiH4+H2O PH3+HCl+H2O"
).split()
# For the diatomic curves: H-O, C-C and C-O bonds from short to long.
_STRETCHED: dict[str, tuple[str, Sequence[int], int, int]] = {
    "stretch-CO": ("CO", (1,), 0, 1),
    "stretch-H2O": ("H2O", (1,), 0, 1),
    "stretch-CO2": ("CO2", (1,), 0, 1),
    "stretch-C2H2": ("C2H2", (1, 2), 0, 1),
    "stretch-C2H4": ("C2H4", (1, 4, 5), 0, 1),
    "stretch-CH3OH": ("CH3OH", (1, 3), 0, 1),
    "stretch-H2CO": ("H2CO", (0,), 1, 0),
    "stretch-H2O2": ("H2O2", (2,), 0, 2),
}


def expand(formula: str) -> list[str]:
    """``"H2O*2+NH3"`` to ``["H2O", "H2O", "NH3"]``."""
    names: list[str] = []
    for term in formula.split("+"):
        name, _, count = term.partition("*")
        names += [name] * int(count or 1)
    return names


MOLECULAR_CRYSTALS: dict[str, Callable[[], Atoms]] = {
    formula: partial(packing, expand(formula), seed) for seed, formula in enumerate(PACKINGS)
}
FRAGMENTS: dict[str, Callable[[], Atoms]] = {
    **{name: partial(_isolated, name) for name in _SINGLES},
    **{name: partial(dimer, name) for name in _DIMERS},
    **{formula: partial(cluster, expand(formula), seed) for seed, formula in enumerate(_CLUSTERS)},
    **{name: partial(stretchable, *spec) for name, spec in _STRETCHED.items()},
}
