"""What decorators of figures and tables share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def extended(function: Callable[..., Any], **further: Any) -> inspect.Signature:
    """The signature of ``function`` with ``further`` keyword arguments: their defaults, or ``...`` for one without."""
    signature, kind = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, kind, default=inspect.Parameter.empty if default is ... else default)
        for name, default in further.items()
    ]
    return signature.replace(parameters=[*signature.parameters.values(), *added])
