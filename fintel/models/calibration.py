"""From a score to a probability: fitted on held-out rows, shown beside the score, never ranked by.

An isotonic curve (Zadrozny & Elkan, 2002) bends as the rows ask, but needs about a thousand positives;
below that a curve of few numbers: Platt's (1999), a line in log odds, or the beta curve (Kull, Silva
Filho & Flach, 2017), which may bend on either side. Isotonic steps make ties, so a queue stays in the
order of the raw score. All of it is plain numbers in the model's card.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.optimize import isotonic_regression, minimize

from fintel.errors import ModelError

Floats = npt.NDArray[np.float64]
Method = Literal["isotonic", "platt", "beta"]

#: Fewer positives than this and steps of an isotonic curve are chance.
ISOTONIC_FROM = 1_000
#: Fewer than this and the beta curve's third number is chance.
BETA_FROM = 100
_KNOTS = 1_000
_TOP, _TOP_BINS = 0.05, 5
#: Greatest log odds that are told apart; beyond, a probability is 0 or 1 in doubles.
_FAR = 500.0
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(_Frozen):
    """A rising curve from a score in bits (log2 odds) to a probability.

    ``numbers``: of Platt's curve, slope and intercept (log odds); of the beta curve, the weights of
    ``ln p`` and ``-ln(1 - p)`` and the intercept. ``knots`` and ``heights``: of the isotonic curve,
    which is straight between knots and level beyond. ``base_rate``: share of positives where it was fitted.
    """

    method: Method
    numbers: tuple[float, ...] = Field(default=(), max_length=3)
    knots: tuple[float, ...] = Field(default=(), max_length=_KNOTS)
    heights: tuple[Share, ...] = Field(default=(), max_length=_KNOTS)
    base_rate: float = Field(gt=0, lt=1)
    rows: int = Field(gt=0)
    positives: int = Field(gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Calibration:
        wanted = {"isotonic": 0, "platt": 2, "beta": 3}[self.method]
        if len(self.numbers) != wanted or len(self.knots) != len(self.heights):
            raise ValueError("numbers do not fit the method")
        if (self.method == "isotonic") != bool(self.knots):
            raise ValueError("an isotonic curve has knots, others have none")
        if any(n < 0 for n in self.numbers[:-1]):
            raise ValueError("a curve that falls")
        for values in (self.knots, self.heights):
            if any(b < a for a, b in itertools.pairwise(values)):
                raise ValueError("knots and heights rise")
        return self

    def probability(self, bits: npt.ArrayLike, *, base_rate: float | None = None) -> Floats:
        """Probability of each score.

        Parameters
        ----------
        bits: scores as those it was fitted on, in bits. base_rate: share of positives where the scores
            come from, if it is another one than where the curve was fitted: odds are shifted by the ratio
            of both odds, which is right where suspicious accounts became rarer but look the same.

        Raises
        ------
        ModelError: a base rate that is not between 0 and 1.
        """
        score = np.asarray(bits, np.float64)
        if self.method == "isotonic":
            p = np.interp(score, self.knots, self.heights)
        else:
            p = _expit(_columns(self.method, score) @ np.asarray(self.numbers))
        return p if base_rate is None else shifted(p, self.base_rate, base_rate)


class Bin(_Frozen):
    """Rows of like probability: how many, the mean foretold, the share found, and its 95 % interval (Wilson)."""

    rows: int
    foretold: float
    found: float
    low: float
    high: float


class Reliability(_Frozen):
    """How far probabilities can be trusted, on rows that no part of them was fitted on.

    ``brier``: mean squared error; ``brier_of_base_rate``: that of telling everybody the base rate.
    ``error``, ``error_top``: expected calibration error (mean distance of foretold from found) over bins of
    equal size, of all rows and of the 5 % with the highest scores (five bins). ``chance``, ``chance_top``:
    what right probabilities would show on as many rows, by chance alone. ``bins``: by rising probability.
    """

    brier: float
    brier_of_base_rate: float
    error: float
    error_top: float
    chance: float
    chance_top: float
    bins: tuple[Bin, ...] = Field(max_length=100)


class CalibrationCard(_Frozen):
    """A calibration, and how it did on groups that it had not seen."""

    calibration: Calibration
    reliability: Reliability


def calibrate(bits: Floats, label: Floats, *, method: Method | None = None) -> Calibration:
    """Fit a calibration on rows that the scorer has not seen.

    Parameters
    ----------
    bits: (rows,) scores. label: (rows,) 0 or 1. method: None chooses by the number of positives.

    Raises
    ------
    ModelError: no positive, no negative, or a score that is not a number.
    """
    bits, label = np.asarray(bits, np.float64), np.asarray(label, np.float64)
    positives = int(label.sum())
    if not np.isfinite(bits).all():
        raise ModelError("a score that is not a number cannot be calibrated")
    if not 0 < positives < label.size:
        raise ModelError(f"{positives} positives of {label.size} rows: both kinds are needed to calibrate")
    if method is None:
        method = "isotonic" if positives >= ISOTONIC_FROM else "beta" if positives >= BETA_FROM else "platt"
    knots, heights = _steps(bits, label) if method == "isotonic" else ((), ())
    return Calibration(
        method=method,
        numbers=() if method == "isotonic" else _curve(method, bits, label),
        knots=knots,
        heights=heights,
        base_rate=positives / label.size,
        rows=label.size,
        positives=positives,
    )


def shifted(p: Floats, from_rate: float, to_rate: float) -> Floats:
    """Probabilities where the base rate is another one (Saerens, Latinne & Decaestecker, 2002, eq. 2.4)."""
    if not (0 < from_rate < 1 and 0 < to_rate < 1):
        raise ModelError(f"a base rate lies between 0 and 1, not at {to_rate:g}")
    up = to_rate / from_rate
    down = (1 - to_rate) / (1 - from_rate)
    return np.asarray(p * up / (p * up + (1 - p) * down), np.float64)


def reliability(p: Floats, label: Floats, score: Floats | None = None, *, bins: int = 10) -> Reliability:
    """Judge probabilities.

    Parameters
    ----------
    p, label: (rows,). score: what the top 5 % are taken by, the probability if None. bins: at most so many.
    """
    base = float(label.mean())
    score = p if score is None else score
    order = np.lexsort((score, p))
    table = tuple(_bins(p[order], label[order], bins))
    best = np.sort(np.argsort(-score, kind="stable")[: max(1, round(_TOP * label.size))])
    best = best[np.lexsort((score[best], p[best]))]
    return Reliability(
        brier=float(np.mean((p - label) ** 2)),
        brier_of_base_rate=base * (1 - base),
        error=_error(table),
        error_top=_error(tuple(_bins(p[best], label[best], _TOP_BINS))),
        chance=_chance(p[order], bins),
        chance_top=_chance(p[best], _TOP_BINS),
        bins=table,
    )


def cross_calibrated(bits: Floats, label: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """Probability of each row by a calibration of the rows outside its fold; the base rate where those
    are all of one kind."""
    p = np.empty(bits.size)
    for k in np.unique(fold):
        here = fold == k
        rest = label[~here]
        one_kind = rest.size == 0 or rest.min() == rest.max()
        p[here] = label.mean() if one_kind else calibrate(bits[~here], rest).probability(bits[here])
    return p


def calibration_card(bits: Floats, label: Floats, fold: npt.NDArray[np.int64]) -> CalibrationCard:
    """A calibration of all these rows, judged crosswise over folds."""
    crossed = cross_calibrated(bits, label, fold)
    return CalibrationCard(calibration=calibrate(bits, label), reliability=reliability(crossed, label, bits))


def _expit(z: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -_FAR, _FAR))), np.float64)


def _columns(method: Method, bits: Floats) -> Floats:
    z = np.clip(bits * math.log(2), -_FAR, _FAR)
    one = np.ones_like(z)
    if method == "platt":
        return np.stack([z, one], axis=-1)
    # ln p = -ln(1 + e^-z), -ln(1 - p) = ln(1 + e^z)
    return np.stack([-np.logaddexp(0.0, -z), np.logaddexp(0.0, z), one], axis=-1)


def _curve(method: Method, bits: Floats, label: Floats) -> tuple[float, ...]:
    """Numbers of a rising curve; targets a little inside 0 and 1, as Platt (1999) found safe for few positives."""
    x = _columns(method, bits)
    positives = label.sum()
    target = np.where(label == 1, (positives + 1) / (positives + 2), 1 / (label.size - positives + 2))
    start = np.array([1.0] * (x.shape[1] - 1) + [0.0])

    def loss(w: Floats) -> tuple[float, Floats]:
        z = x @ w
        rest = _expit(z) - target
        return float(np.logaddexp(0.0, z).sum() - target @ z) / label.size, (x.T @ rest) / label.size

    bounds = [(0.0, None)] * (x.shape[1] - 1) + [(None, None)]
    options = {"maxiter": 1_000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    # Rounded, so that the last digits of an optimiser do not change a model's bytes.
    return tuple(round(float(w), 9) for w in found.x)


def _steps(bits: Floats, label: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots at the first and last score of each step; nobody is certain, so the ends stay inside 0 and 1."""
    scores, place = np.unique(bits, return_inverse=True)
    rows = np.bincount(place).astype(np.float64)
    found = isotonic_regression(np.bincount(place, weights=label) / rows, weights=rows)
    edges = found.blocks
    sizes = np.add.reduceat(rows, edges[:-1])
    heights = np.clip(found.x[edges[:-1]], 1 / (sizes + 2), 1 - 1 / (sizes + 2))
    heights = np.maximum.accumulate(heights)
    knots = np.column_stack([scores[edges[:-1]], scores[edges[1:] - 1]]).ravel()
    doubled = np.repeat(heights, 2)
    if knots.size > _KNOTS:
        kept = np.unique(np.linspace(0, knots.size - 1, _KNOTS).astype(np.int64))
        knots, doubled = knots[kept], doubled[kept]
    return tuple(map(float, knots)), tuple(map(float, doubled))


def _parts(rows: int, most: int) -> list[npt.NDArray[np.int64]]:
    return np.array_split(np.arange(rows), min(most, rows))


def _chance(p: Floats, most: int) -> float:
    """Expected calibration error if each row is positive with its probability (normal approximation)."""
    spread = [math.sqrt(2 / math.pi * float(np.sum(p[here] * (1 - p[here])))) for here in _parts(p.size, most)]
    return math.fsum(spread) / p.size


def _bins(p: Floats, label: Floats, most: int) -> Iterator[Bin]:
    for here in _parts(label.size, most):
        size, found = here.size, float(label[here].mean())
        middle, spread = _wilson(found, size)
        yield Bin(rows=size, foretold=float(p[here].mean()), found=found, low=middle - spread, high=middle + spread)


def _wilson(share: float, rows: int) -> tuple[float, float]:
    """Middle and half width of the 95 % interval (Wilson, 1927)."""
    z = 1.959963984540054
    whole = 1 + z * z / rows
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / whole
    return (share + z * z / (2 * rows)) / whole, half


def _error(bins: tuple[Bin, ...]) -> float:
    return math.fsum(b.rows * abs(b.foretold - b.found) for b in bins) / sum(b.rows for b in bins)
