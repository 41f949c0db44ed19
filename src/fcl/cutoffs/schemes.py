"""Schemes: cutoffs that follow the environment of each atom, for a trained model and without training it again.

A scheme gives every atom a cutoff a_i that is a function of the positions of its neighbours. It is chosen like cutoffs
(`fcl.cutoffs.choice`), as an object, as text (``neighbours=30``) or in a cutoffs file. The functions themselves are in
`fcl.cutoffs.adaptive`; this module needs no torch.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fcl.config.types import ATOMIC_NUMBERS, BY_NUMBER

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True, kw_only=True)
class Scheme(ABC):
    """Cutoffs a_i between ``lower`` and ``upper`` (A) that depend on the distances of the neighbours of atom i.

    None for a bound: that of the interval in which the model was trained. Neighbours beyond ``upper`` have no
    influence, so that candidates have to extend that far and no farther. ``name`` is the word in texts and files.
    """

    name: ClassVar[str]
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        for bound in ("lower", "upper"):
            if getattr(self, bound) is not None:
                self._set_number(bound)
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"{self.name}: lower {self.lower:g} A is above upper {self.upper:g} A")

    @abstractmethod
    def cutoffs(self, distances: torch.Tensor, receivers: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """a_i [n_atoms] (A, float64), differentiable with respect to ``distances``; both bounds have to be numbers.

        distances [n] (A, float64) of directed candidates, i.e. each pair in both directions; receivers [n] int64, the
        atom whose neighbour it is; numbers [n_atoms] int64, atomic numbers.
        """

    def check_elements(self, numbers: np.ndarray) -> None:
        """`ValueError` naming the elements among ``numbers`` for which the scheme says nothing."""
        return None

    def bounded(self, lower: float | None, upper: float) -> Scheme:
        """This scheme with its missing bounds replaced by ``lower`` and ``upper`` (A).

        `ValueError` where no lower bound is known, or bounds exclude each other.
        """
        lower = self.lower if self.lower is not None else lower
        if lower is None:
            raise ValueError(f"{self}: the card of the model names no smallest cutoff of its training: give lower")
        return dataclasses.replace(self, lower=lower, upper=self.upper if self.upper is not None else upper)

    def record(self) -> dict[str, Any]:
        """As plain JSON, for `scheme_of`: the name and all parameters but bounds that are not given."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {"name": self.name} | {name: value for name, value in values.items() if value is not None}

    def __str__(self) -> str:
        """As on the command line: ``neighbours=30``, with the parameters that differ from the defaults."""
        first, *others = sorted(dataclasses.fields(self), key=lambda one: one.kw_only)
        own = getattr(self, first.name)
        value = "by element" if isinstance(own, Mapping) else f"{own:g}"
        changed = [one for one in others if getattr(self, one.name) != one.default]
        return ",".join([f"{self.name}={value}", *(f"{one.name}={getattr(self, one.name):g}" for one in changed)])

    def _set_number(self, name: str, zero: bool = False) -> None:
        object.__setattr__(self, name, _positive(getattr(self, name), f"{self.name}: {name}", zero))


@dataclass(frozen=True)
class NeighbourCutoffs(Scheme):
    """The cutoff within which an atom has ``neighbours`` neighbours, counted smoothly (as in PET, but after training).

    a_i solves sum_j S((a - r_ij) / w) + b (a / a_max)^3 = N with S(t) = t^3 (10 - 15 t + 6 t^2) on [0, 1], w the
    ``width`` (A), b the ``background``, a_max = ``upper``, and N = ``neighbours``: one number, or a number by chemical
    symbol (of atom i). A neighbour counts in full at r = a - w and not at all at r = a. The term of b keeps da/dr
    finite where the shell of width w is empty.
    """

    name = "neighbours"
    neighbours: float | Mapping[str, float]
    width: float = field(default=1.0, kw_only=True)
    background: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_number("width")
        self._set_number("background")
        if not isinstance(self.neighbours, Mapping):
            self._set_number("neighbours")
            return
        if unknown := [symbol for symbol in self.neighbours if symbol not in ATOMIC_NUMBERS]:
            raise ValueError(f"{self.name}: {unknown[0]!r} is not a chemical symbol")
        if not self.neighbours:
            raise ValueError(f"{self.name}: no element has a number of neighbours")
        own = {symbol: _positive(value, f"{self.name}: {symbol}") for symbol, value in self.neighbours.items()}
        object.__setattr__(self, "neighbours", own)

    def check_elements(self, numbers: np.ndarray) -> None:
        if isinstance(self.neighbours, Mapping):
            present = {BY_NUMBER[int(z)] for z in set(numbers.tolist())}
            if missing := sorted(present - self.neighbours.keys()):
                raise ValueError(f"{self.name}: no number of neighbours is given for {', '.join(missing)}")

    def cutoffs(self, distances: torch.Tensor, receivers: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        from fcl.cutoffs.adaptive import by_element, neighbour_cutoffs

        target = by_element(self.neighbours, numbers)
        shape = {"width": self.width, "background": self.background}
        return neighbour_cutoffs(distances, receivers, target, self.lower, self.upper, **shape)


@dataclass(frozen=True)
class DynamicCutoffs(Scheme):
    """The smooth dynamic cutoffs of Han et al. (arXiv:2601.21147): about the distance of the neighbour of ``rank``.

    With h = ``upper``, p the polynomial envelope of order 50 and all sums over the neighbours of atom v:
    R_u = sum_{t != u} sigmoid(10 (r_uv - r_tv)) p(r_tv / h),
    w_u = [1e4 Normal(R_u; mu, sigma) + 1e-6] p(r_uv / h), and
    c_v = (sum_u w_u r_uv + 1e-6 h) / (sum_u w_u + 1e-6), with mu = ``rank`` and sigma = ``spread``. Theirs is for
    mu = 40 (materials) or 20 (molecules). The authors keep u -> v iff r_uv < c_v, so that the cutoff belongs to the
    receiver; FCL keeps pairs, and takes the mean of the two by the mixing rule of the model. The bounds are ours.
    """

    name = "dynamic"
    rank: float = 40.0
    spread: float = field(default=4.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_number("rank", zero=True)
        self._set_number("spread")

    def cutoffs(self, distances: torch.Tensor, receivers: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        from fcl.cutoffs.adaptive import dynamic_cutoffs

        return dynamic_cutoffs(distances, receivers, len(numbers), self.lower, self.upper, self.rank, self.spread)


#: Schemes by name.
SCHEMES: dict[str, type[Scheme]] = {scheme.name: scheme for scheme in (NeighbourCutoffs, DynamicCutoffs)}


def parse_scheme(text: str) -> Scheme | None:
    """The scheme of ``neighbours=30`` or ``dynamic=40,lower=4``; None for a text that does not begin with its name.

    `ValueError` for parameters that are unknown, given twice or not numbers.
    """
    parts = [[word.strip() for word in part.partition("=")] for part in text.split(",")]
    name = parts[0][0]
    if name not in SCHEMES or parts[0][1] != "=":
        return None
    first, *others = _parameters(SCHEMES[name])
    given: dict[str, Any] = {}
    for key, _, value in [[first, "=", parts[0][2]], *parts[1:]]:
        if key not in (first, *others):
            raise ValueError(f"{name}: parameter {key!r} is unknown; known are {', '.join(others)}")
        if key in given:
            raise ValueError(f"{name}: {key} is given twice")
        try:
            given[key] = float(value)
        except ValueError:
            raise ValueError(f"{name}: {key}: {value!r} is not a number") from None
    return SCHEMES[name](**given)


def scheme_of(record: Any) -> Scheme:
    """The scheme of a `Scheme.record`; `ValueError` for anything that is none."""
    if not isinstance(record, Mapping) or record.get("name") not in [*SCHEMES]:  # a name of any type
        raise ValueError(f"a scheme has a name: {', '.join(SCHEMES)}")
    kind = SCHEMES[record["name"]]
    given = {key: value for key, value in record.items() if key != "name"}
    first, *others = _parameters(kind)
    if unknown := [key for key in given if key not in (first, *others)]:
        raise ValueError(f"{kind.name}: parameter {unknown[0]!r} is unknown; known are {', '.join((first, *others))}")
    if first not in given:
        raise ValueError(f"{kind.name}: {first} is missing")
    return kind(**given)


def _parameters(kind: type[Scheme]) -> list[str]:
    """Names of the parameters, the one of the scheme's own first."""
    return [one.name for one in sorted(dataclasses.fields(kind), key=lambda one: one.kw_only)]


def _positive(value: Any, what: str, zero: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) and not hasattr(value, "__float__"):
        raise ValueError(f"{what}: {value!r} is not a number")
    if not (0.0 <= float(value) if zero else 0.0 < float(value)) or float(value) == float("inf"):
        raise ValueError(f"{what}: {value} is not a finite number above 0")
    return float(value)
