"""The conda environments: each holds what its rules import, and no more. (No conda here: none was ever created.)"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_rules import CONDA_NAMES, ENVIRONMENTS, ROOT, RULES, function_of

from dry_runs import snakemake
from fcl.runs.code_digest import sources
from fcl.study.adapter import export_source_path

# package -> module, where they differ
MODULES = {"mace-torch": "mace", "pillow": "PIL", "pyyaml": "yaml"}
# Not imported here, but what ASE and mace-torch compute with, and what pandas writes tables with.
INDIRECT = {"e3nn", "jinja2", "pip", "python", "scipy", "tabulate"}


def imports(source):
    """Third-party modules that a piece of code imports anywhere, but not for a type checker only."""
    found = set()
    pending = list(ast.parse(source).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
        pending += ast.iter_child_nodes(node)
    return found - set(sys.stdlib_module_names) - {"fcl"}


def needs(rule):
    """What a job of the rule imports: the adapter, its function, and all that these reach."""
    code = sources("fcl.study.adapter", function_of(rule), without=frozenset()).values()
    return set().union(*map(imports, code))


def environment_of(rule):
    return (ROOT / "workflow/rules" / RULES[rule]["conda"].strip().strip('"')).resolve()


def contents(path):
    """Packages of an environment, by their names on PyPI."""
    found = set()
    for entry in yaml.safe_load(path.read_text())["dependencies"]:
        for text in entry["pip"] if isinstance(entry, dict) else [entry]:
            name = re.split(r"=+", text)[0]
            found.add(CONDA_NAMES.get(name, name))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_an_environment_holds_what_its_rules_import(rule):
    assert needs(rule) <= {MODULES.get(name, name) for name in contents(environment_of(rule))}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_an_environment_holds_nothing_else(path):
    needed = set().union(*(needs(rule) for rule in RULES if environment_of(rule) == path))
    assert {name for name in contents(path) - INDIRECT if MODULES.get(name, name) not in needed} == set()


def test_the_analysis_sees_imports_of_every_kind():
    code = (
        "import os, yaml\nif TYPE_CHECKING:\n    import pandas\ndef f():\n    from ase.io import read\n    import fcl"
    )
    assert imports(code) == {"yaml", "ase"}
    assert needs("pretrain") >= {"torch", "mace", "pydantic", "h5py", "safetensors"}
    assert "torch" not in needs("figure_03")


def test_the_library_is_imported_from_the_checkout_without_being_installed(tmp_path, monkeypatch):
    """A conda environment has no fcl of its own: the Snakefile puts src/ into PYTHONPATH, which jobs inherit."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), "elsewhere"]))
    export_source_path(ROOT)
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(ROOT / "src"), "elsewhere"]
    isolated = [
        sys.executable,
        "-S",
        "-c",
        "import fcl.study.adapter; print(fcl.study.adapter.__file__)",
    ]  # -S: nothing installed
    done = subprocess.run(isolated, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == ROOT / "src/fcl/study/adapter.py"


CONDA = """#!/bin/sh
# Answers as much as Snakemake asks before it makes a plan.
case "$*" in
    "--version") echo "conda 25.1.0";;
    "info --json") echo '{"conda_prefix": "/opt/conda", "platform": "linux-64", "root_prefix": "/opt/conda"}';;
    "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}';;
    *) echo "unexpected: conda $*" >&2; exit 1;;
esac
"""


def test_a_plan_with_conda_names_both_environments(tree, tmp_path, monkeypatch):
    program = tmp_path / "conda"
    program.write_text(CONDA)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = snakemake(tree, "--dry-run", "--software-deployment-method", "conda", "--config", "study=paper")
    assert done.returncode == 0, done.stdout
    for path in ENVIRONMENTS:
        assert f"Conda environment envs/{path.name} will be created." in done.stdout
