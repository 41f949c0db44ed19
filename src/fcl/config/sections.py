"""The sections of ``config.yaml``: strict, frozen pydantic models. Lengths are in angstrom, energies in eV."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fcl.config.architectures import AnyModelSettings
from fcl.config.data import DataSettings
from fcl.config.types import Count, Extended, Fraction, NonNegative, Positive, Section, Seed, check_grid


class CutoffSettings(Extended):
    """Interval from which per-atom cutoffs are sampled in training (angstrom)."""

    later: ClassVar = ("reach",)

    r_min: Positive = Field(description="lower end of the sampled interval; equal to r_max: nothing is sampled")
    r_max: Positive = Field(description="upper end, and largest cutoff of FCL models")
    reach: Positive | None = Field(
        None, description="cutoff of the graph store and range of FCL's Bessel functions, at least r_max; null: r_max"
    )
    sampling: Literal["atoms", "structures"] = Field(description="one sampled cutoff per atom, or per structure")

    @property
    def stored(self) -> float:
        """Cutoff of the graph store (A)."""
        return self.r_max if self.reach is None else self.reach

    @property
    def fixed(self) -> bool:
        """Whether FCL models have a single cutoff."""
        return self.r_min == self.r_max


class LossSettings(Extended):
    """Weights of the L1 loss terms."""

    later: ClassVar = ("stress_weight",)
    energy_weight: NonNegative = Field(description="weight of the error of energies per atom")
    force_weight: NonNegative = Field(description="weight of the error of force components")
    stress_weight: NonNegative = Field(
        0.0, description="weight of the error of stress components (eV/Å³), in training: structures without a stress "
        "are left out of this term; 0: stress is neither computed nor read"
    )  # fmt: skip


class _Optimiser(Extended):
    epochs: Count = Field(description="maximum number of passes over the training split")
    batch_size: Count = Field(description="structures in a mini-batch")
    batch_by: Literal["structures", "pairs"] = Field(
        description="pairs: batches with about as many pairs as batch_size average structures, for even memory use"
    )
    learning_rate: Positive = Field(description="initial learning rate of AdamW")
    weight_decay: NonNegative = Field(description="weight decay of AdamW")
    gradient_clip_norm: Positive | None = Field(description="maximum norm of the gradient; null: no clipping")
    freeze: tuple[str, ...] = Field(
        (), description="parameters that keep their values: names, their beginnings or patterns with *; backbone: all "
        "that a given model brings"
    )  # fmt: skip
    backbone_rate: Positive = Field(
        1.0, description="learning rate of the parameters that a given model brings, relative to learning_rate"
    )

    later: ClassVar[tuple[str, ...]] = ("freeze", "backbone_rate")


class PretrainSettings(_Optimiser):
    """Pre-training of a static model, the starting point of every FCL training."""

    later: ClassVar = (*_Optimiser.later, "given")

    given: str | None = Field(
        None,
        alias="from",
        description="a static model file that takes the place of the pre-training, of the cutoff above; with "
        "fcl.start: warm, its card decides the architecture of FCL models",
    )
    cutoff: Positive = Field(description="fixed cutoff of the pre-training")
    seeds: tuple[Seed, ...] = Field(
        min_length=1,
        description="one pre-trained model per seed; fcl.seeds are divided among them in order, in equal parts",
    )
    milestones: tuple[Count, ...] = Field(description="epochs after which the learning rate is multiplied by gamma")
    gamma: Fraction = Field(description="factor at each milestone")


class FCLSettings(_Optimiser):
    """Flexible cutoff learning, starting from the pre-trained weights."""

    later: ClassVar = (*_Optimiser.later, "start")

    start: Literal["random", "warm"] = Field(
        "random",
        description="radial network and cutoff embedding at first: random, as in the paper; warm: such that the model "
        "equals the pre-trained one at its cutoff",
    )
    seeds: tuple[Seed, ...] = Field(min_length=1, description="one training run per seed")
    plateau_factor: Fraction = Field(description="factor of ReduceLROnPlateau")
    plateau_patience: Count = Field(description="epochs without improvement before the learning rate is reduced")
    min_learning_rate: NonNegative = Field(description="lower limit of the learning rate")
    early_stopping_patience: Count = Field(description="epochs without improvement before training stops")
    validation_cutoffs: tuple[Positive, ...] = Field(min_length=1, description="uniform cutoffs of the validation loss")


class StaticSettings(_Optimiser):
    """Baselines: one static model per cutoff and seed."""

    cutoffs: tuple[Positive, ...] = Field(min_length=1, description="one set of models per cutoff")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="one training run per seed and cutoff")
    milestones: tuple[Count, ...] = Field(description="epochs after which the learning rate is multiplied by gamma")
    gamma: Fraction = Field(description="factor at each milestone")


class UniformCutoffs(Section):
    """An evenly spaced grid of uniform cutoffs, both ends included (angstrom)."""

    start: Positive = Field(description="first cutoff")
    stop: Positive = Field(description="last cutoff")
    step: Positive = Field(description="spacing")

    @model_validator(mode="after")
    def _whole_steps(self) -> UniformCutoffs:
        check_grid(self.start, self.stop, self.step)
        return self

    def values(self) -> list[float]:
        """The cutoffs (angstrom), rounded to 6 digits."""
        steps = round((self.stop - self.start) / self.step)
        return [round(self.start + index * self.step, 6) for index in range(steps + 1)]


class EvaluationSettings(Section):
    """Errors and cost on the test split."""

    uniform_cutoffs: UniformCutoffs = Field(description="cutoffs of the sweep in Fig. 3")
    batch_size: Count = Field(description="structures in a batch")


class ExternalSettings(Section):
    """Further test sets, beside the test split."""

    manifests: tuple[str, ...] = Field(description="data manifests (YAML), each with a test split")


class DiatomicSettings(Section):
    """Energy and force curves of diatomics."""

    pairs: tuple[str, ...] = Field(min_length=1, description="pairs of elements, e.g. H-O")
    cutoffs: tuple[Positive, ...] = Field(min_length=1, description="uniform cutoffs of the curves")
    r_start: Positive = Field(description="smallest distance")
    r_stop: Positive = Field(description="largest distance")
    points: Annotated[int, Field(ge=2)] = Field(description="points per curve")


class CalibrationSettings(Section):
    """Optimisation of per-element cutoffs with frozen weights (Eqs. 11-12)."""

    subsets: tuple[str, ...] = Field(min_length=1, description="subsets, each optimised separately")
    lambdas: tuple[Positive, ...] = Field(min_length=1, description="weights of the cost, Eq. 11")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="seeds of the FCL models to calibrate")
    split: Literal["train", "val"] = Field(description="split used for calibration; the test split is not allowed")
    optimiser: Literal["adam", "lbfgs"] = Field(
        description="adam: the paper's, on mini-batches; lbfgs: on all structures, deterministic, from several starts"
    )
    epochs: Count = Field(description="passes over the subset; lbfgs: at most, in each run")
    learning_rate: Positive = Field(description="learning rate of Adam (roughly angstrom per step)")
    batch_size: Count = Field(description="structures in a mini-batch; with lbfgs no result depends on it")
    min_structures: Annotated[int, Field(ge=0)] = Field(
        description="elements in fewer structures of the subset share one cutoff; 0: none"
    )
    initial_cutoff: Positive = Field(description="initial cutoff of every element")
    lower_bound: Positive = Field(description="lower bound to which cutoffs are clamped")
    upper_bound: Positive = Field(description="upper bound to which cutoffs are clamped")
    cost: Literal["structures", "atoms"] = Field(description="mean in the cost model: over structures or all atoms")

    def steps(self, frames: int) -> int:
        """Optimiser steps on a subset of ``frames`` structures: epochs times batches; the last batch may be small."""
        return self.epochs * math.ceil(frames / self.batch_size)

    def fault_of_reach(self, frames: int, subset: str) -> str | None:
        """Why a calibration on ``frames`` structures is too short, or None if it is long enough.

        Adam moves a cutoff by about ``learning_rate`` per step at most, so ``learning_rate`` x steps must exceed the
        width of the allowed interval. L-BFGS has no such limit.
        """
        if self.optimiser != "adam":
            return None
        reach, width = self.learning_rate * self.steps(frames), self.upper_bound - self.lower_bound
        if reach > width:
            return None
        return (
            f"calibration of {subset}: learning_rate x steps = {self.learning_rate:g} x {self.steps(frames)} "
            f"= {reach:.2f} A does not exceed upper_bound - lower_bound = {width:.2f} A, so the cutoffs may "
            "end near their start; raise calibration.epochs or calibration.learning_rate, or lower "
            "calibration.batch_size"
        )

    def check_reach(self, frames: int, subset: str) -> bool:
        """Whether a calibration on ``frames`` structures is long enough; warns if not."""
        fault = self.fault_of_reach(frames, subset)
        if fault:
            warnings.warn(fault, stacklevel=2)
        return fault is None


class ChoiceSettings(Section):
    """Choice of lambda by cross-validation over groups of training and validation structures."""

    max_error_increase: Positive = Field(
        description="largest increase of the force RMSE over the start (fraction), with one standard error to spare"
    )
    folds: Annotated[int, Field(ge=2)] = Field(description="folds of groups, each left out once")
    evaluations: Count = Field(description="evaluations of L-BFGS per lambda and fold, each from the previous lambda")


class ComputeSettings(Extended):
    """Device, precision and backend; only ``dtype`` and ``tf32`` are among the settings that determine a result."""

    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto: a GPU if there is one")
    dtype: Literal["float32", "float64"] = Field(description="precision of training and evaluation")
    tf32: bool = Field(description="float32 matrix products in TF32 on GPUs that support it: faster, 10-bit mantissas")
    threads: Count = Field(description="CPU threads per job")
    backend: Literal["auto", "fast", "reference", "compiled"] = Field(
        description="implementation of the model; auto: fast where it supports the model; compiled is for long runs"
    )
    training_backend: Literal["auto", "fast", "reference", "compiled"] | None = Field(
        description="backend of training, which takes long enough for compiled to pay off; null: the same as backend"
    )
    checkpoint_seconds: NonNegative = Field(description="time between checkpoints (s), lost if training is killed")
    max_pairs: Count | None = Field(
        None,
        description="pairs in the range of the store that a training evaluates at once; the gradients of larger "
        "batches are added up from parts, with the same result but for rounding. null: whole batches",
    )

    processes: Count = Field(
        1,
        description="processes of a training on one machine, each with a share of every batch, and a GPU if there are",
    )

    later: ClassVar = ("max_pairs", "processes")

    @property
    def backend_of_training(self) -> str:
        """The backend used for training."""
        return self.training_backend or self.backend


class RelaxationSettings(Section):
    """Energy minimisation with BFGS."""

    fmax: Positive = Field(description="convergence criterion: largest force (eV/A)")
    steps: Count = Field(description="maximum number of steps")


class EquationOfStateSettings(Section):
    """Energy as a function of volume, with atoms relaxed at each volume."""

    points: Annotated[int, Field(ge=5)] = Field(description="number of volumes")
    strain: Annotated[float, Field(gt=0, le=0.1)] = Field(description="largest linear strain, as a fraction")


class PhononSettings(Section):
    """Phonons from finite displacements of the atoms of one cell."""

    displacement: Positive = Field(description="displacement (A)")


class DynamicsSettings(Section):
    """Settings common to all molecular dynamics."""

    structures: Count = Field(description="structures per subset: the first that have a reference")
    blocks: Annotated[int, Field(ge=4)] = Field(description="blocks of a run, for the statistical error")
    temperature: Positive = Field(description="temperature of the equilibration and of NVT (K)")
    friction: Positive = Field(description="friction of the Langevin thermostat (1/fs)")
    timestep: Positive = Field(description="time step of the equilibration and of NVT (fs)")
    equilibration: Positive = Field(description="duration of the NVT equilibration (ps)")
    unstable_above: Positive = Field(description="temperature (K) at which a run is stopped as unstable")


class NVESettings(Section):
    """NVE dynamics after the equilibration."""

    duration: Positive = Field(description="duration of the run (ps)")


class RDFSettings(Section):
    """Radial distribution function in NVT, after the equilibration."""

    duration: Positive = Field(description="duration of the run (ps)")
    reach: Positive = Field(description="largest distance (A)")
    bin_width: Positive = Field(description="bin width of the histogram (A)")
    interval: Count = Field(description="steps between sampled structures")


class ObservableSettings(Section):
    """Physical properties with optimised cutoffs and with a uniform cutoff, same model; null skips a quantity."""

    subsets: tuple[str, ...] = Field(min_length=1, description="subsets, each with the cutoffs optimised for it")
    at_lambda: Positive = Field(description="lambda of the calibration used")
    seed: Seed = Field(description="seed of the FCL model and of its calibration")
    null_seed: Seed | None = Field(description="seed of another FCL model, compared at the uniform cutoff; null: none")
    uniform_cutoff: Positive = Field(description="uniform cutoff of the reference")
    structures: Count = Field(
        description="structures per subset: of the first groups (parents) of the test split the one of lowest energy"
    )
    max_atoms: Count | None = Field(description="use only structures of at most so many atoms; null: all")
    relaxation: RelaxationSettings
    equation_of_state: EquationOfStateSettings | None
    phonons: PhononSettings | None
    dynamics: DynamicsSettings
    nve: NVESettings | None
    rdf: RDFSettings | None


class ToleranceSettings(Section):
    """Differences that count as agreement in the table of `observables`; no run depends on them."""

    rmsd: Positive = Field(description="RMSD between the minima (A)")
    volume: Fraction = Field(description="volume, as a fraction of that at the uniform cutoff")
    bulk_modulus: Fraction = Field(description="bulk modulus, as a fraction of that at the uniform cutoff")
    phonons: Positive = Field(description="RMS difference over the modes (1/cm)")
    drift: Positive = Field(description="energy drift (meV/atom/ps), which the reference must not exceed either")
    rdf: Positive = Field(description="integral of |g1 - g2| (A)")


class UnlabelledSettings(Section):
    """Calibration on pseudo-labels (the model at calibration.initial_cutoff), for comparison with labels."""

    lambdas: tuple[Positive, ...] = Field(min_length=1, description="lambdas to compare, among calibration.lambdas")


class WallClockSettings(Section):
    """Time and memory of energy and force evaluations on structures of the test split."""

    uniform_cutoffs: tuple[Positive, ...] = Field(min_length=2, description="cutoffs compared with the optimised ones")
    atoms: Count = Field(description="minimum number of atoms per batch; structures are repeated if there are fewer")
    repeats: Count = Field(description="repetitions, of which the fastest counts")


class TrainingSections(Section):
    """The sections that trainings use."""

    model: AnyModelSettings
    cutoffs: CutoffSettings
    loss: LossSettings
    pretrain: PretrainSettings
    fcl: FCLSettings
    static: StaticSettings
    compute: ComputeSettings


class Sections(TrainingSections):
    """All sections of a protocol."""

    data: DataSettings
    evaluation: EvaluationSettings
    external: ExternalSettings
    diatomics: DiatomicSettings
    calibration: CalibrationSettings
    choice: ChoiceSettings
    observables: ObservableSettings
    tolerances: ToleranceSettings
    unlabelled: UnlabelledSettings
    wall_clock: WallClockSettings
