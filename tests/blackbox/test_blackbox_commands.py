"""What a user of ``fcl`` sees: commands, calculators and exported files against stored outputs. See README.md."""

import json

import pytest
from frozen_runs import (
    COMMANDS,
    CUTOFF_FILES,
    HELP,
    REGENERATE,
    SAME_EXPORTED,
    SAME_FLOAT32,
    SAME_RESULT,
    SAME_TRAINING,
    STRUCTURES,
    assert_same,
    fcl,
    run_session,
    same_text,
    stored,
    what_it_said,
)

EXPECTED = stored("commands")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_session(tmp_path_factory.mktemp("session"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_did(found, name):
    optimised = name.startswith("calibrate") or "calibrated.json" in COMMANDS[name]
    rtol = SAME_TRAINING if optimised else SAME_RESULT
    assert_same(found["commands"][name], EXPECTED["commands"][name], rtol, f"{name}; meant? {REGENERATE}")


@pytest.mark.parametrize("name", HELP)
def test_no_option_is_lost(found, name):
    assert set(EXPECTED["options"][name]) <= set(found["options"][name])


@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_that_commands_write(found, name):
    assert_same(found["structures"][name], EXPECTED["structures"][name], SAME_RESULT, name)


@pytest.mark.parametrize("name", CUTOFF_FILES)
def test_cutoffs_files(found, name):
    assert_same(found["cutoffs"][name], EXPECTED["cutoffs"][name], SAME_TRAINING, name)


@pytest.mark.parametrize("name", EXPECTED["calculators"])
def test_calculators(found, name):
    rtol = {"float32": SAME_FLOAT32, "file": SAME_TRAINING}.get(name, SAME_RESULT)
    assert found["calculators"].keys() == EXPECTED["calculators"].keys()
    assert_same(found["calculators"][name], EXPECTED["calculators"][name], rtol, name)


def test_an_exported_file_computes_what_the_calculator_computes(found):
    if found["exported"] is None:
        pytest.skip("metatomic-ase is not installed")
    assert len(found["exported"]) == 14
    for number, pair in enumerate(found["exported"]):
        assert_same(pair["engine"], pair["fcl"], SAME_EXPORTED, f"structure {number % 7}")


def test_the_command_in_a_process_of_its_own():
    """The same as in the session; the list of commands; exit codes."""
    done = fcl("info", "embedded")
    said = what_it_said({"code": done.returncode, "out": done.stdout, "err": done.stderr})
    assert_same(said, EXPECTED["commands"]["info of an FCL model"])
    overview = fcl("--help")
    assert overview.returncode == 0 and all(f" {name} " in overview.stdout for name in HELP)
    assert fcl("info").returncode == 2


def test_what_counts_as_the_same():
    assert_same({"a": [1.0, [2, 3.0]], "b": "x 0.12  y"}, {"a": [1.0 + 1e-12, [2, 3.0]], "b": "x  0.13 y"})
    different = [
        ([1.0, 2.0], [1.0, 2.1]),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": None}, {"a": 0.5}),
        ([[1.0], [2.0]], [[1.0, 2.0]]),
        ("x 0.12", "x 0.14"),
        (True, False),
    ]
    for found, expected in different:
        with pytest.raises(AssertionError):
            assert_same(found, expected)
    assert not same_text("a b", "a c") and not same_text("a", "a a") and not same_text("0.1", "0.12")
    said = what_it_said({"code": 0, "out": json.dumps({"a": [{"seconds": 1, "b": 2}]}), "err": "error: x\ny"})
    assert said == {"code": 0, "out": {"a": [{"b": 2}]}, "error": ["error: x"]}
