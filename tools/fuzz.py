"""Fuzz what the project reads: random input must be understood, or refused with a message.

python tools/fuzz.py [SECONDS]          one minute unless told otherwise, shared by all checks; not part of the tests

The checks are those of the modules `fuzz_*.py` beside this file (`fuzz_inputs.py` is a program of its own): pairs of a
strategy for the arguments and a function that raises when something is wrong. Hypothesis shows the smallest input that
fails.
"""

from __future__ import annotations

import importlib
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROUND = 200  # examples between looks at the clock


def checks() -> dict[str, tuple[st.SearchStrategy, Callable[..., None]]]:
    """All checks by name."""
    found: dict[str, Any] = {}
    for file in sorted(Path(__file__).parent.glob("fuzz_*.py")):
        found |= getattr(importlib.import_module(file.stem), "CHECKS", {})
    return found


def run(arguments: st.SearchStrategy, check: Callable[..., None], seconds: float) -> int:
    """Number of examples tried; raises what ``check`` raises, for the smallest example found."""
    tried = 0
    end = time.monotonic() + seconds

    @settings(max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(arguments)
    def once(values: Any) -> None:
        nonlocal tried
        tried += 1
        check(*values)

    while time.monotonic() < end:
        once()
    return tried


def main(seconds: float) -> None:
    found = checks()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, (arguments, check) in found.items():
            print(f"{name}: {run(arguments, check, seconds / len(found))} examples", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
