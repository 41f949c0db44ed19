"""A job of the workflow: its log, its function and arguments, its run manifest; and the package's light import."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from snakemake.iocontainers import InputFiles, OutputFiles, Params, Wildcards

import fcl
from fcl.config.load import load_config
from fcl.runs.manifest import sha256_file
from fcl.study.adapter import export_source_path, library_function, run_job, settings_of
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


#: Functions as a library has them; each writes what it was given.
FUNCTIONS = """
import json

def draw(metrics, png, *, title, uniform=(), choices=("none",)):
    png.write_text(f"{title}: {metrics} {[file.name for file in uniform]} {choices}")

def stage(study, model, cutoffs, subset, seed, lam, checkpoints, threads, other=None):
    given = [study.name, study.loss.force_weight, model.name, subset, seed, lam, checkpoints.as_posix(), threads, other]
    cutoffs.write_text(json.dumps(given))
    return {"seed": seed, "subset": subset}

def fails(**given):
    raise TypeError("on purpose")
"""


def named(files):
    """Inputs as Snakemake gives them to a script: a flat list, of which names are items or slices."""
    found = InputFiles()
    for name, value in files.items():
        first, several = len(found), isinstance(value, list)
        found.extend(value if several else [value])
        found._set_name(name, first, end=len(found) if several else None)
    return found


@pytest.fixture
def job(streams, tmp_path, monkeypatch):
    """A function that runs a job of one of the `FUNCTIONS` in a folder, and returns its run manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "functions_of_jobs.py").write_text(FUNCTIONS)
    for name in ("a.csv", "b.csv", "card.json"):
        (tmp_path / name).write_text("x\n")

    def run(rule, function, inputs, outputs, params, **wildcards):
        outputs = {**outputs, "manifest": "job.manifest.json"}
        params = {**params, "code": f"functions_of_jobs:{function}@c0de"}
        run_job(
            SimpleNamespace(
                rule=rule, resources={}, log=["job.log"], threads=2,
                config=yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")),
                input=named(inputs), output=OutputFiles(fromdict=outputs), params=Params(fromdict=params),
                wildcards=Wildcards(fromdict={"study": "smoke", **wildcards}),
            )
        )  # fmt: skip
        return json.loads((tmp_path / "job.manifest.json").read_text())

    return run


def test_a_product_gets_its_files_by_name_and_is_recorded_with_its_inputs_and_parameters(job, tmp_path):
    inputs = {"metrics": ["a.csv"], "uniform": ["b.csv"], "choices": []}
    record = job("figure_05", "draw", inputs, {"png": "fig05.png"}, {"title": "a toy set"})
    assert (tmp_path / "fig05.png").read_text() == "a toy set: [PosixPath('a.csv')] ['b.csv'] ('none',)"
    assert (record["stage"], record["study"], record["seed"]) == ("figure_05", "smoke", None)
    assert (record["settings"], record["extra"]) == ({"title": "a toy set"}, {"code_sha256": "c0de"})
    other = job("figure_05", "draw", inputs, {"png": "fig05.png"}, {"title": "another title"})
    assert other["settings_digest"] != record["settings_digest"]


def test_a_stage_gets_its_settings_and_numbers_and_is_recorded_with_its_sections_and_facts(job, tmp_path):
    study = load_config(ROOT / "config.yaml").resolve("smoke")
    params = {"settings": study.dump("loss"), "dtype": "float32"}
    inputs, wildcards = {"model": "a.csv", "card": "card.json"}, {"subset": "MC3D", "seed": "3", "lam": "1e-02"}
    record = job("calibrate", "stage", inputs, {"cutoffs": "x.json"}, params, **wildcards)
    given = json.loads((tmp_path / "x.json").read_text())
    assert given == ["smoke", 1.0, "a.csv", "MC3D", 3, 0.01, "results/smoke/checkpoints", 2, None]
    assert (record["seed"], record["extra"]) == (3, {"subset": "MC3D"})
    assert record["settings"] == {"loss": study.dump("loss")["loss"]}
    assert record["settings_digest"] == study.digest("loss")
    facts = {
        name: {"file": name, "bytes": 2, "sha256": sha256_file(tmp_path / name)} for name in ("a.csv", "card.json")
    }
    assert record["inputs"] == facts


def test_a_job_that_failed_has_no_manifest(job, tmp_path):
    with pytest.raises(TypeError, match="on purpose"):
        job("table_01", "fails", {}, {"csv": "table.csv"}, {})
    assert not (tmp_path / "job.manifest.json").exists()


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
