"""Settings of active learning: defaults, errors with dotted keys, and every key in the document."""

import re

import pytest
import yaml

from fcl.active.settings import ActiveSettings, active_settings, load_active
from fcl.config.errors import ConfigError
from project import ROOT

LEAST = {"calculator": {"module": "ase.calculators.emt", "class": "EMT"}, "start": {"structures": ["cu.xyz"]}}


def test_the_least_and_its_defaults():
    settings = active_settings(LEAST)
    assert settings.calculator.name == "EMT" and settings.explore.cells == (1, 2, 4, 6, 8)
    assert settings.select.thresholds == (2.1, 10.0) and settings.of_training()["fcl"]["epochs"] == 60
    more = active_settings({**LEAST, "training": {"fcl": {"epochs": 5}}, "select": {"uncertainty": "cutoffs"}})
    assert more.of_training()["fcl"] == {**settings.of_training()["fcl"], "epochs": 5}
    assert more.select.thresholds == (0.1, 0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"calculator": {"module": "ase.calculators.emt", "klass": "EMT"}}, "calculator.klass: unknown key.*'class'"),
        ({"calculator": {"module": "os; import x", "class": "EMT"}}, "calculator.module: .*pattern"),
        ({"calculator": {"module": "ase.calculators.emt"}}, "calculator.class: is missing"),
        ({"explore": {"cells": [2, 1]}}, "explore: cells: must ascend"),
        ({"explore": {"strains": [0.0]}}, "explore.strains"),
        ({"explore": {"temperature": [300]}}, "explore.temperature: unknown key; did you mean 'temperatures'"),
        ({"explore": {"cutoff": 8.0}}, "explore.cutoff: 8 A is outside of training.cutoffs, 3.5-7 A"),
        ({"select": {"cutoffs": [3.0, 5.0]}}, "select.cutoffs: 3 A is outside"),
        ({"select": {"uncertainty": "committee"}}, "members: a committee has two or more"),
        ({"select": {"above": 20.0}}, "above: 20 exceeds stop, 10"),
        ({"training": {"fcl": {"epoch": 5}}}, "training:\nfcl.epoch: unknown key; did you mean 'epochs'"),
        ({"start": {"structures": []}}, "start.structures"),
    ],
)
def test_errors_name_the_key(tmp_path, changes, said):
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(LEAST | changes))
    with pytest.raises(ConfigError, match=rf"(?s)a\.yaml is not valid:.*{said}"):
        load_active(tmp_path / "a.yaml")


def test_the_document_has_every_setting_with_its_default():
    text = (ROOT / "docs" / "active.md").read_text(encoding="utf-8").split("## Settings")[1]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (.+?) \|", text, flags=re.MULTILINE))
    defaults = active_settings(LEAST).model_dump(mode="json", by_alias=True)
    wanted = {}
    for name, field in ActiveSettings.model_fields.items():
        section = defaults[name]
        if isinstance(section, dict) and hasattr(field.annotation, "model_fields"):
            wanted |= {f"{name}.{key}": value for key, value in section.items()}
        else:
            wanted[name] = section
    assert rows.keys() == wanted.keys()
    for key, shown in rows.items():
        if shown != "required":
            assert yaml.safe_load(shown.strip("`")) == wanted[key], key
