"""Data card of the embedded data set: all numbers come from the packaged frames or the settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from embedded_data.structures import SPLITS, SUBSETS

# Measured once, not from the packaged frames; molecules and crystals of 8 atoms, rattled by 0.06 A.
_CUTOFF_TEXT = """\
The settings above against 480 Ry with EPS_DEFAULT 1e-10 (energy per atom; largest and root-mean-square
difference of the force components, mean force removed):

| structure | elements | energy (meV/atom) | force max (meV/A) | force RMS (meV/A) |
|---|---|---|---|---|
| CH3Cl | H C Cl | 0.3 | 17 | 8 |
| PH3 | H P | 1.3 | 10 | 5 |
| CH3SH | H C S | -0.2 | 14 | 6 |
| HCOOH | H C O | -0.5 | 118 | 49 |
| K4Cl4 | K Cl | -0.2 | 10 | 3 |
| K4H4 | K H | -0.4 | 17 | 9 |
| Ca4S4 | Ca S | 0.0 | 20 | 8 |

So the labels are good to about 1 meV/atom and 10 meV/A, and to 50 meV/A where there is oxygen. Fluorine failed and is
left out: CaF2 -18 meV/atom, SiF4 -13 meV/atom, forces off by 0.2 to 0.3 eV/A, and hardly better at 300 Ry. Sodium and
magnesium need 640 Ry or more."""
_ELEMENTS = ("H", "C", "N", "O", "Si", "P", "S", "Cl", "K", "Ca")


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows])


def _counts(frames: Sequence[Atoms]) -> str:
    rows = []
    for subset in (*SUBSETS, "all"):
        mine = [f for f in frames if subset in ("all", f.info["subset"])]
        splits = Counter(f.info["split"] for f in mine)
        parents = len({f.info["parent"] for f in mine})
        sizes = [len(f) for f in mine] or [0]
        extent = [f"{np.mean(sizes):.1f}", f"{min(sizes)}-{max(sizes)}"]
        rows.append([subset, len(mine), *(splits[s] for s in SPLITS), parents, *extent])
    return _table(["subset", "structures", *SPLITS, "parents", "mean atoms", "atoms"], rows)


def _elements(frames: Sequence[Atoms]) -> str:
    rows = []
    for subset in SUBSETS:
        for split in SPLITS:
            mine = [f for f in frames if (f.info["subset"], f.info["split"]) == (subset, split)]
            present = Counter(s for f in mine for s in set(f.get_chemical_symbols()))
            rows.append([subset, split, *(present[e] or "" for e in _ELEMENTS)])
    return _table(["subset", "split", *_ELEMENTS], rows)


def _distributions(frames: Sequence[Atoms]) -> str:
    rows = []
    for subset in (*SUBSETS, "all"):
        mine = [f for f in frames if subset in ("all", f.info["subset"])]
        if not mine:
            continue
        forces = np.concatenate([f.get_forces() for f in mine])
        norms = np.linalg.norm(forces, axis=1)
        energies = [f.get_potential_energy() / len(f) for f in mine]
        low, middle, high = np.percentile(norms, [5, 50, 95])
        rows.append(
            [
                subset,
                f"{np.sqrt((forces**2).mean()):.2f}",
                f"{low:.2f}",
                f"{middle:.2f}",
                f"{high:.2f}",
                f"{norms.max():.1f}",
                f"{np.mean(energies):.2f}",
                f"{min(energies):.2f} to {max(energies):.2f}",
            ]
        )
    header = ["subset", "RMS component", "5%", "median", "95%", "max", "mean energy (eV/atom)", "range"]
    return _table(header, rows)


def _failure_text(failures: Sequence[Mapping]) -> str:
    if not failures:
        return "No calculation failed."
    reasons = Counter(
        "force above the limit" if "largest force" in f["reason"] else f["reason"].split(" after ")[0] for f in failures
    )
    listed = "; ".join(f"{reason}: {count}" for reason, count in sorted(reasons.items()))
    return (
        f"{len(failures)} attempts were dropped ({listed}); a structure that fails is drawn again with "
        "smaller displacements."
    )


def _deviation_text(records: Sequence[Mapping]) -> str:
    """Text on structures computed at a level other than that of the settings (with a key ``level``)."""
    levels = Counter(r["level"] for r in records if "level" in r)
    return "".join(
        f"\n{count} of the structures, the first of each subset, were computed with {level},\n"
        "before the settings were relaxed for speed; examples computed both ways differ by at most 1.2 meV/atom and\n"
        "30 meV/A (110 meV/A on oxygen, whose forces carry that much noise from the grid either way).\n"
        for level, count in sorted(levels.items())
    )


def data_card(
    frames: Sequence[Atoms],
    records: Sequence[Mapping],
    failures: Sequence[Mapping],
    atom_energies: Mapping[str, float],
    settings: Mapping,
    manifest: Mapping,
) -> str:
    """Markdown text of the data card. All arguments refer to one packaging."""
    level, limits = settings["cp2k"], settings["limits"]
    seconds = sum(r["seconds"] for r in records)
    state = "" if manifest["complete"] else "\n**Partial: the generation had not finished when this was packaged.**\n"
    atoms = _table(
        ["element", "2S + 1", "energy (eV)"],
        [[e, settings["atoms"]["multiplicity"][e], f"{atom_energies[e]:.4f}"] for e in _ELEMENTS if e in atom_energies],
    )
    options = settings["subsets"]
    free = settings["atoms"]["overrides"]
    rattle = [r["rattle"] for r in records] or [0.0]
    return f"""# Embedded data set

Small quantum-mechanical data set that lets the whole study run without a network.
{state}
`train.xyz.gz`, `val.xyz.gz` and `test.xyz.gz` are extended XYZ with `energy` (eV, isolated-atom energies
removed), `forces` (eV/A), `subset`, `split`, `pbc`, `parent` and `key`; `manifest.yaml` has their sizes and
SHA-256 checksums, `results.json.gz` has CP2K's own results to resume from, `atoms.json` the isolated atoms.
This file is written by `python tools/embedded_data package`; do not edit it.

## What it is not

- **It is not MAD.** It has MAD's functional, format and subset names, but its own structures and another
  electronic-structure code. Results on it say nothing about errors on MAD and must not be compared with
  published numbers for MAD.
- The pseudopotentials are {level["potential"]}: made for PBE, used under PBEsol.
- The basis is small ({level["basis"]}), the structures are few and small, and the lattices are strained and
  rattled, not relaxed; some layers and crystals are inventions that hold elements together.
- The splits are by parent: all variants of one crystal, layer, packing or molecule are in the same split, so
  that no near-duplicate crosses them. MAD's splits are by structure; errors here are those of going to other
  parents. (A molecule may occur by itself in one split and inside a packing or cluster in another.)
- Sodium, magnesium and fluorine are left out: they need a higher cutoff (see below).
- No magnetism, no dispersion correction. Bonds stretched far (parents `stretch-*`) follow the spin-restricted
  curve, which lies above the true dissociation limit.

## Method

| setting | value |
|---|---|
| program | CP2K 2023.1, Quickstep, GPW, PBEsol |
| pseudopotentials, basis | {level["potential"]}, {level["basis"]} |
| cutoff | {level["cutoff"]} Ry for everything, isolated atoms included; relative cutoff {level["rel_cutoff"]} Ry |
| precision | EPS_DEFAULT {level["eps_default"]:.0e}, EPS_SCF {level["eps_scf"]:.0e} |
| occupations | diagonalisation, Fermi-Dirac at {level["electronic_temperature"]} K, Broyden mixing, closed shells |
| k-points | Monkhorst-Pack, odd, k x (distance of lattice planes) >= {level["kpoint_length"]:g} A where periodic |
| layers | 3D-periodic with {options["MC2D"]["vacuum"]:g} A of vacuum, then `pbc="T T F"`; no dipole correction |
| fragments | Martyna-Tuckerman, box of twice the extent + {level["fragment_box_margin"]:g} A; stored with no cell |
| isolated atoms | unrestricted Kohn-Sham, integer occupations, {free["fragment_box_minimum"]:g} A box, larger basis |

`energy` is CP2K's total energy with the electronic entropy in it, E - TS (Mermin free energy): the quantity
of which `forces` is the negative gradient. Each structure's mean force, an artefact of the real-space grid, is
subtracted.
{_deviation_text(records)}
## Cutoff

{_CUTOFF_TEXT}

## Structures

{_counts(frames)}

Every parent occurs in several variants: strained (volume, area or, for packings of rigid molecules, density),
sheared, and rattled by normal displacements with standard deviations between {min(rattle):.2f} and
{max(rattle):.2f} A. Structures with a force above {limits["max_force"]:g} eV/A or atoms closer than
{limits["min_distance"]:g} A are dropped. Fragments are turned into their principal axes, for the smallest box.
{_failure_text(failures)}

Structures that hold an element:

{_elements(frames)}

Norms of the forces (eV/A), and energies per atom:

{_distributions(frames)}

Isolated atoms, in the basis {free["basis"].split("-q")[0]}
({" and ".join(settings["atoms"]["structure_basis"])}: {level["basis"]}), because the structures' basis leaves a free
hydrogen or carbon atom 1.0 eV too high:

{atoms}

## Regenerate or extend

With CP2K on the PATH (Debian packages `cp2k cp2k-data`); these structures took {seconds / 3600:.1f} hours of
CP2K processes of one thread each:

```
python tools/embedded_data generate --work build/embedded --count 120 --processes 2
python tools/embedded_data atoms --work build/embedded
python tools/embedded_data package --work build/embedded --output resources/embedded
```

`generate` resumes; a bigger `--count` goes on with further variants and leaves the existing structures as they
are. All the settings are in `tools/embedded_data/settings.yaml`. To recompute two shipped frames:
`FCL_TEST_CP2K=1 pytest tests/tools/test_embedded.py`.
"""
