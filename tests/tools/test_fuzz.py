"""The program that fuzzes: it finds all checks, and shows what fails."""

import pytest
from hypothesis import strategies as st

import fuzz
from fuzz_frames import CHECKS


def test_checks_are_found_and_run():
    assert CHECKS.keys() <= fuzz.checks().keys()
    assert fuzz.run(st.tuples(st.integers()), lambda number: None, 0.01) >= 1


def test_a_failure_is_shown():
    def check(number):
        assert number < 10, number

    with pytest.raises(AssertionError, match="10"):
        fuzz.run(st.tuples(st.integers(0, 100)), check, 10.0)
