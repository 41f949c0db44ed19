"""The mutations fit the code: they can be tried at any time (`make mutants`)."""

import pytest

from mutants import FURTHER, ROOT, USUAL

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
