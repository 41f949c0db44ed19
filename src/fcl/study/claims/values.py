"""The function of each claim of resources/claims.csv, by its id: `FUNCTIONS`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fcl.evaluation.statistics import HOLDS, Estimate, NotEvaluated, contrast, error, relative
from fcl.study.claims import shapes
from fcl.study.claims.shapes import FORCE_RMSE
from fcl.study.claims.verdicts import Measured
from fcl.study.errors import PAIRS
from fcl.study.paper import MOLCRYS, MOLFRAGS
from fcl.study.results import Results

#: Uniform cutoff (A) from which the paper's calibrations start.
START = 6.0
TABLE4_ELEMENTS = ("H", "C", "N", "O", "F", "Na", "Mg", "P", "S", "Cl", "K", "Ca")


def element_fraction(results: Results, element: str) -> Estimate:
    """Fraction of an element among the atoms of molecular crystals (Table 4): of the training split, or of a sample."""
    return results.sampled(MOLCRYS, element) or results.element_fraction("train", MOLCRYS, element)


def force_rmse_at(results: Results, cutoff: float) -> Estimate:
    """Test force RMSE (eV/A) of FCL at a uniform ``cutoff`` (A)."""
    return error(results.uniform.fcl(FORCE_RMSE, cutoff))


def at_lambda(results: Results, quantity: str, subset: str, lam: float | None, unit: float = 1.0) -> Estimate:
    """A quantity of a subset's test structures at ``lam``; at the uniform start where it is None."""
    uniform, calibrated = results.uniform, results.calibrated
    models = uniform.fcl(quantity, START, subset) if lam is None else calibrated.family(quantity, subset, lam)
    return error(models).times(unit)


pairs = partial(at_lambda, quantity=PAIRS)
force_rmse_mev = partial(at_lambda, quantity=FORCE_RMSE, unit=1000.0)  # meV/A


def saving(results: Results, subset: str, lam: float, before: float | None = None) -> Estimate:
    """1 - pairs / pairs ``before`` (at another lambda; None: at the uniform start)."""
    start = (lam, "initial") if before is None else (before, "optimised")
    families = (results.calibrated.family(PAIRS, subset, *which) for which in ((lam, "optimised"), start))
    return contrast(*([family] for family in families)).times(-1.0, 1.0)


def penalty(results: Results, subset: str, lam: float) -> Estimate:
    """Relative increase of the force RMSE over the uniform start.

    `NotEvaluated` if the models are not better than zero forces there: their errors would say nothing.
    """
    uniform = results.uniform
    skill = relative(uniform.fcl(FORCE_RMSE, START, subset), uniform.trivial(FORCE_RMSE, subset), paired=False)
    if skill.verdict != HOLDS:
        raise NotEvaluated(f"FCL is not shown to be better than zero forces for {subset}")
    after, start = (results.calibrated.family(FORCE_RMSE, subset, lam, name) for name in ("optimised", "initial"))
    return contrast([after], [start]).times(1.0, -1.0)


def element_cutoff(results: Results, subset: str, element: str, lam: float) -> Estimate:
    """Optimised cutoff (A) of one element."""
    table = results.element_cutoffs_by_seed(subset, lam)
    if element not in table:
        raise NotEvaluated(f"the calibration structures of {subset} hold no {element}, or too few")
    return results.over_seeds(table[element])


def initial_pairs(results: Results) -> Estimate:
    """Pairs per atom of the molecular crystals at the uniform start: of the test structures, or of all in a sample."""
    return results.sampled(MOLCRYS, "pairs") or pairs(results, subset=MOLCRYS, lam=None)


FUNCTIONS: dict[str, Callable[[Results], Measured]] = {
    **{
        f"table3_avg_neighbors_{cutoff}": partial(
            Results.average_neighbors, cutoff=float(cutoff), split="train", definition="per_connected_atom"
        )
        for cutoff in (4, 5, 6, 7)
    },
    **{f"table4_{element}": partial(element_fraction, element=element) for element in TABLE4_ELEMENTS},
    "params_static": partial(Results.hyperparameter, key="parameters", kind="static"),
    "params_added": partial(Results.hyperparameter, key="parameters_added", kind="fcl"),
    "params_added_fraction": partial(Results.hyperparameter, key="parameters_added_fraction", kind="fcl"),
    "expected_cutoff": Results.mean_sampled_cutoff,
    "fig3_fcl_force_rmse_4": partial(force_rmse_at, cutoff=4.0),
    "fig3_fcl_force_rmse_5": partial(force_rmse_at, cutoff=5.0),
    "fig3_plateau": partial(shapes.error_ratio, cutoff=6.0, reference=5.0),
    "fig3_upturn_7": partial(shapes.error_ratio, cutoff=7.0, reference=6.0),
    "fig3_static_below_fcl": shapes.static_to_fcl,
    "fig3_static_std_7": shapes.static_spread,
    "fig3_pairs_3p7": partial(Results.average_neighbors, cutoff=3.7, split="test", definition="per_structure"),
    "fig3_pairs_4p0": partial(Results.average_neighbors, cutoff=4.0, split="test", definition="per_structure"),
    "fig4_adjacent_cutoffs": shapes.adjacent_difference,
    "fig4_oscillation_7": shapes.oscillation,
    **{
        f"fig5_{subset.lower()}_{lam}_{quantity}": partial(function, subset=subset, lam=float(lam))
        for subset, lambdas in {"MC3D": ("1e-6", "1e-4", "1e-3"), "MC2D": ("1e-6", "1e-4")}.items()
        for lam in lambdas
        for quantity, function in {"pairs": pairs, "rmse": force_rmse_mev}.items()
    },
    # for the fragments "before" is lambda 1e-6, as in the paper's sentence about them and MC2D
    "fig5_molfrags_1e-4_saving": partial(saving, subset=MOLFRAGS, lam=1e-4, before=1e-6),
    "fig5_molfrags_1e-6_rmse": partial(force_rmse_mev, subset=MOLFRAGS, lam=1e-6),
    "fig5_molfrags_1e-4_rmse": partial(force_rmse_mev, subset=MOLFRAGS, lam=1e-4),
    "fig5_molcrys_initial_pairs": initial_pairs,
    "fig5_molcrys_initial_rmse": partial(force_rmse_mev, subset=MOLCRYS, lam=None),
    "fig5_molcrys_1e-4_pairs": partial(pairs, subset=MOLCRYS, lam=1e-4),
    "fig5_molcrys_1e-4_rmse": partial(force_rmse_mev, subset=MOLCRYS, lam=1e-4),
    "fig5_molcrys_1e-4_saving": partial(saving, subset=MOLCRYS, lam=1e-4),
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
