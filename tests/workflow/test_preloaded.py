"""A dry run that is a fork of a process with Snakemake says what a process of its own says."""

import re

import pytest

from dry_runs import process, snakemake

#: A plan, an error, and what Snakemake says of the rules.
RUNS = [
    (0, ("--dry-run", "--quiet", "rules", "--config", "study=paper")),
    (1, ("--dry-run", "--config", "stduy=smoke")),
    (1, ("no_such_target", "--dry-run")),
    (0, ("--lint",)),
]


def said(text):
    """Lines that a run prints, without its name and times, in any order."""
    return sorted(re.sub(r"(Date|Workflow ID): .*", "", text).splitlines())


@pytest.mark.slow
@pytest.mark.parametrize(("status", "arguments"), RUNS)
def test_a_fork_says_what_a_process_says(tree, status, arguments):
    forked, alone = snakemake(tree, *arguments), process(tree, "--cores", "2", *arguments)
    assert said(forked.stdout) == said(alone.stdout)
    assert forked.returncode == alone.returncode == status


def test_a_fork_has_its_own_folder_and_variables(tree, tmp_path):
    """Neither the process that is forked nor the next run sees them."""
    (tmp_path / "Snakefile").write_text(
        'import os, where\nprint(os.getcwd(), os.environ["WHERE"], where.__file__)\nrule all:\n    shell: "true"\n'
    )
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "where.py").touch()
        done = snakemake(folder, "--dry-run", "--snakefile", "../Snakefile", WHERE=name)
        assert f"{folder} {name} {folder / 'where.py'}" in done.stdout
