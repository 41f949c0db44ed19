"""Studies beside the one that they are based on: what counts as a difference, the two tables, and a repeated run."""

import json
import math
import shutil

import pandas as pd
import pytest

from claim_examples import FCL, write, write_study, write_uniform
from fcl.evaluation.statistics import NotEvaluated, mean_and_deviation, paired_difference, unpaired_difference
from fcl.study.comparisons.ablations import (
    ALIKE,
    AT_END,
    HIGHER,
    LOWER,
    ablation_table,
    change_text,
    write_ablations,
)
from fcl.study.comparisons.learning import gain_of_last_step, learning_curve
from fcl.study.comparisons.repeat import repeated_digests
from fcl.study.results import Results
from figure_examples import outputs

T_OF_TWO = 4.302653  # Student's t for 95% and two degrees of freedom


def seeds(*values):
    return dict(enumerate(values, start=1))


def test_differences_of_the_same_seeds_have_students_interval():
    difference = paired_difference(seeds(2.0, 3.0, 4.0), seeds(1.0, 1.0, 1.0))
    assert difference.value == pytest.approx(2.0)
    assert difference.half_width == pytest.approx(T_OF_TWO / math.sqrt(3))  # standard deviation 1
    assert not difference.significant
    assert paired_difference(seeds(2.0, 2.1, 1.9), seeds(1.0, 1.1, 0.9)).significant
    assert not paired_difference(seeds(5.0), seeds(1.0)).significant  # one seed shows nothing
    with pytest.raises(NotEvaluated, match=r"different seeds: \[1, 2\] and \[1\]"):
        paired_difference(seeds(1.0, 2.0), seeds(1.0))


def test_differences_of_other_models_are_welchs():
    near = unpaired_difference(seeds(1.0, 2.0, 3.0), seeds(1.1, 2.1, 3.1))
    assert near.value == pytest.approx(-0.1) and not near.significant
    # equal spread and numbers: t of four degrees of freedom, times sqrt(2 / 3) of the standard deviation
    assert near.half_width == pytest.approx(2.776445 * math.sqrt(2.0 / 3.0))
    assert unpaired_difference(seeds(1.0, 1.1, 0.9), seeds(2.0, 2.1, 1.9)).significant
    assert not unpaired_difference(seeds(1.0), seeds(2.0, 2.1)).significant
    assert unpaired_difference(seeds(1.0, 1.0), seeds(2.0, 2.0)).significant
    assert mean_and_deviation(seeds(1.0, 3.0)) == (2.0, pytest.approx(math.sqrt(2.0)))
    assert mean_and_deviation(seeds(1.0)) == (1.0, None)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A study, one with the same numbers, and one whose error at 7 A is lower than that at 6 A."""
    folder = tmp_path_factory.mktemp("studies")
    base = write_study(folder / "base")
    shutil.copytree(base, folder / "same")
    shutil.copytree(base, folder / "lower")
    write_uniform(folder / "lower", fcl=FCL | {7.0: 0.300})
    return folder


def test_the_ablation_table_compares_seed_by_seed(studies, tmp_path):
    folders = {name: studies / name for name in ("same", "lower")}
    changes = {"same": {"fcl.epochs": (500, 250)}, "lower": {"cutoffs.r_max": (7.0, 7.5)}}
    write_ablations(studies / "base", folders, changes, tmp_path / "a.csv", tmp_path / "a.md", title="toys, not MAD")
    table = pd.read_csv(tmp_path / "a.csv")
    assert set(table[table["study"] == "same"]["verdict"]) == {ALIKE}
    verdicts = table[table["study"] == "lower"].set_index("quantity")["verdict"]
    assert verdicts["force RMSE at 7 A"] == verdicts["force RMSE, 7 A / 6 A"] == LOWER
    assert verdicts["force RMSE at 6 A"] == ALIKE
    row = table[(table["study"] == "lower") & (table["quantity"] == "force RMSE at 7 A")].iloc[0]
    assert (row["base"], row["value"], row["seeds"]) == (pytest.approx(330.0), pytest.approx(300.0), 3)
    turns = table[table["quantity"] == "turns of a diatomic curve at 7 A"]
    assert turns["base"].min() >= 2.0  # the waves of the example
    page = (tmp_path / "a.md").read_text(encoding="utf-8")
    assert "Ablations of base. Data: toys, not MAD." in page
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    row = next(cells for cells in rows if cells[:1] == ["lower"] and cells[2] == "force RMSE at 7 A")
    assert row[1] == "cutoffs.r_max 7.0 -> 7.5" and row[3:5] == ["330.0 ± 0.3 meV/Å", "300.0 ± 0.3 meV/Å"]


def test_an_ablation_with_one_seed_or_without_results_says_nothing(studies, tmp_path):
    shutil.copytree(studies / "lower", tmp_path / "one")
    for file in (tmp_path / "one/metrics").glob("fcl_seed[23].csv"):
        file.unlink()
    shutil.rmtree(tmp_path / "one/diatomics")
    table = ablation_table(Results.of_folder(studies / "base"), {"one": Results.of_folder(tmp_path / "one")}, {})
    assert set(table["verdict"]) == {ALIKE} and set(table["seeds"]) == {1}
    assert not table["quantity"].str.contains("diatomic").any()
    with pytest.raises(ValueError, match="no study is made for an ablation"):
        ablation_table(Results.of_folder(studies / "base"), {}, {})


def learning_files(folder, errors):
    """Metrics of static models and manifests of their stores: structures -> error of each seed (eV/A)."""
    metrics, stores = [], []
    for size, values in errors.items():
        for seed, error in seeds(*values).items():
            labels = {"model_kind": "static", "training_cutoff_angstrom": 6.0, "seed": seed, "cutoff_angstrom": 6.0}
            rows = [{**labels, "subset": name, "force_rmse_ev_per_angstrom": error} for name in ("all", "MC3D")]
            write(folder, f"{size}/seed{seed}.csv", rows)
            metrics.append(folder / f"{size}/seed{seed}.csv")
            stores.append(folder / f"{size}/train.manifest.json")
        stores[-1].write_text(json.dumps({"extra": {"structures": size}}))
    return metrics, stores


def test_the_learning_curve(tmp_path):
    errors = {96: (0.8, 0.82, 0.78), 192: (0.7, 0.72, 0.68), 384: (0.6, 0.62, 0.58)}
    png, pdf, csv = outputs(tmp_path, "learning_curve")
    rows = learning_curve(*learning_files(tmp_path, errors), png, pdf, csv, cutoff=6.0, title="toys, not MAD")
    assert png.is_file() and pdf.is_file()
    assert len(pd.read_csv(csv)) == 18
    few, many, gain = gain_of_last_step(rows)
    assert (few, many) == (192, 384)
    assert gain.value == pytest.approx(0.1 / 0.7) and gain.significant
    with pytest.raises(NotEvaluated, match="two numbers of structures"):
        gain_of_last_step(rows[rows["structures"] == 96])
    with pytest.raises(ValueError, match="no static model at 5 A"):
        learning_curve(*learning_files(tmp_path, errors), png, pdf, csv, cutoff=5.0, title="")


def test_a_store_that_does_not_say_its_size(tmp_path):
    metrics, stores = learning_files(tmp_path, {96: (0.8,)})
    stores[0].write_text('{"extra": {}}')
    with pytest.raises(ValueError, match=r"train\.manifest\.json: says nothing of extra\.structures"):
        learning_curve(metrics, stores, *outputs(tmp_path, "x"), cutoff=6.0, title="")


def test_a_repeated_run_is_compared_by_history_and_weights(tmp_path):
    for name, seconds in (("first", 1.0), ("second", 2.0)):
        write(tmp_path / name, "metrics/history/fcl_seed1.csv", [{"epoch": 1, "val_loss": 0.25, "seconds": seconds}])
        (tmp_path / name / "models").mkdir()
        (tmp_path / name / "models/fcl_seed1.manifest.json").write_text('{"extra": {"weights_sha256": "ab"}}')
    digests = repeated_digests(tmp_path / "first", tmp_path / "second", 1)
    assert all(len(set(pair)) == 1 for pair in digests.values()) and digests["weights"] == ("ab", "ab")
    write(tmp_path / "second", "metrics/history/fcl_seed1.csv", [{"epoch": 1, "val_loss": 0.26, "seconds": 1.0}])
    first, second = repeated_digests(tmp_path / "first", tmp_path / "second", 1)["validation history"]
    assert first != second
    with pytest.raises(NotEvaluated, match="fcl_seed2.csv is missing"):
        repeated_digests(tmp_path / "first", tmp_path / "second", 2)


def test_higher_is_a_verdict_too(studies):
    base, other = (Results.of_folder(studies / name) for name in ("lower", "base"))
    table = ablation_table(base, {"base": other}, {}).set_index("quantity")
    assert table.loc["force RMSE at 7 A", "verdict"] == HIGHER


def test_the_new_end_is_compared_only_if_an_ablation_reaches_farther(studies, tmp_path):
    """Sampling up to 7.5 A: the rise over the last angstrom stands beside that of the base, from 6 to 7 A."""
    shutil.copytree(studies / "base", tmp_path / "farther")
    write_uniform(tmp_path / "farther", fcl={**FCL, 6.5: 0.3, 7.5: 0.36})
    others = {name: Results.of_folder(folder) for name, folder in
              (("same", studies / "same"), ("farther", tmp_path / "farther"))}  # fmt: skip
    table = ablation_table(Results.of_folder(studies / "base"), others, {})
    row = table[table["quantity"] == "force RMSE, largest cutoff / 1 A below"].iloc[0]
    assert (row["study"], row["base"]) == ("farther", pytest.approx(FCL[7.0] / FCL[6.0], rel=1e-3))
    assert row["value"] == pytest.approx(1.2, rel=1e-3)
    assert set(table.loc[table["quantity"].isin(AT_END), "study"]) == {"farther"}


def test_seeds_and_where_a_model_is_evaluated_are_no_change():
    changes = {"fcl.seeds": ([1, 2], [1]), "evaluation.uniform_cutoffs.stop": (7.0, 7.5), "cutoffs.reach": (None, 7.5)}
    assert change_text(changes) == "cutoffs.reach None -> 7.5"
