"""A synthetic MAD of any size through the whole pipeline: download (loopback), stores, one epoch a stage.

python benchmarks/end_to_end.py --frames 20000 --folder build/end-to-end

The three splits (8:1:1) are served by a server of this program on the loopback address, whose file listing vouches for
them, as the archive's does. Then each stage runs once in a process of its own: three stores, one epoch of pre-training,
FCL and a static baseline, evaluation, diatomic curves, one calibration. Prints time and peak memory of each.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import resource
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from synthetic_mad import write

from fcl.config.load import load_config
from fcl.config.study import Study
from fcl.data.download import fetch_split
from fcl.data.manifest import load_data_manifest
from fcl.runs.files import file_digest
from fcl.study.stages import training as stages
from fcl.study.stages.calibration import calibrate_cutoffs
from fcl.study.stages.data import build_store
from fcl.study.stages.evaluation import diatomic_curves, evaluate_uniform

ROOT = Path(__file__).parents[1]
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


class Archive(SimpleHTTPRequestHandler):
    """Serves a folder, and its listing in the form of InvenioRDM."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/api/records/1/files":
            body = json.dumps({"entries": [self.entry(path) for path in Path(self.directory).glob("*.xyz")]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.path = self.path.removeprefix("/records/1/files")
        super().do_GET()

    @staticmethod
    def entry(path: Path) -> dict:
        return {"key": path.name, "size": path.stat().st_size, "checksum": f"md5:{file_digest(path, 'md5')}"}


def make_archive(folder: Path, frames: int) -> dict[str, int]:
    """Write the three files; frames by split."""
    counts = {split: int(frames * share) for split, share in SHARES.items()}
    for seed, (split, count) in enumerate(counts.items()):
        if not (folder / f"mad-{split}.xyz").exists():
            write(folder / f"mad-{split}.xyz", count, split, seed)
    return counts


def study(manifest: Path, threads: int, batch_size: int) -> Study:
    """The paper's study with one epoch a stage."""
    settings = load_config(ROOT / "config.yaml").resolve("paper")
    one = {"epochs": 1, "batch_size": batch_size}
    return settings.narrowed(
        data={"manifest": str(manifest)},
        compute={"threads": threads},
        pretrain={**one, "milestones": []},
        fcl=one,
        static={**one, "milestones": []},
        calibration={"epochs": 1},
    )


def in_process(label: str, function, *arguments) -> None:
    """Run a stage in a new process and print its time, and the peak of its memory."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    started = time.perf_counter()
    process = context.Process(target=_run, args=(queue, function, arguments))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{label}: the stage failed")
    own, children = queue.get()
    print(f"| {label} | {time.perf_counter() - started:.0f} | {own / 1e6:.2f} | {children / 1e6:.2f} |", flush=True)


def _run(queue, function, arguments) -> None:
    function(*arguments)
    queue.put(tuple(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--folder", type=Path, default=Path("build/end-to-end"))
    parser.add_argument("--workers", type=int, default=2, help="processes that build a store")
    parser.add_argument("--threads", type=int, default=1, help="threads of a training")
    parser.add_argument("--batch-size", type=int, default=50)
    options = parser.parse_args()
    served = options.folder / "archive"
    served.mkdir(parents=True, exist_ok=True)
    counts = make_archive(served, options.frames)
    os.environ["NO_PROXY"] = "127.0.0.1"
    print("| stage | seconds | peak memory (GB) | of its largest child |\n| --- | ---: | ---: | ---: |")
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Archive, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/records/1/files"
        splits = {
            split: {"file": f"mad-{split}.xyz", "url": f"{address}/mad-{split}.xyz", "frames": count}
            for split, count in counts.items()
        }
        facts = {"name": "synthetic", "title": "synthetic", "licence": "none", "citation": "none", "version": "1"}
        manifest = options.folder / "manifest.yaml"
        manifest.write_text(yaml.safe_dump({**facts, "splits": splits}))
        for split in splits:
            in_process(f"download {split}", fetch_split, manifest, split, options.folder / f"{split}.xyz")
        server.shutdown()
    settings, data = study(manifest, options.threads, options.batch_size), load_data_manifest(manifest)
    at = options.folder

    def outputs(name: str, *ends: str) -> list[Path]:
        return [at / f"{name}{end}" for end in ends]

    for split in splits:
        arguments = (
            [at / f"{split}.xyz"],
            data.frame_settings(split),
            settings.model.num_elements,
            options.workers,
        )
        ends = outputs(split, ".h5", ".rejected.csv", ".manifest.json")
        in_process(f"store {split}", build_store, settings, *arguments, *ends)
    train, val, test = (at / f"{split}.h5" for split in splits)
    ends = (".safetensors", ".csv", ".manifest.json")
    in_process("pretrain, 1 epoch", stages.pretrain, settings, train, val, 0, *outputs("pretrain", *ends))
    start = at / "pretrain.safetensors"
    in_process("train_fcl, 1 epoch", stages.train_fcl, settings, train, val, start, 1, *outputs("fcl", *ends))
    in_process("train_static, 1 epoch", stages.train_static, settings, train, val, 5.0, 1, *outputs("static", *ends))
    model = at / "fcl.safetensors"
    names = outputs("metrics", ".csv", "_errors.csv.gz")
    in_process("evaluate, 1 cutoff", evaluate_uniform, settings, test, model, [5.0], *names)
    in_process("diatomics", diatomic_curves, settings, model, *outputs("curves", ".csv"))
    names = outputs("calibrated", ".json", "_metrics.csv")
    arguments = (settings, train, test, model, "SHIFTML-molfrags", 1e-4, 1)
    in_process("calibrate, 1 epoch", calibrate_cutoffs, *arguments, *names)


if __name__ == "__main__":
    main()
