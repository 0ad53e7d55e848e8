"""Features of accounts as of moments: order entries once, then sweep them for every moment together."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import MONEY_UNITS
from fintel.engine import kernels
from fintel.engine.arrays import load, order_by_time
from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.features import sweeps
from fintel.features.catalog import WINDOW_FEATURES
from fintel.features.entries import entries
from fintel.features.profiles import account_profiles
from fintel.features.recipes import (
    MASKS,
    SPARSE,
    Direct,
    Growth,
    Measure,
    Mutual,
    Quotient,
    Recipe,
    Repeats,
)
from fintel.frames import TIMESTAMP

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]
Tables = Mapping[str, pl.LazyFrame]

_DAY = 86_400_000_000
_PASSED_WITHIN = 2 * _DAY
_NEW_AFTER = 90 * _DAY
_SETTLED_AFTER = 30 * _DAY
_NUMBER = {name: i for i, name in enumerate(MASKS)}
_CODES = (
    "account_id", "counterparty_id", "counterparty_country", "counterparty_agent",
    "place_id", "place_city", "device_id",
)  # fmt: skip
#: What any recipe may look back to, so that one merge finds every window's ends.
_WINDOWS = tuple((days, offset) for offset, spans in ((0, (7, 30, 90, 365)), (30, (90, 180))) for days in spans)
_NEVER = np.iinfo(np.int64).max


def account_features(
    tables: Tables,
    as_of: datetime | Sequence[datetime],
    *,
    accounts: pl.Series | None = None,
    threads: int = 0,
) -> pl.DataFrame:
    """Features of every account with an entry before a moment, for one or many moments.

    A payment counts at a moment if it was booked strictly before it and was not undone before it:
    rows that come later, reversals included, change nothing.

    Parameters
    ----------
    tables: canonical lazy frames by name; ``transactions`` needed, ``accounts``, ``parties`` optional.
    as_of: one moment or several (time zone aware).
    accounts: ids to keep; all if None.

    Returns
    -------
    ``account_id``, ``as_of`` and the catalogue's ``WINDOW_FEATURES`` (float64, NaN = unknown), by account and moment.
    """
    moments = sorted({as_of} if isinstance(as_of, datetime) else set(as_of))
    if not moments:
        return _frame(pl.Series([], dtype=pl.String), np.zeros(0, np.int64), {})
    facts = _feed_facts(tables["transactions"])
    touched = _undone_between(tables["transactions"], moments[0], moments[-1])
    last = entries_before(tables, moments[-1])
    if touched.is_empty():
        frames = [_sweep_all(last, moments, facts, accounts, threads)]
    else:
        # For accounts with a payment undone between the moments, each moment has its own past.
        inside = pl.col("account_id").is_in(touched.implode())
        frames = [_sweep_all(last.filter(~inside), moments, facts, accounts, threads)]
        for moment in moments:
            frames.append(_sweep_all(entries_before(tables, moment).filter(inside), [moment], facts, accounts, threads))
    features = pl.concat(frames).sort("account_id", "as_of")
    return _with_profiles(tables, features)


def entries_before(tables: Tables, moment: datetime) -> pl.LazyFrame:
    """Entries that stand strictly before a moment, with the payment's row number as ``row``."""
    numbered = {**tables, "transactions": tables["transactions"].with_row_index("row")}
    return entries(numbered, as_of=moment - timedelta(microseconds=1), row="row")


@dataclass(frozen=True)
class _Facts:
    """Of the feed: payments in order of time, its first instant, and when sparse columns are first filled."""

    payments_in_order: npt.NDArray[np.uint32]
    begins: int
    filled_from: Mapping[str, int]


def _feed_facts(transactions: pl.LazyFrame) -> _Facts:
    time = pl.col("booked_at").to_physical()
    row = (
        transactions.select(
            time.min().alias("begins"), *[time.filter(pl.col(name).is_not_null()).min().alias(name) for name in SPARSE]
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    known = {name: _NEVER if row[name] is None else int(row[name]) for name in SPARSE}
    ordered = order_by_time(transactions.with_row_index("row"), "row")
    return _Facts(ordered, 0 if row["begins"] is None else int(row["begins"]), known)


def _undone_between(transactions: pl.LazyFrame, first: datetime, last: datetime) -> pl.Series:
    """Accounts with a payment whose reversal was booked from ``first`` until before ``last``."""
    undoing = transactions.filter(
        pl.col("reversal_of").is_not_null() & (pl.col("booked_at") >= first) & (pl.col("booked_at") < last)
    ).select(transaction_id="reversal_of")
    sides = (
        transactions.join(undoing, on="transaction_id", how="semi")
        .select("debtor_account_id", "creditor_account_id")
        .collect(engine="streaming")
    )
    return pl.concat([sides["debtor_account_id"], sides["creditor_account_id"]]).drop_nulls().unique().sort()


def _sweep_all(
    rows: pl.LazyFrame, moments: Sequence[datetime], facts: _Facts, accounts: pl.Series | None, threads: int
) -> pl.DataFrame:
    if accounts is not None:
        rows = rows.filter(pl.col("account_id").is_in(accounts.implode()))
    data = load(
        rows,
        facts.payments_in_order,
        masks=[pl.sql_expr(sql) for sql in MASKS.values()],
        values=("amount_base",),
        codes=_CODES,
    )
    at = pl.Series(moments, dtype=TIMESTAMP).to_physical().to_numpy()
    parts = list(sweep(partition(data, ["account_id"]), lambda piece: _compute(piece, at, facts), threads=threads))
    names = data.dictionary["account_id"].cast(pl.String)
    if not parts:
        return _frame(pl.Series([], dtype=pl.String), np.zeros(0, np.int64), {})
    values = {name: np.concatenate([p.values[name] for p in parts]) for name in parts[0].values}
    account = np.concatenate([p.account for p in parts])
    return _frame(names.gather(account), np.concatenate([p.moment for p in parts]), values)


def _frame(account: pl.Series, moment: npt.NDArray[np.int64], values: Mapping[str, Floats]) -> pl.DataFrame:
    when = pl.Series(moment, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(TIMESTAMP)
    return pl.DataFrame(
        {"account_id": account, "as_of": when}
        | {f.name: values.get(f.name, np.full(len(account), np.nan)) for f in WINDOW_FEATURES}
    )


def _with_profiles(tables: Tables, features: pl.DataFrame) -> pl.DataFrame:
    known = account_profiles(tables, features.select("account_id", "as_of"))
    income = known["yearly_income"] / 4
    ratio = pl.select(
        pl.when(income > 0).then((features["in_sum_90d"] / income).clip(upper_bound=100.0)).otherwise(None)
    ).to_series()
    columns = [known[name].fill_null(float("nan")) for name in ("account_age_days", "is_organisation", "party_age")]
    return features.with_columns(*columns, ratio.fill_null(float("nan")).alias("income_ratio_90d"))


@dataclass(frozen=True)
class _Part:
    account: npt.NDArray[np.int32]
    moment: npt.NDArray[np.int64]
    values: Mapping[str, Floats]


def _compute(piece: Slice, moments: npt.NDArray[np.int64], facts: _Facts) -> _Part:
    begins = np.flatnonzero(piece.starts == np.arange(len(piece), dtype=np.int32)).astype(np.int64)
    ends = np.append(begins[1:], len(piece))
    sought = np.unique([moments - (days + offset) * _DAY for days, offset in _WINDOWS] + [moments, moments - 30 * _DAY])
    found = sweeps.cuts(piece.time, begins, ends, sought)
    own, when = np.nonzero(found[:, np.searchsorted(sought, moments)] > begins[:, None])
    state = _Windows(piece, begins[own].astype(np.int32), moments[when], facts, found[own], sought)
    values = {f.name: state.value(f.recipe) for f in WINDOW_FEATURES if f.family != "profile"}
    account = piece.entries.codes["account_id"][piece.rows[begins[own]]]
    return _Part(account, moments[when], values)


@dataclass
class _Windows:
    """Windows of (account, moment) pairs in one slice; every measure is swept once."""

    piece: Slice
    begin: Rows
    at: npt.NDArray[np.int64]
    facts: _Facts
    found: npt.NDArray[np.int32]
    sought: npt.NDArray[np.int64]
    _done: dict[Hashable, Any] = field(default_factory=dict)

    def value(self, recipe: Recipe) -> Floats:
        """A recipe's value for each pair."""
        match recipe:
            case Direct(measure, known, among):
                value = self.measure(measure)
                if known is None or among is None:
                    return self._when_filled(measure, value)
                none_known = self._count(known, measure) == 0
                return np.where(none_known & (self._count(among, measure) > 0), np.nan, value)
            case Quotient(top, bottom, cap):
                ratio = _divide(self.measure(top), self.measure(bottom))
                return ratio if cap is None else np.minimum(ratio, cap)
            case Repeats(mask, days):
                different = self.measure(Measure("distinct", "amount_base", mask, days))
                return 1.0 - _divide(different, self.measure(Measure("count", "*", mask, days)))
            case Mutual(days):
                senders, recipients, others = (
                    self.measure(Measure("distinct", "counterparty_id", mask, days)) for mask in ("in", "out", "all")
                )
                return _divide(senders + recipients - others, others)
            case Growth(measure):
                return self._growth(measure)
            case _:
                raise ValueError(f"not a recipe of windows: {recipe}")

    def measure(self, measure: Measure) -> Floats:
        """A measure for each pair; NaN where there is no value."""
        if measure not in self._done:
            self._done[measure] = self._evaluate(measure)
        return cast("Floats", self._done[measure])

    def _count(self, mask: str, like: Measure) -> Floats:
        return self.measure(Measure("count", "*", mask, like.days, like.offset))

    def _when_filled(self, measure: Measure, value: Floats) -> Floats:
        """Unknown until the feed first filled the column."""
        since = self.facts.filled_from.get(measure.column)
        return value if since is None else np.where(self.at > since, value, np.nan)

    def _growth(self, measure: Measure) -> Floats:
        history = (self.at - self.piece.time[self.begin]) / _DAY - measure.days
        covered = np.clip(history, 0.0, 180.0)
        past = self.measure(Measure(measure.kind, measure.column, measure.mask, 180, measure.days))
        extra = 1.0 if measure.kind == "count" else 0.0
        now = self.measure(measure) + extra
        usual = past * _divide(np.full(covered.size, float(measure.days)), covered) + extra
        ratio = _divide(now, usual)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.log2(ratio)
        return np.where((covered >= 30.0) & (ratio > 0), value, np.nan)

    def _ends(self, days: int, offset: int) -> tuple[Rows, Rows]:
        columns = np.arange(self.at.size)
        high = self.at - offset * _DAY
        lo = self.found[columns, np.searchsorted(self.sought, high - days * _DAY)]
        return lo, self.found[columns, np.searchsorted(self.sought, high)]

    def _evaluate(self, measure: Measure) -> Floats:
        lo, hi = self._ends(measure.days, measure.offset)
        mask, kind = self._mask(measure.mask), measure.kind
        if kind == "count":
            return cast("Floats", kernels.count(mask, lo, hi))
        if kind == "last":
            edge = kernels.edge_rows(mask, lo, hi, True)
            end = self.at - measure.offset * _DAY
            return np.where(edge >= 0, (end - self.piece.time[np.maximum(edge, 0)]) / _DAY, np.nan)
        if kind in ("distinct", "top_share"):
            codes, size = self._codes(measure.column)
            function = kernels.distinct if kind == "distinct" else sweeps.top_share
            return cast("Floats", function(codes, size, mask, lo, hi))
        values = self._values(measure.column)
        if kind == "sum":
            return cast("Floats", kernels.total(values, mask, lo, hi) / MONEY_UNITS)
        if kind == "mean":
            return _divide(kernels.total(values, mask, lo, hi) / MONEY_UNITS, kernels.count(mask, lo, hi))
        if kind == "max":
            highest, some = kernels.extreme(values, mask, lo, hi, 1)
            return np.where(some, highest / MONEY_UNITS, np.nan)
        if kind == "std":
            return cast("Floats", sweeps.spread(values, mask, lo, hi) / MONEY_UNITS)
        raise ValueError(f"unknown kind of measure '{kind}'")

    def _once(self, key: str, make: Any) -> Any:
        if key not in self._done:
            self._done[key] = make()
        return self._done[key]

    def _mask(self, name: str) -> npt.NDArray[np.uint8]:
        if name in _NUMBER:
            return self.piece.mask(_NUMBER[name])
        return cast("npt.NDArray[np.uint8]", self._once(f"mask {name}", lambda: self._derived(name)))

    def _derived(self, name: str) -> npt.NDArray[np.uint8]:
        side, what = name.split("_")
        settled = self.piece.time >= self.facts.begins + _SETTLED_AFTER
        codes, size = self._codes("counterparty_id")
        known = self.piece.mask(_NUMBER[side]) * (settled & (codes >= 0)).astype(np.uint8)
        if what == "known":
            return known
        new = self._once(
            "first meetings",
            lambda: sweeps.first_meetings(self.piece.time, self.piece.starts, codes, size, _NEW_AFTER),
        )
        return cast("npt.NDArray[np.uint8]", known * new)

    def _codes(self, column: str) -> tuple[npt.NDArray[np.int32], int]:
        def make() -> tuple[npt.NDArray[np.int32], int]:
            if column == "day":
                days = self.piece.time // _DAY
                codes = (days - days.min()).astype(np.int32)
            elif column == "amount_base":
                codes = np.unique(self.piece.values("amount_base"), return_inverse=True)[1].astype(np.int32)
            else:
                codes = self.piece.codes(column)
            return codes, int(codes.max(initial=-1)) + 1

        return cast("tuple[npt.NDArray[np.int32], int]", self._once(f"codes {column}", make))

    def _values(self, column: str) -> npt.NDArray[np.int64]:
        if column == "amount_base":
            return self.piece.values("amount_base")
        taken, waited = self._once("passed on", self._passed_on)
        return cast("npt.NDArray[np.int64]", taken if column == "taken" else waited)

    def _passed_on(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        piece = self.piece
        taken, waited = sweeps.passed_on(
            piece.time,
            piece.starts,
            piece.mask(_NUMBER["in_valued"]),
            piece.mask(_NUMBER["out_valued"]),
            piece.values("amount_base"),
            _PASSED_WITHIN,
        )
        # Whole units again, so that sliding sums stay exact.
        return taken, np.rint(waited).astype(np.int64)


def _divide(top: Floats, bottom: Floats) -> Floats:
    """Quotient, NaN where the bottom is 0."""
    return cast("Floats", np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0))
