"""Parents of the subset MC3D: ordered crystals of 4 to 16 atoms built from prototypes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

_TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)


def _cubic(formula: str, prototype: str, a: float) -> Callable[[], Atoms]:
    return lambda: bulk(formula, prototype, a=a, cubic=True)


def _space_group(
    symbols: tuple[str, ...], basis: list, group: int, cellpar: list[float], primitive: bool = False
) -> Callable[[], Atoms]:
    return lambda: crystal(
        symbols, basis, spacegroup=group, cellpar=cellpar, primitive_cell=primitive, onduplicates="replace"
    )


def _ionic(cation: str, anion: list[tuple[str, float]], a: float, seed: int) -> Callable[[], Atoms]:
    """Two formula units of a rocksalt-like salt of a linear anion, given as (symbol, coordinate along its axis).

    The tetragonal cell is a/sqrt(2), a/sqrt(2), a; the anion axes are random (``seed``) and nearly antiparallel.
    """

    def build() -> Atoms:
        rng = np.random.default_rng(seed)
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        side = a / np.sqrt(2.0)
        salt = Atoms(cell=[side, side, a], pbc=True)
        for sign, centre in ((1.0, (0.0, 0.0, 0.5)), (-1.0, (0.5, 0.5, 0.0))):
            tilt = axis * sign + 0.2 * rng.normal(size=3)
            tilt /= np.linalg.norm(tilt)
            for symbol, coordinate in anion:
                salt += Atoms(symbol, positions=[np.array(centre) * salt.cell.lengths() + coordinate * tilt])
        salt += Atoms(cation, positions=[[0.0, 0.0, 0.0]])
        salt += Atoms(cation, positions=[[0.5 * side, 0.5 * side, 0.5 * a]])
        return salt

    return build


def _ammonium(anion: list[tuple[str, float]], a: float) -> Callable[[], Atoms]:
    """Caesium chloride arrangement of NH4+ and an anion on the body diagonal of the cell."""

    def build() -> Atoms:
        salt = Atoms("N", positions=[[0.0, 0.0, 0.0]], cell=[a, a, a], pbc=True)
        salt += Atoms("H4", positions=1.03 * _TETRAHEDRON)
        for symbol, coordinate in anion:
            salt += Atoms(symbol, positions=[np.full(3, 0.5 * a) + coordinate * np.array([0.0, 0.0, 1.0])])
        return salt

    return build


def _perovskite(a_site: str, b_site: str, x_site: str, a: float) -> Callable[[], Atoms]:
    return _space_group((a_site, b_site, x_site), [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], 221, [a] * 3 + [90] * 3)


def _pseudocubic_c3n4() -> Atoms:
    a, u = 3.43, 0.25
    carbon = [(0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)]
    nitrogen = [(u, u, u), (-u, -u, u), (-u, u, -u), (u, -u, -u)]
    return Atoms("C3N4", scaled_positions=[*carbon, *nitrogen], cell=[a] * 3, pbc=True)


# Lattice parameters in A and degrees: close to experiment, not relaxed (the variants are strained anyway).
CRYSTALS: dict[str, Callable[[], Atoms]] = {
    "CaO-rocksalt": _cubic("CaO", "rocksalt", 4.80),
    "CaS-rocksalt": _cubic("CaS", "rocksalt", 5.69),
    "KCl-rocksalt": _cubic("KCl", "rocksalt", 6.29),
    "K2S-antifluorite": _cubic("SK2", "fluorite", 7.39),
    "KH-rocksalt": _cubic("KH", "rocksalt", 5.70),
    "CaCl2-rutile": _space_group(("Ca", "Cl"), [(0, 0, 0), (0.305, 0.305, 0)], 136, [6.35, 6.35, 4.35, 90, 90, 90]),
    "CaH2-cotunnite": _space_group(
        ("Ca", "H", "H"),
        [(0.24, 0.25, 0.11), (0.355, 0.25, 0.427), (0.974, 0.25, 0.678)],
        62,
        [5.96, 3.60, 6.84, 90, 90, 90],
    ),
    "C-diamond": _cubic("C", "diamond", 3.57),
    "Si-diamond": _cubic("Si", "diamond", 5.43),
    "SiC-zincblende": _cubic("SiC", "zincblende", 4.40),
    "SiO2-quartz": _space_group(
        ("Si", "O"), [(0.47, 0, 2 / 3), (0.413, 0.267, 0.786)], 154, [4.91, 4.91, 5.40, 90, 90, 120]
    ),
    "SiO2-cristobalite": _space_group(
        ("Si", "O"), [(0.30, 0.30, 0), (0.24, 0.104, 0.179)], 92, [4.97, 4.97, 6.93, 90, 90, 90]
    ),
    "SiO2-stishovite": _space_group(("Si", "O"), [(0, 0, 0), (0.306, 0.306, 0)], 136, [4.18, 4.18, 2.67, 90, 90, 90]),
    "CO2-cristobalite": _space_group(
        ("C", "O"), [(0, 0, 0), (0.21, 0.25, 0.125)], 122, [3.56, 3.56, 5.91, 90, 90, 90], True
    ),
    "CaC2-tetragonal": _space_group(("Ca", "C"), [(0, 0, 0), (0, 0, 0.406)], 139, [3.87, 3.87, 6.40, 90, 90, 90]),
    "CaCN2": _space_group(
        ("Ca", "C", "N"),
        [(0, 0, 0), (0, 0, 0.5), (0, 0, 0.4166)],
        166,
        [3.69, 3.69, 14.75, 90, 90, 120],
        True,
    ),
    "CaCO3-calcite": _space_group(
        ("Ca", "C", "O"),
        [(0, 0, 0), (0, 0, 0.25), (0.257, 0, 0.25)],
        167,
        [4.99, 4.99, 17.06, 90, 90, 120],
        True,
    ),
    "KOH": _ionic("K", [("O", -0.1), ("H", 0.87)], 5.75, 1),
    "KSH": _ionic("K", [("S", -0.1), ("H", 1.25)], 6.60, 2),
    "KCN": _ionic("K", [("C", -0.59), ("N", 0.59)], 6.50, 3),
    "KNCO": _ionic("K", [("N", -1.19), ("C", 0.0), ("O", 1.22)], 7.00, 4),
    "KSCN": _ionic("K", [("S", -1.40), ("C", 0.25), ("N", 1.42)], 7.60, 5),
    "KN3": _ionic("K", [("N", -1.18), ("N", 0.0), ("N", 1.18)], 6.90, 6),
    "KHCl2": _ionic("K", [("Cl", -1.57), ("H", 0.0), ("Cl", 1.57)], 7.60, 7),
    "CaNH": _ionic("Ca", [("N", -0.1), ("H", 0.93)], 5.15, 8),
    "CaSO": _ionic("Ca", [("S", -0.8), ("O", 0.8)], 5.90, 9),
    "Ca-OH-2": _space_group(
        ("Ca", "O", "H"),
        [(0, 0, 0), (1 / 3, 2 / 3, 0.234), (1 / 3, 2 / 3, 0.425)],
        164,
        [3.59, 3.59, 4.90, 90, 90, 120],
    ),
    "NH4Cl": _ammonium([("Cl", 0.0)], 3.90),
    "NH4SH": _ammonium([("S", -0.3), ("H", 1.05)], 4.40),
    "NH4CN": _ammonium([("C", -0.59), ("N", 0.59)], 4.40),
    "Si3N4-beta": _space_group(
        ("Si", "N", "N"),
        [(0.174, 0.769, 0.25), (0.33, 0.031, 0.25), (1 / 3, 2 / 3, 0.25)],
        176,
        [7.61, 7.61, 2.91, 90, 90, 120],
    ),
    "Si2N2O": _space_group(
        ("Si", "N", "O"),
        [(0.1763, 0.1509, 0.2815), (0.218, 0.121, 0.6493), (0, 0.214, 0.230)],
        36,
        [8.87, 5.49, 4.85, 90, 90, 90],
        True,
    ),
    "C3N4-pseudocubic": _pseudocubic_c3n4,
    "SiS2-chains": _space_group(
        ("Si", "S"), [(0, 0, 0.25), (0.119, 0.209, 0)], 72, [9.58, 5.61, 5.55, 90, 90, 90], True
    ),
    "S6-rhombohedral": _space_group(("S",), [(0.1454, 0.1882, 0.1055)], 148, [10.82, 10.82, 4.28, 90, 90, 120], True),
    "P-black": _space_group(("P",), [(0, 0.1017, 0.0806)], 64, [3.31, 10.48, 4.37, 90, 90, 90]),
    "polyethylene": _space_group(
        ("C", "H", "H"),
        [(0.044, 0.25, 0.059), (0.186, 0.25, 0.060), (0.011, 0.25, 0.272)],
        62,
        [7.40, 2.54, 4.93, 90, 90, 90],
    ),
    "CaSiO3-perovskite": _perovskite("Ca", "Si", "O", 3.58),
    "Ca3PN-antiperovskite": _perovskite("P", "N", "Ca", 4.75),
    "CaHCl-matlockite": _space_group(
        ("Ca", "H", "Cl"), [(0, 0.5, 0.20), (0, 0, 0), (0, 0.5, 0.65)], 129, [3.85, 3.85, 6.86, 90, 90, 90]
    ),
}
