"""The section ``data``: data set, size limits, folds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from fcl.config.types import Count, Fraction, Positive, Section, Split

SPLITS = ("train", "val", "test")


class FrameLimits(Section):
    """Maximum number of structures per subset, for each split; null: all."""

    train: Count | None = None
    val: Count | None = None
    test: Count | None = None


class GroupFractions(Section):
    """Share of the groups of each subset, for each split; null: all."""

    train: Fraction | None = None
    val: Fraction | None = None
    test: Fraction | None = None


class FoldSettings(Section):
    """Cross-validation: all splits are pooled, and their groups dealt into folds."""

    number: Annotated[int, Field(ge=3)] = Field(description="number of folds")
    held_out: Count = Field(description="the fold for testing, from 1; the next one is for validation")

    @model_validator(mode="after")
    def _one_of_them(self) -> FoldSettings:
        if self.held_out > self.number:
            raise ValueError(f"held_out: there is no fold {self.held_out} of number = {self.number}")
        return self

    def of_split(self, split: Split) -> list[int]:
        """The folds, from 1, that ``split`` consists of."""
        held_out = {"test": self.held_out, "val": self.held_out % self.number + 1}
        if split in held_out:
            return [held_out[split]]
        return [fold for fold in range(1, self.number + 1) if fold not in held_out.values()]


class DataSettings(Section):
    """Data set and its size limits."""

    manifest: str = Field(description="data manifest (YAML) with the splits, their files, checksums and licence")
    local_dir: str | None = Field(
        None, description="directory that already holds the downloadable files; null: FCL_DATA_DIR, if set"
    )
    max_frames_per_subset: FrameLimits | None = Field(None, description="maximum structures per subset; null: all")
    group_fraction: GroupFractions | None = Field(
        None, description="share of the groups of each subset, whole groups in an order by their names; null: all"
    )
    folds: FoldSettings | None = Field(
        None,
        description="{number: N, held_out: k}: groups of all splits pooled and dealt into N folds; fold k is the test "
        "split, the next one the validation split; null: the splits of the manifest",
    )
    max_force: Positive | None = Field(None, description="largest accepted force on an atom (eV/A); null: no limit")
    strict: bool = Field(True, description="true: an invalid frame is an error; false: it is skipped and listed")

    @property
    def takes_every_frame(self) -> bool:
        """Whether the splits are those of the manifest and no frame is left out, by a limit or as invalid."""
        limits = (self.max_frames_per_subset, self.group_fraction, self.folds)
        return limits == (None, None, None) and self.strict

    def frame_limit(self, split: Split) -> int | None:
        """Maximum number of structures per subset of ``split``; None: all."""
        return None if self.max_frames_per_subset is None else getattr(self.max_frames_per_subset, split)

    def group_share(self, split: Split) -> float | None:
        """Share of the groups of each subset of ``split``; None: all."""
        return None if self.group_fraction is None else getattr(self.group_fraction, split)
