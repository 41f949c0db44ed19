"""Readable configuration errors: the dotted key at fault and the nearest valid key."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fcl.runs.files import FilePath

Validated = TypeVar("Validated", bound=BaseModel)

#: Former names of keys, for error messages.
RENAMED = {
    "validation": "observables",
    "download_mad": "download_data",
    "validate_statics": "observe_statics",
    "validate_nve": "observe_nve",
    "validate_rdf": "observe_rdf",
}


class ConfigError(Exception):
    """An invalid configuration; the message gives the place and the reason.

    Not a ValueError, so that pydantic passes it through unchanged when a validator raises it.
    """


def nearest(word: str, valid: Iterable[str]) -> str:
    """The end of an error message: the valid word nearest to ``word``, or all of them if none is near."""
    valid = list(valid)
    close = difflib.get_close_matches(str(word), valid, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; valid: {', '.join(valid)}"


def deep_merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``base`` with the leaves of ``overrides`` replaced; lists are replaced as a whole."""
    merged = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of the leaves of nested mappings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def value_at(values: Any, dotted: str, missing: Any = None) -> Any:
    """The value at the ``dotted`` key of nested mappings; ``missing`` if there is none."""
    for key in dotted.split("."):
        if not isinstance(values, Mapping) or key not in values:
            return missing
        values = values[key]
    return values


def validated(model: type[Validated], contents: Any, path: FilePath, what: str = "") -> Validated:
    """``contents`` of the file ``path`` as ``model``; `ValueError` names the file, the keys and ``what`` it is not."""
    wrong = f"{path}: not {what}" if what else path
    try:
        return model.model_validate(contents)
    except ValidationError as error:
        raise ValueError(f"{wrong}: {explain(error, model)}".replace("\n", "; ")) from None


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models in an annotation, including those inside unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_of(part)]


def _valid_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Valid keys of the model at ``path`` below ``model``."""
    models = [model]
    for key in path:
        fields = [parent.model_fields[key] for parent in models if key in parent.model_fields]
        models = [found for field in fields for found in _models_of(field.annotation)] or models
    return [field.alias or key for parent in models for key, field in parent.model_fields.items()]


def _without_tags(model: type[BaseModel], path: tuple[Any, ...]) -> tuple[Any, ...]:
    """``path`` without the names of the members of unions, which pydantic puts between keys."""
    kept: list[Any] = []
    models = [model]
    for place, key in enumerate(path):
        fields = [parent.model_fields[key] for parent in models if key in parent.model_fields]
        if not fields and len(models) > 1 and place < len(path) - 1:
            continue
        models = [found for field in fields for found in _models_of(field.annotation)]
        kept.append(key)
    return tuple(kept)


def _successor(key: str, valid: list[str]) -> str:
    """As `nearest`; a former name of a key is answered with the present one."""
    return f"; it is now {RENAMED[key]!r}" if RENAMED.get(key) in valid else nearest(key, valid)


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> str:
    """One line per error: the dotted key, what is wrong and, for an unknown key, the nearest valid one."""
    lines = []
    for fault in error.errors():
        path = _without_tags(model, tuple(part for part in fault["loc"] if part != "[key]"))
        dotted = ".".join(str(part) for part in ((prefix,) if prefix else ()) + path)
        if fault["type"] == "extra_forbidden":
            text = f"unknown key{_successor(str(path[-1]), _valid_keys(model, path[:-1]))}"
        elif fault["type"] == "missing":
            text = "is missing"
        else:
            text = fault["msg"].removeprefix("Value error, ")
            if fault["type"] not in ("value_error", "architecture"):
                text += f", not {fault['input']!r}"
        lines.append(f"{dotted}: {text}" if dotted else text)
    return "\n".join(lines)
