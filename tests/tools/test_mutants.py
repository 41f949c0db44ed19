"""The program that breaks the code: its patterns fit the code, it judges rightly, and it never touches its source."""

import pytest

import mutants
from mutants import FURTHER, ROOT, USUAL, Mutation, attempt, check_unchanged, first_failure, judge, mutate

MUTATIONS = (*USUAL, *FURTHER)


def test_the_ten_usual_mistakes_are_there_under_names_of_their_own():
    assert len(USUAL) == 10
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_the_code(mutation):
    """Its text is there once, its change is valid Python, and its tests exist."""
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.file} was rewritten: adapt the mutation in tests/mutants.py"
    compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")
    assert mutation.tests and all((ROOT / test).exists() for test in mutation.tests)


@pytest.mark.parametrize(("old", "count"), [("nothing", 0), ("twice", 2)])
def test_a_text_that_is_not_there_once_is_an_error(tmp_path, old, count):
    (tmp_path / "code.py").write_text("twice = 'twice'\n")
    with pytest.raises(ValueError, match=rf"code\.py: '{old}' is there {count} times"):
        mutate(tmp_path, Mutation("a", "code.py", old, "other", ("tests",)))


@pytest.mark.parametrize(
    ("status", "text", "caught"),
    [
        (1, "test_a: assert 1 == 2", True),
        (1, "test_a: AssertionError: Tensor-likes are not close!", True),
        (1, "test_a: Failed: DID NOT RAISE <class 'ValueError'>", True),
        (1, "test_a: RuntimeError: size mismatch\nassert", False),
        (0, "all tests passed", False),
        (2, "collection: assert False", False),
        (4, "file or directory not found", False),
        (-1, "no result within 900 s", False),
    ],
)
def test_only_the_failed_assertion_of_a_test_counts(status, text, caught):
    assert judge(status, text) is caught


def test_the_first_failure_of_a_report(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><error message="E"/></testcase>'
        '<testcase name="c"><failure message="assert 0"/></testcase></testsuite></testsuites>'
    )
    assert first_failure(report) == "c: assert 0"
    report.write_text('<testsuites><testsuite><testcase name="a"/></testsuite></testsuites>')
    assert first_failure(report) == ""


@pytest.fixture
def project(tmp_path):
    """A project of two modules and a test, in the layout that the program copies."""
    (tmp_path / "src/fcl").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "src/fcl/__init__.py").write_text("def double(x):\n    return 2 * x\n")
    (tmp_path / "tests/test_double.py").write_text(
        "from fcl import double\n\n\ndef test():\n    assert double(3) == 6\n"
    )
    return tmp_path


@pytest.mark.heavy
def test_a_small_project(project, monkeypatch, capsys):
    """Caught, missed, an import error that does not count; the project itself stays as it is."""
    tests = ("tests/test_double.py",)
    wrong = Mutation("wrong", "src/fcl/__init__.py", "2 * x", "3 * x", tests)
    same = Mutation("same", "src/fcl/__init__.py", "2 * x", "x * 2", tests)
    broken = Mutation("broken", "src/fcl/__init__.py", "def double", "def triple", tests)
    before = (project / "src/fcl/__init__.py").read_text()
    outcomes = {mutation: attempt(mutation, project) for mutation in (wrong, same, broken)}
    assert [outcome.caught for outcome in outcomes.values()] == [True, False, False]
    assert "assert 9 == 6" in outcomes[wrong].detail and outcomes[same].detail == "all tests passed"
    assert check_unchanged([wrong], project) == ""
    assert (project / "src/fcl/__init__.py").read_text() == before
    monkeypatch.setattr(mutants, "check_unchanged", lambda mutations: "")
    monkeypatch.setattr(mutants, "attempt", outcomes.get)
    monkeypatch.setattr(mutants, "USUAL", (wrong,))
    monkeypatch.setattr(mutants, "FURTHER", (same,))
    assert mutants.main(["--jobs", "1"]) == 1
    printed = capsys.readouterr().out
    assert "usual mistakes: 1 of 1 caught" in printed and "further ones: 0 of 1 caught" in printed
    assert mutants.main(["--jobs", "1", "--only", "wrong"]) == 0
    monkeypatch.setattr(mutants, "check_unchanged", lambda mutations: "red")
    assert mutants.main(["--jobs", "1"]) == 2
