"""Has the world moved away from what a model was trained on? Features, families, score, performance.

The population stability index (PSI) compares shares of accounts in bins: Σ (now − then) × ln(now / then). Bins
are the training distribution's deciles, fixed with the model; deciles that fall on one value (a count that is
mostly 0) are one bin. The bounds 0.1 (watch) and 0.25 (act) are the trade's rule of thumb. A PSI is above 0 by
chance alone: of n and m rows over B bins it is (1/n + 1/m) × χ² with B − 1 degrees of freedom (Yurdakul 2018,
Statistical Properties of Population Stability Index, Western Michigan University), so a small population is
said to have moved only where chance would not show as much once in twenty times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import chi2

from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME
from fintel.models.evaluation import Estimate
from fintel.models.saved import Card

Floats = npt.NDArray[np.float64]
Verdict = Literal["steady", "watch", "act"]
VERDICTS: tuple[Verdict, ...] = ("steady", "watch", "act")

#: Bounds of PSI, and of the change in the share of accounts for which a feature is known.
WATCH, ACT = 0.1, 0.25
MISSING_WATCH, MISSING_ACT = 0.1, 0.25
#: Change of Kelly's skewness (−1 to 1) that is worth a look; it alone is no reason to act.
SKEW_WATCH = 0.5
_DECILES = tuple(range(10, 100, 10))
#: An empty bin counts as this share at least: a logarithm needs one.
_FLOOR = 1e-4
_CHANCE = 0.95
SCORE = "score"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FeatureDrift(_Frozen):
    """A feature (or the score, in bits) then and now.

    ``psi`` over accounts that know it; None where none does on one of the sides. ``by_chance``: what PSI would
    stay below 19 times in 20 if nothing had changed. ``known``: share of accounts that know it. ``skew``:
    Kelly's, (P90 + P10 − 2 P50) / (P90 − P10); None without spread.
    """

    name: str
    family: str
    psi: float | None
    by_chance: float | None
    known_then: float
    known_now: float
    skew_then: float | None
    skew_now: float | None
    verdict: Verdict


class FamilyDrift(_Frozen):
    """Features of one family: mean PSI, mean change of the known share, and the feature that moved most."""

    family: str
    features: int
    psi: float
    by_chance: float
    missing: float
    worst: str
    worst_psi: float | None
    verdict: Verdict


class Performance(_Frozen):
    """Average precision on months whose labels had time to come, beside what the card promised.

    ``expected``: of the model alone, when it was trained. The verdict is 'watch' if the whole interval found is
    below the value expected, 'act' if it is below its interval. ``lift``: over the base rate, since that
    moves average precision too.
    """

    months: tuple[datetime, ...]
    accounts: int
    positives: int
    average_precision: Estimate
    expected: Estimate
    lift: float
    expected_lift: float
    verdict: Verdict


class Drift(_Frozen):
    """What moved. ``verdict`` is the worst of score, families and performance."""

    model_id: str
    trained_as_of: datetime
    as_of: datetime
    accounts: int
    score: FeatureDrift | None
    families: tuple[FamilyDrift, ...]
    features: tuple[FeatureDrift, ...]
    performance: Performance | None
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        parts: list[Verdict] = [f.verdict for f in self.families]
        parts += [p.verdict for p in (self.score, self.performance) if p is not None]
        return max(parts, key=VERDICTS.index, default="steady")


def measure_drift(
    card: Card,
    now: pl.DataFrame,
    scores: pl.Series,
    *,
    as_of: datetime,
    performance: Performance | None = None,
    notes: Sequence[str] = (),
) -> Drift:
    """Compare accounts of today with the training distribution in a card.

    Parameters
    ----------
    now: a row an account, with the card's features (float64, NaN = unknown).
    scores: the model's bits of the same rows.

    Raises
    ------
    ModelError: no rows, a feature is absent, or a score is no number.
    """
    if now.is_empty():
        raise ModelError("there are no accounts to compare with training", hint="fintel feed add FILE")
    absent = [name for name in card.names if name not in now.columns]
    if absent:
        raise ModelError(f"features that the model needs are not computed: {', '.join(absent[:5])}")
    bits = scores.cast(pl.Float64).to_numpy()
    if not np.isfinite(bits).all():
        raise ModelError("a score is not a number")
    then = card.training.accounts
    features = tuple(
        feature_drift(f.name, BY_NAME[f.name].family, f.quantiles, f.known, now[f.name].to_numpy(), then)
        for f in card.features
    )
    told = list(notes)
    score = None
    if card.training.score_quantiles:
        score = feature_drift(SCORE, SCORE, card.training.score_quantiles, 1.0, bits, then)
    else:
        told.append("the model's card does not say how its scores lay in training: train it again to watch them")
    families = list(dict.fromkeys(f.family for f in features))
    return Drift(
        model_id=card.model_id,
        trained_as_of=card.training.as_of,
        as_of=as_of,
        accounts=now.height,
        score=score,
        families=tuple(_family(name, [f for f in features if f.family == name]) for name in families),
        features=features,
        performance=performance,
        notes=tuple(told),
    )


def feature_drift(
    name: str, family: str, quantiles: Sequence[float], known: float, values: Floats, rows_then: int
) -> FeatureDrift:
    """One feature against its quantiles in training (equally spaced from 0 to 100 %).

    Parameters
    ----------
    known: share of training rows that knew it. values: (accounts,) today, NaN = unknown.
    rows_then: accounts in training.
    """
    then = np.asarray(quantiles, np.float64)
    here = values[~np.isnan(values)]
    known_now = here.size / values.size
    psi = by_chance = None
    if then.size and here.size:
        edges = tie_bins(then)
        knew = max(1, round(known * rows_then))
        psi = population_stability(shares_then(then, edges), _shares(here, edges), (knew, here.size))
        by_chance = chance_of(edges.size + 1, knew, here.size)
    then_skew, now_skew = skewness(then), skewness(np.quantile(here, np.linspace(0, 1, 101)) if here.size else here)
    moved = _verdict(psi or 0.0, by_chance or 0.0)
    missing = _missing_verdict(abs(known_now - known))
    beyond_chance = (psi or 0.0) > (by_chance or 0.0)
    skewed = _skew_verdict(then_skew, now_skew) if beyond_chance else "steady"
    return FeatureDrift(
        name=name, family=family, psi=psi, by_chance=by_chance, known_then=known, known_now=known_now,
        skew_then=then_skew, skew_now=now_skew, verdict=max(moved, missing, skewed, key=VERDICTS.index),
    )  # fmt: skip


def tie_bins(quantiles: Floats) -> Floats:
    """Inner edges of bins, (bins − 1,): deciles, each value once. A bin ends with its edge."""
    places = [round(d / 100 * (quantiles.size - 1)) for d in _DECILES]
    return np.unique(quantiles[places])


def shares_then(quantiles: Floats, edges: Floats) -> Floats:
    """Training's share in each bin, (bins,), as finely as the quantiles tell it."""
    upto = (np.searchsorted(quantiles, edges, side="right") - 1) / (quantiles.size - 1)
    return np.diff(upto, prepend=0.0, append=1.0)


def _shares(values: Floats, edges: Floats) -> Floats:
    index = np.searchsorted(edges, values, side="left")
    return np.bincount(index, minlength=edges.size + 1) / values.size


def population_stability(then: Floats, now: Floats, rows: tuple[float, float] = (math.inf, math.inf)) -> float:
    """PSI of shares in the same bins.

    ``rows``: how many stand behind each side. An empty bin counts as half a row, at least a share of 0.0001:
    else one that is empty by chance would weigh more than any change.
    """
    a = np.maximum(then, max(_FLOOR, 0.5 / rows[0]))
    b = np.maximum(now, max(_FLOOR, 0.5 / rows[1]))
    seen = (then > 0) | (now > 0)
    return float(np.sum(((b - a) * np.log(b / a))[seen]))


def chance_of(bins: int, then: int, now: int) -> float:
    """What PSI stays below 19 times in 20 where nothing changed, of ``then`` and ``now`` rows."""
    return float((1 / then + 1 / now) * chi2.ppf(_CHANCE, bins - 1)) if bins > 1 else 0.0


def skewness(quantiles: Floats) -> float | None:
    """Kelly's skewness of equally spaced quantiles; None without spread between the outer deciles."""
    if not quantiles.size:
        return None
    low, middle, high = (float(quantiles[round(p * (quantiles.size - 1))]) for p in (0.1, 0.5, 0.9))
    return (high + low - 2 * middle) / (high - low) if high > low else None


def _verdict(psi: float, by_chance: float) -> Verdict:
    if psi <= by_chance or psi < WATCH:
        return "steady"
    return "act" if psi > ACT else "watch"


def _missing_verdict(change: float) -> Verdict:
    return "act" if change > MISSING_ACT else "watch" if change > MISSING_WATCH else "steady"


def _skew_verdict(then: float | None, now: float | None) -> Verdict:
    return "watch" if then is not None and now is not None and abs(now - then) > SKEW_WATCH else "steady"


def _family(name: str, features: Sequence[FeatureDrift]) -> FamilyDrift:
    known = [f for f in features if f.psi is not None]
    psi = float(np.mean([f.psi for f in known])) if known else 0.0
    by_chance = float(np.mean([f.by_chance for f in known])) if known else 0.0
    missing = float(np.mean([f.known_now - f.known_then for f in features]))
    worst = max(features, key=lambda f: (f.psi or 0.0, abs(f.known_now - f.known_then)))
    # one feature beyond all bounds among twenty steady ones is worth a look, not an alarm
    single: Verdict = "watch" if any(f.verdict == "act" for f in features) else "steady"
    return FamilyDrift(
        family=name, features=len(features), psi=psi, by_chance=by_chance, missing=missing,
        worst=worst.name, worst_psi=worst.psi,
        verdict=max(_verdict(psi, by_chance), _missing_verdict(abs(missing)), single, key=VERDICTS.index),
    )  # fmt: skip


def judge_performance(
    found: Estimate, base_rate: float, card: Card, *, months: Sequence[datetime], accounts: int, positives: int
) -> Performance | None:
    """Average precision now beside the card's, where the card tells the model's own; None where it does not."""
    promised = card.evaluation.rankings.get("model")
    if promised is None:
        return None
    expected = promised.average_precision
    verdict: Verdict = "steady"
    if found.high < expected.value:
        verdict = "act" if found.high < expected.low else "watch"
    return Performance(
        months=tuple(months), accounts=accounts, positives=positives, average_precision=found, expected=expected,
        lift=found.value / base_rate if base_rate > 0 else 0.0,
        expected_lift=expected.value / card.evaluation.base_rate if card.evaluation.base_rate > 0 else 0.0,
        verdict=verdict,
    )  # fmt: skip
