"""How good a ranking is: average precision, precision and recall at a budget, with intervals.

Ties are worth what random order within them gives on average, so a ranking cannot gain or lose by
them. Intervals are 95 % bootstrap intervals over groups (schemes, holders), not over rows: members of
one scheme stand or fall together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.errors import ModelError

Floats = npt.NDArray[np.float64]

DRAWS = 400
_LOW, _HIGH = 2.5, 97.5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Frozen):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class AtBudget(_Frozen):
    """What reading the first ``budget`` accounts gives."""

    budget: int
    precision: Estimate
    recall: Estimate


class Measured(_Frozen):
    """One way of ranking, judged."""

    average_precision: Estimate
    budgets: tuple[AtBudget, ...]


class Evaluation(_Frozen):
    """Ways of ranking the same accounts, judged by the same labels.

    ``base_rate`` is what a random order reaches. ``rankings`` by name: ``model`` and, where rules were
    given, ``rules`` and ``both``. ``gains``: average precision of ``model`` and ``both`` less that of
    ``rules``, drawn together. ``notes`` say what the numbers cannot.
    """

    plan: str
    accounts: int
    positives: int
    base_rate: float
    rankings: dict[str, Measured]
    gains: dict[str, Estimate]
    notes: tuple[str, ...] = ()


def evaluate(
    judged: pl.DataFrame,
    scores: Mapping[str, str],
    *,
    plan: str,
    budgets: tuple[int, ...] = (),
    seed: int = 7,
    notes: tuple[str, ...] = (),
) -> Evaluation:
    """Judge rankings.

    Parameters
    ----------
    judged: one row an account: ``label`` (0/1), ``group`` and a column for each ranking.
    scores: name of a ranking → its column (higher = more suspicious).
    budgets: numbers of accounts that can be read, beside 1 % of all.
    """
    label = judged["label"].cast(pl.Float64).to_numpy()
    one_percent = max(1, round(label.size / 100))
    sizes = tuple(sorted({one_percent, *(b for b in budgets if b <= label.size)}))
    curves = {name: Curve(label, judged[column].cast(pl.Float64).to_numpy(), name) for name, column in scores.items()}
    judgements: dict[str, list[tuple[float, list[float], list[float]]]] = {name: [] for name in curves}
    for weight in draws(judged["group"].to_numpy(), seed):
        for name, curve in curves.items():
            judgements[name].append(curve.judge(weight, sizes))
    ones = np.ones(label.size)
    rankings, drawn = {}, {}
    for name, curve in curves.items():
        values = judgements[name]
        best = curve.judge(ones, sizes)
        drawn[name] = np.array([v[0] for v in values])
        rankings[name] = Measured(
            average_precision=estimate(best[0], drawn[name]),
            budgets=tuple(
                AtBudget(
                    budget=size,
                    precision=estimate(best[1][i], np.array([v[1][i] for v in values])),
                    recall=estimate(best[2][i], np.array([v[2][i] for v in values])),
                )
                for i, size in enumerate(sizes)
            ),
        )
    gains = {}
    if "rules" in curves:
        for name in curves:
            if name != "rules":
                value = rankings[name].average_precision.value - rankings["rules"].average_precision.value
                gains[name] = estimate(value, drawn[name] - drawn["rules"])
    return Evaluation(
        plan=plan,
        accounts=label.size,
        positives=int(label.sum()),
        base_rate=float(label.mean()),
        rankings=rankings,
        gains=gains,
        notes=notes,
    )


def average_precision(label: Floats, score: Floats) -> float:
    """Area under precision and recall, stepwise; rows of equal score enter together."""
    return float(Curve(label, score).judge(np.ones(label.size), ())[0])


class Curve:
    """Rows in order of score, ties together, to be judged under many weights.

    Raises
    ------
    ModelError: a score is not a number; it would stand at a place that means nothing.
    """

    def __init__(self, label: Floats, score: Floats, name: str = "score") -> None:
        if np.isnan(score).any():
            raise ModelError(f"{int(np.isnan(score).sum())} accounts have no number as '{name}'")
        self.order = np.argsort(-score, kind="stable")
        ordered = score[self.order]
        self.first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        self.label = label[self.order]

    def judge(self, weight: Floats, budgets: tuple[int, ...]) -> tuple[float, list[float], list[float]]:
        """Average precision; precision and recall at each budget (scaled to the weights' sum)."""
        weight = weight[self.order]
        found, read = self._sums(weight * self.label), self._sums(weight)
        everything = found[-1]
        if everything == 0:
            return 0.0, [0.0] * len(budgets), [0.0] * len(budgets)
        precision = np.divide(found, read, out=np.zeros(read.size), where=read > 0)
        area = float(np.sum(np.diff(found, prepend=0.0) * precision) / everything)
        limits = [b * read[-1] / self.label.size for b in budgets]
        hits = np.interp(limits, np.append(0.0, read), np.append(0.0, found))
        return area, [float(h / m) for h, m in zip(hits, limits, strict=True)], [float(h / everything) for h in hits]

    def found(self, value: Floats, weight: Floats, budgets: tuple[int, ...]) -> tuple[Floats, Floats, float]:
        """What of ``value`` (one a row) stands in the first rows: found, weight read, and all there is."""
        weight = weight[self.order]
        found, read = self._sums(weight * value[self.order]), self._sums(weight)
        limits = np.array([min(b, self.label.size) * read[-1] / self.label.size for b in budgets])
        return np.interp(limits, np.append(0.0, read), np.append(0.0, found)), limits, float(found[-1])

    def points(self) -> tuple[Floats, Floats]:
        """Recall and precision after each group of equal scores."""
        ones = np.ones(self.label.size)
        found, read = self._sums(self.label), self._sums(ones)
        return found / max(found[-1], 1.0), found / read

    def _sums(self, values: Floats) -> Floats:
        return np.cumsum(np.add.reduceat(values, self.first))


def draws(group: npt.NDArray[np.int64], seed: int) -> Iterator[Floats]:
    """Weights of rows in each bootstrap draw: how often their group was drawn."""
    _, index = np.unique(group, return_inverse=True)
    number = int(index.max(initial=-1)) + 1
    rng = np.random.default_rng([seed, 2])
    for _ in range(DRAWS):
        yield np.bincount(rng.integers(0, number, number), minlength=number).astype(np.float64)[index]


def estimate(value: float, drawn: Floats) -> Estimate:
    """A value with the 2.5th and 97.5th percentile of what was drawn."""
    low, high = np.percentile(drawn, [_LOW, _HIGH]) if drawn.size else (value, value)
    return Estimate(value=float(value), low=float(low), high=float(high))
