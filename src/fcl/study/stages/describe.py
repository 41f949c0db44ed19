"""Description of the data of a study: average neighbours, elements, structures, and an example. No model is used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fcl.runs.files import write_csv, write_json
from fcl.study.paper import MOLCRYS

logger = logging.getLogger(__name__)

#: Uniform cutoffs (A) for which the paper gives average neighbours (Table 3) or pairs per atom (section 3).
CUTOFFS = (3.7, 4.0, 5.0, 6.0, 7.0)
#: The subset of Table 4, whose structures also serve as the example of Fig. 1.
EXAMPLE_SUBSET = MOLCRYS
NEIGHBOR_COLUMNS = (
    "split", "cutoff_angstrom", "structures", "atoms", "per_connected_atom", "per_atom", "per_structure",
)  # fmt: skip
ELEMENT_COLUMNS = ("split", "subset", "element", "atoms", "structures", "fraction")
#: Columns of data/structures.csv.gz: squares in (eV/A)^2 are summed over the 3 ``atoms`` force components.
STRUCTURE_COLUMNS = (
    "split", "structure", "group", "subset", "formula", "atoms", "pairs_per_atom_6", "force_square_sum",
    "force_largest_component",
)  # fmt: skip


def neighbor_rows(arrays, split: str, cutoffs: Sequence[float] = CUTOFFS) -> list[dict]:
    """Average neighbours in the three definitions of `fcl.data.batch.average_neighbors`, one row per cutoff (A).

    Cutoffs beyond the range of the store are left out. ``arrays`` are `fcl.data.store.StoreArrays`.
    """
    from fcl.data.batch import average_neighbors

    size = {"structures": len(arrays), "atoms": int(arrays.ptr[-1])}
    return [
        {"split": split, "cutoff_angstrom": cutoff, **size, **average_neighbors(arrays, cutoff)}
        for cutoff in cutoffs
        if cutoff <= arrays.r_max
    ]


def element_rows(arrays, split: str) -> list[dict]:
    """One row per element, over all structures ("all") and in each subset, by atomic number.

    ``atoms``: number of atoms; ``structures``: structures that contain the element; ``fraction``: of the atoms of the
    subset (Table 4).
    """
    from ase.data import chemical_symbols

    structure = np.repeat(np.arange(len(arrays)), np.diff(arrays.ptr))
    atoms = pd.DataFrame({"number": arrays.numbers[:], "structure": structure, "subset": arrays.subset[structure]})
    groups = {"all": atoms}
    groups |= {name: atoms[atoms["subset"] == code] for code, name in enumerate(arrays.subset_names)}
    rows = []
    for subset, members in groups.items():
        for number, own in members.groupby("number")["structure"]:
            row = {"split": split, "subset": subset, "element": chemical_symbols[number], "atoms": len(own)}
            rows.append({**row, "structures": own.nunique(), "fraction": len(own) / len(members)})
    return rows


def structure_table(arrays, split: str) -> pd.DataFrame:
    """One row per structure with `STRUCTURE_COLUMNS`, from which sampling errors of the data follow.

    ``group`` as `StoreArrays.groups`, with the split before it; directed pairs per atom within 6 A, NaN if the range
    of the store is shorter.
    """
    from fcl.data.batch import pairs_of_structures
    from fcl.data.frames import formula

    atoms = np.diff(arrays.ptr).astype(np.int64)
    starts = arrays.ptr[:-1].astype(np.int64)
    forces = arrays.forces.astype(np.float64)
    columns = (
        split, np.arange(len(arrays)), [f"{split}-{group}" for group in arrays.groups().tolist()],
        [arrays.subset_names[code] for code in arrays.subset],
        [formula(numbers) for numbers in np.split(arrays.numbers[:], starts[1:])], atoms,
        pairs_of_structures(arrays, 6.0) if arrays.r_max >= 6.0 else np.nan,
        np.add.reduceat((forces**2).sum(1), starts), np.maximum.reduceat(np.abs(forces).max(1), starts),
    )  # fmt: skip
    return pd.DataFrame(dict(zip(STRUCTURE_COLUMNS, columns, strict=True)))


def example_index(arrays, subsets: Sequence[str]) -> int:
    """Index of the structure of Fig. 1: most elements, then fewest atoms, then first in its subset.

    The subset is that of Table 4 if present in the data, otherwise the first of ``subsets`` that is; raises
    `ValueError` if none is.
    """
    wanted = [name for name in (EXAMPLE_SUBSET, *subsets) if name in arrays.subset_names]
    if not wanted:
        there = ", ".join(arrays.subset_names)
        raise ValueError(f"no structure of {', '.join((EXAMPLE_SUBSET, *subsets))} to show: the data hold {there}")
    members = np.flatnonzero(arrays.subset == arrays.subset_names.index(wanted[0]))

    def rank(index: int) -> tuple[int, int, int]:
        numbers = arrays.numbers[arrays.ptr[index] : arrays.ptr[index + 1]]
        return -len(np.unique(numbers)), len(numbers), index

    return int(min(members.tolist(), key=rank))


def example_structure(arrays, split: str, subsets: Sequence[str]) -> dict:
    """The structure of Fig. 1 as JSON-serialisable values.

    ``positions`` [n][3] A, ``cell`` [3][3] A (rows), ``pbc`` [3], and ``pairs``: one list [i, j, s1, s2, s3, distance]
    per undirected pair within ``r_max_angstrom``, with r_ij = x_j - x_i + s . cell.
    """
    from ase.data import chemical_symbols

    index = example_index(arrays, subsets)
    atoms = slice(arrays.ptr[index], arrays.ptr[index + 1])
    pairs = slice(arrays.pair_ptr[index], arrays.pair_ptr[index + 1])
    numbers = arrays.numbers[atoms].tolist()
    subset = arrays.subset_names[arrays.subset[index]]
    columns = (
        arrays.pair_i[pairs].tolist(),
        arrays.pair_j[pairs].tolist(),
        arrays.pair_shifts[pairs].tolist(),
        np.round(arrays.pair_distances[pairs].astype(float), 6).tolist(),
    )
    return {
        "name": f"{subset}, structure {index} of the {split} split",
        "subset": subset,
        "split": split,
        "index": index,
        "numbers": numbers,
        "symbols": [chemical_symbols[number] for number in numbers],
        "positions": np.round(arrays.positions[atoms], 6).tolist(),
        "cell": np.round(arrays.cells[index], 6).tolist(),
        "pbc": arrays.pbc[index].astype(bool).tolist(),
        "r_max_angstrom": arrays.r_max,
        "pairs": [[i, j, *shift, distance] for i, j, shift, distance in zip(*columns, strict=True)],
    }


def describe_data(
    train: Path, val: Path, test: Path, subsets: Sequence[str], neighbors: Path, elements: Path, structures: Path,
    example: Path,
) -> None:  # fmt: skip
    """Average neighbours, elements and structures of each split (CSV), and the example of the training split (JSON).

    ``train``, ``val`` and ``test`` are graph stores; ``subsets`` are the calibrated ones.
    """
    from fcl.data.store import read_store

    neighbor_table, element_table, tables, stores = [], [], [], {"train": train, "val": val, "test": test}
    for split, path in stores.items():
        arrays = read_store(path)
        neighbor_table += neighbor_rows(arrays, split)
        element_table += element_rows(arrays, split)
        tables.append(structure_table(arrays, split))
        if split == "train":
            shown = example_structure(arrays, split, subsets)
    write_csv(neighbors, neighbor_table, NEIGHBOR_COLUMNS)
    write_csv(elements, element_table, ELEMENT_COLUMNS)
    write_csv(structures, pd.concat(tables), STRUCTURE_COLUMNS, float_format="%.6g")
    write_json(example, shown, indent=None)
    logger.info(f"{neighbors.parent}: {', '.join(stores)} described; example: {shown['name']}")
