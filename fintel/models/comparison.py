"""Two models, or a model and the rules alone, beside each other: the same accounts, the same labels, one budget.

Differences are drawn in pairs: in each bootstrap draw both stand before the same groups (schemes, holders), so what
makes a draw hard for both does not widen the interval of their difference. The queue of ``budget`` accounts is that
of all accounts; groups are drawn, queues are not made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from fintel.models.evaluation import Curve, Estimate, draws, estimate
from fintel.models.places import chance_read
from fintel.models.queues import check_judged
from fintel.models.subgroups import ATTRIBUTES, FOUR_FIFTHS, SMALL, Subgroup, subgroups

Floats = npt.NDArray[np.float64]
Way = Literal["later", "again"]
MEASURES = ("average precision", "precision at budget", "recall at budget")
#: Fewer suspicious accounts of a group than this say nothing about how many of them are found.
ENOUGH = 10


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Contender(_Frozen):
    """One ranking. ``model_id``: None for rules alone. ``measures``: by ``MEASURES``."""

    model_id: str | None
    measures: dict[str, Estimate]


class GroupChange(_Frozen):
    """What a change of models would mean for a group of people, challenger less champion.

    ``false_alerts``: change of the share of its accounts without a suspicious label that stand in the queue; ``ratio``
    of the challenger's share to that of everybody else, None where nobody is. ``recall``: change of the share of its
    suspicious accounts that stand in it; None of fewer than ``ENOUGH``. ``harm``: why the group would be worse off.
    """

    attribute: str
    group: str
    accounts: int
    false_alerts: Estimate | None
    ratio: float | None
    ratio_before: float | None
    recall: Estimate | None
    harm: tuple[str, ...]


class Comparison(_Frozen):
    """``champion`` is rules alone where there is no champion. ``differences``: challenger less champion;
    ``over_rules``: challenger less rules alone. ``suppressed``: groups of people that are too small to tell."""

    way: Way
    budget: int
    accounts: int
    positives: int
    groups: int
    base_rate: float
    champion: Contender
    challenger: Contender
    rules: Contender
    differences: dict[str, Estimate]
    over_rules: dict[str, Estimate]
    subgroups: tuple[GroupChange, ...]
    suppressed: int
    notes: tuple[str, ...] = ()

    @property
    def better(self) -> tuple[str, ...]:
        """Measures whose whole interval of the difference is above 0."""
        return tuple(name for name, e in self.differences.items() if e.low > 0)

    @property
    def worse(self) -> tuple[str, ...]:
        """Measures whose whole interval of the difference is below 0."""
        return tuple(name for name, e in self.differences.items() if e.high < 0)

    @property
    def harms(self) -> tuple[str, ...]:
        """What groups would suffer."""
        return tuple(f"{g.attribute} {g.group}: {why}" for g in self.subgroups for why in g.harm)


def compare(
    judged: pl.DataFrame,
    ids: Mapping[str, str | None],
    *,
    way: Way,
    budget: int,
    seed: int,
    notes: Sequence[str] = (),
) -> Comparison:
    """Judge ``champion``, ``challenger`` and ``rules``.

    Parameters
    ----------
    judged: a row an account: ``account_id``, ``label`` (0/1), ``group``, the attributes of ``subgroups.ATTRIBUTES``,
        and bits as ``champion``, ``challenger``, ``rules``.
    ids: model ids of champion and challenger. budget: accounts that are read.

    Raises
    ------
    ModelError: there is nothing to judge by, or a score is not a number.
    """
    names = ("champion", "challenger", "rules")
    check_judged(judged, names)
    size = min(budget, judged.height)
    label = judged["label"].cast(pl.Float64).to_numpy()
    weights = list(draws(judged["group"].to_numpy(), seed))
    points, drawn = {}, {}
    for name in names:
        curve = Curve(label, judged[name].cast(pl.Float64).to_numpy(), name)
        points[name] = _row(curve, np.ones(label.size), size)
        drawn[name] = np.array([_row(curve, w, size) for w in weights])
    found, hidden = _groups(judged.with_columns(month=pl.lit(0)), size, weights)
    return Comparison(
        way=way,
        budget=size,
        accounts=judged.height,
        positives=int(label.sum()),
        groups=judged.filter(pl.col("label") == 1)["group"].n_unique(),
        base_rate=float(label.mean()),
        **{n: Contender(model_id=ids.get(n), measures=_estimates(points[n], drawn[n])) for n in names},
        differences=_estimates(points["challenger"] - points["champion"], drawn["challenger"] - drawn["champion"]),
        over_rules=_estimates(points["challenger"] - points["rules"], drawn["challenger"] - drawn["rules"]),
        subgroups=found,
        suppressed=hidden,
        notes=tuple(notes),
    )


def _row(curve: Curve, weight: Floats, size: int) -> Floats:
    area, precision, recall = curve.judge(weight, (size,))
    return np.array([area, precision[0], recall[0]])


def _estimates(point: Floats, drawn: Floats) -> dict[str, Estimate]:
    return {name: estimate(float(point[i]), drawn[:, i]) for i, name in enumerate(MEASURES)}


def _groups(judged: pl.DataFrame, size: int, weights: Sequence[Floats]) -> tuple[tuple[GroupChange, ...], int]:
    before, after = (chance_read(judged, name, size) for name in ("champion", "challenger"))
    then, _ = subgroups(judged, before)
    now, hidden = subgroups(judged, after)
    earlier = {(g.attribute, g.group): g for g in then}
    change = (after - before).to_numpy()
    label = judged["label"].cast(pl.Float64).to_numpy()
    found = []
    for group in now:
        inside = (judged[group.attribute] == group.group).to_numpy()
        found.append(_change(group, earlier[group.attribute, group.group], change, label, inside, weights))
    return tuple(found), sum(h.groups for h in hidden)


def _change(
    now: Subgroup,
    then: Subgroup,
    change: Floats,
    label: Floats,
    inside: npt.NDArray[np.bool_],
    weights: Sequence[Floats],
) -> GroupChange:
    clean, hits = inside & (label == 0), inside & (label == 1)
    alarms = _mean_change(change, clean, weights) if clean.sum() >= SMALL else None
    recall = _mean_change(change, hits, weights) if hits.sum() >= ENOUGH else None
    ratio = now.false_alert_ratio.value if now.false_alert_ratio else None
    ratio_before = then.false_alert_ratio.value if then.false_alert_ratio else None
    harm = []
    if alarms is not None and alarms.low > 0 and ratio is not None and ratio > max(1 / FOUR_FIFTHS, ratio_before or 0):
        harm.append(f"{alarms.value:+.4f} false alerts an account, {ratio:.2f} times everybody else's")
    if recall is not None and recall.high < 0:
        harm.append(f"{recall.value:+.3f} of its suspicious accounts found")
    return GroupChange(
        attribute=now.attribute, group=now.group, accounts=now.accounts, false_alerts=alarms, ratio=ratio,
        ratio_before=ratio_before, recall=recall, harm=tuple(harm),
    )  # fmt: skip


def _mean_change(change: Floats, rows: npt.NDArray[np.bool_], weights: Sequence[Floats]) -> Estimate:
    values = change[rows]
    sums = [(float(w[rows] @ values), float(w[rows].sum())) for w in weights]
    return estimate(float(values.mean()), np.array([total / of for total, of in sums if of > 0]))


def lacking_attributes(judged: pl.DataFrame) -> tuple[str, ...]:
    """Attributes that nothing is known of for anybody: subgroups by them were not looked at."""
    return tuple(name for name in ATTRIBUTES if (judged[name] == "not known").all())
