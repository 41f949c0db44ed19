"""The table of forces: one row per subset, with the paper's error where there is one."""

import numpy as np
import pandas as pd
import pytest

from fcl.evaluation.statistics import NotEvaluated
from fcl.study.pages.reproduction_forces import zero_forces
from fcl.study.tables.forces import forces_table, table_forces
from project import ROOT
from table_examples import table_files

CLAIMS = ROOT / "resources/claims.csv"


@pytest.fixture(scope="module")
def structures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forces")
    rng = np.random.default_rng(1)
    rows = []
    for subset, count, size in (("MC3D", 300, 0.1), ("rattled", 40, 5.0)):
        forces = size * rng.exponential(size=count)
        rows.append(
            pd.DataFrame(
                {
                    "split": "train", "structure": range(count), "group": [f"{subset}-{k // 2}" for k in range(count)],
                    "subset": subset, "atoms": 2, "force_square_sum": 6 * forces**2, "force_largest_component": forces,
                }
            )
        )  # fmt: skip
    pd.concat(rows).to_csv(folder / "structures.csv.gz", index=False)
    return folder / "structures.csv.gz"


@pytest.fixture(scope="module")
def rows(structures):
    return forces_table(structures, CLAIMS)


def test_each_subset_has_a_row_and_the_papers_error_where_it_has_one(structures, rows, tmp_path):
    table = rows.set_index("subset")
    assert table.loc["MC3D", ["structures", "groups", "part_structures"]].tolist() == [300, 150, 60]
    assert table.loc["MC3D", "paper_rmse"] == pytest.approx(0.19721)
    missed = 1 - 0.05 ** (1 / 300)
    rms = np.sqrt(table.loc["MC3D", "force_rms"] ** 2 + missed * table.loc["MC3D", "missed_rms"] ** 2)
    assert rms == pytest.approx(0.19721)
    assert table.loc["rattled", ["paper_rmse", "above"]].isna().all()
    files = table_files(tmp_path)
    for of_paper in (True, False):
        table_forces(structures, CLAIMS, **files, title="a toy set", of_paper=of_paper)
        text = files["markdown"].read_text()
        assert "a toy set" in text and "| rattled" in text and ("197" in text) == ("Pareto" in text) == of_paper


@pytest.mark.parametrize(
    ("paper", "above", "said", "unsaid"),
    [
        (0.05, 1.0, "below that of zero forces", "Conditional"),
        (0.20, 0.10, "10% of the predictions are above the paper's error: undecided", "below that"),
        (0.20, 0.00, "0% of the predictions are above the paper's error: it does not beat them", "undecided"),
        (0.20, None, "needs an RMS", "Conditional"),
    ],
)
def test_the_page_asks_for_skill_only_where_zero_forces_are_better(rows, tmp_path, paper, above, said, unsaid):
    table = rows.copy()
    table.loc[table["subset"] == "MC3D", ["force_rms", "paper_rmse", "above"]] = 0.1, paper, above
    (tmp_path / "tables").mkdir()
    table.to_csv(tmp_path / "tables/forces.csv", index=False)
    text = zero_forces(tmp_path).replace("would need an RMS", "needs an RMS")
    assert said in text and unsaid not in text
    with pytest.raises(NotEvaluated, match="rattled"):
        zero_forces(tmp_path, "rattled")
    with pytest.raises(NotEvaluated, match="table of forces"):
        zero_forces(tmp_path / "elsewhere")
