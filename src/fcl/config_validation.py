"""Settings of the physics with optimised cutoffs: what is compared, how, and which differences are accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fcl.config_types import Count, Fraction, NonNegative, Positive, Section, Seed

if TYPE_CHECKING:
    from fcl.config import Protocol


class RelaxationSettings(Section):
    """Minimisation of the energy by LBFGS."""

    fmax: Positive = Field(description="largest force that may remain (eV/A)")
    steps: Count = Field(description="at most so many steps")
    cell: bool = Field(description="relax the cell of crystals too")


class EquationOfStateSettings(Section):
    """Energy against volume, atoms relaxed at each."""

    points: Annotated[int, Field(ge=5)] = Field(description="volumes")
    strain: Annotated[float, Field(gt=0, le=0.1)] = Field(description="largest change of lengths, as a fraction")


class PhononSettings(Section):
    """Finite displacements of the atoms of one cell."""

    displacement: Positive = Field(description="distance (A)")


class DynamicsSettings(Section):
    """What all dynamics share."""

    temperature: Positive = Field(description="of the equilibration and of NVT (K)")
    friction: Positive = Field(description="of the Langevin thermostat (1/fs)")
    timestep: Positive = Field(description="of the equilibration and of NVT (fs)")
    equilibration: Positive = Field(description="NVT before anything is recorded (ps)")
    unstable_above: Positive = Field(description="temperature (K) at which a run counts as unstable and ends")


class NVESettings(Section):
    """Constant energy, after the equilibration."""

    timesteps: tuple[Positive, ...] = Field(min_length=1, description="one run each (fs)")
    duration: Positive = Field(description="of each run (ps)")


class RDFSettings(Section):
    """Radial distribution function in NVT, after the equilibration."""

    duration: Positive = Field(description="of the run (ps)")
    reach: Positive = Field(description="largest distance (A)")
    bin_width: Positive = Field(description="of the histogram (A)")
    interval: Count = Field(description="steps between two structures that count")
    blocks: Annotated[int, Field(ge=2)] = Field(description="parts of the run, for the statistical error")


class ValidationSettings(Section):
    """Physics with optimised cutoffs against a uniform cutoff, same model; null leaves a quantity out."""

    subsets: tuple[str, ...] = Field(min_length=1, description="subsets, with the cutoffs optimised for them")
    at_lambda: Positive = Field(description="the calibration that is used")
    seed: Seed = Field(description="the FCL model and its calibration that are used")
    uniform_cutoff: Positive = Field(description="the cutoff of the comparison")
    structures: Count = Field(description="structures of each subset: the first of the test split")
    relaxation: RelaxationSettings
    equation_of_state: EquationOfStateSettings | None
    phonons: PhononSettings | None
    dynamics: DynamicsSettings
    nve: NVESettings | None
    rdf: RDFSettings | None


class ToleranceSettings(Section):
    """Differences that count as agreement in the table of `validation`; no run depends on them."""

    energy: NonNegative = Field(description="of the minimum (meV/atom)")
    rmsd: NonNegative = Field(description="between the minima (A)")
    volume: Fraction = Field(description="as a fraction of that at the uniform cutoff")
    bulk_modulus: Fraction = Field(description="as a fraction of that at the uniform cutoff")
    phonon_rms: NonNegative = Field(description="root mean square over the modes (1/cm)")
    phonon_max: NonNegative = Field(description="largest of all modes (1/cm)")
    drift: NonNegative = Field(description="of the total energy with optimised cutoffs itself (meV/atom/ps)")
    rdf: NonNegative = Field(description="integral of |g1 - g2| (A)")


def check_validation(study: Protocol) -> None:
    """Raise ValueError, with the dotted key, for settings of the comparison that cannot be meant."""
    validation = study.validation
    if validation.seed not in study.fcl.seeds:
        raise ValueError(f"validation.seed: no FCL model is trained with seed {validation.seed} (fcl.seeds)")
    if validation.uniform_cutoff > study.cutoffs.r_max:
        raise ValueError(f"validation.uniform_cutoff: {validation.uniform_cutoff:g} A exceeds cutoffs.r_max")
    if validation.dynamics.unstable_above <= validation.dynamics.temperature:
        raise ValueError("validation.dynamics.unstable_above: does not exceed validation.dynamics.temperature")
    rdf = validation.rdf
    if rdf:
        frames = round(1000.0 * rdf.duration / validation.dynamics.timestep) // rdf.interval
        if frames < rdf.blocks:
            raise ValueError(f"validation.rdf.blocks: {rdf.blocks} blocks, but the run gives {frames} structures")
        if rdf.reach < rdf.bin_width:
            raise ValueError("validation.rdf.bin_width: exceeds validation.rdf.reach")
