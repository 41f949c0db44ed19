"""Studies with a base: which settings they change, and which results they share with the base.

A study with ``base`` inherits the settings of that study and overrides single leaves. A result whose settings are those
of the base *is* that of the base: graph stores, the pre-trained model and static models are not computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fcl.config.errors import leaves, value_at
from fcl.config.load import lineage, own_settings

if TYPE_CHECKING:
    from fcl.config.load import Config
    from fcl.config.study import Study

#: Model settings of FCL models only; static models do not depend on them.
FLEXIBLE_PARTS = ("fcl_avg_num_neighbors", "radial_embedding_hidden", "cutoff_embedding_hidden", "cutoff_embedding")


def changes(config: Config, name: str) -> dict[str, tuple[Any, Any]]:
    """What ``name`` changes: dotted key -> (value of the base, own value); equal values are left out."""
    base, own = (config.resolve(study).model_dump(mode="json") for study in lineage(config.studies, name)[1::-1])
    pairs = {
        dotted: (value_at(base, dotted), value_at(own, dotted)) for dotted in leaves(own_settings(config.studies, name))
    }
    return {dotted: (before, after) for dotted, (before, after) in pairs.items() if before != after}


def owner_of_store(config: Config, name: str) -> str:
    """The study whose graph stores ``name`` uses: same data, same range, same elements."""
    return _owner(config, name, _data_digest, lambda study: study.cutoffs.stored)


def owner_of_pretrained(config: Config, name: str, model: str) -> str:
    """The study whose pre-trained ``model`` (`Study.pretrained_models`) is that of ``name`` too.

    The range of the store, beyond the cutoff of the pre-training, is irrelevant.
    """

    def training(study: Study) -> str | None:
        seed = study.pretrained_models().get(model)
        return None if seed is None else study.narrowed(pretrain={"seeds": [seed]}).digest("pretrain")

    return _owner(config, name, _data_digest, _static_digest, training)


def owner_of_fcl(config: Config, name: str) -> str:
    """The study whose FCL models ``name`` uses: its base if it is made for other calibrations, otherwise itself."""
    study = config.studies[name]
    return owner_of_fcl(config, study["base"]) if study.get("purpose") == "calibration" else name


def owner_of_static(config: Config, name: str, cutoff: float, seed: int) -> str:
    """The study whose static model (and its evaluation) at ``cutoff`` (A) with ``seed`` is that of ``name`` too."""
    job = {"cutoffs": [cutoff], "seeds": [seed]}
    return _owner(config, name, _data_digest, _static_digest, lambda study: study.narrowed(static=job).digest("static"))


def _data_digest(study: Study) -> str:
    return f"{study.narrowed(data={'local_dir': None}).digest('data')} {study.model.num_elements}"


def _static_digest(study: Study) -> tuple:
    """Settings that static models depend on besides their own section."""
    backbone = study.model.model_dump(mode="json", exclude=set(FLEXIBLE_PARTS))
    return backbone, study.digest("loss"), study.compute.dtype, study.compute.tf32


def _owner(config: Config, name: str, *keys) -> str:
    """The most distant base of ``name`` such that it and all bases in between have the same ``keys``."""
    first, *bases = lineage(config.studies, name)
    wanted, owner = [key(config.resolve(first)) for key in keys], first
    for base in bases:
        if [key(config.resolve(base)) for key in keys] != wanted:
            break
        owner = base
    return owner
