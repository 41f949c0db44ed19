"""Model files: weights as safetensors with a JSON card beside them, never pickles."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fcl.config.architectures import AnyModelSettings, ModelSettings
from fcl.config.errors import validated
from fcl.config.text import parse_json
from fcl.config.types import Symbol
from fcl.models.interface import Potential
from fcl.models.pretrained import model_file
from fcl.models.registry import DEFAULT_ARCHITECTURE, builder
from fcl.runs.device import survive_forks, torch_device
from fcl.runs.files import atomic_path, sha256_file, write_json

CARD_FORMAT = "fcl-model-2"
#: Readable formats. In fcl-model-1 ``cutoff_embedding: released`` had no final SiLU.
CARD_FORMATS = ("fcl-model-1", CARD_FORMAT)


class _Card(BaseModel):
    """Required fields of a card; other fields are kept unchanged."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    architecture: str = DEFAULT_ARCHITECTURE
    kind: Literal["static", "fcl"]
    r_max_angstrom: Annotated[float, Field(gt=0, strict=True)]
    r_min_angstrom: Annotated[float, Field(gt=0, strict=True)] | None = None
    cutoffs_angstrom: dict[Symbol, Annotated[float, Field(gt=0, strict=True)]] | None = None
    avg_num_neighbors: Annotated[float, Field(gt=0, strict=True)]
    parameters: Annotated[int, Field(strict=True)]
    model: AnyModelSettings
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


_ONE_DEFAULT = threading.RLock()
if hasattr(os, "register_at_fork"):  # a fork has no thread that would release it
    os.register_at_fork(
        before=_ONE_DEFAULT.acquire, after_in_parent=_ONE_DEFAULT.release, after_in_child=_ONE_DEFAULT.release
    )


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype within the context, to build modules in ``dtype``; one thread at a time.

    The default is that of the process: two threads that load models would take each other's.
    """
    with _ONE_DEFAULT:
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def build_model(
    kind: str,
    settings,
    r_max: float,
    avg_num_neighbors: float | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    backend: str = "auto",
    architecture: str | None = None,
) -> Potential:
    """A new model of ``kind`` "static" or "fcl", initialised from torch's global generator.

    ``architecture`` is a name in `fcl.models.registry`, None: that of the ``settings``; for the other arguments see
    `fcl.models.mace.model.build`. Raises `ValueError` for an unknown kind, architecture or backend, and for settings of
    which no model can be built.
    """
    build = builder(architecture or settings.architecture)
    survive_forks()
    try:
        with default_dtype(dtype):
            return build(kind, settings, r_max, avg_num_neighbors, backend).to(device)
    except (ValueError, ImportError):
        raise
    except Exception as error:  # sizes beyond memory or int64, irreps that the blocks of a library do not take
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(f"a model of these settings cannot be built: {reason}") from error


def card_path(path: str | Path) -> Path:
    """The JSON card of a model file."""
    return Path(path).with_suffix(".json")


def save_model(model: Potential, path: str | Path, extra: dict | None = None) -> dict:
    """Write weights (safetensors) and card; the card contains everything needed to rebuild the model.

    ``extra`` is added to the card (stage, seed, elements, hashes). Returns the card. Raises `ValueError` for a wrapped
    model without settings, which could not be rebuilt.
    """
    if model.settings is None:
        raise ValueError("a wrapped model without settings cannot be saved")
    path = Path(path)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file({name: value for name, value in tensors.items() if value.numel()}, temporary)
    card = {
        "format": CARD_FORMAT,
        "architecture": model.architecture,
        "kind": model.kind,
        "r_max_angstrom": model.cutoff_limit,
        "avg_num_neighbors": model.avg_num_neighbors,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model": model.settings.model_dump(mode="json"),
        "weights_sha256": sha256_file(path),
        **(extra or {}),
    }
    write_json(card_path(path), card)
    return card


def read_card(path: str | Path) -> dict:
    """The card of a model file. Raises `FileNotFoundError` or, for an invalid card, `ValueError`."""
    card_file = card_path(path)
    if not card_file.is_file():
        raise FileNotFoundError(f"{card_file}: the model's card is missing; it must be in the folder of the weights")
    try:
        card = parse_json(card_file.read_text(encoding="utf-8"))
    except ValueError as error:  # JSON or its encoding
        raise ValueError(f"{card_file}: not JSON ({error})") from error
    if not isinstance(card, dict) or card.get("format") not in CARD_FORMATS:
        raise ValueError(f"{card_file}: format: not {' or '.join(CARD_FORMATS)}")
    validated(_Card, card, card_file, "a card")
    return card


def card_settings(card: dict) -> ModelSettings:
    """The model settings of a card, with older formats converted."""
    settings = _Card.model_validate(card).model
    if card["format"] == "fcl-model-1" and settings.cutoff_embedding == "released":
        return settings.model_copy(update={"cutoff_embedding": "released_no_silu"})
    return settings


def verified_card(model: str | Path) -> tuple[Path, dict]:
    """File and card of a model, given as a path or the name of a shipped model; verifies the hash of the weights.

    Raises `FileNotFoundError` and `ValueError` as `load`.
    """
    path = model_file(model)
    card = read_card(path)
    if sha256_file(path) != card["weights_sha256"]:
        raise ValueError(f"{path}: the weights are not those of {card_path(path).name} (SHA-256 differs)")
    return path, card


def load(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    backend: str = "auto",
) -> Potential:
    """Load a model file, or a shipped model by name (`fcl.models.pretrained.MODELS`), in evaluation mode.

    Raises `FileNotFoundError` for a missing file, and `ValueError` if the weights do not match the card, parameters are
    missing or have another shape, or the architecture is unknown. Loading executes no code from the file.
    """
    path, card = verified_card(path)
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    settings = card_settings(card)
    architecture = card.get("architecture", DEFAULT_ARCHITECTURE)
    try:
        model = build_model(
            card["kind"], settings, card["r_max_angstrom"], card["avg_num_neighbors"], dtype=dtype, device=device,
            backend=backend, architecture=architecture,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{card_path(path)}: {error}") from error
    own = model.state_dict()
    wrong = [name for name, value in own.items() if value.numel() and name not in state]
    wrong += [name for name, value in state.items() if name not in own or own[name].shape != value.shape]
    if wrong:
        raise ValueError(f"{path}: parameters missing, unknown or of another shape: {', '.join(wrong)}")
    model.load_state_dict(state, strict=False)
    model.card = card
    return model.eval()


def prepared(model, dtype: torch.dtype, device, backend: str | None):
    """The model for inference: loaded from a file, or copied if precision, device or backend differ."""
    if isinstance(model, str | os.PathLike):
        loaded = load(model, dtype=dtype, device=torch_device(device), backend=backend or "auto")
        return loaded.requires_grad_(False)
    parameter = next(model.parameters())
    place = parameter.device if device is None else torch_device(device)
    path = backend or model.backend
    if (parameter.dtype, parameter.device, model.backend) == (dtype, place, path) and not model.training:
        return model
    if model.settings is None:
        raise ValueError("a wrapped model without settings runs in its own precision, device and backend only")
    copy = build_model(
        model.kind, model.settings, model.cutoff_limit, model.avg_num_neighbors, dtype=dtype, device=place,
        backend=path, architecture=model.architecture,
    )  # fmt: skip
    copy.load_state_dict(model.state_dict())
    copy.card = getattr(model, "card", {})
    return copy.requires_grad_(False).eval()
