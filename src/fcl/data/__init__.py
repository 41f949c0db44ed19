"""Frames, neighbour lists, graph stores and batches.

Tensor names (used everywhere in this package):

=================  ==================  ========  =====================================================
name               shape               unit      meaning
=================  ==================  ========  =====================================================
positions          [n_atoms, 3]        A         Cartesian positions
numbers            [n_atoms]           1         atomic numbers Z
cells              [n_structures, 3, 3]  A       rows are the lattice vectors (zero where there is none)
structure          [n_atoms]           1         index of an atom's structure in the batch
ptr                [n_structures + 1]  1         first atom of each structure
pair_index         [2, n_pairs]        1         atoms (i, j) of an *undirected* pair, each pair once
pair_shifts        [n_pairs, 3]        1         integer cell shifts S of j: r_ij = x_j - x_i + S . cell
vectors            [n_pairs, 3]        A         r_ij, from i to j
distances          [n_pairs]           A         |r_ij|
cutoffs            [n_atoms]           A         per-atom cutoff radii a_i
pair_cutoffs       [n_pairs]           A         m_ij = mu(a_i, a_j)
energy             [n_structures]      eV        isolated-atom energies removed; NaN where there is none
energy_mask        [n_structures]      bool      whether a structure has an energy
forces             [n_atoms, 3]        eV/A
stress             [n_structures, 3, 3]  eV/A^3  dE/dstrain / V; NaN where there is none
stress_mask        [n_structures]      bool      whether a structure has a stress
subset, fidelity   [n_structures]      1         index of the subset and of the level of theory among their names
parent             [n_structures]      1         index of the parent among the names of parents; -1: no name
frame              [n_structures]      1         place of a structure in its source file, from 0
edge_index         [2, 2 n_pairs]      1         directed edges (sender, receiver); messages are summed at the
                                                 receiver; the vector points from sender to receiver
=================  ==================  ========  =====================================================
"""
