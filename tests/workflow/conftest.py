"""Copies of the workflow, so that no test sees or touches the results of a real run."""

import fcntl
import os
import shutil

import pytest

from dry_runs import copy_workflow, put_stubs, snakemake


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A fresh copy of the workflow without any result."""
    return copy_workflow(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A copy in which stub stages have run the whole smoke study; it is run once for all processes of pytest."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    original = place / "finished-study"
    with (place / "finished-study.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not original.is_dir():
            folder = copy_workflow(tmp_path_factory.mktemp("run") / "study")
            put_stubs(folder)
            done = snakemake(folder, "--config", "study=smoke")
            assert done.returncode == 0, done.stdout
            folder.rename(original)
    return shutil.copytree(original, tmp_path_factory.mktemp("finished") / "study")
