"""A library made ready for a feed: compiled, entries read once, and what each rule can see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import polars as pl

from fintel.engine.arrays import Entries, load, order_by_time
from fintel.engine.conditions import Atom, Flags
from fintel.features.entries import Tables, booked, entries
from fintel.graph.entry_columns import with_graph
from fintel.rules import keywords
from fintel.rules.compiler import CompiledRule, Plan, compile_library
from fintel.rules.list_types import KeywordList, PatternList
from fintel.rules.model import Library
from fintel.rules.patterns import match_patterns

#: Where the texts of a column of entries stand, if not in a column of that name.
_NAMES = {"counterparty_name": ("debtor_name", "creditor_name")}


@dataclass(frozen=True)
class Prepared:
    """``failures``: by rule id, why polars refused a condition; such a rule selects nothing."""

    plan: Plan
    data: Entries
    rates: Mapping[str, float]
    failures: Mapping[str, str]


def prepare(
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    library: Library,
    *,
    base_currency: str = "USD",
    as_of: datetime | None = None,
    codes: Sequence[str] = (),
) -> Prepared:
    """Compile a library and read the entries that its rules look at.

    Parameters
    ----------
    tables: canonical tables by name; ``transactions`` needed.
    as_of: nothing booked later is seen.
    codes: columns of entries to keep as codes beside those that the rules need.
    """
    lazy = {name: frame.lazy() for name, frame in tables.items()}
    rates = latest_rates(lazy, base_currency, as_of)
    plan = compile_library(library, base_currency=base_currency, rates=rates)
    plan = replace(plan, codes=tuple(sorted({*plan.codes, *codes})))
    data, failures = _load(lazy, plan, library, as_of)
    return Prepared(plan, data, rates, failures)


def latest_rates(tables: Tables, base: str, as_of: datetime | None) -> dict[str, float]:
    """Latest rate to the base currency of each currency, as of the run."""
    if "rates" not in tables:
        return {}
    known = tables["rates"].filter(pl.col("base") == base)
    if as_of is not None:
        known = known.filter(pl.col("date") <= as_of.date())
    latest = known.sort("date").group_by("currency").agg(pl.col("rate").last().cast(pl.Float64)).collect()
    return dict(latest.iter_rows())


def text_flags(tables: Tables, plan: Plan, library: Library) -> dict[str, Flags]:
    """Which lists each text of a column mentions, from one pass over the distinct texts."""
    found = {}
    for column in sorted({c for c, _ in plan.mentions}):
        lists = [library.lists[name] for c, name in sorted(plan.mentions) if c == column]
        texts = _texts(tables["transactions"], column)
        words = keywords.match(texts, [found for found in lists if isinstance(found, KeywordList)])
        forms = match_patterns(texts, [found for found in lists if isinstance(found, PatternList)])
        matched = pl.concat([texts.to_frame(), words, forms], how="horizontal")
        some = matched.filter(pl.any_horizontal(pl.exclude(column)))
        found[column] = Flags(column, f"{column} mentions", some)
    return found


def _texts(transactions: pl.LazyFrame, column: str) -> pl.Series:
    """The distinct texts of a column of entries."""
    sources = _NAMES.get(column, (column,))
    parts = [transactions.select(pl.col(s).alias(column)) for s in sources]
    found = pl.concat(parts).select(pl.col(column).drop_nulls().unique()).collect(engine="streaming")
    return found[column]


def seen_entries(
    tables: Tables, plan: Plan, library: Library, as_of: datetime | None = None
) -> tuple[pl.LazyFrame, dict[str, Flags]]:
    """Entries with ``row`` (the payment's number), the graph columns that the plan reads, and where each of their
    texts stands in what is known of texts."""
    flags = text_flags(tables, plan, library)
    seen = entries({**tables, "transactions": tables["transactions"].with_row_index("row")}, as_of=as_of, row="row")
    seen = with_graph(seen, tables, plan.columns, as_of=as_of)
    for found in flags.values():
        places = found.values.lazy().select(found.column).with_row_index(found.place)
        seen = seen.join(places, on=found.column, how="left", maintain_order="left")
    return seen, flags


def _load(tables: Tables, plan: Plan, library: Library, as_of: datetime | None) -> tuple[Entries, dict[str, str]]:
    """Entries as arrays. A rule whose masks polars refuses is set aside; the others go on."""
    seen, flags = seen_entries(tables, plan, library, as_of)
    order = order_by_time(booked(tables["transactions"].with_row_index("row"), as_of), "row")
    masks, failures = plan.masks, {}
    try:
        data = load(seen, order, masks=masks, flags=flags, values=plan.values, codes=plan.codes)
    except pl.exceptions.PolarsError:
        faulty: dict[Atom, str] = {}
        for atom in masks.compiled().atoms:
            if isinstance(atom, Atom):
                try:
                    load(seen, order, masks=[atom.expression])
                except pl.exceptions.PolarsError as error:
                    faulty[atom] = str(error).splitlines()[0][:300]
        masks, broken = masks.without(faulty)
        failures = {r.rule.id: broken[m] for r in plan.rules for m in r.masks if m in broken}
        data = load(seen, order, masks=masks, flags=flags, values=plan.values, codes=plan.codes)
    return data, failures


class Counted(Protocol):
    """How many entries each mask selects, and cannot decide."""

    @property
    def selected(self) -> Sequence[int]:
        """By the mask's number."""

    @property
    def undecided(self) -> Sequence[int]:
        """By the mask's number."""


@dataclass(frozen=True)
class Blindness:
    """Why a rule has no answer on a feed, and the columns of entries that would open its eyes."""

    reason: str
    columns: tuple[str, ...]


def blindness(compiled: CompiledRule, data: Counted) -> Blindness | None:
    """Why the rule has no answer on this feed, or None. A missing value is never a 'no'.

    A field that is filled for some entries only does not blind a rule: what it could not decide is
    counted as ``unseen``.
    """
    for part, mask in compiled.filters.items():
        empty_columns = tuple(c for c, filled in compiled.reads[part].items() if not data.selected[filled])
        if empty_columns and data.undecided[mask] and not data.selected[mask]:
            return Blindness(f"{part}: {', '.join(empty_columns)} is empty in the whole feed", empty_columns)
    for what, (wanted, carrying) in compiled.guards.items():
        if data.selected[wanted] and not data.selected[carrying]:
            columns = tuple(what.rpartition(": ")[2].strip().split(", "))
            return Blindness(f"{what.strip()} is empty in every entry it looks at", columns)
    return None
