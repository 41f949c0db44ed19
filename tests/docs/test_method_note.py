"""docs/method.md: its names exist, its claims on smoothness hold, and every equation of the method is in it."""

import importlib
import re

import pytest
import torch

from fcl.models.conditioning import taper
from project import ROOT

NOTE = (ROOT / "docs/method.md").read_text(encoding="utf-8")
TABLE = NOTE.split("## Symbols and names")[1]
NAMES = sorted(set(re.findall(r"`(fcl(?:\.\w+)+)`", NOTE)))


def find(dotted):
    """The object ``dotted`` names: the longest importable module, then attributes or declared fields."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            fields = getattr(found, "__annotations__", {})
            found = fields[name] if name in fields else getattr(found, name)
        return found
    raise ModuleNotFoundError(dotted)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(name):
    assert find(name) is not None


def test_a_name_that_does_not_exist_is_noticed():
    for name in ("fcl.models.conditioning.tapper", "fcl.nothing.at_all", "fcl.data.batch.Batch.pair_shift"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            find(name)


def test_every_row_of_the_table_names_code():
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 20
    assert all(re.search(r"`\w", row.rsplit("|", 2)[1]) for row in rows)


def test_every_equation_of_the_method_is_there():
    named = set()
    for words in re.findall(r"Eqs?\. ([\d, –and]+)", NOTE):
        for first, last in re.findall(r"(\d+)(?:–(\d+))?", words):
            named |= set(range(int(first), int(last or first) + 1))
    assert named >= {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16} and "Algorithm 1" in NOTE


def test_names_without_a_module_are_those_of_the_table():
    """In prose and in the algorithm functions go by their last name."""
    short = {name.rsplit(".", 1)[1] for name in NAMES}
    algorithm = re.search(r"```text\n(.*?)```", NOTE, flags=re.DOTALL)[1]
    assert {"load_backbone", "sample_cutoffs", "select_pairs", "batch_loss", "fit"} <= set(
        re.findall(r"\w+", algorithm)
    ) & short


@pytest.mark.parametrize("p", [3, 5, 6])
@pytest.mark.parametrize("m", [1.0, 4.5])
def test_which_derivatives_of_the_taper_vanish(p, m):
    """At r = m: s, s', s'' are 0 and s''' is -p (p + 1) (p + 2) / m^3; at r = 0 the first p - 1 derivatives are 0."""

    def derivatives(r, count):
        r = torch.tensor(r, requires_grad=True)
        values = [taper(r, torch.tensor(m), p)]
        for _ in range(count):
            values.append(torch.autograd.grad(values[-1], r, create_graph=True)[0])
        return [float(value.detach()) for value in values]

    at_the_end = derivatives(m, 3)
    assert at_the_end[:3] == pytest.approx([0.0] * 3, abs=1e-11)
    assert at_the_end[3] == pytest.approx(-p * (p + 1) * (p + 2) / m**3)
    at_the_start = derivatives(0.0, p)
    assert at_the_start[:p] == pytest.approx([1.0] + [0.0] * (p - 1), abs=1e-12) and at_the_start[p] < 0


def test_the_derivative_with_respect_to_the_pair_cutoff():
    r, m = torch.linspace(0.5, 4.4, 9), torch.full((9,), 4.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(taper(r, m, 5).sum(), m)
    x = r / 4.5
    torch.testing.assert_close(gradient, (x / 4.5) * 105 * x**4 * (1 - x) ** 2)
