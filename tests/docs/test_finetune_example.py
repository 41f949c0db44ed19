"""`examples/finetune` at a small size: a MACE of mace-torch's own program becomes a model with flexible cutoffs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from project import ROOT

SIZES = {"STRUCTURES": "16", "CHANNELS": "4", "EPOCHS": "1", "FCL_EPOCHS": "1", "STEPS": "5", "INCREASE": "100%"}


@pytest.mark.slow
def test_the_example_runs(tmp_path):
    """Every step; the dynamics have fewer pairs than at the given model's cutoff."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **SIZES, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    script = ROOT / "examples" / "finetune" / "run.sh"
    done = subprocess.run(["bash", script, tmp_path], env=environment, capture_output=True, text=True, check=False)
    log = tmp_path / "mace.log"
    assert done.returncode == 0, done.stdout + done.stderr + (log.read_text()[-2000:] if log.is_file() else "")
    card = json.loads((tmp_path / "given.json").read_text())
    assert card["model"]["pair_repulsion"] and card["model"]["max_ell"] == 3 and card["model"]["correlation"] == 3
    for name in ("labels", "teacher"):
        tuned = json.loads((tmp_path / name / "fcl.json").read_text())
        assert tuned["kind"] == "fcl" and tuned["reference_energies_ev"]["H"] == pytest.approx(-13.6)
    assert "pairs per atom" in done.stdout and (tmp_path / "md.xyz").is_file()
