"""Copies of the workflow, so that no test sees or touches the results of a real run."""

import pytest
from dry_runs import copy_workflow, put_stubs, snakemake


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A fresh copy of the workflow without any result."""
    return copy_workflow(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy in which stub stages have run the whole smoke study."""
    folder = copy_workflow(tmp_path_factory.mktemp("finished"))
    put_stubs(folder)
    done = snakemake(folder, "--config", "study=smoke")
    assert done.returncode == 0, done.stdout
    return folder
