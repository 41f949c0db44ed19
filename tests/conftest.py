"""Fixtures shared by all tests: float64, one thread, fixed seeds."""

import os

import pytest

from examples import SMALL_MODEL, embedded_frames, labelled, random_structures, structures
from project import ROOT

#: Tables and the compiled program of tests, also of processes that tests start.
os.environ.setdefault("FCL_CACHE", str(ROOT / ".pytest_cache" / "fcl"))

#: Folders of tests that run Snakemake, documents or benchmarks.
PROGRAMS = ("workflow/", "docs/test_documents.py", "benchmarks/")


def pytest_collection_modifyitems(items):
    """Mark the tests of the folders `PROGRAMS`."""
    for item in items:
        if any(item.path.is_relative_to(ROOT / "tests" / name) for name in PROGRAMS):
            item.add_marker(pytest.mark.workflow)


@pytest.fixture(scope="session", autouse=True)
def messages():
    """What the library logs goes to standard error, as in every program."""
    from fcl.runs.log import log_to_standard_error

    log_to_standard_error()


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Also for what is made once for many tests, which is made before `numerics`."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def numerics():
    """Float64 by default and one thread, so that tests are exact and repeatable."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def frames():
    """Frames of `structures` with random labels."""
    return [labelled(atoms, seed) for seed, atoms in enumerate(structures())]


@pytest.fixture(scope="session")
def graphs(frames):
    """All `frames` as `GraphData` in float64 with pairs up to 7 A."""
    import torch

    from fcl.data.batch import GraphData
    from fcl.data.store import arrays_from_frames

    return GraphData(arrays_from_frames(frames, 7.0), torch.float64)


@pytest.fixture(scope="session")
def contract_frames(frames):
    """Frames on which the contract of the models is tested: `frames`, random ones and shipped ones of each subset."""
    return [*frames, *(labelled(atoms, seed) for seed, atoms in enumerate(random_structures())), *embedded_frames()]


@pytest.fixture(scope="session")
def contract_graphs(contract_frames):
    """All `contract_frames` as `GraphData` in float64 with pairs up to 7 A."""
    import torch

    from fcl.data.batch import GraphData
    from fcl.data.store import arrays_from_frames

    return GraphData(arrays_from_frames(contract_frames, 7.0), torch.float64)


@pytest.fixture(scope="session")
def model_settings():
    """Table 2, as in the protocol."""
    from fcl.config.architectures import ModelSettings

    return ModelSettings(
        num_elements=100, hidden_irreps="32x0e + 32x1o", mlp_irreps="16x0e", num_bessel=10, polynomial_order=5,
        correlation=1, max_ell=1, num_interactions=2, radial_mlp=[64, 64, 64], fcl_avg_num_neighbors=50.0,
        radial_embedding_hidden=128, cutoff_embedding_hidden=64, cutoff_embedding="released", mixing_rule="arithmetic",
    )  # fmt: skip


@pytest.fixture(scope="session")
def crystals():
    """Path of the embedded test frames: 48 labelled structures, 12 of them molecular crystals."""
    return ROOT / "resources" / "embedded" / "test.xyz.gz"


@pytest.fixture(scope="session")
def distributions(tmp_path_factory):
    """A wheel and a source archive of the package, built from a copy of the tree: their two files."""
    import shutil
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("distributions")
    tree = folder / "tree"
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    build = "from setuptools import build_meta as b; b.build_wheel('..'); b.build_sdist('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,), (archive,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, archive


@pytest.fixture(scope="session")
def trained_model(small_settings, tmp_path_factory):
    """File of a small FCL model that was trained for seconds on the embedded molecular crystals."""
    from types import SimpleNamespace

    import torch

    from fcl.data.batch import GraphData
    from fcl.data.read import read_frames
    from fcl.data.store import arrays_from_frames
    from fcl.models.files import build_model, save_model
    from fcl.training.fit import fcl_recipe, fit
    from fcl.training.loss import LOSS

    def data(split):
        frames = read_frames(ROOT / "resources" / "embedded" / f"{split}.xyz.gz")
        return GraphData(arrays_from_frames([frame for frame in frames if "molcrys" in frame.subset], 7.0))

    settings = SimpleNamespace(
        epochs=8, batch_size=8, learning_rate=0.02, weight_decay=0.0, gradient_clip_norm=10.0, plateau_factor=0.5,
        plateau_patience=5, min_learning_rate=1e-4, early_stopping_patience=8, validation_cutoffs=(5.0,),
    )  # fmt: skip
    torch.manual_seed(1)
    model = build_model("fcl", small_settings, 7.0, dtype=torch.float32)
    recipe = fcl_recipe(
        "tests",
        settings,
        SimpleNamespace(r_min=3.5, r_max=7.0, sampling="atoms"),
        torch.Generator().manual_seed(2),
        torch.float32,
    )
    fit(model, data("train"), data("val"), settings, LOSS, recipe, order_seed=3)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(model, path, {"stage": "train_fcl", "seed": 1, "r_min_angstrom": 3.5})
    return path


@pytest.fixture(scope="module")
def model(small_settings):
    """The model of tests of exports, in float64, once for each file of tests."""
    import torch

    from export_examples import export_model

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield export_model(small_settings)
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def small_settings(model_settings):
    """A small model's settings."""
    return model_settings.model_copy(update=SMALL_MODEL)
