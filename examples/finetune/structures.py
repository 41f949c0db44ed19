"""Structures of the example: molecular crystals of the embedded set, with total energies as a program gives them.

python structures.py [NUMBER]      writes train.xyz (NUMBER structures, default all 96), val.xyz and test.xyz, and the
                                   same without labels as bare.xyz
"""

import sys

from ase.io import write

from fcl.models.pretrained import structures

#: Energies of isolated atoms (eV), as they would be computed with the method of the labels.
E0 = {"H": -13.6, "C": -1027.6, "N": -1484.3, "O": -2041.8, "Si": -7872.1, "P": -9283.0, "S": -10828.7, "Cl": -12515.4}


def with_total_energies(split, number=None):
    """The molecular crystals of ``split``, ``number`` of them evenly chosen."""
    frames = structures(split, subset="SHIFTML-molcrys")
    frames = frames if number is None else frames[:: max(len(frames) // number, 1)][:number]
    for atoms in frames:
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
        atoms.info = {"REF_energy": energy + sum(E0[symbol] for symbol in atoms.symbols)}
        atoms.set_array("REF_forces", forces)
    return frames


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else None
    for split in ("train", "val", "test"):
        frames = with_total_energies(split, wanted if split == "train" else None)
        write(f"{split}.xyz", frames, format="extxyz")
        if split == "train":
            for atoms in frames:
                atoms.info.clear()
                del atoms.arrays["REF_forces"]
            write("bare.xyz", frames, format="extxyz")
    print(
        "{" + ", ".join(f"{number}: {E0[s]}" for number, s in zip((1, 6, 7, 8, 14, 15, 16, 17), E0, strict=True)) + "}"
    )
