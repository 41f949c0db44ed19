"""The workflow in another directory, and as a module of another workflow: its files are its own, results are there."""

import shutil

import pytest
import yaml

from dry_runs import ROOT, copy_workflow, job_counts, put_stubs, snakemake

SMOKE = ("--config", "study=smoke")
MODULE = """
{before}
module fcl:
    snakefile: "{workflow}/Snakefile"
    {config}

use rule * from fcl{names}
"""


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """A copy whose path has a blank, with the example."""
    folder = copy_workflow(tmp_path_factory.mktemp("the workflow"))
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.fixture(scope="module")
def at_home(workflow):
    return plan(workflow, *SMOKE)


def plan(folder, *arguments):
    done = snakemake(folder, "--dry-run", "--quiet", "rules", *arguments)
    assert done.returncode == 0, done.stdout
    return job_counts(done.stdout)


def test_from_another_directory_and_into_one(workflow, at_home, tmp_path):
    snakefile = ("-s", str(workflow / "Snakefile"))
    assert plan(tmp_path, *snakefile, *SMOKE) == at_home and len(at_home) > 30
    assert plan(workflow, "-d", str(tmp_path / "there"), *SMOKE) == at_home
    assert plan(tmp_path, *snakefile, "-d", str(tmp_path / "there"), *SMOKE) == at_home


def test_jobs_from_another_directory(tmp_path):
    """Results and logs are in the working directory; the folder of the workflow stays as it is."""
    workflow, here = copy_workflow(tmp_path / "the workflow"), tmp_path / "here"
    put_stubs(workflow)
    here.mkdir()
    before = {path for path in workflow.rglob("*") if "__pycache__" not in path.parts}
    wanted = ("results/smoke/tables/table03.csv", "results/smoke/models/pretrain.safetensors")
    done = snakemake(here, "-s", str(workflow / "Snakefile"), *wanted, *SMOKE)
    assert done.returncode == 0, done.stdout
    assert all((here / file).is_file() for file in wanted)
    assert {path for path in workflow.rglob("*") if "__pycache__" not in path.parts} == before
    assert plan(here, "-s", str(workflow / "Snakefile"), *wanted, *SMOKE) == {}


def test_own_data_beside_their_configuration(workflow, tmp_path):
    """The manifest is beside the file that names it, or in the working directory; of two, none is guessed."""
    jobs = plan(workflow, "--configfile", "examples/own-data/config.yaml")
    config = ("--configfile", str(workflow / "examples/own-data/config.yaml"))
    assert plan(tmp_path, "-s", str(workflow / "Snakefile"), *config) == jobs
    shutil.copytree(workflow / "examples/own-data", tmp_path / "data")
    text = (tmp_path / "data/config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("manifest: manifest.yaml", "manifest: data/manifest.yaml"))
    assert plan(tmp_path, "-s", str(workflow / "Snakefile"), "--configfile", "config.yaml") == jobs
    shutil.copy(tmp_path / "data/manifest.yaml", tmp_path)
    done = snakemake(tmp_path, "-n", "-s", str(workflow / "Snakefile"), *config)
    assert done.returncode != 0 and "manifest.yaml: is ambiguous" in done.stdout and "Traceback" not in done.stdout
    (tmp_path / "config.yaml").write_text(text.replace("manifest: manifest.yaml", "manifest: nowhere.yaml"))
    done = snakemake(tmp_path, "-n", "-s", str(workflow / "Snakefile"), "--configfile", "config.yaml")
    assert "nowhere.yaml: no such file in" in done.stdout and "Traceback" not in done.stdout


def test_as_a_module(workflow, at_home, tmp_path):
    text = MODULE.format(workflow=workflow, before="", config="", names="")
    (tmp_path / "Snakefile").write_text(text)
    assert plan(tmp_path, *SMOKE) == at_home


def test_as_a_module_with_settings_and_names_of_its_own(workflow, tmp_path):
    jobs = plan(workflow, "--configfile", "examples/own-data/config.yaml")
    shutil.copytree(workflow / "examples/own-data", tmp_path / "config")
    settings = yaml.safe_load((tmp_path / "config/config.yaml").read_text())
    (tmp_path / "config/mine.yaml").write_text(yaml.safe_dump({"fcl": settings, "mine": 1}))
    mine = "rule mine:\n    default_target: True\n    input: rules.fcl_all.input\n    output: 'mine'\n"
    text = MODULE.format(
        workflow=workflow, before='configfile: "config/mine.yaml"', config='config: config["fcl"]', names=" as fcl_*"
    )
    (tmp_path / "Snakefile").write_text(f"{text}\n{mine}    shell: 'touch mine'\n")
    expected = {f"fcl_{rule}": count for rule, count in jobs.items() if rule != "all"}
    assert plan(tmp_path) == expected | {"mine": 1}


def test_a_snakefile_without_its_folder_is_refused(workflow, tmp_path):
    """As from a tag on the web, of which Snakemake fetches this file only."""
    (tmp_path / "alone").mkdir()
    shutil.copy(workflow / "Snakefile", tmp_path / "alone")
    done = snakemake(tmp_path, "-n", "-s", "alone/Snakefile")
    assert done.returncode != 0 and "The workflow needs its whole folder" in done.stdout


def test_the_record_is_that_of_the_workflow_unless_there_is_one(tmp_path):
    workflow, here = copy_workflow(tmp_path / "workflow"), tmp_path / "here"
    shutil.copytree(ROOT / "record/mini", workflow / "record/mini")
    here.mkdir()
    target = "results/mini/tables/table03.csv"
    arguments = ("-s", str(workflow / "Snakefile"), target, "--config", "study=mini", "from_record=true")
    assert plan(here, *arguments) == {"table_03": 1}
    (here / "record").mkdir()
    done = snakemake(here, "-n", *arguments)
    assert done.returncode != 0 and "from_record: record/mini holds no record" in done.stdout
