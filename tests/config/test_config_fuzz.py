"""Whatever a configuration or a data manifest holds, it is accepted or refused with a reason; nothing crashes."""

import copy
import os

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fcl.config.errors import ConfigError
from fcl.config.load import Config, load_config
from fcl.data.manifest import DataManifest, load_data_manifest
from project import ROOT

RAW = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
MANIFEST = yaml.safe_load((ROOT / "examples/own-data/manifest.yaml").read_text(encoding="utf-8"))
EXAMPLES = int(os.environ.get("FCL_FUZZ_EXAMPLES", "60"))


def paths(tree, path=()):
    """Every place in a nest of mappings and lists."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from paths(value, (*path, key))


def replaced(tree, path, value):
    """A copy with another value at ``path``; an ellipsis takes the place out."""
    if not path:
        return value
    tree = copy.deepcopy(tree)
    place = tree
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return tree


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**20), st.floats(), st.text(max_size=8), st.just("H-O"), st.dates()
)
VALUES = st.one_of(
    st.just(...),
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.one_of(st.text(max_size=5), st.integers(0, 3), st.just("mini")), SCALARS, max_size=3),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(paths(RAW))[1:]), VALUES), min_size=1, max_size=2))
def test_no_configuration_crashes(changes):
    data = RAW
    for path, value in changes:
        try:
            data = replaced(data, path, value)
        except (KeyError, IndexError, TypeError):  # the first change took the place of the second away
            continue
    try:
        assert isinstance(load_config(data), Config)
    except ConfigError as error:
        assert "config is not valid:\n" in str(error) and len(str(error)) > 25


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.one_of(st.text(max_size=60), st.binary(max_size=60)))
def test_no_file_crashes_the_configuration(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    for load, refusal in ((load_config, ConfigError), (load_data_manifest, ValueError)):
        try:
            load(path)
        except refusal as error:
            assert "fuzz.yaml" in str(error)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(list(paths(MANIFEST))[1:]), VALUES)
def test_no_data_manifest_crashes(tmp_path_factory, path, value):
    file = tmp_path_factory.getbasetemp() / "manifest.yaml"
    file.write_text(yaml.safe_dump(replaced(MANIFEST, path, value)), encoding="utf-8")
    try:
        manifest = load_data_manifest(file)
    except ValueError as error:
        assert "manifest.yaml" in str(error)
    else:
        assert isinstance(manifest, DataManifest)
        for split in manifest.splits:
            assert manifest.frame_settings(split)["split"] == split
