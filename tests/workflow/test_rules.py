"""What every rule must have, how thin the scripts are, and whether the environments agree with the lock."""

import ast
import importlib
import inspect
import re

import pytest
import yaml

from project import ROOT

SCRIPTS = sorted((ROOT / "workflow/scripts").glob("*.py"))
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
GPU_RULES = {
    "pretrain",
    "train_fcl",
    "train_static",
    "evaluate_cutoffs",
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


def _rules():
    """Rule name -> directive -> text, for every rule that runs a script."""
    rules = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for name, body in re.findall(r"^rule (\w+):\n((?: .*\n|\n)+)", path.read_text(), flags=re.MULTILINE):
            parts = re.split(r"^    (\w+):", body, flags=re.MULTILINE)
            rules[name] = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {name: directives for name, directives in rules.items() if "script" in directives}


RULES = _rules()


def _script_of(rule):
    return ROOT / "workflow/rules" / RULES[rule]["script"].strip().strip('"')


def _statements(path):
    return ast.parse(path.read_text(), filename=str(path)).body


def test_all_rules_are_found():
    figures = {f"figure_{number:02d}" for number in range(1, 11)}
    assert set(RULES) >= COMPUTE_RULES | figures | {"download_data"}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_log_an_environment_and_its_resources(rule):
    directives = RULES[rule]
    assert directives.keys() >= {"output", "log", "conda", "threads", "resources", "message"}
    assert re.search(r"\bmem_mb=memory\(", directives["resources"])
    assert re.search(r"\bruntime=minutes\(", directives["resources"])
    environment = ROOT / "workflow/rules" / directives["conda"].strip().strip('"')
    assert environment.is_file()


@pytest.mark.parametrize("rule", sorted(COMPUTE_RULES))
def test_every_compute_rule_has_a_benchmark(rule):
    assert "benchmark" in RULES[rule]


def test_the_jobs_that_run_a_model_carry_the_gpu_tag_and_no_others():
    tagged = {rule for rule, directives in RULES.items() if re.search(r"\bgpu=1\b", directives["resources"])}
    assert tagged == GPU_RULES


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"download_data"}))
def test_the_code_that_a_rule_watches_is_the_function_that_its_script_calls(rule):
    watched = re.search(r'code=source_digest\("([\w.:]+)"\)', RULES[rule]["params"])
    assert watched, f"{rule}: params hold no digest of the code"
    assert f'"{watched[1]}"' in _script_of(rule).read_text()


@pytest.mark.parametrize("rule", sorted(GPU_RULES))
def test_a_result_depends_on_its_settings_and_its_precision(rule):
    assert re.search(r"settings=lambda w: settings\(", RULES[rule]["params"])
    assert "dtype=dtype_of" in RULES[rule]["params"]


def test_every_script_belongs_to_a_rule():
    assert {_script_of(rule).resolve() for rule in RULES} == {path.resolve() for path in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_thin(path):
    """A docstring, imports, the function and one call of it: nothing that would need a test of its own."""
    assert len(path.read_text().splitlines()) <= 60
    docstring, *imports, function, call = _statements(path)
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    assert all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in imports)
    assert isinstance(function, ast.Assign) and function.value.func.id in ("library_function", "recorded_function")
    assert isinstance(call, ast.Expr) and call.value.func.id == function.targets[0].id
    control = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.FunctionDef, ast.Lambda, ast.BinOp)
    assert not [node for node in ast.walk(ast.Module(imports + [function, call], [])) if isinstance(node, control)]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_call_the_library_as_it_is(path):
    *_, function, call = _statements(path)
    module, _, name = function.value.args[1].value.partition(":")
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    signature.bind(*call.value.args, **{keyword.arg: keyword.value for keyword in call.value.keywords})


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
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), *SCRIPTS]:
        text = path.read_text()
        assert not re.search(r"slurm|partition|sbatch", text), path
        assert not re.search(r"[\"'](/|~/)\w", text), path


def test_every_report_has_its_caption():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for caption in re.findall(r'caption="([^"]+)"', path.read_text()):
            assert (path.parent / caption).is_file()
