"""The worked example of docs/your-data.md, run through Snakemake as a user would, up to errors on its test split."""

import csv
import json
import re
import shutil

import h5py
import pytest
import yaml

from dry_runs import ROOT, copy_workflow, planned, snakemake

CONFIG = ("--configfile", "examples/own-data/config.yaml")
BAD_FRAME = "1\nProperties=species:S:1:pos:R:3:dft_forces:R:3 config_type=cluster\nCu 0 0 0 0 0 0\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = copy_workflow(tmp_path_factory.mktemp("own"))
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


def test_the_example_goes_from_one_file_to_errors_of_a_trained_model(folder):
    source = folder / "examples/own-data/structures.xyz"
    with source.open("a") as stream:  # one bad frame, to be left out
        stream.write(BAD_FRAME)
    done = snakemake(folder, "results/own/metrics/pretrain.csv", *CONFIG)
    assert done.returncode == 0, done.stdout
    results = folder / "results/own"
    kept = {}
    for split in ("train", "val", "test"):
        extra = json.loads((results / f"stores/{split}.manifest.json").read_text())["extra"]
        kept[split] = extra["structures"] + extra["frames_left_out"]
        with h5py.File(results / f"stores/{split}.h5") as store:
            assert list(store.attrs["subset_names"]) == ["cluster", "crystal"]
            references = json.loads(store.attrs["reference_energies"])
    assert kept == {"train": 25, "val": 8, "test": 8}
    rejected = [row for path in results.glob("stores/*.rejected.csv") for row in csv.DictReader(path.open())]
    assert [(row["frame"], row["key"]) for row in rejected] == [("40", "REF_energy")]
    card = json.loads((results / "models/pretrain.json").read_text())
    assert card["reference_energies_ev"] == references and set(references) == {"Au", "Cu"}
    rows = list(csv.DictReader((results / "metrics/pretrain.csv").open()))
    assert {row["subset"] for row in rows} >= {"cluster", "crystal"}


def test_the_example_has_everything_that_the_workflow_makes(folder):
    jobs = planned(folder, *CONFIG)
    assert jobs["calibrate_cutoffs"] == 4 and jobs["figure_05"] == 1


def test_a_subset_that_the_data_do_not_have_stops_at_once(tree):
    override = 'studies={"smoke": {"calibration": {"subsets": ["MC3D", "MC4D"]}}}'
    done = snakemake(tree, "--dry-run", "--config", "study=smoke", override)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    message = "studies.smoke.calibration.subsets: there is no subset 'MC4D' in the train split of embedded"
    assert message in done.stdout and "did you mean" in done.stdout


def test_the_page_shows_the_files_of_the_example():
    page = (ROOT / "docs/your-data.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)]
    assert yaml.safe_load((ROOT / "examples/own-data/manifest.yaml").read_text()) in blocks
    assert f"snakemake --cores all {' '.join(CONFIG)}" in page


def test_the_structures_are_what_the_script_makes():
    import runpy

    from ase.io import read

    made = runpy.run_path(str(ROOT / "examples/own-data/make_structures.py"))["structures"]()
    shipped = read(ROOT / "examples/own-data/structures.xyz", ":")
    assert [atoms.get_chemical_formula() for atoms in made] == [atoms.get_chemical_formula() for atoms in shipped]
    for ours, theirs in zip(made, shipped, strict=True):
        assert ours.info["REF_energy"] == pytest.approx(theirs.info["REF_energy"], abs=1e-6)


def test_a_subset_that_the_frames_do_not_have_stops_when_the_store_is_built(folder):
    """The manifest does not say which subsets there are: the store does, and from then on the plan."""
    wanted = 'studies={"own": {"calibration": {"subsets": ["crystal", "surface"]}}}'
    target = "results/own/models/pretrain.safetensors"
    shutil.rmtree(folder / "results", ignore_errors=True)
    done = snakemake(folder, target, *CONFIG, "--config", wanted)
    assert done.returncode != 0 and not (folder / "results/own/models").is_dir()
    message = "studies.own.calibration.subsets: there is no subset 'surface' in the train split of the data of own"
    assert message in (folder / "results/own/logs/build_store/train.log").read_text()
    done = snakemake(folder, "results/own/stores/train.h5", *CONFIG)
    assert done.returncode == 0, done.stdout
    done = snakemake(folder, "--dry-run", target, *CONFIG, "--config", wanted)
    assert done.returncode != 0 and message.replace("the data of own", "copper-gold") in done.stdout
    source = folder / "examples/own-data/structures.xyz"
    source.write_text(source.read_text() + source.read_text())  # other data: the store says nothing any more
    assert snakemake(folder, "--dry-run", target, *CONFIG, "--config", wanted).returncode == 0
