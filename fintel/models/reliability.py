"""Do probabilities mean what they say? Reliability in bins of equal mass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from fintel.domain.share import wilson
from fintel.errors import ModelError

Floats = npt.NDArray[np.float64]
BINS = 10
TOP = 0.05


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Bin(_Frozen):
    """Rows of neighbouring probability: their mean, and what came true, with Wilson's interval."""

    rows: int
    probability: float
    share: float
    low: float
    high: float


class Reliability(_Frozen):
    """``error``: mean of |probability − share| over bins, weighted by rows (expected calibration error).
    ``top_error``: the same over the ``TOP`` most suspicious rows, in bins of their own. ``brier``: mean squared
    error; ``skill``: 1 − brier / that of the base rate, 0 or less = no better than knowing the base rate.
    """

    bins: tuple[Bin, ...]
    error: float
    top_error: float
    top_rows: int
    brier: float
    skill: float


def reliability(label: Floats, probability: Floats, *, bins: int = BINS) -> Reliability:
    """Compare probabilities with labels.

    Parameters
    ----------
    label: (rows,) 0 or 1. probability: (rows,) 0 to 1.
    bins: of equal mass; rows of one probability stay together, so there may be fewer.

    Raises
    ------
    ModelError: no rows, only one class, or a probability that is none.
    """
    if not label.size or label.min() == label.max():
        raise ModelError("probabilities can be compared only where there are suspicious and other accounts")
    if not (np.isfinite(probability).all() and probability.min() >= 0 and probability.max() <= 1):
        raise ModelError("probabilities must be numbers from 0 to 1")
    made = _bins(label, probability, bins)
    top = max(1, round(TOP * label.size))
    cut = np.partition(probability, -top)[-top]
    # all rows of the cut's probability, for nothing tells them apart
    best = probability >= cut
    brier = float(np.mean(np.square(probability - label)))
    base = float(label.mean())
    return Reliability(
        bins=made,
        error=_error(made),
        top_error=_error(_bins(label[best], probability[best], bins)),
        top_rows=int(best.sum()),
        brier=brier,
        skill=1 - brier / (base * (1 - base)),
    )


def _bins(label: Floats, probability: Floats, bins: int) -> tuple[Bin, ...]:
    order = np.lexsort((label, probability))
    p, y = probability[order], label[order]
    starts = np.flatnonzero(np.append(True, p[1:] != p[:-1]))
    # a bin begins with the first row of the probability that stands at its place
    wanted = (np.arange(bins) * p.size) // bins
    begins = np.unique(starts[np.searchsorted(starts, wanted, side="right") - 1])
    made = []
    for first, last in zip(begins, np.append(begins[1:], p.size), strict=True):
        rows, hits = int(last - first), float(y[first:last].sum())
        low, high = wilson(hits, rows)
        # clipped: a mean of equal numbers may be rounded past them
        mean = float(np.clip(p[first:last].mean(), p[first], p[last - 1]))
        made.append(Bin(rows=rows, probability=mean, share=hits / rows, low=low, high=high))
    return tuple(made)


def _error(bins: tuple[Bin, ...]) -> float:
    rows = sum(b.rows for b in bins)
    return sum(b.rows * abs(b.probability - b.share) for b in bins) / rows
