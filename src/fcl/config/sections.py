"""The sections of ``config.yaml``: strict, frozen models of every setting. Lengths are in angstrom, energies in eV."""

from __future__ import annotations

import math
import warnings
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fcl.config.types import Count, Fraction, NonNegative, Positive, Section, Seed, Split, check_grid

SPLITS = ("train", "val", "test")

Irreps = Annotated[str, Field(pattern=r"^\d+x\d+[eo](\s*\+\s*\d+x\d+[eo])*$")]


class FrameLimits(Section):
    """At most so many structures of every subset, for each split; null takes all."""

    train: Count | None = None
    val: Count | None = None
    test: Count | None = None


class DataSettings(Section):
    """Which data set, and how much of it."""

    manifest: str = Field(description="data manifest (YAML) with the splits, their files, checksums and licence")
    local_dir: str | None = Field(None, description="directory that already holds the downloadable files")
    max_frames_per_subset: FrameLimits | None = Field(None, description="structures of each subset; null takes all")
    max_force: Positive | None = Field(None, description="largest force on an atom (eV/A); null accepts all")
    strict: bool = Field(True, description="a bad frame is an error; false leaves it out and lists it")

    @property
    def takes_every_frame(self) -> bool:
        """Whether no frame is left out, neither by a limit nor as a bad one."""
        return self.max_frames_per_subset is None and self.strict

    def frame_limit(self, split: Split) -> int | None:
        """At most so many structures of each subset of ``split``; None means all."""
        return None if self.max_frames_per_subset is None else getattr(self.max_frames_per_subset, split)


class ModelSettings(Section):
    """Architecture of MACE (paper, Table 2) and of the parts that FCL adds (Eqs. 14-16)."""

    num_elements: Annotated[int, Field(ge=1, le=118)] = Field(description="elements Z = 1 ... num_elements")
    hidden_irreps: Irreps = Field(description="irreps of the node features")
    mlp_irreps: Irreps = Field(description="irreps of the hidden layer of the last readout")
    num_bessel: Count = Field(description="Bessel functions of the radial basis")
    polynomial_order: Count = Field(description="order p of the polynomial taper")
    correlation: Count = Field(description="body order of a layer minus one")
    max_ell: Count = Field(description="largest l of the spherical harmonics")
    num_interactions: Count = Field(description="message-passing layers")
    radial_mlp: tuple[Count, ...] = Field(min_length=1, description="hidden widths of mace's radial network")
    fcl_avg_num_neighbors: Positive = Field(description="normalisation of messages in FCL models")
    radial_embedding_hidden: Count = Field(description="hidden width of the radial network u, Eq. 15")
    cutoff_embedding_hidden: Count = Field(description="hidden width of the node embedding e, Eq. 16")
    cutoff_embedding: Literal["released", "literal"] = Field(
        description="released: 1-64-64-32, 9 162 new parameters; literal: the two layers of the text, 5 034"
    )
    mixing_rule: Literal["arithmetic", "geometric"] = Field(description="pair cutoff from two atomic cutoffs")


class CutoffSettings(Section):
    """Interval from which the cutoffs of the atoms are drawn in training (angstrom)."""

    r_min: Positive = Field(description="lower end of the sampled interval")
    r_max: Positive = Field(description="upper end; also the cutoff of the graph store and of FCL's Bessel functions")
    sampling: Literal["atoms", "structures"] = Field(description="a cutoff drawn for each atom, or for each structure")


class LossSettings(Section):
    """Weights of the two L1 terms."""

    energy_weight: NonNegative = Field(description="weight of the error of the energy per atom")
    force_weight: NonNegative = Field(description="weight of the error of the force components")


class _Optimiser(Section):
    epochs: Count = Field(description="passes over the training split (at most)")
    batch_size: Count = Field(description="structures in a mini-batch")
    batch_by: Literal["structures", "pairs"] = Field(
        description="pairs: batches of about as many pairs as batch_size structures have in the mean, for even memory"
    )
    learning_rate: Positive = Field(description="initial learning rate of AdamW")
    weight_decay: NonNegative = Field(description="weight decay of AdamW")
    gradient_clip_norm: Positive | None = Field(description="largest norm of the gradient; null does not clip")


class PretrainSettings(_Optimiser):
    """Pre-training of a static model, the start of every FCL run."""

    cutoff: Positive = Field(description="the one cutoff of the pre-training")
    seed: Seed = Field(description="seed of initial weights and of the order of structures")
    milestones: tuple[Count, ...] = Field(description="epochs after which the learning rate is multiplied by gamma")
    gamma: Fraction = Field(description="factor at each milestone")


class FCLSettings(_Optimiser):
    """Flexible cutoff learning from the pre-trained weights."""

    seeds: tuple[Seed, ...] = Field(min_length=1, description="one training run a seed")
    plateau_factor: Fraction = Field(description="factor of ReduceLROnPlateau")
    plateau_patience: Count = Field(description="epochs without improvement before the learning rate falls")
    min_learning_rate: NonNegative = Field(description="the learning rate falls no further")
    early_stopping_patience: Count = Field(description="epochs without improvement before training ends")
    validation_cutoffs: tuple[Positive, ...] = Field(min_length=1, description="uniform cutoffs of the validation")


class StaticSettings(_Optimiser):
    """Baselines: one static model for each cutoff and seed."""

    cutoffs: tuple[Positive, ...] = Field(min_length=1, description="one set of models a cutoff")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="one training run a seed and cutoff")
    milestones: tuple[Count, ...] = Field(description="epochs after which the learning rate is multiplied by gamma")
    gamma: Fraction = Field(description="factor at each milestone")


class UniformCutoffs(Section):
    """An evenly spaced grid of uniform cutoffs, both ends included (angstrom)."""

    start: Positive = Field(description="first cutoff")
    stop: Positive = Field(description="last cutoff")
    step: Positive = Field(description="distance between neighbouring cutoffs")

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

    uniform_cutoffs: UniformCutoffs = Field(description="the sweep of Fig. 3")
    batch_size: Count = Field(description="structures in a batch")


class DiatomicSettings(Section):
    """Energy and force curves of pairs of atoms."""

    pairs: tuple[str, ...] = Field(min_length=1, description="pairs of elements, as H-O")
    cutoffs: tuple[Positive, ...] = Field(min_length=1, description="uniform cutoffs of the curves")
    r_start: Positive = Field(description="shortest distance")
    r_stop: Positive = Field(description="longest distance")
    points: Annotated[int, Field(ge=2)] = Field(description="points of a curve")


class CalibrationSettings(Section):
    """Optimisation of per-element cutoffs with frozen weights (Eqs. 11-12)."""

    subsets: tuple[str, ...] = Field(min_length=1, description="subsets, each optimised by itself")
    lambdas: tuple[Positive, ...] = Field(min_length=1, description="weights of the cost, Eq. 11")
    seeds: tuple[Seed, ...] = Field(min_length=1, description="FCL seeds whose models are calibrated")
    split: Literal["train", "val"] = Field(description="split that calibrates; the test split is not allowed")
    epochs: Count = Field(description="passes over the subset")
    learning_rate: Positive = Field(description="learning rate of Adam (angstrom a step, roughly)")
    batch_size: Count = Field(description="structures in a mini-batch")
    initial_cutoff: Positive = Field(description="where every element starts")
    lower_bound: Positive = Field(description="cutoffs are clamped to at least this")
    upper_bound: Positive = Field(description="cutoffs are clamped to at most this")
    cost: Literal["structures", "atoms"] = Field(description="mean of the cost model: over structures, or all atoms")

    def steps(self, frames: int) -> int:
        """Optimiser steps on a subset of ``frames`` structures: epochs times batches, the last one may be
        small."""
        return self.epochs * math.ceil(frames / self.batch_size)

    def fault_of_reach(self, frames: int, subset: str) -> str | None:
        """Why a calibration on ``frames`` structures is too short, or None if it is long enough.

        Adam moves a cutoff by about ``learning_rate`` a step at most, so ``learning_rate`` x steps has to
        exceed the width of the allowed interval.
        """
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
        """Whether a calibration on ``frames`` structures is long enough; warns if it is not."""
        fault = self.fault_of_reach(frames, subset)
        if fault:
            warnings.warn(fault, stacklevel=2)
        return fault is None


class ComputeSettings(Section):
    """How to compute; of these only ``dtype`` and ``tf32`` are among the settings that determine a result."""

    device: str = Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto takes a GPU where there is one")
    dtype: Literal["float32", "float64"] = Field(description="precision of training and evaluation")
    tf32: bool = Field(description="float32 matrix products in TF32 on GPUs that have it: faster, 10-bit mantissas")
    threads: Count = Field(description="CPU threads of one job")
    backend: Literal["auto", "fast", "reference", "compiled"] = Field(
        description="implementation of the model; auto is fast where that covers the model; compiled is for long runs"
    )
    training_backend: Literal["auto", "fast", "reference", "compiled"] | None = Field(
        description="that of trainings, which last long enough for compiled; null: the same as backend"
    )
    checkpoint_seconds: NonNegative = Field(description="time between checkpoints: what a killed training loses (s)")

    @property
    def backend_of_training(self) -> str:
        """The backend with which models are trained."""
        return self.training_backend or self.backend


class RelaxationSettings(Section):
    """Minimisation of the energy by LBFGS."""

    fmax: Positive = Field(description="largest force that may remain (eV/A)")
    steps: Count = Field(description="at most so many steps")
    cell: bool = Field(description="relax the cell of crystals too")


class EquationOfStateSettings(Section):
    """Energy against volume, atoms relaxed at each."""

    points: Annotated[int, Field(ge=5)] = Field(description="volumes")
    strain: Annotated[float, Field(gt=0, le=0.1)] = Field(description="largest change of lengths, as a fraction")


class PhononSettings(Section):
    """Finite displacements of the atoms of one cell."""

    displacement: Positive = Field(description="distance (A)")


class DynamicsSettings(Section):
    """What all dynamics share."""

    temperature: Positive = Field(description="of the equilibration and of NVT (K)")
    friction: Positive = Field(description="of the Langevin thermostat (1/fs)")
    timestep: Positive = Field(description="of the equilibration and of NVT (fs)")
    equilibration: Positive = Field(description="NVT before anything is recorded (ps)")
    unstable_above: Positive = Field(description="temperature (K) at which a run counts as unstable and ends")


class NVESettings(Section):
    """Constant energy, after the equilibration."""

    timesteps: tuple[Positive, ...] = Field(min_length=1, description="one run each (fs)")
    duration: Positive = Field(description="of each run (ps)")


class RDFSettings(Section):
    """Radial distribution function in NVT, after the equilibration."""

    duration: Positive = Field(description="of the run (ps)")
    reach: Positive = Field(description="largest distance (A)")
    bin_width: Positive = Field(description="of the histogram (A)")
    interval: Count = Field(description="steps between two structures that count")
    blocks: Annotated[int, Field(ge=2)] = Field(description="parts of the run, for the statistical error")


class ValidationSettings(Section):
    """Physics with optimised cutoffs against a uniform cutoff, same model; null leaves a quantity out."""

    subsets: tuple[str, ...] = Field(min_length=1, description="subsets, with the cutoffs optimised for them")
    at_lambda: Positive = Field(description="the calibration that is used")
    seed: Seed = Field(description="the FCL model and its calibration that are used")
    uniform_cutoff: Positive = Field(description="the cutoff of the comparison")
    structures: Count = Field(description="structures of each subset: the first of the test split")
    relaxation: RelaxationSettings
    equation_of_state: EquationOfStateSettings | None
    phonons: PhononSettings | None
    dynamics: DynamicsSettings
    nve: NVESettings | None
    rdf: RDFSettings | None


class ToleranceSettings(Section):
    """Differences that count as agreement in the table of `validation`; no run depends on them."""

    energy: NonNegative = Field(description="of the minimum (meV/atom)")
    rmsd: NonNegative = Field(description="between the minima (A)")
    volume: Fraction = Field(description="as a fraction of that at the uniform cutoff")
    bulk_modulus: Fraction = Field(description="as a fraction of that at the uniform cutoff")
    phonon_rms: NonNegative = Field(description="root mean square over the modes (1/cm)")
    phonon_max: NonNegative = Field(description="largest of all modes (1/cm)")
    drift: NonNegative = Field(description="of the total energy with optimised cutoffs itself (meV/atom/ps)")
    rdf: NonNegative = Field(description="integral of |g1 - g2| (A)")


class UnlabelledSettings(Section):
    """Calibration against the model's own results at calibration.initial_cutoff, for comparison with labels."""

    lambdas: tuple[Positive, ...] = Field(min_length=1, description="of calibration.lambdas, those that are compared")


class WallClockSettings(Section):
    """Time and memory of energies and forces on structures of the test split."""

    uniform_cutoffs: tuple[Positive, ...] = Field(min_length=2, description="beside the optimised cutoffs")
    atoms: Count = Field(description="atoms of a batch, at least; structures are repeated where there are fewer")
    repeats: Count = Field(description="rounds, of which the fastest counts")


class Sections(Section):
    """All sections of a protocol."""

    data: DataSettings
    model: ModelSettings
    cutoffs: CutoffSettings
    loss: LossSettings
    pretrain: PretrainSettings
    fcl: FCLSettings
    static: StaticSettings
    evaluation: EvaluationSettings
    diatomics: DiatomicSettings
    calibration: CalibrationSettings
    validation: ValidationSettings
    tolerances: ToleranceSettings
    unlabelled: UnlabelledSettings
    wall_clock: WallClockSettings
    compute: ComputeSettings
