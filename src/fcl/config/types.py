"""Building blocks of the configuration sections: base class, types and labels of values, chemical symbols."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_serializer

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Split = Literal["train", "val", "test"]


class Section(BaseModel):
    """Base class of all sections: unknown keys are errors, values are immutable, NaN and infinity are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=False)


class Extended(Section):
    """A section that has grown: settings named in ``later`` are left out of dumps where they have their defaults.

    Dumps name settings by their alias, as files do.
    So the settings of studies, cards and manifests from before keep their digests.
    """

    later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler) -> dict[str, Any]:
        fields = type(self).model_fields

        def default(key: str, value: Any) -> bool:
            return (tuple(value) if isinstance(value, list) else value) == fields[key].default

        kept = {key: value for key, value in handler(self).items() if key not in self.later or not default(key, value)}
        return {fields[key].alias or key: value for key, value in kept.items()}


# Z = 1 ... 118; listed here to check settings without importing ASE.
SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db "
    "Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()
#: The same by atomic number, with "X" for 0, and atomic numbers by symbol (1 to 118).
BY_NUMBER = ("X", *SYMBOLS)
ATOMIC_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, 1)}


def _symbol(value: str) -> str:
    if value not in ATOMIC_NUMBERS:
        raise ValueError(f"{value!r} is no chemical symbol")
    return value


Symbol = Annotated[str, AfterValidator(_symbol)]

#: Names that no subset may have: all subsets together in tables and figures, and what tables read as a missing value.
RESERVED = frozenset("all nan NaN NA N/A n/a <NA> #NA #N/A null NULL None -nan -NaN".split())

#: Each grid point is an evaluation of a whole split.
LARGEST_GRID = 1000


def lambda_label(lam: float) -> str:
    """Lambda as written in file names: ``1e-04``."""
    return f"{lam:.0e}"


def cutoff_label(cutoff: float) -> str:
    """Cutoff (angstrom) as written in file names: ``4.0``."""
    return f"{cutoff:.1f}"


def check_grid(start: float, stop: float, step: float) -> None:
    """Check that the grid ascends, ends at ``stop`` and has at most `LARGEST_GRID` steps; `ValueError` otherwise."""
    if stop < start:
        raise ValueError(f"stop = {stop:g} is below start = {start:g}")
    steps = (stop - start) / step
    if steps > LARGEST_GRID:  # infinite for a step of 1e-308
        raise ValueError(f"step = {step:g} makes {steps:g} steps, more than {LARGEST_GRID}")
    if abs(steps - round(steps)) > 1e-6:
        raise ValueError(f"step = {step:g} does not divide stop - start = {stop - start:g}")
