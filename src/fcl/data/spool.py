"""Growing arrays on disk, so that a store can be assembled without holding all of it in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fcl.data.pack import integer_type

_PIECE_ROWS = 1 << 20


class SpooledArray:
    """An array in a raw binary file: rows can be appended, and slices of rows read back.

    With ``narrow`` (meaning of the integers, for messages) it is stored in the narrowest integer type that holds them.
    """

    def __init__(self, path: Path, narrow: str | None = None):
        self._path, self._narrow = path, narrow
        self._range = (0, 0)
        self.dtype: np.dtype | None = None
        self.shape: tuple[int, ...] = (0,)

    def append(self, values: np.ndarray) -> None:
        """Append the rows of ``values``; all axes but the first must match the previous rows."""
        kind = values.dtype
        if self._narrow:
            low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
            self._range = (min(self._range[0], low), max(self._range[1], high))
            kind = integer_type(*self._range, self._narrow)
        self.widen(kind)
        self.shape = (self.shape[0] + len(values), *values.shape[1:])
        with self._path.open("ab") as stream:
            np.ascontiguousarray(values, dtype=kind).tofile(stream)

    def widen(self, kind: np.dtype) -> None:
        """Convert the stored values to ``kind``."""
        if self.dtype not in (None, kind):
            wider = self._path.with_suffix(".wider")
            with wider.open("wb") as stream:
                for first in range(0, self.shape[0], _PIECE_ROWS):
                    self[first : first + _PIECE_ROWS].astype(kind).tofile(stream)
            wider.replace(self._path)
        self.dtype = kind

    def __getitem__(self, rows: slice) -> np.ndarray:
        first, end, _ = rows.indices(self.shape[0])
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        offset = first * width * self.dtype.itemsize
        values = np.fromfile(self._path, self.dtype, max(end - first, 0) * width, offset=offset)
        return values.reshape(-1, *self.shape[1:])
