"""Cutoffs as given by a user (number, dict by element, per-atom array, scheme or file), checked against a model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fcl.config.types import BY_NUMBER
from fcl.cutoffs.file import read_choice
from fcl.cutoffs.schemes import Scheme, parse_scheme

if TYPE_CHECKING:
    from fcl.cutoffs.edges import EdgeSelector

#: Default cutoff: that of the pre-training in the paper (A).
DEFAULT_CUTOFF = 6.0

#: Accepted types of cutoffs (A).
Cutoffs = float | Mapping[str, float] | np.ndarray | Scheme | str | os.PathLike


class CutoffWarning(UserWarning):
    """Cutoffs that are valid but optimised for another model, or outside the interval of the training."""


class CutoffChoice:
    """Cutoffs that have been checked against a model, and their assignment to atoms.

    ``model`` is a `fcl.Potential`. ``cutoffs`` (A): a number for all atoms, a mapping by chemical
    symbol, an array with one value per atom, a scheme (`fcl.cutoffs.schemes`) or its text (``neighbours=30``), the path
    of a cutoffs file, or None for 6.0 A (a static model and a specialised one: its own).
    ``scheme`` is the scheme as it was given, None for fixed cutoffs; with one, ``selector`` decides about pairs in the
    model, within the bounds of the training, and candidates are those of `for_candidates`.
    Raises `ValueError` for cutoffs that are not positive and finite, that exceed the model's r_max, or that differ from
    the fixed cutoff of a static model. Cutoffs below the interval of the training, a file made for another model, and
    cutoffs other than those of a specialised model give a `CutoffWarning`.
    """

    def __init__(self, model, cutoffs: Cutoffs | None = None):
        card = getattr(model, "card", {})
        special = card.get("cutoffs_angstrom")
        if cutoffs is None:
            cutoffs = special or (DEFAULT_CUTOFF if model.flexible else model.cutoff_limit)
        self.source: str | None = None
        self.scheme: Scheme | None = None
        self.selector: EdgeSelector | None = None
        if isinstance(cutoffs, str) and not os.path.exists(cutoffs):
            cutoffs = parse_scheme(cutoffs) or cutoffs
        if isinstance(cutoffs, str | os.PathLike):
            self.source = os.fspath(cutoffs)
            file = read_choice(self.source)
            meant_for, own = file.provenance.weights_sha256, card.get("weights_sha256")
            if meant_for and own and meant_for not in (own, card.get("start_sha256") if special else own):
                message = f"{self.source}: optimised for another model (weights {meant_for[:12]}, not {own[:12]})"
                warnings.warn(message, CutoffWarning, stacklevel=3)
            cutoffs = file.choice
        self.by_element: np.ndarray | None = None
        self.per_atom: np.ndarray | None = None
        if isinstance(cutoffs, Scheme):
            labelled = self._take(model, cutoffs, card.get("r_min_angstrom"))
        elif isinstance(cutoffs, Mapping):
            from fcl.cutoffs.rules import element_table

            self.by_element = element_table(cutoffs).numpy()
            labelled = [(symbol, float(value)) for symbol, value in cutoffs.items()]
        else:
            values = np.array(cutoffs, dtype=np.float64)  # a copy: the caller's array may change
            if values.ndim > 1 or not values.size:
                raise ValueError(f"cutoffs: shape {values.shape}, expected one number or one value an atom")
            labelled = [("" if not values.ndim else f"atom {i}", float(value)) for i, value in enumerate(values.flat)]
            self.per_atom = values
        _check(model, labelled, card.get("r_min_angstrom"), self.source)
        if special and (self.by_element is None or not special.items() >= dict(labelled).items()):
            message = f"{self.source or 'cutoffs'}: not those for which the model was specialised: its error is unknown"
            warnings.warn(message, CutoffWarning, stacklevel=3)

    def _take(self, model, scheme: Scheme, r_min: float | None) -> list[tuple[str, float]]:
        """Take ``scheme`` with the bounds of the model; returns the bounds, to be checked."""
        from fcl.cutoffs.adaptive import SchemeSelector

        where = f"{self.source}: " if self.source else ""
        if model.single_cutoff:
            raise ValueError(f"{where}cutoffs: {scheme}: the model has one cutoff, {model.cutoff_limit} A")
        try:
            bounded = scheme.bounded(r_min, model.cutoff_limit)
        except ValueError as error:
            raise ValueError(f"{where}cutoffs: {error}") from None
        self.scheme, self.selector = scheme, SchemeSelector(bounded, model.selector)
        self.per_atom = np.array(bounded.upper)
        return [("lower", bounded.lower), ("upper", bounded.upper)]

    @property
    def model_options(self) -> dict[str, Any]:
        """Further arguments of `fcl.Potential.forward`: the selector of a scheme."""
        return {} if self.selector is None else {"selector": self.selector}

    def for_candidates(self, numbers: np.ndarray) -> np.ndarray:
        """Cutoffs [n_atoms] (A) for which candidates are selected: `of`, with a scheme the largest that it gives."""
        if self.scheme is None:
            return self.of(numbers)
        try:
            self.scheme.check_elements(numbers)
        except ValueError as error:
            raise ValueError(f"{self.source or 'cutoffs'}: {error}") from None
        return np.broadcast_to(self.per_atom, len(numbers))

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Cutoffs [n_atoms] (A) for atomic ``numbers``.

        `ValueError` names the elements without a cutoff, or the scheme, whose cutoffs are no functions of elements.
        """
        if self.scheme is not None:
            raise ValueError(f"cutoffs: {self.scheme}: they follow the environment of each atom; fixed ones are needed")
        if self.by_element is not None:
            cutoffs = self.by_element[numbers]
            if np.isnan(cutoffs).any():
                missing = sorted({BY_NUMBER[z] for z in numbers[np.isnan(cutoffs)]})
                raise ValueError(f"{self.source or 'cutoffs'}: no cutoff is given for {', '.join(missing)}")
            return cutoffs
        if self.per_atom.ndim and len(self.per_atom) != len(numbers):
            raise ValueError(f"cutoffs: {len(self.per_atom)} values for {len(numbers)} atoms")
        return np.broadcast_to(self.per_atom, len(numbers))


def _check(model, labelled: list[tuple[str, float]], r_min: float | None, source: str | None) -> None:
    """Check all cutoffs against the model; the message names the first invalid one, or the smallest below ``r_min``."""
    where = f"{source}: " if source else ""
    for label, value in labelled:
        try:
            if not 0.0 < value < float("inf"):
                raise ValueError(f"{value} is not a positive radius in angstroms")
            model.check_cutoff(value)
        except ValueError as error:
            raise ValueError(f"{where}cutoffs: {label + ': ' if label else ''}{error}") from None
    label, smallest = min(labelled, key=lambda item: item[1])
    if r_min is not None and smallest < r_min - 1e-6:
        message = f"{where}cutoff {smallest:g} A{f' of {label}' if label else ''} is below the {r_min:g} A from which"
        warnings.warn(f"{message} the model was trained: its error there is unknown", CutoffWarning, stacklevel=4)
