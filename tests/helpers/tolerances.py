"""Every named tolerance of the numerical tests, and why it has this size.

Dicts are keyword arguments of `torch.testing.assert_close` (|a - b| <= atol + rtol |b|); energies are of order 1 eV and
forces of order 1 eV/A in the structures and enlarged models of `examples`. float64 unless a name says otherwise: one
rounding is 1e-16 relative.
"""

#: The same mathematics in another order of operations: rounding of some 1e3 terms of order 1.
EQUAL = {"rtol": 1e-10, "atol": 1e-10}

#: Gradients of a loss (parameters, cutoffs) by two backends: sums over all pairs of all structures lose digits.
EQUAL_GRADIENTS = {"rtol": 1e-8, "atol": 1e-9}

#: Two neighbour lists of one physical system (turned, moved, repeated): coordinates are rounded differently too.
SAME_SYSTEM = {"rtol": 1e-9, "atol": 1e-9}

#: Sums of forces over a structure (eV/A): terms of order 1 that cancel exactly but for rounding.
ZERO_FORCE = 1e-11

#: Distances (A) of two neighbour-list programs for the same positions, relative.
SAME_DISTANCE = 1e-12

#: Cutoffs (A) that optimisation must reach on problems with a known optimum: Adam at a constant rate of 0.01 A a step
#: ends within a fraction of one step.
OPTIMUM = 2e-3

#: Mean of 2e5 draws of U(3.5, 7.0): its standard error is 3.5 / sqrt(12 * 2e5) = 0.0023 A; four of them.
SAMPLE_MEAN = 0.01

#: Smallest p-value of a test with a fixed seed: a right sampler fails it for one seed in a hundred, not for this one.
P_VALUE = 0.01

#: Central differences with h = 1e-4 (A or strain) against derivatives: the error is h^2 f''' / 6, some 1e-8 for
#: energies of 1 eV that vary over tenths of an angstrom (measured: up to 2e-8), and rounding 1e-16 E / h = 1e-12.
DIFFERENCE = {"rtol": 1e-6, "atol": 1e-7}

#: Central differences of a loss in the parameters with a step of 1e-5, relative: the curvature of its third derivative.
PARAMETER_DIFFERENCE = 1e-5

#: The taper and its derivatives at r = m: terms of up to p^3 = 200 / m^k that cancel.
TAPER = 1e-11

#: Exponents with which a pair's energy, force and dE/da vanish, measured 1e-3 A and 2e-3 A inside the cutoff, and the
#: ratios that they mean: the next order in d contributes a relative d / 0.3 A or so.
ORDER = 0.02

#: Pairs this close (A) to their cutoff may be kept or not: the list is pruned by float32 distances (4e-7 A at 7 A) and
#: the taper is zero there either way.
TIE = 1e-5

#: Slopes of a curve of points 0.017 A apart against its forces, relative to the largest: h^2 F'' / 6 at its steepest.
CURVE = 2e-2

#: Correlation of two samples of 1e5 independent draws: its standard error is 1 / sqrt(1e5) = 0.003; four of them.
CORRELATION = 0.013

#: Losses of runs whose batches hold the same structures in another order, relative: rounding, grown over the steps.
REORDERED = 1e-8

#: The taper in float32 over the last hundredth before r = m, where it is below 4e-5: (1 - x)^3 with an error of 6e-8 in
#: x. Its slope is allowed a hundred times as much.
TAPER_FLOAT32 = 1e-9

#: float32 against float64 for the same weights, relative to the largest value of a result: sums of some 1e3 terms with
#: roundings of 6e-8, through two layers.
FLOAT32 = 1e-4

#: Energies of small structures (eV) and forces (eV/A) of tabulated radial functions against those of the networks: what
#: `fcl.models.mace.tabulated.tabulate` asks for.
TABLES = 1e-5

# -- golden numbers (tests/golden) -------------------------------------------------------------------------------------

#: Predictions of the shipped weights, relative to the largest value of an array. In float64 the backends, processors
#: and numbers of threads differ by the order of sums only: about 1e-14; the rest is margin, far below any real change.
GOLDEN_PREDICTION = 1e-9
#: Energies and forces of a model file by this code and by that of before, relative to the largest of an array: the same
#: operations in another order at most (mace-torch's blocks: directed edges).
SAME_MODEL = 1e-12
#: Training and calibration from nothing: weights relative to the largest of a tensor, losses relative, cutoffs in A.
#: Another order of sums (the other backend, two threads) moves the weights by 1e-15 to 1e-14 here. Adam divides by the
#: root of squared gradients, so a small gradient lends its rounding to the weights in full, and the CSV files hold ten
#: digits: equality bit for bit is asked on one machine only (tests of the seeds), this much on every one.
GOLDEN_TRAINING = 1e-7
#: Models, cards and numbers together (bytes): they live in git.
GOLDEN_BYTES = 200_000

# -- docs/deviations.md ------------------------------------------------------------------------------------------------

#: Central differences of energies of 1 eV with a step of 1e-4 A: error h^2 f''' / 6, about 1e-8.
DEVIATION_DIFFERENCE = {"rtol": 1e-5, "atol": 1e-7}

# -- own blocks (tests/models/test_blocks.py) ----------------------------------------------------------------------

#: Means and variances of initial weights, in standard errors: with some 50 comparisons and fixed seeds a right
#: distribution stays below 4.
STANDARD_ERRORS = 4.5
