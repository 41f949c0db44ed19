"""JSON and YAML in which no key is given twice: the libraries take the last value without a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml


class _OnceOnly(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """A mapping as it is written; what a merge key (``<<``) brings comes later and may be overridden."""
        node = super().compose_mapping_node(anchor)
        keys = [(key.value, key.start_mark) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen: set[str] = set()
        for key, mark in keys:
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", mark)
            seen.add(key)
        return node


def parse_yaml(text: str) -> Any:
    """The contents of YAML text; `yaml.YAMLError` for invalid text and keys given twice."""
    return yaml.load(text, _OnceOnly)  # noqa: S506 (a safe loader)


def parse_json(text: str) -> Any:
    """The contents of JSON text; `ValueError` for invalid text and keys given twice."""
    return json.loads(text, object_pairs_hook=_once_only)


def _once_only(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return found
