"""The configuration of a study: a protocol under a name.

Unknown keys are errors at every level, and settings are checked for consistency (:mod:`fcl.config.checks`), so mistakes
are found before a long run starts. Lengths are in angstrom and energies in eV. Neither torch nor mace is imported here:
Snakemake reads the configuration before every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, TypeAdapter, model_validator

from fcl.config import checks
from fcl.config.architectures import AnyModelSettings, ModelSettings
from fcl.config.errors import deep_merge, nearest
from fcl.config.sections import Sections, TrainingSections
from fcl.runs.manifest import settings_digest

STUDY_NAME = r"^[a-z][a-z0-9_-]*$"


class TrainingProtocol(TrainingSections):
    """The settings of trainings without a study (`fcl.training.own`)."""

    @model_validator(mode="after")
    def _physics(self) -> TrainingProtocol:
        checks.check_training(self)
        return self


class Protocol(Sections):
    """All settings of a study."""

    @model_validator(mode="after")
    def _physics(self) -> Protocol:
        checks.check_physics(self)
        checks.check_observables(self)
        checks.check_cost(self)
        return self


class Study(Protocol):
    """A protocol under a name: the settings of one run of the workflow."""

    name: str = Field(pattern=STUDY_NAME)

    def dump(self, *sections: str) -> dict[str, Any]:
        """JSON-serialisable settings: all of them, or the name and the given ``sections``."""
        _check_sections(sections)
        return self.model_dump(mode="json", include={"name", *(sections or SECTIONS)})

    def settings(self, *sections: str) -> dict[str, Any]:
        """As `dump`, without the name, on which no result depends."""
        return {key: value for key, value in self.dump(*sections).items() if key != "name"}

    def digest(self, *sections: str) -> str:
        """SHA-256 (hex) of the canonical JSON of ``sections`` (default: all), without the name."""
        return settings_digest(self.settings(*sections))

    def pretrain_seed(self, fcl_seed: int) -> int:
        """The seed of the pre-trained model from which the FCL training with ``fcl_seed`` starts.

        ``fcl.seeds`` are divided in order, in equal parts, among ``pretrain.seeds``.
        """
        parts = len(self.fcl.seeds) // len(self.pretrain.seeds)
        return self.pretrain.seeds[self.fcl.seeds.index(fcl_seed) // parts]

    @property
    def nests(self) -> dict[str, int]:
        """Names of the FCL models, with the seeds of the pre-trained models that they start from."""
        return {f"fcl_seed{seed}": self.pretrain_seed(seed) for seed in self.fcl.seeds}

    def pretrained_models(self) -> dict[str, int]:
        """Names of the pre-trained models with their seeds; the name of the first one holds no seed."""
        first, *others = self.pretrain.seeds
        return {"pretrain": first, **{f"pretrain_seed{seed}": seed for seed in others}}

    def narrowed(self, **changes: Mapping[str, Any]) -> Study:
        """The study of one job of a sweep, e.g. ``narrowed(fcl={"seeds": [2]})``.

        Each changed section is validated separately, not against the others: the sweep was checked as a whole.
        """
        sections = {
            key: section_of(key, deep_merge(getattr(self, key).model_dump(), change)) for key, change in changes.items()
        }
        return self.model_copy(update=sections)

    @classmethod
    def restore(cls, settings: Mapping[str, Any]) -> Study:
        """Restore a study from the output of :meth:`dump`, which may hold only some sections.

        A section that was left out raises AttributeError when used: a job can use only the settings that its rule
        declares, so a change of any setting that it uses makes Snakemake rerun it.
        """
        _check_sections(settings.keys() - {"name"})
        return cls.model_construct(
            **{key: section_of(key, settings[key]) for key in SECTIONS if key in settings},
            name=settings["name"],
        )

    def __getattr__(self, name: str) -> Any:
        if name in SECTIONS:
            raise AttributeError(
                f"the settings of this job hold no section {name!r}: add it to `settings` in the params of "
                "its rule (workflow/rules), so that a change of it makes the job run again"
            )
        return super().__getattr__(name)


#: The model of each section; for ``model`` the one of which other architectures are made.
SECTION_MODELS = {name: field.annotation for name, field in Sections.model_fields.items()} | {"model": ModelSettings}
SECTIONS = tuple(SECTION_MODELS)


def _check_sections(names: Iterable[str]) -> None:
    for name in names:
        if name not in SECTIONS:
            raise ValueError(f"no section {name!r} of settings{nearest(name, SECTIONS)}")


def section_of(key: str, values: Mapping[str, Any]) -> Any:
    """The section ``key`` with ``values``; `ValidationError` for invalid ones."""
    return TypeAdapter(AnyModelSettings if key == "model" else SECTION_MODELS[key]).validate_python(values)
