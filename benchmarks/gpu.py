"""Training speed on one GPU at MAD-like sizes: structures a second, utilisation, memory, hours of the full study.

Runs real epochs (`fcl.training.fit.fit`'s loop: gather, sample, prune, forward, backward, AdamW) over synthetic
structures, for the static models of the paper and for FCL, eager and compiled. `benchmarks/gpu.sh` calls it; with
``--device cpu --structures 100`` it can be tried anywhere.
"""

from __future__ import annotations

import subprocess
import threading
import time

import torch
from mad_like import LABEL, TRAIN_STRUCTURES, VAL_STRUCTURES, mad_like
from measure import begin, finish, parser, study, synchronise

from fcl.cutoffs.rules import uniform_rule
from fcl.data.batch import GraphData, average_neighbors
from fcl.data.loader import split_order
from fcl.data.store import arrays_from_frames
from fcl.evaluation.errors import EVALUATION_BATCH_SIZE, evaluate
from fcl.models.files import build_model
from fcl.training.fit import fcl_recipe, static_recipe, train_epoch


class Utilisation:
    """Samples ``nvidia-smi`` every half second while it is entered; ``mean`` is None where there is no such program."""

    def __enter__(self) -> Utilisation:
        self._values: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while not self._over.wait(0.5):
            try:
                self._values.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            except (OSError, ValueError, subprocess.CalledProcessError):
                return

    @property
    def mean(self) -> float | None:
        return sum(self._values) / len(self._values) if self._values else None


def measure(kind: str, backend: str, cutoff: float, data: GraphData, arrays, protocol, options) -> dict:
    """Structures a second in training and evaluation of one model."""
    device, dtype = data.device, data.dtype
    torch.manual_seed(0)
    neighbors = average_neighbors(arrays, cutoff)["per_connected_atom"]
    settings = protocol.fcl if kind == "fcl" else protocol.static
    model = build_model(
        kind,
        protocol.model,
        cutoff,
        neighbors if kind == "static" else None,
        dtype=dtype,
        device=device,
        backend=backend,
    )
    if kind == "fcl":
        generator = torch.Generator(device=device).manual_seed(0)
        recipe = fcl_recipe("benchmark", settings, protocol.cutoffs, generator, dtype)
    else:
        recipe = static_recipe("benchmark", cutoff, dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=settings.weight_decay, fused=True)
    pairs = data.pair_counts if options.batch_by == "pairs" else None

    def epoch(count: int) -> float:
        chunks = split_order(torch.randperm(len(data))[:count], options.batch_size, pairs)
        synchronise()
        started = time.perf_counter()
        train_epoch(model, data, chunks, optimizer, settings, protocol.loss, recipe)
        synchronise()
        return time.perf_counter() - started

    warm_up = epoch(min(len(data), 4 * options.batch_size))  # compilation is in here
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with Utilisation() as utilisation:
        train = min(epoch(len(data)) for _ in range(options.epochs))
    memory = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else None
    validation = uniform_rule(min(cutoff, 6.0), dtype) if kind == "fcl" else uniform_rule(cutoff, dtype)
    evaluate(model.eval(), data, validation, EVALUATION_BATCH_SIZE)
    synchronise()
    started = time.perf_counter()
    evaluate(model, data, validation, EVALUATION_BATCH_SIZE)
    synchronise()
    evaluation = time.perf_counter() - started
    return {
        "training_structures_per_second": len(data) / train,
        "evaluation_structures_per_second": len(data) / evaluation,
        "seconds_of_an_epoch_of_76476": train / len(data) * TRAIN_STRUCTURES,
        "warm_up_and_compilation_s": warm_up,
        "peak_memory_mb": memory,
        "gpu_utilisation_percent": utilisation.mean,
    }


def hours_of_the_study(rates: dict[str, dict], protocol) -> float:
    """Hours of all trainings of the paper's protocol without early stopping, validation included.

    ``rates`` holds the results of `measure` by ``fcl`` and ``static <cutoff>``.
    """

    def hours(name: str, epochs: int, validations: int) -> float:
        rate = rates[name]
        train = TRAIN_STRUCTURES / rate["training_structures_per_second"]
        validation = validations * VAL_STRUCTURES / rate["evaluation_structures_per_second"]
        return epochs * (train + validation) / 3600.0

    fcl, static = protocol.fcl, protocol.static
    total = hours(f"static {protocol.pretrain.cutoff}", protocol.pretrain.epochs, 1)
    total += len(fcl.seeds) * hours("fcl", fcl.epochs, len(fcl.validation_cutoffs))
    return total + len(static.seeds) * sum(hours(f"static {cutoff}", static.epochs, 1) for cutoff in static.cutoffs)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda")
    arguments.add_argument("--structures", type=int, default=5000)
    arguments.add_argument("--batch-size", type=int, default=50)
    arguments.add_argument("--batch-by", choices=("structures", "pairs"), default="structures")
    arguments.add_argument("--epochs", type=int, default=3, help="epochs of which the fastest counts")
    arguments.add_argument("--backends", nargs="+", default=["fast", "compiled"])
    arguments.add_argument("--tf32", action="store_true", help="float32 products in TF32")
    options = arguments.parse_args()
    begin(options)
    torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
    protocol = study()
    arrays = arrays_from_frames(mad_like(options.structures), protocol.cutoffs.r_max)
    data = GraphData(arrays, torch.float32, options.device)
    result = {
        "data": LABEL, "structures": len(data), "atoms": int(arrays.ptr[-1]), "pairs_at_7": int(arrays.pair_ptr[-1]),
        "batch_size": options.batch_size, "batch_by": options.batch_by, "tf32": options.tf32, "backends": {},
    }  # fmt: skip
    cutoffs = sorted({protocol.pretrain.cutoff, *protocol.static.cutoffs})
    for backend in options.backends:
        rates = {
            f"static {cutoff}": measure("static", backend, cutoff, data, arrays, protocol, options)
            for cutoff in cutoffs
        }
        rates["fcl"] = measure("fcl", backend, protocol.cutoffs.r_max, data, arrays, protocol, options)
        result["backends"][backend] = {**rates, "hours_of_the_full_study": hours_of_the_study(rates, protocol)}
    finish(options, f"training at MAD-like sizes{', TF32' if options.tf32 else ''}", result)
