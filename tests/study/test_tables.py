"""Tables: their numbers are those of their sources, and each format is escaped as it must be."""

import re
from inspect import Parameter, signature

import pandas
import pytest

from fcl.config.load import load_config
from fcl.models.files import build_model
from fcl.models.interface import count_parameters
from fcl.study.figures.schematic import figure_02
from fcl.study.tables.common import Column, Table, as_latex, as_markdown, shown, written
from fcl.study.tables.data import average_neighbors_table, element_fractions_table, table_03, table_04
from fcl.study.tables.hyperparameters import hyperparameters_table, read_hyperparameters, table_02
from fcl.study.tables.published import table_01
from project import ROOT
from table_examples import table_files

CLAIMS = ROOT / "resources/claims.csv"
AWKWARD = pandas.DataFrame({"name": ["50% of a_b & {c}", "x|y <b>"], "value": [0.12345, None]})
COLUMNS = {"name": Column("na_me"), "value": Column("value (Å)", "{:.2f}")}


@pytest.fixture(scope="module")
def study():
    return load_config(ROOT / "config.yaml").resolve("smoke")


@pytest.fixture
def data(tmp_path):
    rows = [("train", 3.7, 1.0), ("train", 4.0, 20.0), ("train", 7.0, 90.0), ("test", 4.0, 7.0)]
    neighbors = pandas.DataFrame(rows, columns=["split", "cutoff_angstrom", "per_connected_atom"])
    neighbors = neighbors.assign(per_atom=neighbors["per_connected_atom"] - 0.5, per_structure=3.0)
    neighbors.to_csv(tmp_path / "neighbors.csv", index=False)
    rows = [
        ("train", "SHIFTML-molcrys", "Na", 1, 0.1), ("train", "SHIFTML-molcrys", "H", 7, 0.7),
        ("train", "SHIFTML-molcrys", "Si", 2, 0.2), ("train", "MC3D", "H", 9, 1.0),
        ("test", "SHIFTML-molcrys", "C", 9, 1.0),
    ]  # fmt: skip
    elements = pandas.DataFrame(rows, columns=["split", "subset", "element", "atoms", "fraction"])
    elements.to_csv(tmp_path / "elements.csv", index=False)
    return tmp_path


def test_markdown_keeps_its_cells():
    lines = as_markdown(shown(AWKWARD, COLUMNS)).splitlines()
    assert len(lines) == 4
    for line in lines:
        assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "0.12" in lines[2] and "–" in lines[3]


def test_latex_is_escaped_and_has_rules():
    text = as_latex(shown(AWKWARD, COLUMNS), "100% of it", "tab:x")
    assert r"50\% of a\_b \& \{c\}" in text
    assert r"na\_me" in text and r"\caption{100\% of it}" in text and r"\label{tab:x}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)[%#$_]", line), line


def test_html_loads_nothing_and_is_escaped(tmp_path):
    written("x")(lambda: Table(AWKWARD, COLUMNS, "a < b"))(**table_files(tmp_path))
    text = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;" in text and "a &lt; b" in text
    assert not re.search(r"(src|href)=|<script|@import|url\(", text)


def test_csv_has_all_digits_and_plain_names(tmp_path):
    written("x")(lambda: Table(AWKWARD, COLUMNS, "a"))(**table_files(tmp_path))
    table = pandas.read_csv(tmp_path / "table.csv")
    assert list(table.columns) == ["name", "value"]
    assert table["value"].iloc[0] == 0.12345 and table["value"].isna().iloc[1]


def test_published_models_are_the_papers(tmp_path):
    table_01(ROOT / "resources/published_models.csv", **table_files(tmp_path))
    table = pandas.read_csv(tmp_path / "table.csv").set_index("model")
    assert len(table) == 9
    assert table.loc["CHGNet", "cutoff"] == "5.0 (3.0)" and table.loc["CHGNet", "interaction_order"] == 3
    assert table.loc["MACE-OFF23-S", "cutoff_angstrom"] == 4.5
    assert table["link"].str.startswith("https://").all() and table["reference"].notna().all()
    assert ((table["interaction_order"] == 3) == table["three_body_cutoff_angstrom"].notna()).all()


def test_hyperparameters_are_those_of_the_built_models(study, tmp_path):
    table_02(study, ROOT / "resources/paper_hyperparameters.csv", **table_files(tmp_path))
    table = pandas.read_csv(tmp_path / "table.csv").set_index("key")
    static, flexible = build_model("static", study.model, 6.0, 1.0), build_model("fcl", study.model, 7.0)
    assert int(table.loc["parameters", "static"]) == count_parameters(static)
    assert int(table.loc["parameters", "fcl"]) == count_parameters(flexible)
    assert int(table.loc["parameters_added", "fcl"]) == count_parameters(flexible) - count_parameters(static)
    assert table.loc["cutoff", "static"].startswith("4.0, 6.0 ")
    same = [key for key in table.index if not key.startswith(("parameters", "cutoff", "avg"))]
    assert len(same) == 15
    assert (table.loc[same, "static"] == table.loc[same, "paper"]).all()  # Table 2 of the paper
    assert (table.loc[same, "fcl"] == table.loc[same, "paper"]).all()


def test_hyperparameters_follow_the_model(study):
    other = study.model.model_copy(
        update={"hidden_irreps": "8x0e", "mlp_irreps": "4x0e", "num_bessel": 6, "polynomial_order": 6, "max_ell": 2}
    )
    for kind in ("static", "fcl"):
        values = read_hyperparameters(build_model(kind, other, 5.0, 1.0))
        assert (values["hidden_irreps"], values["mlp_irreps"]) == ("8x0e", "4x0e")
        assert (values["num_bessel"], values["polynomial_order"], values["max_ell"]) == (6, 6, 2)


def test_an_unknown_row_of_table_2_is_named(study, tmp_path):
    (tmp_path / "source.csv").write_text("key,parameter,paper\nnum_layers,layers,2\n")
    with pytest.raises(ValueError, match=r"source\.csv: key 'num_layers'"):
        hyperparameters_table(study, tmp_path / "source.csv")


def test_average_neighbours_stand_beside_the_papers(data):
    table = average_neighbors_table(data / "neighbors.csv", CLAIMS)
    assert table["cutoff_angstrom"].tolist() == [4.0, 7.0]
    assert table["per_connected_atom"].tolist() == [20.0, 90.0]
    assert table["paper"].tolist() == [19.3, 104.1]
    table_03(data / "neighbors.csv", CLAIMS, **table_files(data), title="a toy set, not MAD")
    assert (
        "| 7.0 " in (data / "table.markdown").read_text()
        and "a toy set, not MAD" in (data / "table.markdown").read_text()
    )


def test_element_fractions_stand_beside_the_papers(data):
    table = element_fractions_table(data / "elements.csv", CLAIMS)
    assert table["element"].tolist()[:7] == ["H", "C", "N", "O", "F", "Na", "Mg"]
    rows = table.set_index("element")
    assert rows.loc["H", ["fraction", "paper"]].tolist() == [0.7, 0.42]
    assert pandas.isna(rows.loc["C", "fraction"]) and pandas.isna(rows.loc["Si", "paper"])
    table_04(data / "elements.csv", CLAIMS, **table_files(data), title="a toy set, not MAD")
    assert "0.700" in (data / "table.latex").read_text()


def test_two_columns_with_one_heading_are_refused():
    table = pandas.DataFrame({"name": ["a"], "value": [1.0]})
    with pytest.raises(ValueError, match="two columns of a table have the same heading: x, x"):
        shown(table, {"name": Column("x"), "value": Column("x")})


def test_the_arguments_of_a_table_and_a_figure_are_known():
    """Scripts pass files and values by name; output files are among the arguments, and the title of the data."""
    table, figure = (signature(function).parameters for function in (table_03, figure_02))
    assert list(table) == ["neighbors", "claims", "csv", "markdown", "latex", "html", "title"]
    assert list(figure) == ["r_min", "r_max", "initial_cutoff", "png", "pdf", "csv"]
    required = {name for name, one in figure.items() if one.default is Parameter.empty}
    assert required == {"r_min", "r_max", "initial_cutoff", "png", "pdf"}
    with pytest.raises(TypeError, match="'markdown', 'latex', and 'html'"):
        table_03("neighbors.csv", CLAIMS, csv="table.csv")
