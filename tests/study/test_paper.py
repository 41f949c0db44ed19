"""Which subset and which lambdas a figure shows, in studies that have the paper's and in those that do not."""

import pytest

from fcl.study.paper import nearest_lambda, shown_subset, smallest_lambdas

PAPER = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def test_the_paper_is_shown_as_in_the_paper():
    assert shown_subset(("MC3D", "MC2D", "SHIFTML-molcrys", "SHIFTML-molfrags")) == "SHIFTML-molcrys"
    assert nearest_lambda(PAPER) == 1e-4
    assert smallest_lambdas(PAPER) == [1e-3, 1e-4, 1e-5, 1e-6]


def test_small_studies_show_what_they_have():
    assert shown_subset(("MC3D", "SHIFTML-molfrags")) == "MC3D"
    assert smallest_lambdas((1e-4, 1e-2)) == [1e-2, 1e-4]


@pytest.mark.parametrize(
    ("lambdas", "nearest"),
    [((1e-2, 1e-3), 1e-3), ((1e-3, 1e-5), 1e-5), ((1e-5, 1e-3), 1e-5), ((2e-3, 1e-6), 2e-3), ((7.0,), 7.0)],
)
def test_the_nearest_lambda_counts_powers_of_ten(lambdas, nearest):
    assert nearest_lambda(lambdas) == nearest
