"""Parents of the subset MC2D: single layers and bilayers in cells with vacuum along z."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms

# Terminating groups: symbols and offsets (A) from the bonded atom; z points outwards.
_GROUPS: dict[str, list[tuple[str, tuple[float, float, float]]]] = {
    "H": [("H", (0.0, 0.0, 0.0))],
    "Cl": [("Cl", (0.0, 0.0, 0.0))],
    "OH": [("O", (0.0, 0.0, 0.0)), ("H", (0.75, 0.50, 0.36))],
    "SH": [("S", (0.0, 0.0, 0.0)), ("H", (1.10, 0.70, 0.30))],
    "NH2": [("N", (0.0, 0.0, 0.0)), ("H", (0.80, 0.45, 0.42)), ("H", (-0.80, 0.45, 0.42))],
    "CH3": [
        ("C", (0.0, 0.0, 0.0)),
        ("H", (1.02, 0.0, 0.36)),
        ("H", (-0.51, 0.88, 0.36)),
        ("H", (-0.51, -0.88, 0.36)),
    ],
}
_BOND = {"C": {"H": 1.11, "Cl": 1.80, "O": 1.43, "S": 1.83, "N": 1.48, "C": 1.54}}
_BOND["Si"] = {"H": 1.50, "Cl": 2.07, "O": 1.67, "S": 2.14, "N": 1.74, "C": 1.88}
_BOND["N"] = {"H": 1.03}


def _rectangular(a: float, sites: list[tuple[str, float, float, float]], b: float | None = None) -> Atoms:
    """Layer with sites (symbol, fraction of x, fraction of y, height in A); b defaults to a square cell."""
    b = a if b is None else b
    positions = [(x * a, y * b, z) for _, x, y, z in sites]
    return Atoms([s for s, *_ in sites], positions=positions, cell=[a, b, 1.0], pbc=(True, True, False))


def _honeycomb(first: str, second: str, a: float, buckling: float, repeat: int = 1) -> Atoms:
    """Honeycomb in its rectangular cell (a, sqrt(3) a) of four atoms; ``buckling`` is the height difference in A."""
    h = 0.5 * buckling
    sites = [(first, 0, 0, -h), (second, 0, 1 / 3, h), (first, 0.5, 0.5, -h), (second, 0.5, 5 / 6, h)]
    return _rectangular(a, sites, b=np.sqrt(3.0) * a).repeat((repeat, 1, 1))


def _sheet(symbol: str, a: float, buckling: float, groups: tuple[str | None, ...], repeat: int = 1) -> Atoms:
    """Honeycomb whose atom i carries ``groups[i % len]`` on the side towards which it is buckled."""
    layer = _honeycomb(symbol, symbol, a, buckling, repeat)
    decorated = layer.copy()
    for index in range(len(layer)):
        name = groups[index % len(groups)]
        if name is None:
            continue
        x, y, z = layer.positions[index]
        side = 1.0 if index % 2 else -1.0
        anchor = np.array([x, y, z + side * _BOND[symbol][_GROUPS[name][0][0]]])
        for element, offset in _GROUPS[name]:
            decorated += Atoms(element, positions=[anchor + np.array(offset) * [1.0, 1.0, side]])
    return decorated


def _substituted(replacements: dict[int, str], adatoms: tuple[tuple[str, float, float, float], ...] = ()) -> Atoms:
    """Graphene of eight atoms with replaced atoms and adatoms (symbol, x, y, height; all in A)."""
    layer = _honeycomb("C", "C", 2.46, 0.0, repeat=2)
    for index, symbol in replacements.items():
        layer.symbols[index] = symbol
        if symbol == "S":
            layer.positions[index, 2] += 1.0  # sulphur is too large for the plane
    for symbol, *position in adatoms:
        layer += Atoms(symbol, positions=[position])
    return layer


def _dihalide(metal: str, ligand: str, a: float, height: float, hydrogen: float = 0.0) -> Atoms:
    """1T layer MX2 (or M(XH)2 with the X-H length ``hydrogen`` in A) in its rectangular cell of two formula units."""
    third = 1.0 / 3.0
    sites = []
    for x, y in ((0.0, 0.0), (0.5, 0.5)):
        sites.append((metal, x, y, 0.0))
        for sign in (1.0, -1.0):
            sites.append((ligand, x, y + sign * third, sign * height))
            if hydrogen:
                sites.append(("H", x, y + sign * third, sign * (height + hydrogen)))
    return _rectangular(a, sites, b=np.sqrt(3.0) * a)


def _rocksalt(cation: str, anion: str, a: float, layers: int) -> Atoms:
    """``layers`` (001) planes of rocksalt with four atoms each."""
    sites = []
    for k in range(layers):
        pair = (cation, anion) if k % 2 == 0 else (anion, cation)
        z = 0.5 * a * k
        sites += [(pair[0], 0, 0, z), (pair[0], 0.5, 0.5, z), (pair[1], 0.5, 0, z), (pair[1], 0, 0.5, z)]
    return _rectangular(a, sites)


def _penta(centre: str, pair: str, a: float, u: float, height: float) -> Atoms:
    """Pentagonal layer: two four-fold ``centre`` atoms and four ``pair`` atoms in dimers."""
    sites = [(centre, 0, 0, 0.0), (centre, 0.5, 0.5, 0.0)]
    sites += [(pair, u, 0.5 - u, height), (pair, 1 - u, 0.5 + u, height)]
    sites += [(pair, 0.5 - u, 1 - u, -height), (pair, 0.5 + u, u, -height)]
    return _rectangular(a, sites)


def _puckered(first: str, second: str, a: float, b: float, thickness: float, shift: float) -> Atoms:
    """Layer with the structure of black phosphorus; ``shift`` is a fraction of b."""
    h = 0.5 * thickness
    return _rectangular(
        a,
        [
            (first, 0, shift, h),
            (second, 0.5, 0.5 - shift, h),
            (first, 0.5, 0.5 + shift, -h),
            (second, 0, -shift, -h),
        ],
        b,
    )


def _triazine() -> Atoms:
    """s-Triazine g-C3N4, seven atoms in a hexagonal cell of 4.78 A."""
    a = 4.78
    layer = Atoms("N", positions=[[0, 0, 0]], cell=[[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 1.0]])
    centre = np.array([[2 / 3, 1 / 3, 0]]) @ layer.cell.array
    outward = -centre[0] / np.linalg.norm(centre[0])
    for k in range(6):
        angle = np.pi * k / 3
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        layer += Atoms("CN"[k % 2], positions=[centre[0] + 1.31 * turn @ outward])
    layer.pbc = (True, True, False)
    return layer


def _silica() -> Atoms:
    """Silica bilayer of Si4O8: two tetrahedral sheets sharing the oxygen atoms in the mirror plane."""
    a = 5.30
    lattice = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 1.0]])
    sites = []
    for x, y in ((1 / 3, 2 / 3), (2 / 3, 1 / 3)):
        sites += [("Si", x, y, 1.62), ("Si", x, y, -1.62), ("O", x, y, 0.0)]
    for x, y in ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5)):
        sites += [("O", x, y, 2.13), ("O", x, y, -2.13)]
    plane = np.array([[x, y, 0] for _, x, y, _ in sites]) @ lattice
    plane[:, 2] = [z for *_, z in sites]
    return Atoms([s for s, *_ in sites], positions=plane, cell=lattice, pbc=(True, True, False))


LAYERS: dict[str, Callable[[], Atoms]] = {
    "graphene": lambda: _substituted({}),
    "graphane": lambda: _sheet("C", 2.53, 0.46, ("H",)),
    "graphane-CH3": lambda: _sheet("C", 2.58, 0.47, ("H", "CH3", "H", "H")),
    "graphane-OH-NH2": lambda: _sheet("C", 2.57, 0.46, ("OH", "NH2", "H", "H")),
    "graphane-OH": lambda: _sheet("C", 2.54, 0.46, ("OH", "H", "H", "H")),
    "graphane-SH": lambda: _sheet("C", 2.56, 0.46, ("SH", "H", "H", "H")),
    "graphane-NH2": lambda: _sheet("C", 2.55, 0.46, ("H", "NH2", "H", "H")),
    "graphane-Cl": lambda: _sheet("C", 2.58, 0.47, ("Cl", "H", "H", "H")),
    "C7N": lambda: _substituted({0: "N"}),
    "C6N2": lambda: _substituted({0: "N", 3: "N"}),
    "C7S": lambda: _substituted({2: "S"}),
    "C6NS": lambda: _substituted({1: "N", 6: "S"}),
    "C8O-epoxide": lambda: _substituted({}, (("O", 0.0, 0.71, 1.25),)),
    "C8S-episulfide": lambda: _substituted({}, (("S", 0.0, 0.71, 1.70),)),
    "C8-OH-2": lambda: _sheet("C", 2.48, 0.20, (None, None, "OH", "OH", None, None, None, None), repeat=2),
    "C8-SH-H": lambda: _sheet("C", 2.48, 0.20, ("SH", "H", None, None, None, None, None, None), repeat=2),
    "silicene": lambda: _honeycomb("Si", "Si", 3.87, 0.45),
    "silicane": lambda: _sheet("Si", 3.88, 0.72, ("H",)),
    "silicane-Cl": lambda: _sheet("Si", 3.92, 0.70, ("Cl", "H", "H", "H")),
    "silicane-OH": lambda: _sheet("Si", 3.88, 0.72, ("OH", "H", "H", "H")),
    "silicane-SH": lambda: _sheet("Si", 3.90, 0.72, ("H", "SH", "H", "H")),
    "silicane-NH2": lambda: _sheet("Si", 3.88, 0.72, ("NH2", "H", "H", "H")),
    "silicane-CH3": lambda: _sheet("Si", 3.90, 0.72, ("CH3", "H", "H", "H")),
    "SiC-honeycomb": lambda: _honeycomb("Si", "C", 3.10, 0.05),
    "C3N4-triazine": _triazine,
    "SiS-puckered": lambda: _puckered("Si", "S", 3.35, 4.77, 2.32, 0.06),
    "phosphorene": lambda: _puckered("P", "P", 3.31, 4.58, 2.12, 0.085),
    "blue-phosphorene": lambda: _honeycomb("P", "P", 3.28, 1.24),
    "PN-honeycomb": lambda: _honeycomb("P", "N", 2.75, 0.85),
    "CaO-layer": lambda: _rocksalt("Ca", "O", 4.65, 1),
    "CaS-bilayer": lambda: _rocksalt("Ca", "S", 5.60, 2),
    "KCl-layer": lambda: _rocksalt("K", "Cl", 6.10, 1),
    "KH-bilayer": lambda: _rocksalt("K", "H", 5.60, 2),
    "K2S-layer": lambda: _dihalide("S", "K", 5.10, 1.40),
    "CaCl2-layer": lambda: _dihalide("Ca", "Cl", 3.95, 1.55),
    "Ca-OH-2-layer": lambda: _dihalide("Ca", "O", 3.59, 1.15, 0.97),
    "Ca-SH-2-layer": lambda: _dihalide("Ca", "S", 4.20, 1.60, 1.35),
    "Ca2N-layer": lambda: _dihalide("N", "Ca", 3.58, 1.26),
    "penta-CN2": lambda: _penta("C", "N", 3.32, 0.14, 0.75),
    "SiO2-bilayer": _silica,
}
