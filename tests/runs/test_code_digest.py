"""The digest of the code that determines a result: what changes it, and what does not."""

import pytest

from fcl.runs.code_digest import NEUTRAL, ROOT, source_digest

MODULES = {
    "__init__.py": "",
    "stages.py": '''"""Stages."""
from fcl.files import write
from fcl.config import Study
LIMIT = 3
def train(path):
    """Train."""
    from fcl.training import fit
    write(path, fit(LIMIT))
def calibrate(path):
    from fcl import calibration
    write(path, helper(calibration))
def helper(module):
    return module.run()
''',
    "files.py": "def write(path, text):\n    path.write_text(text)\n",
    "config.py": "class Study:\n    pass\n",
    "training.py": "from .nets import net\ndef fit(limit):\n    return net(limit)\n",
    "nets/__init__.py": "from .layers import layer\ndef net(n):\n    return layer(n)\n",
    "nets/layers.py": "import math\ndef layer(n):\n    return math.sqrt(n)\n",
    "calibration.py": "def run():\n    return 1\n",
}


@pytest.fixture
def package(tmp_path):
    root = tmp_path / "fcl"
    for name, text in MODULES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def digests(root):
    return {stage: source_digest(f"fcl.stages:{stage}", root=root) for stage in ("train", "calibrate")}


@pytest.mark.parametrize(
    ("file", "old", "new", "affected"),
    [
        ("training.py", "net(limit)", "net(limit + 1)", {"train"}),
        ("nets/layers.py", "math.sqrt(n)", "math.cos(n)", {"train"}),
        ("nets/__init__.py", "layer(n)", "layer(2 * n)", {"train"}),
        ("calibration.py", "return 1", "return 2", {"calibrate"}),
        ("files.py", "write_text(text)", "write_text(text * 2)", {"train", "calibrate"}),
        ("stages.py", "LIMIT = 3", "LIMIT = 4", {"train"}),
        ("stages.py", "module.run()", "module.run() + 1", {"calibrate"}),
        ("stages.py", '"""Train."""', '"""Train a model."""', set()),
        ("calibration.py", "return 1", "return 1  # one", set()),
        ("config.py", "pass", "x = 1", set()),
    ],
)
def test_an_edit_changes_the_stages_that_reach_it_and_no_others(package, file, old, new, affected):
    before = digests(package)
    path = package / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    after = digests(package)
    assert {stage for stage in before if before[stage] != after[stage]} == affected


def test_a_whole_module_can_be_named(package):
    before = source_digest("fcl.training", root=package)
    (package / "nets/layers.py").write_text("def layer(n):\n    return n\n")
    assert source_digest("fcl.training", root=package) != before


def test_what_is_missing_is_named(package):
    with pytest.raises(FileNotFoundError, match=r"fcl\.nothing"):
        source_digest("fcl.nothing", root=package)
    with pytest.raises(ValueError, match=r"fcl\.stages: has no function 'nothing'"):
        source_digest("fcl.stages:nothing", root=package)


def test_the_library_itself():
    assert source_digest("fcl.study.stages.training:train_fcl") != source_digest("fcl.study.stages.data:build_store")
    for module in NEUTRAL:
        assert (ROOT / f"{module.removeprefix('fcl.').replace('.', '/')}.py").is_file(), module
