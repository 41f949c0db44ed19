"""Loading ``config.yaml``, and inheritance of settings from the base of a study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from fcl.config.errors import ConfigError, deep_merge, explain, nearest
from fcl.config.study import STUDY_NAME, Protocol, Study, TrainingProtocol
from fcl.config.text import parse_yaml
from fcl.config.types import Count, Section
from fcl.runs.files import FilePath

#: Valid purposes of a study with a base; see `derived`.
PURPOSES = ("ablation", "learning_curve", "folds", "repeat", "calibration")

Overrides = Mapping[str, Mapping[str, Any]]


def own_settings(studies: Overrides, name: str) -> dict[str, Any]:
    """The settings of ``name`` itself, without ``base`` and ``purpose``."""
    return {key: value for key, value in studies[name].items() if key not in ("base", "purpose")}


def lineage(studies: Overrides, name: str) -> tuple[str, ...]:
    """``name``, its base, the base of its base and so on. ConfigError for an invalid base or a circular chain."""
    chain = [name]
    while (base := studies[chain[-1]].get("base")) is not None:
        if not isinstance(base, str):
            raise ConfigError(f"studies.{chain[-1]}.base: must be the name of a study, not {base!r}")
        if base not in studies:
            raise ConfigError(f"studies.{chain[-1]}.base: there is no study {base!r}{nearest(base, studies)}")
        if base in chain:
            raise ConfigError(f"studies.{name}.base: goes in a circle: {' -> '.join([*chain, base])}")
        chain.append(base)
    return tuple(chain)


def inherited(studies: Overrides, name: str) -> dict[str, Any]:
    """The settings of ``name``, with those of its bases.

    ConfigError as for `lineage`, and for an invalid purpose or a setting that does not fit it.
    """
    purpose = studies[name].get("purpose")
    if purpose is not None and purpose not in PURPOSES:
        raise ConfigError(f"studies.{name}.purpose: {purpose!r} is unknown{nearest(str(purpose), PURPOSES)}")
    if purpose is not None and studies[name].get("base") is None:
        raise ConfigError(f"studies.{name}.purpose: needs a base, the study that {name} is compared with")
    if purpose == "calibration" and (others := own_settings(studies, name).keys() - {"calibration"}):
        raise ConfigError(f"studies.{name}.{min(others)}: only calibration may differ from the base, as purpose says")
    merged: dict[str, Any] = {}
    for study in reversed(lineage(studies, name)):
        merged = deep_merge(merged, own_settings(studies, study))
    return merged


def derived(studies: Overrides, base: str, purpose: str) -> list[str]:
    """The studies with this ``base`` and ``purpose``, in the order of the configuration."""
    return [name for name, study in studies.items() if (study.get("base"), study.get("purpose")) == (base, purpose)]


class RuleResources(Section):
    """Resources that the jobs of a rule request from the scheduler; no result depends on them."""

    mem_mb: Count = Field(description="memory in MB; multiplied by the attempt")
    runtime: Count = Field(description="wall time in minutes; multiplied by the attempt")
    threads: Count | None = Field(None, description="CPU cores of the job; null: compute.threads")


class ResourceSettings(Section):
    """Resources by rule name."""

    download_data: RuleResources
    build_store: RuleResources
    describe_data: RuleResources
    pretrain: RuleResources
    train_fcl: RuleResources
    train_static: RuleResources
    evaluate_cutoffs: RuleResources
    diatomic_curves: RuleResources
    calibrate_cutoffs: RuleResources
    choose_cutoffs: RuleResources
    observe_statics: RuleResources
    observe_nve: RuleResources
    observe_rdf: RuleResources
    calibrate_unlabelled: RuleResources
    measure_wall_clock: RuleResources
    figures: RuleResources
    tables: RuleResources


class Config(Section):
    """The complete ``config.yaml``."""

    study: str = Field(description="the study to run by default")
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
        """The study ``name``: the protocol, overridden leaf by leaf by the settings of its bases and its own."""
        if name not in self.studies:
            raise ConfigError(f"there is no study {name!r}{nearest(name, self.studies)}")
        merged = deep_merge(self.protocol.model_dump(), inherited(self.studies, name))
        try:
            return Study.model_validate({**merged, "name": name})
        except ValidationError as error:
            raise ConfigError(explain(error, Study, prefix=f"studies.{name}")) from None


def read_settings(path: FilePath) -> dict[str, Any]:
    """The mapping in a YAML file; :class:`ConfigError` for anything else."""
    try:
        settings = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or an invalid date
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(settings).__name__}")
    return dict(settings)


def load_config(source: FilePath | Mapping[str, Any]) -> Config:
    """Read and check a configuration: a YAML file, or a mapping such as Snakemake's ``config``.

    Raises :class:`ConfigError`, whose message lists the dotted keys of all errors.
    """
    where = "config" if isinstance(source, Mapping) else str(source)
    source = dict(source) if isinstance(source, Mapping) else read_settings(source)
    try:
        return Config.model_validate(source)
    except ValidationError as error:
        raise ConfigError(f"{where} is not valid:\n{explain(error, Config)}") from None
    except ConfigError as error:
        raise ConfigError(f"{where} is not valid:\n{error}") from None


def training_settings(overrides: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Study:
    """The paper's settings of trainings (``protocol.yaml``, which is ``config.yaml``), without a study around them.

    The leaves of ``base`` and then of ``overrides`` replace those of the protocol. The protocol's milestones beyond a
    smaller number of epochs are left out. Raises :class:`ConfigError`, with the dotted keys of all errors.
    """
    protocol = load_config(Path(__file__).with_name("protocol.yaml")).protocol.model_dump(
        mode="json", include=set(TrainingProtocol.model_fields)
    )
    merged = deep_merge(deep_merge(protocol, base or {}), overrides)
    for section in ("pretrain", "static"):
        own = overrides.get(section)
        if isinstance(own, Mapping) and "milestones" not in own and isinstance(own.get("epochs"), int):
            merged[section]["milestones"] = [m for m in merged[section]["milestones"] if m < own["epochs"]]
    try:
        settings = TrainingProtocol.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(explain(error, TrainingProtocol)) from None
    return Study.restore({**settings.model_dump(), "name": "train"})
