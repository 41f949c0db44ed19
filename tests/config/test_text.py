"""No key is given twice in a configuration, a data manifest or a card."""

import pytest
import yaml

from fcl.config.errors import ConfigError
from fcl.config.load import read_settings
from fcl.config.text import parse_json, parse_yaml
from fcl.data.manifest import load_data_manifest
from fcl.models.files import read_card


def test_keys_are_given_once(tmp_path):
    assert parse_yaml("a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: [1, {b: 3}]") == {
        "a": {"b": 1}, "c": {"b": 2}, "d": [1, {"b": 3}],
    }  # fmt: skip
    assert parse_json('{"a": {"b": 1}, "c": [{"b": 2}, {"b": 3}]}') == {"a": {"b": 1}, "c": [{"b": 2}, {"b": 3}]}
    nested = parse_yaml("a: &x {b: 1}\nf: {c: &y {<<: *x, b: 2}}\nd: {<<: *y, e: 3}")
    assert nested["d"] == {"b": 2, "e": 3} and nested["f"] == {"c": {"b": 2}}
    with pytest.raises(yaml.YAMLError, match="key 'b' is given twice"):
        parse_yaml("a: {b: 1, b: 2}")
    with pytest.raises(ValueError, match="key 'b' is given twice"):
        parse_json('{"a": [{"b": 1, "c": 3, "b": 1}]}')


def test_every_file_says_so(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("keys: {energy: E}\nkeys: {energy: F}\n")
    for read, error in ((read_settings, ConfigError), (load_data_manifest, ValueError)):
        with pytest.raises(error, match=r"twice\.yaml: not valid YAML: key 'keys' is given twice"):
            read(file)
    (tmp_path / "m.json").write_text('{"format": 1, "format": 2}')
    with pytest.raises(ValueError, match=r"m\.json: not JSON \(key 'format' is given twice\)"):
        read_card(tmp_path / "m.safetensors")
