"""Calibration: L-BFGS from several starts against Adam, in objective on the whole subset and in core time.

The shipped model `embedded` on subsets of its training data. Adam has the settings with which the record of
`embedded` was made; each element has its own cutoff. `gain`: by how much L-BFGS ends lower, relative. One thread;
the two alternate; seconds are CPU seconds of the process. `time_to_adams_objective`: a run that is limited to the
evaluations after which L-BFGS is below the end of Adam, as a fraction of Adam's time.
"""

from __future__ import annotations

from types import SimpleNamespace

from measure import LABEL, begin, embedded_arrays, finish, parser, study

import fcl
from fcl.calibration.lbfgs import SEARCH
from fcl.calibration.optimise import calibrate
from fcl.data.batch import GraphData

SUBSETS, LAMBDAS = ("SHIFTML-molcrys", "MC3D"), (1e-3, 1e-4)


def measure(repeats: int) -> dict:
    """Objective, projected gradient and core seconds of both, for each case."""
    data, model, protocol = GraphData(embedded_arrays()), fcl.load("embedded", device="cpu"), study()
    settings = {
        name: SimpleNamespace(
            **protocol.calibration.model_dump() | {"optimiser": name, "epochs": 100, "batch_size": size}
        )
        for name, size in (("adam", 8), ("lbfgs", protocol.calibration.batch_size))
    }
    cases = {}
    for subset in SUBSETS:
        for lam in LAMBDAS:
            seconds: dict[str, list[float]] = {name: [] for name in settings}
            ends = {}
            members = data.members(subset)
            for _ in range(repeats):
                for name, chosen in settings.items():
                    found = calibrate(model, data, chosen, protocol.loss, lam, seed=1, indices=members)
                    ends[name] = found.convergence
                    seconds[name].append(found.convergence["core_seconds"])
            final = [row["objective"] for row in found.history if row["start"] == "final"]
            below = [k + 1 for k, value in enumerate(final) if value < ends["adam"]["objective"]]
            case = {
                name: {key: end[key] for key in ("objective", "projected_gradient", "evaluations", "pairs_per_atom")}
                | {"core_seconds": min(seconds[name])}
                for name, end in ends.items()
            }
            ratio = min(seconds["lbfgs"]) / min(seconds["adam"])
            gain = 1.0 - case["lbfgs"]["objective"] / case["adam"]["objective"]
            case |= {"core_time_ratio": ratio, "gain": gain, "time_to_adams_objective": None}
            if below:
                limited = SimpleNamespace(**vars(settings["lbfgs"]) | {"epochs": max(below[0], SEARCH)})
                found = calibrate(model, data, limited, protocol.loss, lam, seed=1, indices=members)
                case["time_to_adams_objective"] = found.convergence["core_seconds"] / min(seconds["adam"])
            print(f"{subset}, lambda {lam:g}: {ratio:.3f} of the core time, objective lower by {gain:.3%}; ", end="")
            print(f"below Adam's after {case['time_to_adams_objective']:.3f}" if below else "never below", flush=True)
            cases[f"{subset}, lambda {lam:g}"] = case
    return cases


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.set_defaults(repeats=1)
    options = arguments.parse_args()
    begin(options)
    finish(options, "calibration", {"data": LABEL, **measure(options.repeats)})
