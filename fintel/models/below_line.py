"""Below the line: what a threshold leaves unread, estimated from accounts that were drawn by lot and reviewed.

Where to stop reading is a risk decision. It rests on how many suspicious accounts stand just below the line,
and that is known only where somebody looked at a random sample there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import beta

from fintel.errors import ModelError

Floats = npt.NDArray[np.float64]
#: Distances below the line, in the score's unit (bits), where bands begin and end.
DISTANCES = (0.0, 1.0, 2.0, 4.0)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Band(_Frozen):
    """Accounts whose score is at least ``above`` (None: no bound) and less than ``below``.

    ``precision`` is None where nobody was reviewed; then nothing bounds it. Its interval is Clopper and
    Pearson's 95 % (1934, Biometrika 26, 404), which covers at least as often as it says, also at 0 found.
    ``expected``: suspicious accounts in the band, with its bounds.
    """

    above: float | None
    below: float
    accounts: int
    reviewed: int
    suspicious: int
    precision: float | None
    low: float
    high: float
    expected: float | None
    expected_low: float
    expected_high: float


def below_the_line(
    population: Floats, reviewed: pl.DataFrame, threshold: float, *, distances: Sequence[float] = DISTANCES
) -> tuple[Band, ...]:
    """Precision in bands below a threshold.

    Parameters
    ----------
    population: (accounts,) scores of everybody; who is at the threshold is above the line.
    reviewed: ``score, suspicious`` (a null was not decided, and is left out) of accounts that were drawn at
        random within each band: whoever was picked for another reason proves nothing here.
    distances: ascending, from 0: a band goes from one to the next, the last one without end.

    Raises
    ------
    ModelError: a score or the threshold is no number, distances do not ascend from 0, or more were reviewed
        in a band than stand in it.
    """
    scores = reviewed["score"].cast(pl.Float64).to_numpy()
    if not (np.isfinite(population).all() and np.isfinite(scores).all() and np.isfinite(threshold)):
        raise ModelError("scores and the threshold must be numbers")
    steps = np.asarray(distances, np.float64)
    if not steps.size or steps[0] != 0 or (np.diff(steps) <= 0).any():
        raise ModelError("distances below the line ascend from 0")
    decided = reviewed["suspicious"].is_not_null().to_numpy()
    found = reviewed["suspicious"].fill_null(value=False).to_numpy()
    bands = []
    for i, step in enumerate(steps):
        below = threshold - step
        above = threshold - steps[i + 1] if i + 1 < steps.size else -np.inf
        accounts = int(((population < below) & (population >= above)).sum())
        inside = (scores < below) & (scores >= above) & decided
        reviewed_here, hits = int(inside.sum()), int((inside & found).sum())
        if reviewed_here > accounts:
            raise ModelError(f"{reviewed_here} accounts reviewed of {accounts} in a band: they are of another time")
        low, high = clopper_pearson(hits, reviewed_here)
        bands.append(
            Band(
                above=float(above) if np.isfinite(above) else None, below=float(below), accounts=accounts,
                reviewed=reviewed_here, suspicious=hits, precision=hits / reviewed_here if reviewed_here else None,
                low=low, high=high, expected=accounts * hits / reviewed_here if reviewed_here else None,
                expected_low=accounts * low, expected_high=accounts * high,
            )
        )  # fmt: skip
    return tuple(bands)


def clopper_pearson(hits: int, of: int) -> tuple[float, float]:
    """The exact 95 % interval of ``hits`` of ``of``; 0 to 1 of nothing."""
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return low, high
