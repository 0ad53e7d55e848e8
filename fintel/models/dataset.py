"""Rows to learn from and rows to be judged on: which moments, which accounts, which labels.

Two plans. *time*: the model is judged at the last moment, trained on snapshots that end a gap before
it, as long as a label looks back, so that no payment is seen on both sides; and in group folds, so
that no scheme, holder or account is on both sides either. *grouped*: where the feed is too short, or
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
from fintel.features.catalog import FEATURES, model_features
from fintel.features.windows import account_features
from fintel.frames import empty
from fintel.models.labels import TIES, Truth, groups, label_rows, read_truth

Tables = Mapping[str, pl.LazyFrame]
Floats = npt.NDArray[np.float64]
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
    moment of training.
    """

    step_days: int = 30
    folds: int = 5
    plan: Kind | None = None
    known_by: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """What is trained on and judged on. A label looks back ``before_days``."""

    kind: Kind
    before_days: float
    gap_days: float
    fit_at: tuple[datetime, ...]
    test_at: tuple[datetime, ...]
    known_by: datetime
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examples:
    """Rows in order of account and moment.

    ``rows``: ``account_id, as_of, fold, group, truth`` (full labels, 1/0/null) and ``label`` (as known
    when training). ``x``: float64 (rows, features) of ``names``.
    """

    plan: Plan
    rows: pl.DataFrame
    x: Floats
    names: tuple[str, ...]
    fit: npt.NDArray[np.bool_] = field(repr=False)
    test: npt.NDArray[np.bool_] = field(repr=False)


def own_accounts(tables: Tables) -> pl.Series | None:
    """Accounts of own customers; None where the feed describes none, and all count as own."""
    accounts = tables.get("accounts", empty(ACCOUNTS).lazy())
    own = accounts.filter(pl.col("holding") == "own").select("account_id").unique().collect()["account_id"].sort()
    return None if own.is_empty() else own


def build(tables: Tables, moment: datetime, sampling: Sampling, *, seed: int, threads: int) -> Examples:
    """Plan, compute features and label rows.

    Parameters
    ----------
    moment: everything strictly before it is seen.

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
    features = account_features(tables, sorted({*plan.fit_at, *plan.test_at}), accounts=own, threads=threads)
    keys = features.select("account_id", "as_of")
    truth = label_rows(keys, full, plan.before_days)
    label = label_rows(keys, known, plan.before_days)
    rows = keys.with_columns(truth.alias("truth"), label.alias("label"))
    grouped, note = _groups(tables)
    rows = _with_folds(rows, grouped, sampling.folds, seed)
    plan = replace(plan, notes=(*plan.notes, *note))
    fit = keys["as_of"].is_in(list(plan.fit_at)).to_numpy() & rows["label"].is_not_null().to_numpy()
    test = keys["as_of"].is_in(list(plan.test_at)).to_numpy() & rows["truth"].is_not_null().to_numpy()
    history = (plan.fit_at[0] - first) / timedelta(days=1)
    usable = model_features(_LONGEST if len({*plan.fit_at, *plan.test_at}) == 1 else history)
    names = tuple(f.name for f in usable if _varies(features[f.name].to_numpy()[fit]))
    positives = rows.filter(pl.Series(fit) & (pl.col("label") == 1))["account_id"].n_unique()
    if positives < AT_LEAST or not names:
        raise ModelError(
            f"{positives} labelled accounts among {int(fit.sum())} training rows are too few (at least {AT_LEAST})",
            hint="add labels, or rank by rules alone",
        )
    return Examples(plan, rows, features.select(names).to_numpy(), names, fit, test)


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
    history = (moment - first) / timedelta(days=1)
    known_by = sampling.known_by or moment
    timed = full.timed_share >= 0.5
    reasons = [] if timed else ["most labels have no dated activity"]
    for days in _LOOKBACKS if timed and sampling.plan != "grouped" else ():
        if history < 3 * days:
            reasons.append(f"{history:.0f} days are too few for a look-back of {days} days (3 × {days})")
            continue
        back = timedelta(days=days)
        snapshots = _snapshots(first + back, moment - back, sampling.step_days)
        judged = _active(full, moment - back, moment)
        learned = _active(known, snapshots[0] - back, snapshots[-1])
        if min(judged, learned) >= AT_LEAST:
            return Plan("time", days, days, snapshots, (moment,), known_by)
        reasons.append(f"{learned} and {judged} labelled accounts to learn from and to judge by, {days} days back")
    if sampling.plan == "time":
        raise ModelError("a split by time is not possible: " + "; ".join(reasons))
    before = min(history, 90.0) if timed and history >= 180 else history
    snapshots = _snapshots(first + timedelta(days=before), moment, sampling.step_days)
    why = "; ".join(reasons) or "as asked for"
    note = f"no split by time ({why}): folds of groups over the same period, so nothing is known of the future"
    return Plan("grouped", before, 0.0, snapshots, snapshots, known_by, (note,))


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
