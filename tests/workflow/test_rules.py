"""What every rule must have, whether it fits its function, and whether the environments agree with the lock."""

import ast
import importlib
import inspect
import re

import pytest
import yaml

from project import ROOT

ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
GPU_RULES = {
    "pretrain",
    "train_fcl",
    "train_static",
    "evaluate_cutoffs",
    "evaluate_external",
    "diatomic_curves",
    "calibrate_cutoffs",
    "choose_cutoffs",
    "observe_statics",
    "observe_nve",
    "observe_rdf",
    "calibrate_unlabelled",
    "measure_wall_clock",
}
COMPUTE_RULES = GPU_RULES | {"build_store"}
CONDA_NAMES = {"matplotlib-base": "matplotlib", "pytorch": "torch"}  # conda-forge -> PyPI


#: What a job has, though its function does not take it: digests and values that only decide whether it runs again, and
#: files beside those that are named.
BESIDE = {"code", "checksum", "dtype", "settings", "card", "other_card", "manifest", "record", "calibrations", "given"}


def _rules():
    """Rule name -> directive -> text, for every rule that runs a script; of a derived one with what it inherits."""
    rules = {}
    files = sorted((ROOT / "workflow/rules").glob("*.smk"))
    found = [
        match
        for path in files
        for match in re.findall(
            r"^(?:use )?rule (\w+)(?: as (\w+) with)?:\n((?: .*\n|\n)+)", path.read_text(), flags=re.MULTILINE
        )
    ]
    while found:
        base, name, body = found.pop(0)
        if name and base not in rules:
            found.append((base, name, body))
            continue
        parts = re.split(r"^    (\w+):", body, flags=re.MULTILINE)
        own = dict(zip(parts[1::2], parts[2::2], strict=True))
        if name and "params" in own:
            own["params"] = rules[base]["params"] + own["params"]  # those of the base stay
        rules[name or base] = {**rules[base], **own} if name else own
    return {name: directives for name, directives in rules.items() if "script" in directives}


RULES = _rules()


def function_of(rule):
    """The library function of a rule, as ``module:function``."""
    return re.findall(r'code=(?:code_of\()?"(fcl[\w.]*:\w+)"', RULES[rule]["params"])[-1]


def test_all_rules_are_found():
    figures = {f"figure_{number:02d}" for number in range(1, 11)}
    assert set(RULES) >= COMPUTE_RULES | figures | {"download_data"}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_log_an_environment_and_its_resources(rule):
    directives = RULES[rule]
    assert directives.keys() >= {"output", "log", "conda", "threads", "resources", "message"}
    assert re.search(r"\*\*requested\(", directives["resources"])
    environment = ROOT / "workflow/rules" / directives["conda"].strip().strip('"')
    assert environment.is_file()


@pytest.mark.parametrize("rule", sorted(COMPUTE_RULES))
def test_every_compute_rule_has_a_benchmark(rule):
    assert "benchmark" in RULES[rule]


def test_the_jobs_that_run_a_model_carry_the_gpu_tag_and_no_others():
    tagged = {rule for rule, directives in RULES.items() if re.search(r"\bgpu=1\b", directives["resources"])}
    assert tagged == GPU_RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_runs_the_script_and_names_a_function_with_its_digest(rule):
    assert RULES[rule]["script"].strip() == '"../scripts/run.py"'
    assert ("code_of(" in RULES[rule]["params"]) == (rule != "download_data")
    assert function_of(rule)


@pytest.mark.parametrize("rule", sorted(GPU_RULES))
def test_a_result_depends_on_its_settings_and_its_precision(rule):
    assert re.search(r"settings=lambda w: settings\(", RULES[rule]["params"])
    assert "dtype=dtype_of" in RULES[rule]["params"]


#: Names of files that helpers give to a rule.
GIVEN = {
    "**figure_files(": {"png", "pdf", "csv", "manifest"},
    "**table_files(": {"csv", "markdown", "latex", "html", "manifest"},
    "unpack(compared_models)": {"model", "card", "other_model", "other_card"},
}


@pytest.mark.parametrize("rule", RULES)
def test_a_function_gets_what_it_takes_and_takes_what_its_rule_has(rule):
    """By name: no argument is missing, none is given twice, and none that a rule declares is lost."""
    directives = RULES[rule]
    files = [directives.get("input", ""), directives["output"]]
    names = [name for text in files for name in re.findall(r"^        (\w+)=", text, flags=re.MULTILINE)]
    names += [name for text in files for helper, given in GIVEN.items() if helper in text for name in given]
    names += set(re.findall(r"^        (\w+)=", directives["params"], flags=re.MULTILINE))
    if "csv=False" in directives["output"]:
        names.remove("csv")
    module, _, function = function_of(rule).partition(":")
    taken = inspect.signature(getattr(importlib.import_module(module), function)).parameters
    assert sorted(set(names) - BESIDE) == sorted(name for name in names if name not in BESIDE)
    assert set(names) - set(taken) <= BESIDE
    required = {name for name, parameter in taken.items() if parameter.default is parameter.empty}
    wildcards = set(re.findall(r"{+(\w+)}+", directives["output"])) | {"study"}
    assert required <= {*names, *wildcards, "threads", "checkpoints"}


def test_the_script_holds_no_logic():
    (script,) = (ROOT / "workflow/scripts").iterdir()
    docstring, imported, call = ast.parse(script.read_text()).body
    assert isinstance(imported, ast.ImportFrom) and ast.unparse(call) == "run_job(snakemake)"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_environments_agree_with_the_lock(path):
    lock = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    locked = {name.lower(): version for name, version in lock.items()}
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    pinned = {}
    for entry in environment["dependencies"]:
        for text in entry["pip"] if isinstance(entry, dict) else [entry]:
            name, *version = re.split(r"=+", text)
            pinned[CONDA_NAMES.get(name, name).lower()] = version[0] if version else None
    assert pinned.pop("python") == "3.11"
    pinned.pop("pip", None)
    assert pinned
    assert pinned == {name: locked.get(name) for name in pinned}


@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_profiles_name_only_options_of_snakemake(profile):
    from snakemake.cli import get_argument_parser

    options = {option.lstrip("-") for action in get_argument_parser()._actions for option in action.option_strings}
    settings = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())
    assert set(settings) <= options


def test_rules_name_no_cluster_and_no_absolute_path():
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        text = path.read_text()
        assert not re.search(r"slurm|partition|sbatch", text), path
        assert not re.search(r"[\"'](/|~/)\w", text), path


def test_every_report_has_its_caption():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        text = path.read_text()
        for caption in re.findall(r'caption="(\.[^"]+)"', text):
            assert (path.parent / caption).is_file()
        for name, others in re.findall(r'_files\(\s*"([^"]+)",(.*?)\),?\n', text, flags=re.DOTALL):
            (caption,) = re.findall(r'caption="(\w+)"', others) or [name]
            assert (ROOT / f"workflow/report/{caption}.rst").is_file(), caption
