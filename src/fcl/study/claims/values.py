"""The function of each claim of resources/claims.csv, by its id: `FUNCTIONS`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.claims import shapes
from fcl.study.claims.measured import Measured, over_seeds, ratio
from fcl.study.results import Results

MOLCRYS, MOLFRAGS = "SHIFTML-molcrys", "SHIFTML-molfrags"
FORCE, PAIRS = "force_rmse_ev_per_angstrom", "pairs_per_atom"
TABLE4_ELEMENTS = ("H", "C", "N", "O", "F", "Na", "Mg", "P", "S", "Cl", "K", "Ca")


def average_neighbors(results: Results, cutoff: float, split: str, definition: str) -> Measured:
    """Average neighbours of a split at ``cutoff`` (A): MACE's for Table 3, mean over structures for Fig. 3."""
    return Measured(results.average_neighbors(split, cutoff, definition), note=f"{split} split, {definition}")


def element_fraction(results: Results, element: str) -> Measured:
    """Fraction of an element among the atoms of the training split's molecular crystals (Table 4)."""
    return Measured(results.element_fraction("train", MOLCRYS, element), note="train split")


def parameters(results: Results, key: str, kind: str) -> Measured:
    """Number of parameters of the models built by the study (Table 2)."""
    return Measured(results.hyperparameter(key, kind), note="counted in the built model")


def mean_sampled_cutoff(results: Results) -> Measured:
    """Mean cutoff (A) sampled in FCL training, over epochs and runs."""
    return over_seeds(results.mean_sampled_cutoffs(), "drawn in training")


def force_rmse_at(results: Results, cutoff: float) -> Measured:
    """Test force RMSE (eV/A) of FCL at a uniform ``cutoff`` (A), mean over seeds."""
    return over_seeds(results.force_rmse("fcl", cutoff))


def pairs(results: Results, subset: str, lam: float | None) -> Measured:
    """Pairs per atom of a subset's test structures at ``lam``; before the optimisation where it is None."""
    return over_seeds(results.calibrated(subset, lam, PAIRS))


def force_rmse_mev(results: Results, subset: str, lam: float | None) -> Measured:
    """Force RMSE (meV/A) of a subset's test structures at ``lam``; before the optimisation where it is None."""
    return over_seeds({seed: 1000.0 * error for seed, error in results.calibrated(subset, lam, FORCE).items()})


def saving(results: Results, subset: str, lam: float, before: float | None) -> Measured:
    """1 - pairs / pairs ``before`` (at another lambda; None: at the uniform start)."""
    kept = ratio(results.calibrated(subset, lam, PAIRS), results.calibrated(subset, before, PAIRS), paired=True)
    return Measured(1.0 - kept.value, kept.standard_error, kept.note)


def penalty(results: Results, subset: str, lam: float) -> Measured:
    """Relative increase of the force RMSE over the uniform start."""
    grown = ratio(results.calibrated(subset, lam, FORCE), results.calibrated(subset, None, FORCE), paired=True)
    return Measured(grown.value - 1.0, grown.standard_error, grown.note)


def element_cutoff(results: Results, subset: str, element: str, lam: float) -> Measured:
    """Optimised cutoff (A) of one element."""
    table = results.element_cutoffs_by_seed(subset, lam)
    if element not in table:
        raise NotEvaluated(f"the calibration structures of {subset} hold no {element}")
    return over_seeds(table[element])


FUNCTIONS: dict[str, Callable[[Results], Measured]] = {
    **{
        f"table3_avg_neighbors_{cutoff}": partial(
            average_neighbors, cutoff=float(cutoff), split="train", definition="per_connected_atom"
        )
        for cutoff in (4, 5, 6, 7)
    },
    **{f"table4_{element}": partial(element_fraction, element=element) for element in TABLE4_ELEMENTS},
    "params_static": partial(parameters, key="parameters", kind="static"),
    "params_added": partial(parameters, key="parameters_added", kind="fcl"),
    "params_added_fraction": partial(parameters, key="parameters_added_fraction", kind="fcl"),
    "expected_cutoff": mean_sampled_cutoff,
    "fig3_fcl_force_rmse_4": partial(force_rmse_at, cutoff=4.0),
    "fig3_fcl_force_rmse_5": partial(force_rmse_at, cutoff=5.0),
    "fig3_plateau": partial(shapes.error_ratio, cutoff=6.0, reference=5.0),
    "fig3_upturn_7": partial(shapes.error_ratio, cutoff=7.0, reference=6.0),
    "fig3_static_below_fcl": shapes.static_to_fcl,
    "fig3_static_std_7": shapes.static_spread,
    "fig3_pairs_3p7": partial(average_neighbors, cutoff=3.7, split="test", definition="per_structure"),
    "fig3_pairs_4p0": partial(average_neighbors, cutoff=4.0, split="test", definition="per_structure"),
    "fig4_adjacent_cutoffs": shapes.adjacent_difference,
    "fig4_oscillation_7": shapes.oscillation,
    "fig5_mc3d_1e-6_pairs": partial(pairs, subset="MC3D", lam=1e-6),
    "fig5_mc3d_1e-6_rmse": partial(force_rmse_mev, subset="MC3D", lam=1e-6),
    "fig5_mc3d_1e-4_pairs": partial(pairs, subset="MC3D", lam=1e-4),
    "fig5_mc3d_1e-4_rmse": partial(force_rmse_mev, subset="MC3D", lam=1e-4),
    "fig5_mc3d_1e-3_pairs": partial(pairs, subset="MC3D", lam=1e-3),
    "fig5_mc3d_1e-3_rmse": partial(force_rmse_mev, subset="MC3D", lam=1e-3),
    "fig5_mc2d_1e-6_pairs": partial(pairs, subset="MC2D", lam=1e-6),
    "fig5_mc2d_1e-6_rmse": partial(force_rmse_mev, subset="MC2D", lam=1e-6),
    "fig5_mc2d_1e-4_pairs": partial(pairs, subset="MC2D", lam=1e-4),
    "fig5_mc2d_1e-4_rmse": partial(force_rmse_mev, subset="MC2D", lam=1e-4),
    # for the fragments "before" is lambda 1e-6, as in the paper's sentence about them and MC2D
    "fig5_molfrags_1e-4_saving": partial(saving, subset=MOLFRAGS, lam=1e-4, before=1e-6),
    "fig5_molfrags_1e-6_rmse": partial(force_rmse_mev, subset=MOLFRAGS, lam=1e-6),
    "fig5_molfrags_1e-4_rmse": partial(force_rmse_mev, subset=MOLFRAGS, lam=1e-4),
    "fig5_molcrys_initial_pairs": partial(pairs, subset=MOLCRYS, lam=None),
    "fig5_molcrys_initial_rmse": partial(force_rmse_mev, subset=MOLCRYS, lam=None),
    "fig5_molcrys_1e-4_pairs": partial(pairs, subset=MOLCRYS, lam=1e-4),
    "fig5_molcrys_1e-4_rmse": partial(force_rmse_mev, subset=MOLCRYS, lam=1e-4),
    "fig5_molcrys_1e-4_saving": partial(saving, subset=MOLCRYS, lam=1e-4, before=None),
    "fig5_molcrys_1e-4_penalty": partial(penalty, subset=MOLCRYS, lam=1e-4),
    "fig6_mc2d_largest": partial(
        shapes.extreme_subset, subset="MC2D", elements=("H", "C", "N", "O", "S"), lam=1e-4, largest=True
    ),
    "fig6_mc2d_sulfur": partial(element_cutoff, subset="MC2D", element="S", lam=1e-4),
    "fig6_molfrags_smallest": partial(
        shapes.extreme_subset, subset=MOLFRAGS, elements=("H", "C", "O"), lam=1e-4, largest=False
    ),
    "fig7_1e-3_range": partial(shapes.concentrated_cutoffs, lam=1e-3),
    "fig7_1e-3_sodium": partial(shapes.sodium_below, lam=1e-3),
    "fig7_1e-6_light": partial(shapes.cutoffs_within, elements=shapes.LIGHT, lam=1e-6, low=5.0, high=6.0),
    "fig7_1e-6_metals": partial(shapes.cutoffs_within, elements=("Na", "K", "Ca"), lam=1e-6, low=6.5, high=7.0),
    "fig7_1e-6_pairs": partial(pairs, subset=MOLCRYS, lam=1e-6),
}
