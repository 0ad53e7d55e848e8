"""Rows to learn from and rows to be judged on: which moments, which accounts, which labels.

Two plans. *time*: the model is judged at the last moment, trained on snapshots that end a gap before
it, as long as a label looks back and ahead, so that no payment makes a label on both sides; and in group
folds, so that no scheme, holder or account is on both sides either. *grouped*: where the feed is too short, or
its labels have no dates, or too few of them fall in the last window, the same folds over the same
snapshots; then nothing is said of the future, and the plan's notes say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import ACCOUNTS
from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME, FEATURES, Feature, model_features
from fintel.features.recipes import RuleHits
from fintel.frames import empty
from fintel.graph.account_features import network_features
from fintel.models.account_rows import Rules, account_rows
from fintel.models.labels import TIES, Truth, groups, label_rows, read_cleared, read_truth, reviewed

Tables = Mapping[str, pl.LazyFrame]
Floats = npt.NDArray[np.float32]
Kind = Literal["time", "grouped"]

#: Fewer labelled accounts than this on either side teach and prove nothing.
AT_LEAST = 10
_LOOKBACKS = (90, 30)
#: A group with a greater share of the labelled accounts cannot be held out.
_LARGEST_GROUP = 0.4
_LONGEST = max(f.days for f in FEATURES)


@dataclass(frozen=True)
class Sampling:
    """How rows are chosen.

    ``step_days``: between training snapshots of the time plan. ``folds``: of groups. ``plan``: force
    one; None = time where possible. ``known_by``: labels known later are not trained on; None = the
    moment of training. ``horizon_days``: how far a label looks ahead of its snapshot, beside back; 0 asks
    who has been suspicious, more asks who will be. ``families``: of features; None = all that there are.
    ``unreviewed_weight``: of a row that nobody has looked at, where at least ``AT_LEAST`` accounts were
    looked at and cleared (else all rows weigh 1). Below 1 where labels come from alerts alone: then most of what
    nobody looked at is not known to be clean.
    """

    step_days: int = 30
    folds: int = 5
    plan: Kind | None = None
    known_by: datetime | None = None
    horizon_days: int = 0
    families: tuple[str, ...] | None = None
    unreviewed_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.step_days < 1 or self.horizon_days < 0 or not 0 < self.unreviewed_weight <= 1:
            raise ModelError(
                f"snapshots every {self.step_days} days, {self.horizon_days} days ahead, weight "
                f"{self.unreviewed_weight} of rows nobody looked at: cannot be",
                hint="at least 1 day, at least 0 days, a weight above 0 and up to 1",
            )


@dataclass(frozen=True)
class Plan:
    """What is trained on and judged on. A label looks back ``before_days`` and ahead ``after_days``."""

    kind: Kind
    before_days: float
    gap_days: float
    fit_at: tuple[datetime, ...]
    test_at: tuple[datetime, ...]
    known_by: datetime
    notes: tuple[str, ...] = ()
    after_days: float = 0.0


@dataclass(frozen=True)
class Examples:
    """Rows in order of account and moment.

    ``rows``: ``account_id, as_of, fold, group, truth`` (full labels, 1/0/null) and ``label`` (as known
    when training). ``x``: float32 (rows, features) of ``names``. ``weight``: float32 (rows,), for training.
    ``apart``: ``account_id, fold`` of accounts whose labels are no seeds of risk for their own fold; None where time
    keeps labels apart.
    """

    plan: Plan
    rows: pl.DataFrame
    x: Floats
    names: tuple[str, ...]
    fit: npt.NDArray[np.bool_] = field(repr=False)
    test: npt.NDArray[np.bool_] = field(repr=False)
    weight: Floats = field(repr=False)
    apart: pl.DataFrame | None = field(repr=False, default=None)


def own_accounts(tables: Tables) -> pl.Series | None:
    """Accounts of own customers; None where the feed describes none, and all count as own."""
    accounts = tables.get("accounts", empty(ACCOUNTS).lazy())
    own = accounts.filter(pl.col("holding") == "own").select("account_id").unique().collect()["account_id"].sort()
    return None if own.is_empty() else own


def build(
    tables: Tables, moment: datetime, sampling: Sampling, *, seed: int, threads: int, rules: Rules | None = None
) -> Examples:
    """Plan, compute features and label rows.

    Parameters
    ----------
    moment: everything strictly before it is seen.
    rules: for features of rules; None: there are none.

    Raises
    ------
    ModelError: no payments, no labels, or fewer than ``AT_LEAST`` labelled accounts to learn from.
    """
    first = tables["transactions"].select(pl.col("booked_at").min()).collect(engine="streaming").item()
    if first is None or first >= moment:
        raise ModelError("there are no payments to learn from", hint="fintel feed add FILE")
    known_by = sampling.known_by or moment
    own = own_accounts(tables)
    full, known = (_of(own, read_truth(tables, by)) for by in (None, known_by))
    _refuse_too_few(full, known, known_by)
    plan = choose_plan(first, moment, full, known, sampling)
    moments = sorted({*plan.fit_at, *plan.test_at})
    usable = [f.name for f in _usable(plan, first, sampling, rules)]
    late = [name for name in usable if BY_NAME[name].family == "risk"]
    early = [name for name in usable if name not in late]
    features = account_rows(tables, moments, early, accounts=own, rules=rules, known_by=known_by, threads=threads)
    keys = features.select("account_id", "as_of")
    truth = label_rows(keys, full, plan.before_days, plan.after_days)
    label = label_rows(keys, known, plan.before_days, plan.after_days)
    rows = keys.with_columns(truth.alias("truth"), label.alias("label"))
    grouped, note = _groups(tables)
    rows = _with_folds(rows, grouped, sampling.folds, seed)
    apart = None if plan.kind == "time" else _apart(rows, grouped)
    features = features.hstack(network_features(tables, keys, late, known_by=known_by, apart=apart))
    weight, weighed = _weights(tables, rows, plan, sampling)
    plan = replace(plan, notes=(*plan.notes, *note, *weighed))
    fit = keys["as_of"].is_in(list(plan.fit_at)).to_numpy() & rows["label"].is_not_null().to_numpy()
    test = keys["as_of"].is_in(list(plan.test_at)).to_numpy() & rows["truth"].is_not_null().to_numpy()
    names = tuple(name for name in usable if _varies(features[name].to_numpy()[fit]))
    positives = rows.filter(pl.Series(fit) & (pl.col("label") == 1))["account_id"].n_unique()
    if positives < AT_LEAST or not names:
        raise ModelError(
            f"{positives} labelled accounts among {int(fit.sum())} training rows are too few (at least {AT_LEAST})",
            hint="add labels, or rank by rules alone",
        )
    return Examples(plan, rows, features.select(names).to_numpy(), names, fit, test, weight, apart)


def _usable(plan: Plan, first: datetime, sampling: Sampling, rules: Rules | None) -> list[Feature]:
    """Features that the feed reaches back far enough for, of the families asked for."""
    history = (plan.fit_at[0] - first) / timedelta(days=1)
    known = model_features(_LONGEST if len({*plan.fit_at, *plan.test_at}) == 1 else history)
    asked = None if sampling.families is None else set(sampling.families)
    return [
        f
        for f in known
        if (asked is None or f.family in asked) and (rules is not None or not isinstance(f.recipe, RuleHits))
    ]


def _apart(rows: pl.DataFrame, grouped: pl.DataFrame) -> pl.DataFrame:
    """``account_id, fold`` of the rows' accounts, and of labelled accounts of others in one of their groups."""
    folds = rows.select("group", "fold").unique()
    others = grouped.join(rows, on="account_id", how="anti").join(folds, on="group").select("account_id", "fold")
    return pl.concat([rows.select("account_id", "fold").unique(), others]).sort("account_id")


def _weights(tables: Tables, rows: pl.DataFrame, plan: Plan, sampling: Sampling) -> tuple[Floats, tuple[str, ...]]:
    """1 for what is labelled or was looked at, less for what nobody looked at; and what is to be said of it."""
    cleared = read_cleared(tables, plan.known_by)
    looked_at = reviewed(rows, cleared, plan.before_days).to_numpy()
    seen = rows.filter(pl.Series(looked_at))["account_id"].n_unique()
    weight = np.ones(rows.height, np.float32)
    if seen < AT_LEAST or sampling.unreviewed_weight == 1:
        return weight, ()
    weight[~looked_at & (rows["label"] == 0).fill_null(value=False).to_numpy()] = sampling.unreviewed_weight
    note = (
        f"{seen:,} accounts were looked at and cleared: they are negatives of weight 1, rows that nobody looked at of "
        f"weight {sampling.unreviewed_weight:g}"
    )
    return weight, (note,)


def _of(own: pl.Series | None, truth: Truth) -> Truth:
    if own is None:
        return truth
    inside = pl.col("account_id").is_in(own.implode())
    return Truth(truth.accounts.filter(inside), truth.activity.filter(inside))


def _refuse_too_few(full: Truth, known: Truth, known_by: datetime) -> None:
    if known.accounts.height >= AT_LEAST:
        return
    message = f"{known.accounts.height} labelled accounts known by {known_by:%Y-%m-%d}; at least {AT_LEAST} are needed"
    later = full.accounts.height - known.accounts.height
    hint = f"{later} more become known later: --known-by YYYY-MM-DD uses them" if later else "fintel feed add LABELS"
    raise ModelError(message, hint=hint)


def choose_plan(first: datetime, moment: datetime, full: Truth, known: Truth, sampling: Sampling) -> Plan:
    """The time plan with the longest look-back that the feed and its labels carry, else the grouped one."""
    ahead = timedelta(days=sampling.horizon_days)
    judged_at = moment - ahead
    history = (judged_at - first) / timedelta(days=1)
    known_by = sampling.known_by or moment
    timed = full.timed_share >= 0.5
    reasons = [] if timed else ["most labels have no dated activity"]
    for days in _LOOKBACKS if timed and sampling.plan != "grouped" else ():
        gap = days + sampling.horizon_days
        if history < 2 * days + gap:
            reasons.append(f"{history:.0f} days are too few for a look-back of {days} days (3 × {days})")
            continue
        back = timedelta(days=days)
        snapshots = _snapshots(first + back, judged_at - timedelta(days=gap), sampling.step_days)
        judged = _active(full, judged_at - back, moment)
        learned = _active(known, snapshots[0] - back, snapshots[-1] + ahead)
        if min(judged, learned) >= AT_LEAST:
            return Plan("time", days, gap, snapshots, (judged_at,), known_by, after_days=sampling.horizon_days)
        reasons.append(f"{learned} and {judged} labelled accounts to learn from and to judge by, {days} days back")
    if sampling.plan == "time":
        raise ModelError("a split by time is not possible: " + "; ".join(reasons))
    if history <= 0:
        raise ModelError(f"the feed is shorter than a horizon of {sampling.horizon_days} days")
    before = min(history, 90.0) if timed and history >= 180 else history
    snapshots = _snapshots(first + timedelta(days=before), judged_at, sampling.step_days)
    why = "; ".join(reasons) or "as asked for"
    note = f"no split by time ({why}): folds of groups over the same period, so nothing is known of the future"
    return Plan("grouped", before, 0.0, snapshots, snapshots, known_by, (note,), sampling.horizon_days)


def _snapshots(first: datetime, last: datetime, step_days: int) -> tuple[datetime, ...]:
    """Moments from ``last`` backwards, not before ``first``."""
    number = int((last - first) / timedelta(days=step_days)) + 1
    return tuple(last - timedelta(days=step_days * i) for i in reversed(range(number)))


def _groups(tables: Tables) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Groups by as many ties as leave no group with most of the labelled accounts, and what was left out."""
    for left_out in range(len(TIES) + 1):
        found = groups(tables, TIES[left_out:])
        largest = found.group_by("group").len()["len"].max()
        if not isinstance(largest, int) or largest <= max(1, _LARGEST_GROUP * found.height):
            break
    if not left_out:
        return found, ()
    return found, (f"ties by {' and '.join(TIES[:left_out])} join most labelled accounts and do not keep folds apart",)


def _active(truth: Truth, start: datetime, end: datetime) -> int:
    return truth.activity.filter((pl.col("at") >= start) & (pl.col("at") < end))["account_id"].n_unique()


def _varies(values: Floats) -> bool:
    known = values[~np.isnan(values)]
    return bool(known.size and (known.size < values.size or known.min() < known.max()))


def _with_folds(rows: pl.DataFrame, grouped: pl.DataFrame, folds: int, seed: int) -> pl.DataFrame:
    """``group`` (an account without one is its own) and ``fold``, labelled groups spread evenly."""
    accounts = rows.select("account_id").unique().sort("account_id")
    positives = rows.filter(pl.col("truth") == 1).select("account_id").unique().with_columns(positive=1)
    known = (
        accounts.join(grouped, on="account_id", how="left", maintain_order="left")
        .join(positives, on="account_id", how="left", maintain_order="left")
        .with_columns(group=pl.coalesce("group", -1 - pl.int_range(pl.len(), dtype=pl.Int64)))
    )
    rng = np.random.default_rng([seed, 1])
    sizes = known.group_by("group").agg(pl.col("positive").sum()).sort("group")
    sizes = sizes.with_columns(shuffle=pl.Series(rng.random(sizes.height)))
    fold = pl.Series("fold", rng.integers(0, folds, sizes.height))
    heavy = sizes.with_row_index("place").filter(pl.col("positive") > 0).sort(["positive", "shuffle"], descending=True)
    fold = fold.scatter(heavy["place"], _even(heavy["positive"].to_list(), folds))
    return rows.join(known.drop("positive"), on="account_id", how="left", maintain_order="left").join(
        sizes.select("group", fold=fold), on="group", how="left", maintain_order="left"
    )


def _even(sizes: Sequence[int], folds: int) -> list[int]:
    """Fold of each size, the largest first into the emptiest fold."""
    load = [0] * folds
    chosen = []
    for size in sizes:
        fold = load.index(min(load))
        load[fold] += size
        chosen.append(fold)
    return chosen
