"""The benchmarks' page and measuring tools; the measurements themselves belong to `make bench`."""

import importlib
import json
import re
import subprocess
import sys

import pytest

from project import ROOT

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Import a module of benchmarks/ by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_the_page_is_that_of_the_records(benchmark):
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == benchmark("page").page()


def test_records_name_no_host_and_say_what_they_measured():
    for path in (BENCHMARKS / "records").glob("*.json"):
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items():
            assert {"environment", "result"} == set(entry), (path, name)
            assert "not MAD" in entry["result"]["data"]
            assert set(entry["environment"]) == {
                "device", "cores", "threads", "python", "torch", "mace-torch", "e3nn", "vesin",
            }  # fmt: skip


def test_programs_are_run_in_turn(benchmark):
    ran = []
    programs = {name: lambda name=name: ran.append(name) for name in "ab"}
    seconds = benchmark("measure").interleaved(programs, 3, warm_up=1)
    assert ran == ["a", "b", *"ababab"]
    assert all(0 <= value["min_s"] <= value["median_s"] for value in seconds.values())


def test_peak_memory_sees_an_array_that_is_gone_again(benchmark):
    import torch

    peak = benchmark("measure").peak_memory_mb(lambda: torch.ones(25_000_000, dtype=torch.float64).sum())
    if peak is None:
        pytest.skip("the peak of a process's memory cannot be reset here")
    assert 150 < peak < 400  # 200 MB


def test_synthetic_structures_have_the_sizes_and_density_they_claim(benchmark):
    from fcl.data.batch import average_neighbors
    from fcl.data.store import arrays_from_frames

    module = benchmark("mad_like")
    frames = module.mad_like(300)
    sizes = [len(frame) for frame in frames]
    assert 25 < sum(sizes) / len(sizes) < 35 and max(sizes) <= module.LARGEST
    arrays = arrays_from_frames(frames[:60], 6.0)
    assert average_neighbors(arrays, 6.0)["per_atom"] == pytest.approx(65.4, rel=0.05)


def test_make_bench_runs_programs_that_exist():
    plan = subprocess.run(["make", "-n", "bench"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"benchmarks/(\w+\.py)", plan))
    assert {"train_step.py", "data_pipeline.py", "inference.py", "store.py", "page.py"} <= named
    assert all((BENCHMARKS / name).is_file() for name in named)


def test_the_gpu_program_runs_on_a_cpu(tmp_path):
    record = tmp_path / "record.json"
    command = [
        sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--structures", "6", "--batch-size", "3",
        "--epochs", "1", "--backends", "fast", "--json", str(record),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(record.read_text(encoding="utf-8")).values()
    fast = entry["result"]["backends"]["fast"]
    assert fast["hours_of_the_full_study"] > 0
    assert set(fast) == {"static 4.0", "static 5.0", "static 6.0", "static 7.0", "fcl", "hours_of_the_full_study"}
    assert all(fast["fcl"][key] > 0 for key in ("training_structures_per_second", "seconds_of_an_epoch_of_76476"))
