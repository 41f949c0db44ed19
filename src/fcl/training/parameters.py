"""Which parameters a training changes, at which learning rate."""

from __future__ import annotations

from fnmatch import fnmatchcase

import torch

#: Parameters that a given static model does not bring: u and q.
NEW = ("radial_embedding.network.", "cutoff_embedding.")


def freeze(model: torch.nn.Module, settings) -> None:
    """Freeze the parameters that ``settings.freeze`` names; `ValueError` for a name that fits nothing.

    Names are those in full, by their beginning up to a dot, by a pattern with ``*``, or ``backbone``, all but `NEW`.
    """
    named = dict(model.named_parameters())
    for pattern in getattr(settings, "freeze", ()):
        fitting = [name for name in named if _fits(name, pattern)]
        if not fitting:
            tops = dict.fromkeys(".".join(name.split(".")[:2]) for name in named)
            raise ValueError(f"freeze: {pattern!r} fits no parameter; there are {', '.join(tops)}, and backbone")
        for name in fitting:
            named[name].requires_grad_(False)


def adamw(model: torch.nn.Module, settings) -> torch.optim.AdamW:
    """AdamW over the parameters of ``model`` that are not frozen.

    ``settings`` are those of the training; see `freeze`. Where ``settings.backbone_rate`` is not 1 the first group
    holds the new parameters and the second the others, whose learning rate is lower or higher by this factor. Raises
    `ValueError` as `freeze`, and if nothing is left.
    """
    freeze(model, settings)
    named = dict(model.named_parameters())
    free = {name: value for name, value in named.items() if value.requires_grad}
    if not free:
        raise ValueError("freeze: nothing is left to train")
    groups: list[dict] = [{"params": list(free.values())}]
    factor = getattr(settings, "backbone_rate", 1.0)
    if factor != 1.0:
        new = [value for name, value in free.items() if name.startswith(NEW)]
        old = [value for name, value in free.items() if not name.startswith(NEW)]
        rate = settings.learning_rate * factor
        groups = [group for group in ({"params": new}, {"params": old, "lr": rate}) if group["params"]]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)


def _fits(name: str, pattern: str) -> bool:
    if pattern == "backbone":
        return not name.startswith(NEW)
    return name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)
