"""The leakage audit: a learning set that knows what a scorer cannot know is refused, with the features' names.

Six things, each of which has made published results worthless (Kapoor and Narayanan, "Leakage and the reproducibility
crisis in machine-learning-based science", Patterns 4(9), 2023, classes 1 to 3):

* *future*: features of some snapshots are computed anew from tables that end there and go on with made-up rows:
  payments, reversals and labels of what comes later. They are equal to the last bit, or they see the future;
* *label*: a feature whose value, or whether it has one, tells labelled from other rows alone: an area under the ROC
  curve of ``BOUND`` or more (or 1 - ``BOUND`` or less), on at least ``ENOUGH`` labelled rows. No behaviour does that;
  a column filled by the investigation does. Real ones can be waived by name, and the reason is kept;
* *groups*: every account and every group of accounts (scheme, holder, labelled payment) in one fold;
* *known_at*: no row is positive by a label known later than training may know;
* *embargo*: training snapshots end as long before the judged one as a label reaches, back and ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import rankdata

from fintel.domain.schema import LABELS
from fintel.errors import ModelError, did_you_mean
from fintel.features.catalog import BY_NAME
from fintel.frames import empty
from fintel.frames import fit as fitted
from fintel.models.dataset import Examples, Tables
from fintel.models.labels import TIES, groups, read_truth
from fintel.models.leakage_card import AloneCard, LeakageCard

#: Features of these accounts at this moment by these tables: ``account_id`` and the features, by account.
Recompute = Callable[[Tables, datetime, pl.Series], pl.DataFrame]

BOUND = 0.99
ENOUGH = 20
#: Accounts whose features are computed anew at each moment; rows that are not labelled, to rank the others among.
_ACCOUNTS, _OTHERS = 300, 50_000
#: Made-up payments after the cut.
_LATER = 500
_TOLD, _NAMED = 10, 12
FIRMEST = TIES[-1:]


@dataclass(frozen=True)
class Waivers:
    """Features that may tell the label alone: name → why that is no leak. A feature that sees the future never may."""

    reasons: Mapping[str, str] = field(default_factory=dict)


def audit(
    examples: Examples, tables: Tables, recompute: Recompute, *, waivers: Waivers | None = None, seed: int = 7
) -> LeakageCard:
    """Refuse a learning set that leaks; else say what was looked at.

    Parameters
    ----------
    tables: what the examples were made of. recompute: how their features were made.

    Raises
    ------
    ModelError: it leaks, or a waiver names no feature or gives no reason.
    """
    given = (waivers or Waivers()).reasons
    _check_waivers(given, examples.names)
    checks = [_embargo(examples), _groups_apart(examples, tables), _known_by_then(examples, tables)]
    alone, positives = told_alone(examples, seed)
    checks.append(_label_not_told(alone, positives, given))
    moments = sorted({examples.plan.fit_at[0], examples.plan.fit_at[-1]})
    rows = sum(_future_unseen(examples, tables, recompute, moment, seed) for moment in moments)
    checks.append(f"future: {rows:,} rows at {len(moments)} moments equal to the last bit with other later rows")
    best = sorted(alone, key=lambda a: (-max(a.value, a.known), a.name))[:_TOLD]
    used = {name: reason for name, reason in given.items() if name in examples.names}
    return LeakageCard(
        moments=tuple(moments), rows=rows, positives=positives, bound=BOUND, alone=tuple(best), waived=used,
        checks=tuple(checks),
    )  # fmt: skip


def _check_waivers(given: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name, reason in given.items():
        if name not in BY_NAME and name not in names:
            raise ModelError(f"there is no feature '{name}' to waive", hint=did_you_mean(name, BY_NAME))
        if not reason.strip():
            raise ModelError(f"no reason for waiving '{name}'", hint="NAME=REASON")


def _refused(what: str, names: list[str], hint: str) -> ModelError:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ModelError(f"leakage: {what}: {', '.join(names[:_NAMED])}{more}", hint=hint)


# -- the split


def _embargo(examples: Examples) -> str:
    plan = examples.plan
    if plan.kind != "time":
        return "embargo: none, for the split is not by time"
    reach = plan.before_days + plan.after_days
    gap = (min(plan.test_at) - max(plan.fit_at)) / timedelta(days=1)
    if min(gap, plan.gap_days) < reach:
        raise ModelError(
            f"leakage: training snapshots end {gap:g} days before the judged one, and a label reaches {reach:g} days",
            hint="a longer gap, or a shorter look-back or horizon",
        )
    return f"embargo: {gap:g} days, and a label reaches {reach:g} days"


def _groups_apart(examples: Examples, tables: Tables) -> str:
    rows = examples.rows
    for key in ("account_id", "group"):
        both = rows.group_by(key).agg(pl.col("fold").n_unique()).filter(pl.col("fold") > 1)
        if both.height:
            some = both[key].sort().head(_NAMED).to_list()
            raise ModelError(
                f"leakage: {both.height:,} of '{key}' stand in two folds: {', '.join(map(str, some))}",
                hint="one fold a group",
            )
    tied = rows.select("account_id", "group").unique().join(groups(tables, FIRMEST), on="account_id", suffix="_tied")
    apart = tied.group_by("group_tied").agg(pl.col("group").n_unique()).filter(pl.col("group") > 1)
    if apart.height:
        raise ModelError(
            f"leakage: {apart.height:,} holders have accounts in several groups", hint="one group a holder"
        )
    return f"groups: {rows['group'].n_unique():,} groups of accounts, each in one fold"


def _known_by_then(examples: Examples, tables: Tables) -> str:
    known = read_truth(tables, examples.plan.known_by).accounts
    taught = examples.rows.filter(pl.Series(examples.fit) & (pl.col("label") == 1)).select("account_id").unique()
    early = taught.join(known, on="account_id", how="anti")["account_id"].sort()
    if len(early):
        raise _refused(
            f"labels that were not known by {examples.plan.known_by:%Y-%m-%d} are trained on", early.to_list(),
            "labels count from known_at on",
        )  # fmt: skip
    return f"known_at: {taught.height:,} labelled accounts, all known by {examples.plan.known_by:%Y-%m-%d}"


# -- the label


def told_alone(examples: Examples, seed: int) -> tuple[tuple[AloneCard, ...], int]:
    """For each feature the area under its ROC curve over training rows, and the number of labelled ones among them.

    Rows that know no value stand below all others. Of rows that are not labelled a sample is taken.
    """
    label = examples.rows["label"].to_numpy()
    positive = np.flatnonzero(examples.fit & (label == 1))
    others = np.flatnonzero(examples.fit & (label == 0))
    rng = np.random.default_rng([seed, 2])
    if others.size > _OTHERS:
        others = np.sort(rng.choice(others, _OTHERS, replace=False))
    if not positive.size or not others.size:
        return (), int(positive.size)
    chosen = np.concatenate([positive, others])
    told = []
    for column, name in enumerate(examples.names):
        values = examples.x[chosen, column]
        known = ~np.isnan(values)
        ranked = np.where(known, values, -np.inf)
        told.append(
            AloneCard(name=name, value=_area(ranked, positive.size), known=_area(known.astype(float), positive.size))
        )
    return tuple(told), int(positive.size)


def _area(values: npt.NDArray[Any], positives: int) -> float:
    """Area under the ROC curve, ties counted half, the better way round; the first ``positives`` are the labelled."""
    ranks = rankdata(values)[:positives].sum()
    area = (ranks - positives * (positives + 1) / 2) / (positives * (values.size - positives))
    return round(float(max(area, 1 - area)), 6)


def _label_not_told(alone: tuple[AloneCard, ...], positives: int, given: Mapping[str, str]) -> str:
    if positives < ENOUGH:
        return f"label: {positives} labelled rows are too few to say that a feature tells them alone ({ENOUGH})"
    leaks = [a for a in alone if max(a.value, a.known) >= BOUND and a.name not in given]
    if leaks:
        names = [
            f"{a.name} ({'whether it is known, ' if a.known > a.value else ''}area {max(a.value, a.known):.3f})"
            for a in sorted(leaks, key=lambda a: -max(a.value, a.known))
        ]
        raise _refused(
            f"features that tell the label alone (area under the curve {BOUND} or more)", names,
            "leave the column out, or waive the feature with the reason: --waive NAME=REASON",
        )  # fmt: skip
    return f"label: no feature alone reaches an area of {BOUND} on {positives:,} labelled rows" + (
        f"; waived: {', '.join(sorted(given))}" if given else ""
    )


# -- the future


def _future_unseen(examples: Examples, tables: Tables, recompute: Recompute, moment: datetime, seed: int) -> int:
    """Rows compared at a moment. Raises ModelError where one is not what it was."""
    here = np.flatnonzero((examples.rows["as_of"] == moment).to_numpy())
    rng = np.random.default_rng([seed, 3])
    positive = here[examples.rows["label"].to_numpy()[here] == 1]
    drawn = rng.choice(here, min(_ACCOUNTS, here.size), replace=False)
    chosen = np.unique(np.concatenate([positive[: _ACCOUNTS // 3], drawn]))
    accounts = examples.rows["account_id"].gather(chosen)
    anew = recompute(continued(tables, moment), moment, accounts)
    if anew["account_id"].to_list() != accounts.to_list():
        raise ModelError(
            f"leakage: with other rows after {moment:%Y-%m-%d} there are other accounts then",
            hint="an account counts from its first entry on",
        )
    ours, theirs = examples.x[chosen], anew.select(examples.names).to_numpy()
    equal = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    changed = [name for name, same in zip(examples.names, equal.all(axis=0), strict=True) if not same]
    if changed:
        raise _refused(
            f"features as of {moment:%Y-%m-%d} that change with rows that come later", changed,
            "a feature may only see what stands strictly before its moment",
        )  # fmt: skip
    return int(chosen.size)


def continued(tables: Tables, moment: datetime) -> dict[str, pl.LazyFrame]:
    """The tables as known strictly before a moment, and after it rows that somebody made up.

    Later payments are the last ones before it, the other way round and dearer; some of the last ones are undone; their
    accounts are labelled; identifiers, rates and intelligence of later days are left out.
    """
    cut = {name: _before(name, frame, moment) for name, frame in tables.items()}
    last = cut["transactions"].sort("booked_at", "transaction_id").tail(_LATER).collect()
    sides = {
        f"{one}_{what}": pl.col(f"{other}_{what}")
        for one, other in (("debtor", "creditor"), ("creditor", "debtor"))
        for what in ("account_id", "name", "agent", "country")
    }
    hours = pl.duration(hours=pl.int_range(pl.len(), dtype=pl.Int64) // 8)
    later = last.with_columns(
        **sides,
        transaction_id=pl.format("later:{}", "transaction_id"),
        booked_at=pl.lit(moment) + hours,
        amount_base=pl.col("amount_base") * 3,
    )
    undone = last.filter(pl.col("status") == "booked", pl.col("reversal_of").is_null()).gather_every(5)
    undone = undone.with_columns(
        reversal_of="transaction_id",
        transaction_id=pl.format("undone:{}", "transaction_id"),
        booked_at=pl.lit(moment) + timedelta(hours=1),
        status=pl.lit("reversal"),
    )
    schema = last.schema
    added = pl.concat([f.select(pl.col(n).cast(schema[n]) for n in last.columns) for f in (later, undone)])
    cut["transactions"] = pl.concat([cut["transactions"], added.lazy()])
    known = cut.get("labels", empty(LABELS).lazy())
    cut["labels"] = pl.concat([known, _labels(last, moment).lazy()], how="vertical_relaxed")
    return cut


_DATED = {
    "transactions": "booked_at", "labels": "known_at", "identifiers": "first_seen", "intel": "received_on",
    "rates": "date",
}  # fmt: skip


def _before(name: str, frame: pl.LazyFrame, moment: datetime) -> pl.LazyFrame:
    if name not in _DATED:
        return frame
    column = pl.col(_DATED[name])
    by = moment.date() if frame.collect_schema()[_DATED[name]] == pl.Date else moment
    return frame.filter(column.is_null() | (column < by))


def _labels(last: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    named = pl.concat([last["debtor_account_id"], last["creditor_account_id"]]).drop_nulls().unique().sort()
    row: dict[str, Any] = {
        "subject_type": "account", "suspicious": True, "label_source": "later", "known_at": moment,
        "source": "later", "feed_id": "later", "source_file": "later", "source_row": 1,
    }  # fmt: skip
    return fitted(named.to_frame("subject_id").with_columns(pl.lit(v).alias(k) for k, v in row.items()), LABELS)
