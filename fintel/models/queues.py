"""Queues that people read: what the first K accounts of each month hold.

A *month* is one reading of the queue: every account as of one moment, with the label and the money of the
days since the reading before. Sums run over months: precision is what was found of what was read, recall of
what there was. Accounts of equal score share their places, so no ranking gains or loses by ties. Intervals
are 95 % bootstrap intervals over groups (schemes, holders): a group is drawn with all its months.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.errors import ModelError
from fintel.models.evaluation import Curve, Estimate, draws, estimate

Floats = npt.NDArray[np.float64]
#: Steps of the next analyst that are told.
STEPS = 8
_POINTS = 300


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AtCapacity(_Frozen):
    """What reading ``capacity`` accounts a month gives.

    ``money``: share of the suspicious accounts' labelled value (base currency) that stands in the read
    accounts; None where labels name no payments.
    """

    capacity: int
    precision: Estimate
    recall: Estimate
    money: Estimate | None


class Step(_Frozen):
    """Accounts ``first`` to ``last`` of each month's queue: what one more analyst would find.

    ``found``: suspicious accounts a month. ``precision``: of the accounts in this step alone.
    """

    first: int
    last: int
    found: float
    precision: Estimate


class Month(_Frozen):
    """One reading, at its first capacity."""

    until: datetime
    accounts: int
    positives: int
    average_precision: float
    precision: float
    recall: float


class Queue(_Frozen):
    """A way of ranking, as people would read it.

    ``average_precision``: mean of the months', weighted by their suspicious accounts. ``points``: recall and
    precision down the queues, months together, thinned for a picture.
    """

    average_precision: Estimate
    capacities: tuple[AtCapacity, ...]
    steps: tuple[Step, ...]
    months: tuple[Month, ...]
    points: tuple[tuple[float, float], ...]


class Gain(_Frozen):
    """What one ranking has over another, drawn together: average precision, and recall at the first capacity."""

    average_precision: Estimate
    recall: Estimate


def check_judged(judged: pl.DataFrame, columns: Iterable[str]) -> None:
    """Refuse what no ranking can be judged by.

    Raises
    ------
    ModelError: no rows, no suspicious or no other account, or a score that is not a number.
    """
    if judged.is_empty():
        raise ModelError("there are no accounts to judge by", hint="fintel feed add FILE")
    positives = judged["label"].sum()
    if not positives:
        raise ModelError("no suspicious account to judge by in this period", hint="take a later --as-of, or add labels")
    if positives == judged.height:
        raise ModelError("every account is labelled suspicious: any order would do", hint="add the other accounts")
    for name in columns:
        scores = judged[name].cast(pl.Float64)
        missing = scores.fill_null(float("nan")).is_nan().sum()
        if missing:
            raise ModelError(f"{missing} accounts have no number as '{name}'")


def read_queues(
    judged: pl.DataFrame,
    scores: Mapping[str, str],
    *,
    capacities: Sequence[int],
    step: int,
    against: Sequence[tuple[str, str]] = (),
    seed: int = 7,
) -> tuple[dict[str, Queue], dict[tuple[str, str], Gain]]:
    """Judge rankings of the same accounts.

    Parameters
    ----------
    judged: a row an account and month: ``month`` (its last instant), ``label`` (0/1), ``group``, ``money``
        (labelled value in it, base currency; null if unknown) and a column for each ranking.
    scores: name → column (higher = more suspicious).
    capacities: accounts that are read a month; the first is the one that months are told at.
    step: accounts that one more analyst reads a month.
    against: pairs of rankings whose difference is told, the first less the second.

    Raises
    ------
    ModelError: as ``check_judged``.
    """
    check_judged(judged, scores.values())
    ends = judged["month"].unique().sort().to_list()
    rows = [np.flatnonzero((judged["month"] == end).to_numpy()) for end in ends]
    label = judged["label"].cast(pl.Float64).to_numpy()
    money = judged["money"].cast(pl.Float64).fill_null(0.0).to_numpy()
    piles = {name: _Piles(label, judged[column].cast(pl.Float64).to_numpy(), rows) for name, column in scores.items()}
    sizes = (*capacities, *(capacities[0] + step * i for i in range(STEPS + 1)))
    drawn: dict[str, list[Floats]] = {name: [] for name in piles}
    for weight in draws(judged["group"].to_numpy(), seed):
        # a draw without a suspicious account has no recall: with few groups it happens, and proves nothing
        if not (weight * label).any():
            continue
        for name, pile in piles.items():
            drawn[name].append(pile.numbers(weight, money, sizes))
    ones = np.ones(label.size)
    best = {name: pile.numbers(ones, money, sizes) for name, pile in piles.items()}
    sets = {name: np.array(values) for name, values in drawn.items()}
    valued = bool(money.any())
    queues = {
        name: _queue(pile, best[name], sets[name], capacities, step, ends, valued=valued)
        for name, pile in piles.items()
    }
    return queues, {(a, b): _gain(best[a] - best[b], sets[a] - sets[b], 1 + len(sizes)) for a, b in against}


def _gain(best: Floats, drawn: Floats, recall: int) -> Gain:
    return Gain(
        average_precision=estimate(float(best[0]), drawn[:, 0]),
        recall=estimate(float(best[recall]), drawn[:, recall]),
    )


class _Piles:
    """The queues of one ranking, one a month."""

    def __init__(self, label: Floats, score: Floats, rows: Sequence[npt.NDArray[np.int64]]) -> None:
        self.label = label
        self.rows = rows
        self.curves = [Curve(label[r], score[r]) for r in rows]
        self.pooled = Curve(label, score)

    def numbers(self, weight: Floats, money: Floats, sizes: tuple[int, ...]) -> Floats:
        """Average precision; precision, recall and share of money at each size; precision between sizes, one
        after the other, (4 × sizes,)."""
        n = len(sizes)
        found, read, value = np.zeros(n), np.zeros(n), np.zeros(n)
        all_found = all_value = area = 0.0
        for curve, rows in zip(self.curves, self.rows, strict=True):
            w = weight[rows]
            some, limits, whole = curve.found(self.label[rows], w, sizes)
            found, read, all_found = found + some, read + limits, all_found + whole
            part, _, sums = curve.found(money[rows] * self.label[rows], w, sizes)
            value, all_value = value + part, all_value + sums
            area += curve.judge(w, ())[0] * whole
        return np.concatenate(
            [[_share(area, all_found)], _shares(found, read), _shares(found, all_found), _shares(value, all_value),
             _marginal(found, read)]
        )  # fmt: skip


def _marginal(found: Floats, read: Floats) -> Floats:
    """Precision between each size and the next one."""
    return _shares(np.diff(found), np.diff(read))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _shares(part: Floats, whole: Floats | float) -> Floats:
    whole = np.broadcast_to(np.asarray(whole, np.float64), part.shape)
    return np.divide(part, whole, out=np.zeros(part.size), where=whole > 0)


def _queue(
    pile: _Piles,
    best: Floats,
    drawn: Floats,
    capacities: Sequence[int],
    step: int,
    ends: Sequence[datetime],
    *,
    valued: bool,
) -> Queue:
    n = len(capacities) + STEPS + 1
    smallest = min(r.size for r in pile.rows)
    told = [estimate(float(best[i]), drawn[:, i]) for i in range(best.size)]
    at = tuple(
        AtCapacity(
            capacity=k, precision=told[1 + i], recall=told[1 + n + i], money=told[1 + 2 * n + i] if valued else None
        )
        for i, k in enumerate(capacities)
    )
    steps = []
    for i in range(STEPS):
        first, last = capacities[0] + step * i + 1, capacities[0] + step * (i + 1)
        if last > smallest:
            break
        precision = told[1 + 3 * n + len(capacities) + i]
        steps.append(Step(first=first, last=last, found=precision.value * step, precision=precision))
    months = []
    for end, curve, rows in zip(ends, pile.curves, pile.rows, strict=True):
        area, precision_at, recall_at = curve.judge(np.ones(rows.size), (min(capacities[0], rows.size),))
        months.append(
            Month(
                until=end, accounts=rows.size, positives=int(pile.label[rows].sum()), average_precision=area,
                precision=precision_at[0], recall=recall_at[0],
            )
        )  # fmt: skip
    return Queue(
        average_precision=told[0], capacities=at, steps=tuple(steps), months=tuple(months), points=_points(pile.pooled)
    )


def _points(curve: Curve) -> tuple[tuple[float, float], ...]:
    recall, precision = curve.points()
    # where recall stands still, only the last of them bounds the curve from below; ends always stay
    keep = np.unique(np.linspace(0, recall.size - 1, min(_POINTS, recall.size)).astype(np.int64))
    rises = np.flatnonzero(np.diff(recall, prepend=0.0) > 0)
    if rises.size <= _POINTS:
        keep = np.unique(np.concatenate([rises, keep[-1:]]))
    return tuple((float(recall[i]), float(precision[i])) for i in keep)
