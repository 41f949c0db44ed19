"""Studies with a base: what they inherit, which results they share with it, and how a wrong base is told."""

import pytest
import yaml

from fcl.config import sharing as bases
from fcl.config.errors import ConfigError
from fcl.config.load import derived, load_config
from project import ROOT


def config_with(**studies):
    """The shipped configuration and some studies more, those with a base being based on ``parent``."""
    raw = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    raw["studies"] |= {"parent": {"fcl": {"epochs": 7}, "data": {"local_dir": "here"}}, **studies}
    return load_config(raw)


def child(**changes):
    return {"base": "parent", **changes}


#: Where FCL models with a smaller r_max are evaluated.
UP_TO_6 = {
    "evaluation": {"uniform_cutoffs": {"stop": 6.0}},
    "diatomics": {"cutoffs": [4.0, 5.0, 6.0]},
    "calibration": {"upper_bound": 6.0},
    "wall_clock": {"uniform_cutoffs": [4.0, 6.0]},
}


def test_values_are_inherited_leaf_by_leaf_through_every_base():
    config = config_with(child=child(fcl={"batch_size": 3}), grandchild={"base": "child", "fcl": {"epochs": 9}})
    assert bases.lineage(config.studies, "grandchild") == ("grandchild", "child", "parent")
    study = config.resolve("grandchild")
    assert (study.fcl.epochs, study.fcl.batch_size, study.data.local_dir) == (9, 3, "here")
    assert config.resolve("child").fcl.epochs == 7


@pytest.mark.parametrize(
    ("studies", "words"),
    [
        ({"child": {"base": "parnet"}}, "studies.child.base: there is no study 'parnet'; did you mean 'parent'?"),
        ({"a": {"base": "b"}, "b": {"base": "a"}}, "studies.a.base: goes in a circle: a -> b -> a"),
        ({"child": {"base": []}}, "studies.child.base: must be the name of a study, not []"),
        ({"child": {"base": {"parent": 1}}}, "studies.child.base: must be the name of a study, not {'parent': 1}"),
        ({"child": {"base": 3}}, "studies.child.base: must be the name of a study, not 3"),
        ({"child": child(purpose="ablaton")}, "studies.child.purpose: 'ablaton' is unknown; did you mean 'ablation'?"),
        ({"child": {"purpose": "repeat"}}, "studies.child.purpose: needs a base"),
        ({"child": child(purpose="calibration", fcl={"epochs": 1})}, "studies.child.fcl: only calibration may differ"),
        ({"child": child(fcl={"epochz": 1})}, "studies.child.fcl.epochz: unknown key"),
    ],
)
def test_a_wrong_base_is_an_error_that_names_its_key(studies, words):
    with pytest.raises(ConfigError) as caught:
        config_with(**studies)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "store", "pretrained", "static"),
    [
        ({"fcl": {"epochs": 3}}, True, True, True),
        ({"cutoffs": {"sampling": "structures"}}, True, True, True),
        ({"model": {"cutoff_embedding": "literal"}}, True, True, True),
        ({"cutoffs": {"r_max": 7.5}}, False, True, True),
        ({"cutoffs": {"reach": 7.5}}, False, True, True),
        ({"cutoffs": {"r_min": 4.0, "r_max": 6.5, "reach": 7.0}, **UP_TO_6}, True, True, True),
        ({"data": {"local_dir": "elsewhere"}}, True, True, True),
        ({"data": {"max_force": 10.0}}, False, False, False),
        ({"data": {"group_fraction": {"train": 0.5}}}, False, False, False),
        ({"data": {"folds": {"number": 5, "held_out": 1}}}, False, False, False),
        ({"loss": {"energy_weight": 1.0}}, True, False, False),
        ({"model": {"num_bessel": 8}}, True, False, False),
        ({"pretrain": {"seeds": [5]}}, True, False, True),
        ({"static": {"epochs": 400}}, True, True, False),
        ({"static": {"cutoffs": [6.0], "seeds": [1, 9]}}, True, True, True),
        ({"compute": {"dtype": "float64"}}, True, False, False),
        ({"compute": {"threads": 2}}, True, True, True),
    ],
)
def test_results_are_shared_where_their_settings_are_the_same(change, store, pretrained, static):
    config = config_with(child=child(**change))
    owners = {True: "parent", False: "child"}
    assert bases.owner_of_store(config, "child") == owners[store]
    assert bases.owner_of_pretrained(config, "child", "pretrain") == owners[pretrained]
    assert bases.owner_of_static(config, "child", 6.0, 1) == owners[static]
    assert bases.owner_of_store(config, "parent") == "parent"


def test_a_study_of_other_calibrations_has_the_models_of_its_base():
    other = child(purpose="calibration", calibration={"split": "val"})
    config = config_with(child=child(fcl={"epochs": 3}), other=other, further={**other, "base": "other"})
    assert [bases.owner_of_fcl(config, name) for name in ("child", "other", "further")] == ["child", "parent", "parent"]
    for name in ("embedded", "mad-sample"):
        (control,) = derived(load_config(ROOT / "config.yaml").studies, name, "calibration")
        assert bases.changes(load_config(ROOT / "config.yaml"), control) == {"calibration.split": ("train", "val")}


def test_nothing_is_shared_across_a_study_that_differs():
    """a -> b -> a again: the result of the middle study is another one, and its base is not looked through it."""
    middle, last = child(pretrain={"seeds": [5]}), {"base": "child", "pretrain": {"seeds": [0]}}
    config = config_with(child=middle, last=last)
    assert bases.owner_of_pretrained(config, "last", "pretrain") == "last"
    assert bases.owner_of_static(config, "last", 6.0, 1) == "parent"


def test_what_a_study_changes():
    change = {"fcl": {"epochs": 7, "batch_size": 3}, "data": {"max_frames_per_subset": {"train": 24}}}
    change |= {"cutoffs": {"reach": 8.0}}
    config = config_with(child=child(purpose="ablation", **change), other=child(purpose="repeat"))
    assert bases.changes(config, "child") == {
        "fcl.batch_size": (50, 3),
        "data.max_frames_per_subset.train": (None, 24),
        "cutoffs.reach": (None, 8.0),
    }
    assert bases.changes(config, "other") == {}
    assert derived(config.studies, "parent", "ablation") == ["child"]


def test_ablations_of_the_shipped_study_share_all_but_fcl():
    config = load_config(ROOT / "config.yaml")
    ablations = derived(config.studies, "embedded", "ablation")
    base = config.resolve("embedded")
    assert len(ablations) == 6
    for name in ablations:
        assert bases.changes(config, name)
        study = config.resolve(name)
        # one FCL model per pre-trained model, the same as in the base, with which it is paired by seed
        assert study.pretrained_models() == base.pretrained_models()
        starts = [study.pretrain_seed(seed) for seed in study.fcl.seeds]
        assert starts == [base.pretrain_seed(seed) for seed in study.fcl.seeds] == list(base.pretrain.seeds)
        owners = {bases.owner_of_pretrained(config, name, model) for model in study.pretrained_models()}
        assert owners == {"embedded"}
        assert {bases.owner_of_static(config, name, cutoff, 1) for cutoff in (4.0, 7.0)} == {"embedded"}
    for name in derived(config.studies, "embedded", "learning_curve"):
        study, whole = config.resolve(name), config.resolve("embedded")
        share = study.data.group_share("train")
        assert study.static.epochs * share == whole.static.epochs  # as many steps
        assert [milestone * share for milestone in study.static.milestones] == list(whole.static.milestones)
        assert study.data.group_share("val") is study.data.group_share("test") is None
    folds = [config.resolve(name) for name in derived(config.studies, "embedded", "folds")]
    assert [(study.data.folds.number, study.data.folds.held_out) for study in folds] == [(5, k) for k in range(1, 6)]
    for study in folds:
        assert set(study.static.cutoffs) <= set(study.evaluation.uniform_cutoffs.values())


def test_a_training_without_sampling_differs_in_the_sampling_only():
    """Store and Bessel functions of the base; evaluated at the one cutoff that it was trained at."""
    config = load_config(ROOT / "config.yaml")
    fixed, base = config.resolve("embedded-fixed"), config.resolve("embedded")
    assert fixed.cutoffs.fixed and not base.cutoffs.fixed and fixed.cutoffs.r_max == base.pretrain.cutoff
    assert fixed.cutoffs.stored == fixed.cutoffs.reach == base.cutoffs.stored == base.cutoffs.r_max
    assert bases.owner_of_store(config, "embedded-fixed") == "embedded"
    assert fixed.evaluation.uniform_cutoffs.values() == [6.0] == list(fixed.diatomics.cutoffs)


def test_fcl_seeds_are_divided_among_the_pretrained_models():
    config = config_with(
        child=child(pretrain={"seeds": [0, 7]}, fcl={"seeds": [1, 2, 3, 4]}),
        other={"base": "child", "pretrain": {"seeds": [7]}},
    )
    study = config.resolve("child")
    assert [study.pretrain_seed(seed) for seed in study.fcl.seeds] == [0, 0, 7, 7]
    assert study.pretrained_models() == {"pretrain": 0, "pretrain_seed7": 7}
    assert bases.owner_of_pretrained(config, "child", "pretrain") == "parent"
    assert bases.owner_of_pretrained(config, "child", "pretrain_seed7") == "child"
    assert bases.owner_of_pretrained(config, "other", "pretrain") == "other"  # of seed 7, which has another name there
    with pytest.raises(
        ConfigError, match="fcl.seeds: 3 seeds cannot be divided in equal parts among the 2 pretrain.seeds"
    ):
        config_with(child=child(pretrain={"seeds": [0, 7]}))
