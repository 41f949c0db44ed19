"""Settings of active learning: one YAML file, strict like ``config.yaml``. Lengths in angstrom, energies in eV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from fcl.config.errors import ConfigError, deep_merge, explain
from fcl.config.load import read_settings, training_settings
from fcl.config.types import Count, Fraction, NonNegative, Positive, Section, Seed

#: Thresholds (select, stop) of each measure of uncertainty: a grade without unit, or eV/A. Those of the grade are
#: common for moment tensor potentials, the others are chosen here.
THRESHOLDS = {"grade": (2.1, 10.0), "committee": (0.1, 0.5), "cutoffs": (0.1, 0.5)}

#: Training for hundreds of small cells, where the protocol is one for 76 000 structures.
TRAINING: dict[str, Any] = {
    "pretrain": {"epochs": 60, "batch_size": 8, "learning_rate": 0.01, "milestones": [30, 45]},
    "fcl": {"epochs": 60, "batch_size": 8, "learning_rate": 0.004, "plateau_patience": 8},
    "compute": {"device": "cpu", "checkpoint_seconds": 20},
}

Name = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]


class CalculatorSettings(Section):
    """An ASE calculator by name; nothing else is imported."""

    module: Name = Field(description="module to import, e.g. ase.calculators.emt; also one beside the settings file")
    name: Name = Field(alias="class", description="class, or function that returns a calculator")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments; {folder} in texts is the folder of the settings file"
    )


class StartSettings(Section):
    """First structures: the given cells and their smallest supercells, strained, sheared and rattled."""

    structures: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="files of periodic unit cells, relative to the settings file"
    )
    number: Annotated[int, Field(ge=5)] = Field(25, description="structures to label before the first training")
    rattle: NonNegative = Field(0.1, description="standard deviation of the displacements (angstrom)")


class ExploreSettings(Section):
    """Molecular dynamics with the present model: one run per cell, temperature and strain."""

    cells: Annotated[tuple[Count, ...], Field(min_length=1)] = Field(
        (1, 2, 4, 6, 8), description="ladder of cells, atoms in each, ascending; multiples of the unit cells"
    )
    rounds: Count = Field(2, description="at most so many rounds (train, explore, label) per rung of the ladder")
    temperatures: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        (300.0, 800.0, 1500.0), description="temperatures (K)"
    )
    strains: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        (0.95, 1.0, 1.05), description="factors of the lattice"
    )
    shear: NonNegative = Field(0.03, description="standard deviation of random strain components on top, in each run")
    steps: Count = Field(400, description="steps of a run")
    timestep: Positive = Field(2.0, description="time step (fs)")
    interval: Count = Field(10, description="steps between the frames that are looked at")
    cutoff: Positive | None = Field(None, description="cutoff of the model in dynamics; null: that of the pre-training")
    seconds: Positive = Field(
        600.0, description="time limit of a run (s); a run that exceeds it is left out and listed"
    )

    @model_validator(mode="after")
    def _ascending(self) -> ExploreSettings:
        if list(self.cells) != sorted(set(self.cells)):
            raise ValueError("cells: must ascend")
        return self


class SelectSettings(Section):
    """Which structures of the dynamics are labelled."""

    uncertainty: Literal["grade", "committee", "cutoffs"] = Field(
        "grade",
        description="grade: D-optimality of the last layer; committee: forces of several seeds; cutoffs: forces of one "
        "model at several cutoffs",
    )
    above: Positive | None = Field(None, description="select above; null: 2.1 (grade), 0.1 eV/angstrom (others)")
    stop: Positive | None = Field(None, description="end the run above; null: 10 (grade), 0.5 eV/angstrom (others)")
    members: Annotated[int, Field(ge=1, le=20)] = Field(
        1, description="models, of different seeds; committee: 2 or more"
    )
    cutoffs: Annotated[tuple[Positive, ...], Field(min_length=2)] = Field(
        (4.5, 5.25, 6.0), description="cutoffs that are compared (angstrom)"
    )
    per_round: Count = Field(20, description="structures for training per round, at most; farthest points first")
    validation: Fraction = Field(
        0.2, description="validation structures per training structure, frames drawn at random"
    )
    duplicates: NonNegative = Field(
        0.05, description="structures nearer to a known one are not labelled; in standard deviations of the features"
    )
    shortest: NonNegative = Field(0.7, description="shortest distance allowed, in sums of covalent radii")

    @model_validator(mode="after")
    def _consistent(self) -> SelectSettings:
        if self.uncertainty == "committee" and self.members < 2:
            raise ValueError("members: a committee has two or more")
        select, stop = self.thresholds
        if select > stop:
            raise ValueError(f"above: {select:g} exceeds stop, {stop:g}")
        return self

    @property
    def thresholds(self) -> tuple[float, float]:
        """Above which frames are selected, and runs are ended."""
        select, stop = THRESHOLDS[self.uncertainty]
        return self.above or select, self.stop or stop


class LabelSettings(Section):
    """Limits of a label; a label beyond them has failed."""

    seconds: Positive = Field(600.0, description="time limit (s)")
    max_force: Positive | None = Field(50.0, description="largest force (eV/angstrom); null: any")


class BudgetSettings(Section):
    """What all labels together may cost; null: no limit. Can be raised later."""

    labels: Count | None = Field(200, description="structures labelled, failed ones included")
    seconds: Positive | None = Field(None, description="measured time of labels (s), checked before each round")


class ActiveSettings(Section):
    """All settings of ``fcl active``."""

    calculator: CalculatorSettings
    start: StartSettings
    explore: ExploreSettings = ExploreSettings()
    select: SelectSettings = SelectSettings()
    label: LabelSettings = LabelSettings()
    budget: BudgetSettings = BudgetSettings()
    training: dict[str, Any] = Field(
        default_factory=dict, description="settings of `fcl train` that replace those of this loop"
    )
    seed: Seed = Field(0, description="of everything that is drawn at random")

    def of_training(self) -> dict[str, Any]:
        """Settings for `fcl.training.own.train`."""
        return deep_merge(TRAINING, self.training)


def load_active(path: str | Path) -> ActiveSettings:
    """Read and check the settings in ``path``; `ConfigError` names the file and the dotted keys of all errors."""
    return active_settings(read_settings(path), str(path))


def active_settings(given: Mapping[str, Any], where: str = "active") -> ActiveSettings:
    """Check ``given`` settings. Raises `ConfigError`, which names ``where`` and the dotted keys."""
    try:
        settings = ActiveSettings.model_validate(given)
        study = training_settings(settings.of_training())
    except ValidationError as error:
        raise ConfigError(f"{where} is not valid:\n{explain(error, ActiveSettings)}") from None
    except ConfigError as error:
        raise ConfigError(f"{where} is not valid: training:\n{error}") from None
    cutoffs = study.cutoffs
    used = [("explore.cutoff", settings.explore.cutoff or study.pretrain.cutoff)]
    used += [("select.cutoffs", cutoff) for cutoff in settings.select.cutoffs]
    for key, cutoff in used:
        if not cutoffs.r_min <= cutoff <= cutoffs.r_max:
            interval = f"{cutoffs.r_min:g}-{cutoffs.r_max:g} A"
            raise ConfigError(f"{where} is not valid:\n{key}: {cutoff:g} A is outside of training.cutoffs, {interval}")
    return settings
