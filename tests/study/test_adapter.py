"""What a script of the workflow does first: its log, its function, its settings; and the package's light import."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

import fcl
from fcl.config.load import load_config
from fcl.study.adapter import export_source_path, library_function, settings_of
from project import ROOT


@pytest.fixture
def streams(monkeypatch):
    """Standard output and error come back after a test that redirects them."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)


def test_jobs_import_the_library_of_their_checkout(monkeypatch, tmp_path):
    source = str(tmp_path / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/before", source, ""]))
    export_source_path(tmp_path)
    assert os.environ["PYTHONPATH"] == os.pathsep.join([source, "/before"])
    monkeypatch.delenv("PYTHONPATH")
    export_source_path(tmp_path)
    assert os.environ["PYTHONPATH"] == source


def test_the_function_of_a_job_and_its_log(streams, tmp_path):
    log = tmp_path / "logs" / "job.log"
    function = library_function(SimpleNamespace(log=[str(log)], resources={}), "fcl.cutoffs.mixing:geometric_mean")
    assert function is sys.modules["fcl.cutoffs.mixing"].geometric_mean
    print("a word on the way")
    print("a fault", file=sys.stderr)
    assert log.read_text() == "a word on the way\na fault\n"


def test_a_fault_of_the_import_comes_after_the_log_is_open(streams, tmp_path):
    log = tmp_path / "job.log"
    with pytest.raises(ModuleNotFoundError, match="nothing"):
        library_function(SimpleNamespace(log=[str(log)], resources={}), "fcl.nothing:at_all")
    assert log.is_file()
    with pytest.raises(AttributeError, match="at_all"):
        library_function(SimpleNamespace(log=[str(log)], resources={}), "fcl.cutoffs.rules:at_all")


def test_settings_are_those_of_the_rule_with_compute_from_the_configuration():
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["protocol"]["compute"]["threads"] = 3
    study = load_config(raw).resolve("smoke")
    job = SimpleNamespace(
        config=raw, wildcards=SimpleNamespace(study="smoke"), params=SimpleNamespace(settings=study.dump("loss"))
    )
    settings = settings_of(job)
    assert settings.name == "smoke" and settings.loss == study.loss and settings.compute.threads == 3
    with pytest.raises(AttributeError, match="hold no section 'fcl'"):
        _ = settings.fcl


def test_the_package_gives_its_names_on_first_use():
    from fcl.calibration.optimise import calibrate
    from fcl.models.files import load
    from fcl.models.interface import Potential

    assert (fcl.load, fcl.calibrate, fcl.Potential) == (load, calibrate, Potential)
    assert fcl.FCLCalculator.__name__ == "FCLCalculator"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fcl.nonsense


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, fcl; print([name for name in ('torch', 'e3nn', 'mace', 'ase') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
