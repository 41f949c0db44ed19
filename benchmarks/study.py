"""What the trainings of a study take with each backend: an epoch of every stage of ``mini``, timed in turn.

Pre-training, FCL, a static baseline at each cutoff and the calibration of the first subset run one epoch each on the
embedded set with the study's own batch size, and the FCL model is evaluated on the test split; programs of different
backends take turns. From the fastest epochs and the epochs of the configuration follows what all jobs take, early
stopping aside. All begin with the weights of the shipped model ``mini``, whose forces are of the size of the labels, so
that a wrong backend would show: the same epoch gives the same loss with each, to the noise of float32, and the largest
difference is in the record. What ``compiled`` needs to compile is in ``warm_up_s``, the first run of every part, and in
no epoch.
"""

from __future__ import annotations

import time

import torch
from measure import LABEL, ROOT, begin, embedded_arrays, finish, interleaved, parser

from fcl.calibration.optimise import calibrate
from fcl.config.load import load_config
from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData, average_neighbors
from fcl.data.loader import split_order
from fcl.evaluation.errors import evaluate
from fcl.models.files import build_model, load
from fcl.training.fit import fcl_recipe, static_recipe, train_epoch, validate

LAMBDA = 1e-4


class Trained:
    """One kind of training with one backend; every call of `epoch` begins from the same weights, orders and cutoffs."""

    def __init__(self, study, kind: str, cutoff: float, backend: str, arrays, train: GraphData, val: GraphData):
        self.study, self.kind, self.cutoff, self.train, self.val = study, kind, cutoff, train, val
        self.settings = study.fcl if kind == "fcl" else study.static
        neighbors = None if kind == "fcl" else average_neighbors(arrays, cutoff)["per_connected_atom"]
        torch.manual_seed(1)
        self.model = build_model(kind, study.model, cutoff, neighbors, backend=backend)
        trained = dict(load("mini").named_parameters())
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(trained[name])
        self.start = {name: value.clone() for name, value in self.model.state_dict().items()}

    def epoch(self) -> float:
        """Train over the split once; the mean loss."""
        self.model.load_state_dict(self.start)
        if self.kind == "fcl":
            generator = torch.Generator().manual_seed(2)
            recipe = fcl_recipe("benchmark", self.settings, self.study.cutoffs, generator, self.train.dtype)
        else:
            recipe = static_recipe("benchmark", self.cutoff, self.train.dtype)
        # A rate at which rounding does not grow within the epoch: losses are compared, not brought down.
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(3))
        chunks = split_order(order, self.settings.batch_size)
        return train_epoch(self.model, self.train, chunks, optimizer, self.settings, self.study.loss, recipe)[0]

    def validate(self) -> float:
        """Loss of the validation split at all cutoffs at which it is validated."""
        cutoffs = self.settings.validation_cutoffs if self.kind == "fcl" else [self.cutoff]
        return validate(self.model, self.val, cutoffs, self.study.loss)["val_loss"]

    def evaluate(self, test: GraphData) -> float:
        """Sum of the force errors of ``test`` at every uniform cutoff of the study."""
        self.model.load_state_dict(self.start)
        rules = [uniform_rule(cutoff, test.dtype) for cutoff in self.study.evaluation.uniform_cutoffs.values()]
        size = self.study.evaluation.batch_size
        return float(sum(evaluate(self.model.eval(), test, rule, size).force_absolute.sum() for rule in rules))

    def calibrate(self) -> float:
        """One epoch of calibration of the first subset; the last objective."""
        self.model.load_state_dict(self.start)
        once = self.study.narrowed(calibration={"epochs": 1}).calibration
        members = self.train.members(once.subsets[0])
        found = calibrate(self.model, self.train, once, self.study.loss, LAMBDA, seed=1, indices=members)
        return found.history[-1]["objective"]


def hours_of_jobs(study, seconds: dict[str, float]) -> float:
    """Hours of all trainings, calibrations and sweeps of ``study`` from the ``seconds`` of an epoch of each part."""
    pretrain, fcl, static, calibration = study.pretrain, study.fcl, study.static, study.calibration
    jobs = len(calibration.subsets) * len(calibration.lambdas) * len(calibration.seeds)

    def epoch(name: str) -> float:
        return seconds[f"{name}, training"] + seconds[f"{name}, validation"]

    total = pretrain.epochs * epoch(f"static {pretrain.cutoff:g}") + len(fcl.seeds) * fcl.epochs * epoch("fcl")
    total += len(static.seeds) * static.epochs * sum(epoch(f"static {cutoff:g}") for cutoff in static.cutoffs)
    total += len(fcl.seeds) * seconds["fcl, evaluation"]
    return (total + jobs * calibration.epochs * seconds["calibration"]) / 3600.0


def parts(study, backend: str, arrays, train: GraphData, val: GraphData, test: GraphData) -> dict:
    """{name: function of no arguments that returns a number to compare} for one backend."""
    made = {}
    for cutoff in sorted({study.pretrain.cutoff, *study.static.cutoffs}):
        static = Trained(study, "static", cutoff, backend, arrays, train, val)
        made |= {f"static {cutoff:g}, training": static.epoch, f"static {cutoff:g}, validation": static.validate}
    fcl = Trained(study, "fcl", study.cutoffs.r_max, backend, arrays, train, val)
    made |= {"fcl, training": fcl.epoch, "fcl, validation": fcl.validate, "fcl, evaluation": lambda: fcl.evaluate(test)}
    return made | {"calibration": fcl.calibrate}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--study", default="mini")
    arguments.add_argument("--backends", nargs="+", default=["reference", "fast", "compiled"])
    options = arguments.parse_args()
    begin(options)
    study = load_config(ROOT / "config.yaml").resolve(options.study)
    arrays = embedded_arrays()
    data = GraphData(arrays), GraphData(embedded_arrays("val")), GraphData(embedded_arrays("test"))
    programs = {backend: parts(study, backend, arrays, *data) for backend in options.backends}
    values: dict[str, dict[str, float]] = {}
    warm_up: dict[str, float] = {}
    for backend, named in programs.items():
        started = time.perf_counter()
        values[backend] = {name: run() for name, run in named.items()}
        warm_up[backend] = time.perf_counter() - started
    first = options.backends[0]
    seconds: dict[str, dict[str, float]] = {backend: {} for backend in programs}
    for name in programs[first]:
        timed = interleaved({backend: named[name] for backend, named in programs.items()}, options.repeats, warm_up=0)
        for backend, value in timed.items():
            seconds[backend][name] = value["min_s"]
    result = {
        "data": LABEL, "study": options.study, "structures": len(arrays), "batch_size": study.fcl.batch_size,
        "seconds_of_an_epoch": seconds, "warm_up_s": warm_up,
        "hours_of_all_jobs": {backend: hours_of_jobs(study, each) for backend, each in seconds.items()},
        "largest_relative_difference": {
            backend: max(abs(each[name] / values[first][name] - 1.0) for name in each)
            for backend, each in values.items()
        },
    }  # fmt: skip
    finish(options, f"study, {options.threads} threads", result)


if __name__ == "__main__":
    main()
