"""Each test of a command runs in the ``folder`` of its module, or in one of its own."""

import pytest


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
