"""Which rows are new: keys against the keys of all visible files, exact and in bounded memory.

A 64-bit hash of each known key is kept in one sorted array (8 bytes a row). A row whose hash is
not there is new. The others are only *suspects*: their keys are looked up in the files
themselves, so a collision of hashes never drops a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]


class KnownKeys:
    """Keys of files that are there already, and of rows accepted since."""

    def __init__(self, key: Sequence[str], files: Sequence[Path]) -> None:
        self._key = list(key)
        self._files = list(files)
        parts = [_hashes(_keys([path], self._key).collect()) for path in files]
        self._known: Hashes = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.uint64)

    def fresh(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows of ``frame`` whose key is not known, the first of each key, in their order."""
        hashes = _hashes(frame.select(self._key))
        ordered = np.sort(hashes)
        if (ordered[1:] == ordered[:-1]).any():
            frame = frame.unique(subset=self._key, keep="first", maintain_order=True)
            hashes = _hashes(frame.select(self._key))
        suspect = self._among_known(hashes)
        if not suspect.any():
            return frame
        candidates = frame.lazy().select(self._key).filter(pl.Series(suspect))
        known = (
            _keys(self._files, self._key)
            .join(candidates, on=self._key, how="semi", nulls_equal=True)
            .collect(engine="streaming")
        )
        return frame.join(known, on=self._key, how="anti", nulls_equal=True, maintain_order="left")

    def remember(self, frame: pl.DataFrame, path: Path) -> None:
        """Count the rows of ``frame``, which stand in ``path``, among the known."""
        self._files.append(path)
        fresh = np.sort(_hashes(frame.select(self._key)))
        self._known = np.sort(np.concatenate([self._known, fresh]), kind="stable")

    def _among_known(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        if not self._known.size:
            return np.zeros(hashes.shape, np.bool_)
        order = np.argsort(hashes)  # ordered questions walk the big array once, in cache
        ordered = hashes[order]
        place = np.minimum(np.searchsorted(self._known, ordered), self._known.size - 1)
        found = np.empty(hashes.shape, np.bool_)
        found[order] = self._known[place] == ordered
        return found


def _keys(files: Sequence[Path], key: list[str]) -> pl.LazyFrame:
    return pl.scan_parquet(list(files), glob=False, hive_partitioning=False).select(key)


def _hashes(keys: pl.DataFrame) -> Hashes:
    if keys.is_empty():
        return np.empty(0, np.uint64)
    return keys.hash_rows().to_numpy()
