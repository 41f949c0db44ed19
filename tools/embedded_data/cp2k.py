"""CP2K input text, execution and output parsing for single-point PBEsol energies and forces."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

# CODATA 2018, as in ase.units(2018); hard-coded so that stored energies do not depend on ASE defaults.
HARTREE_EV = 27.211386245988
BOHR_ANGSTROM = 0.529177210903


class CP2KError(RuntimeError):
    """A CP2K run without usable energy and forces (not converged, timed out, crashed)."""


@dataclass(frozen=True)
class CP2KResult:
    """Energy in eV (Mermin free energy with smearing), forces (n, 3) in eV/A, wall seconds."""

    energy: float
    forces: np.ndarray
    scf_steps: int
    seconds: float


def executable() -> str | None:
    """Path of the CP2K program (``$CP2K``, or ``cp2k.psmp`` on the PATH), or None."""
    return os.environ.get("CP2K") or shutil.which("cp2k.psmp")


def kpoint_grid(atoms: Atoms, settings: Mapping) -> tuple[int, int, int]:
    """Smallest odd grid with k x length >= ``kpoint_length`` (A) along periodic directions; 1 elsewhere.

    The length is the spacing of lattice planes, 1 / |reciprocal vector|, as in the definition of k-point densities.
    """
    if not atoms.pbc.any():
        return (1, 1, 1)
    spacing = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array).T, axis=1)
    grid = []
    for length, periodic in zip(spacing, atoms.pbc, strict=True):
        k = math.ceil(settings["kpoint_length"] / length - 1e-6) if periodic else 1
        grid.append(k if k % 2 else k + 1)
    return tuple(grid)


def fragment_box(atoms: Atoms, settings: Mapping) -> np.ndarray:
    """Edges (3,) in A of the orthorhombic box of a non-periodic structure: twice its extent plus a margin for the
    tails of the density, as required by the Martyna-Tuckerman Poisson solver."""
    extent = np.ptp(atoms.positions, axis=0)
    edges = np.maximum(settings["fragment_box_minimum"], 2.0 * extent + settings["fragment_box_margin"])
    return np.ceil(edges * 2.0) / 2.0


def _cell_block(atoms: Atoms, settings: Mapping) -> tuple[str, str, np.ndarray]:
    """CELL text, POISSON text and positions (n, 3) for the CP2K input."""
    if atoms.pbc.any():
        vectors = "\n".join(
            f"      {name} " + " ".join(f"{x:.10f}" for x in vector)
            for name, vector in zip("ABC", atoms.cell.array, strict=True)
        )
        # A layer is a 3D cell with vacuum: the periodic solver is appropriate, and the dipole is small.
        return f"{vectors}\n      PERIODIC XYZ", "PERIODIC XYZ", atoms.positions
    edges = fragment_box(atoms, settings)
    centre = 0.5 * (atoms.positions.max(axis=0) + atoms.positions.min(axis=0))
    text = f"      ABC {edges[0]:.4f} {edges[1]:.4f} {edges[2]:.4f}\n      PERIODIC NONE"
    return text, "PERIODIC NONE\n      PSOLVER MT", atoms.positions - centre + 0.5 * edges


def input_text(atoms: Atoms, settings: Mapping, *, multiplicity: int | None = None) -> str:
    """CP2K input for one energy and force calculation.

    ``multiplicity`` selects unrestricted Kohn-Sham with integer occupations (isolated atoms);
    without it, closed-shell Kohn-Sham with Fermi-Dirac smearing.
    Raises KeyError naming an element missing in the settings.
    """
    missing = sorted(set(atoms.get_chemical_symbols()) - set(settings["valence"]))
    if missing:
        raise KeyError(f"no pseudopotential for {', '.join(missing)} in the settings' 'valence' table")
    cell, poisson, positions = _cell_block(atoms, settings)
    grid = kpoint_grid(atoms, settings)
    kpoints = ""
    if grid != (1, 1, 1):
        kpoints = f"    &KPOINTS\n      SCHEME MONKHORST-PACK {grid[0]} {grid[1]} {grid[2]}\n    &END KPOINTS\n"
    symbols = atoms.get_chemical_symbols()
    valence = settings["valence"]
    if multiplicity is None:
        electrons = sum(valence[s] for s in symbols)
        added = max(settings["added_orbitals_minimum"], math.ceil(settings["added_orbitals_fraction"] * electrons / 2))
        spin = ""
        solver = (
            f"      ADDED_MOS {added}\n"
            "      &DIAGONALIZATION\n        ALGORITHM STANDARD\n      &END DIAGONALIZATION\n"
            "      &SMEAR\n        METHOD FERMI_DIRAC\n"
            f"        ELECTRONIC_TEMPERATURE [K] {settings['electronic_temperature']}\n      &END SMEAR\n"
            f"      &MIXING\n        METHOD BROYDEN_MIXING\n        ALPHA {settings['mixing_alpha']}\n"
            f"        NBROYDEN {settings['mixing_history']}\n      &END MIXING\n"
        )
    else:
        spin = f"    UKS\n    MULTIPLICITY {multiplicity}\n"
        solver = (
            # The level shift keeps the electrons of an open p shell in the occupied orbitals.
            "      LEVEL_SHIFT 0.3\n"
            "      &DIAGONALIZATION\n        ALGORITHM STANDARD\n      &END DIAGONALIZATION\n"
            "      &MIXING\n        METHOD BROYDEN_MIXING\n        ALPHA 0.2\n        NBROYDEN 8\n      &END MIXING\n"
        )
    coordinates = "\n".join(
        f"      {s} {x:.10f} {y:.10f} {z:.10f}" for s, (x, y, z) in zip(symbols, positions, strict=True)
    )
    kinds = "".join(
        f"    &KIND {s}\n      BASIS_SET {settings['basis'].format(valence=valence[s])}\n"
        f"      POTENTIAL {settings['potential']}-q{valence[s]}\n    &END KIND\n"
        for s in sorted(set(symbols))
    )
    return f"""&GLOBAL
  PROJECT frame
  RUN_TYPE ENERGY_FORCE
  PRINT_LEVEL MEDIUM
&END GLOBAL
&FORCE_EVAL
  METHOD QUICKSTEP
  &DFT
    BASIS_SET_FILE_NAME {settings["basis_file"]}
    POTENTIAL_FILE_NAME {settings["potential_file"]}
{spin}    &MGRID
      CUTOFF {settings["cutoff"]}
      REL_CUTOFF {settings["rel_cutoff"]}
      NGRIDS 4
    &END MGRID
    &QS
      METHOD GPW
      EPS_DEFAULT {settings["eps_default"]}
    &END QS
    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF {settings["eps_scf"]}
      MAX_SCF {settings["max_scf"]}
{solver}      &PRINT
        &RESTART OFF
        &END RESTART
      &END PRINT
    &END SCF
    &XC
      &XC_FUNCTIONAL
        &PBE
          PARAMETRIZATION PBESOL
        &END PBE
      &END XC_FUNCTIONAL
    &END XC
    &POISSON
      {poisson}
    &END POISSON
{kpoints}  &END DFT
  &SUBSYS
    &CELL
{cell}
    &END CELL
    &COORD
{coordinates}
    &END COORD
{kinds}  &END SUBSYS
  &PRINT
    &FORCES ON
    &END FORCES
  &END PRINT
&END FORCE_EVAL
"""


_ENERGY = re.compile(r"ENERGY\| Total FORCE_EVAL.*?energy \[a\.u\.\]:?\s+(-?\d+\.\d+)")
_FORCE = re.compile(r"^\s+\d+\s+\d+\s+[A-Z][a-z]?\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s+(-?\d+\.\d+)\s*$")
_CONVERGED = re.compile(r"SCF run converged in\s+(\d+) steps")


def parse_output(text: str, atom_count: int) -> CP2KResult:
    """Energy and forces from the CP2K main output; raises CP2KError if not converged or incomplete."""
    converged = _CONVERGED.findall(text)
    if "SCF run NOT converged" in text and "outer SCF loop converged" not in text:
        raise CP2KError("the self-consistent field did not converge")
    if not converged:
        raise CP2KError("the output reports no converged self-consistent field")
    energies = _ENERGY.findall(text)
    if not energies or "ATOMIC FORCES in [a.u.]" not in text:
        raise CP2KError("the output holds no energy or no forces")
    block = text.rsplit("ATOMIC FORCES in [a.u.]", 1)[1].split("SUM OF ATOMIC FORCES")[0]
    forces = [[float(x) for x in m.groups()] for m in map(_FORCE.match, block.splitlines()) if m]
    if len(forces) != atom_count:
        raise CP2KError(f"{len(forces)} force lines for {atom_count} atoms")
    return CP2KResult(
        energy=float(energies[-1]) * HARTREE_EV,
        forces=np.array(forces) * (HARTREE_EV / BOHR_ANGSTROM),
        scf_steps=int(converged[-1]),
        seconds=0.0,
    )


def compute(
    atoms: Atoms, settings: Mapping, *, multiplicity: int | None = None, keep: Path | None = None
) -> CP2KResult:
    """Run CP2K on one structure with one thread; raises CP2KError with the reason on failure.

    ``keep``: directory for a copy of input and output (debugging).
    """
    program = executable()
    if program is None:
        raise CP2KError("cp2k.psmp is not on the PATH (set CP2K to its path, or install the package 'cp2k')")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cp2k-") as name:
        folder = Path(name)
        (folder / "frame.inp").write_text(input_text(atoms, settings, multiplicity=multiplicity))
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        try:
            with open(folder / "frame.out", "w") as output:
                subprocess.run(
                    [program, "-i", "frame.inp"],
                    cwd=folder,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=settings["timeout_seconds"],
                    check=False,
                )
        except subprocess.TimeoutExpired as error:
            raise CP2KError(f"timed out after {settings['timeout_seconds']} s") from error
        finally:
            if keep is not None:
                shutil.copytree(folder, keep, dirs_exist_ok=True)
        text = (folder / "frame.out").read_text(errors="replace")
    result = parse_output(text, len(atoms))
    return CP2KResult(result.energy, result.forces, result.scf_steps, time.monotonic() - started)
