"""The configuration of a study: strict, frozen models of every setting in ``config.yaml``.

A key that no model knows is an error at every level, and the physics is checked too
(:mod:`fcl.config_checks`), so a slip in a 500-epoch run costs a second. Lengths are in angstrom and energies
in eV. This module imports neither torch nor mace: Snakemake reads it before every run.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from fcl import config_checks as checks
from fcl.config_bases import inherited
from fcl.config_cost import UnlabelledSettings, WallClockSettings, check_cost
from fcl.config_errors import ConfigError, deep_merge, explain, nearest
from fcl.config_types import Count, Fraction, NonNegative, Positive, Section, Seed, Split
from fcl.config_validation import ToleranceSettings, ValidationSettings, check_validation

SPLITS = ("train", "val", "test")
STUDY_NAME = r"^[a-z][a-z0-9_-]*$"

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
        checks.check_grid(self.start, self.stop, self.step)
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


class Protocol(Section):
    """Every setting that a study has."""

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

    @model_validator(mode="after")
    def _physics(self) -> Protocol:
        checks.check_physics(self)
        check_validation(self)
        check_cost(self)
        return self


class Study(Protocol):
    """A protocol under a name: what one run of the workflow uses."""

    name: str = Field(pattern=STUDY_NAME)

    def dump(self, *sections: str) -> dict[str, Any]:
        """Plain, JSON-able settings: all of them, or the name and the ``sections`` asked for."""
        unknown = [section for section in sections if section not in SECTIONS]
        if unknown:
            raise ValueError(f"no section {unknown[0]!r} of settings{nearest(unknown[0], SECTIONS)}")
        return self.model_dump(mode="json", include={"name", *(sections or SECTIONS)})

    def digest(self, *sections: str) -> str:
        """SHA-256 (hex) of the canonical JSON of ``sections`` (all of them if none is named); the name stays
        out."""
        settings = {key: value for key, value in self.dump(*sections).items() if key != "name"}
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def narrowed(self, **changes: Mapping[str, Any]) -> Study:
        """The study of one job of a sweep, e.g. ``narrowed(fcl={"seeds": [2]})``.

        Each changed section is validated by itself, and not against the others: the sweep was checked as a
        whole.
        """
        sections = {
            key: type(getattr(self, key)).model_validate(deep_merge(getattr(self, key).model_dump(), change))
            for key, change in changes.items()
        }
        return self.model_copy(update=sections)

    @classmethod
    def restore(cls, settings: Mapping[str, Any]) -> Study:
        """Bring back what :meth:`dump` wrote, also where it holds only some sections.

        A section that was left out raises AttributeError when used: a job sees only the settings that its
        rule declares, hence every setting that matters is among those that make Snakemake run it again.
        """
        unknown = [key for key in settings if key not in (*SECTIONS, "name")]
        if unknown:
            raise ValueError(f"no section {unknown[0]!r} of settings{nearest(unknown[0], SECTIONS)}")
        return cls.model_construct(
            **{key: SECTION_MODELS[key].model_validate(settings[key]) for key in SECTIONS if key in settings},
            name=settings["name"],
        )

    def __getattr__(self, name: str) -> Any:
        if name in SECTIONS:
            raise AttributeError(
                f"the settings of this job hold no section {name!r}: add it to `settings` in the params of "
                "its rule (workflow/rules), so that a change of it makes the job run again"
            )
        return super().__getattr__(name)


SECTION_MODELS = {
    "data": DataSettings,
    "model": ModelSettings,
    "cutoffs": CutoffSettings,
    "loss": LossSettings,
    "pretrain": PretrainSettings,
    "fcl": FCLSettings,
    "static": StaticSettings,
    "evaluation": EvaluationSettings,
    "diatomics": DiatomicSettings,
    "calibration": CalibrationSettings,
    "validation": ValidationSettings,
    "tolerances": ToleranceSettings,
    "unlabelled": UnlabelledSettings,
    "wall_clock": WallClockSettings,
    "compute": ComputeSettings,
}
SECTIONS = tuple(SECTION_MODELS)


class RuleResources(Section):
    """What a job of one rule asks of the scheduler; labels only, no result depends on them."""

    mem_mb: Count = Field(description="memory in MB; multiplied by the attempt")
    runtime: Count = Field(description="wall time in minutes; multiplied by the attempt")
    threads: Count | None = Field(None, description="cores that the job can use; null is compute.threads")


class ResourceSettings(Section):
    """Resources of the rules, by their names."""

    download_mad: RuleResources
    build_store: RuleResources
    describe_data: RuleResources
    pretrain: RuleResources
    train_fcl: RuleResources
    train_static: RuleResources
    evaluate_cutoffs: RuleResources
    diatomic_curves: RuleResources
    calibrate_cutoffs: RuleResources
    validate_statics: RuleResources
    validate_nve: RuleResources
    validate_rdf: RuleResources
    calibrate_unlabelled: RuleResources
    measure_wall_clock: RuleResources
    figures: RuleResources
    tables: RuleResources


class Config(Section):
    """The whole of ``config.yaml``."""

    study: str = Field(description="the study that a run without arguments makes")
    from_record: bool = Field(
        False, description="draw figures, tables, claims and report from record/<study>/; nothing is trained"
    )
    protocol: Protocol
    studies: dict[Annotated[str, Field(pattern=STUDY_NAME)], dict[str, Any]]
    resources: ResourceSettings

    @model_validator(mode="after")
    def _studies(self) -> Config:
        for name in self.studies:
            self.resolve(name)
        if self.study not in self.studies:
            raise ConfigError(f"study: there is no study {self.study!r}{nearest(self.study, self.studies)}")
        return self

    def resolve(self, name: str) -> Study:
        """The study ``name``: the protocol with the values of its bases and its own put over it, leaf by leaf."""
        if name not in self.studies:
            raise ConfigError(f"there is no study {name!r}{nearest(name, self.studies)}")
        merged = deep_merge(self.protocol.model_dump(), inherited(self.studies, name))
        try:
            return Study.model_validate({**merged, "name": name})
        except ValidationError as error:
            raise ConfigError(explain(error, Study, prefix=f"studies.{name}")) from None


def load_config(source: str | Path | Mapping[str, Any]) -> Config:
    """Read and check a configuration: a YAML file, or a mapping such as Snakemake's ``config``.

    Raises :class:`ConfigError` whose message names the dotted key of every fault.
    """
    where = "config" if isinstance(source, Mapping) else str(source)
    if not isinstance(source, Mapping):
        try:
            source = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date that is none
            raise ConfigError(f"{where}: not valid YAML: {error}") from None
        if not isinstance(source, Mapping):
            raise ConfigError(f"{where}: expected keys and values, found {type(source).__name__}")
    try:
        return Config.model_validate(dict(source))
    except ValidationError as error:
        raise ConfigError(f"{where} is not valid:\n{explain(error, Config)}") from None
    except ConfigError as error:
        raise ConfigError(f"{where} is not valid:\n{error}") from None
