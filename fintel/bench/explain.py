"""A rule explained: what it looks at, who published it, its numbers, and an example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from fintel.bench.sentences import Sentences, partition_in_words
from fintel.rules.cases import Case, load_cases
from fintel.rules.list_types import AmountList, AnyList, PatternList, ValueList
from fintel.rules.model import Library, Rule
from fintel.rules.wording import number_in_words

if TYPE_CHECKING:
    from fintel.store.lake import Lake

#: Payments of an example that are shown.
SHOWN = 6
#: What is shown of a payment: never a name or a text, which may hold one.
_OF_PAYMENT = ("booked_at", "debtor_account_id", "creditor_account_id", "amount", "currency", "channel", "instrument")


@dataclass(frozen=True)
class Source:
    """The published indicator that a rule makes executable."""

    id: str
    grade: str
    citation: str
    url: str
    text: str


@dataclass(frozen=True)
class Number:
    """A parameter. ``range``: within which tuning may move it; None where it stays."""

    name: str
    value: float
    unit: str
    basis: str
    note: str
    range: tuple[float, float] | None


@dataclass(frozen=True)
class ListUsed:
    """A list of words, values or amounts that conditions name."""

    name: str
    kind: str
    entries: int
    description: str
    source: str


@dataclass(frozen=True)
class Observed:
    """One value of an example, and what it was compared with."""

    name: str
    observed: float | None
    comparison: str = ""


@dataclass(frozen=True)
class Example:
    """A hit: ``origin`` says whether of data or of a case. ``payments``: a few of ``of`` that make it."""

    origin: str
    account: str
    reason: str
    observed: tuple[Observed, ...]
    columns: tuple[str, ...]
    payments: tuple[tuple[Any, ...], ...]
    of: int


@dataclass(frozen=True)
class Explanation:
    """Everything there is to say about one rule; texts are plain sentences."""

    id: str
    title: str
    version: int
    status: str
    level: str
    typology: str
    role: str
    budget: float | None
    description: str
    looks_at: str
    partition: str
    words: tuple[tuple[str, str], ...]
    steps: tuple[tuple[str, str], ...]
    measures: tuple[tuple[str, str], ...]
    clauses: tuple[str, ...]
    correlation: tuple[str, ...]
    reason: str
    numbers: tuple[Number, ...]
    lists: tuple[ListUsed, ...]
    sources: tuple[Source, ...]
    techniques: tuple[str, ...]
    falsepositives: tuple[str, ...]
    cases: int
    hits: int
    near_misses: int
    blind: int
    logic: str
    example: Example | None


def explain(rule: Rule, library: Library, lake: Lake | None = None) -> Explanation:
    """Explain a rule. ``lake``: its latest run gives the example, if the rule hit there; else a case does."""
    said = Sentences(rule, library)
    cases = load_cases(rule)[0]
    over_entries = rule.correlation is None
    return Explanation(
        id=rule.id,
        title=rule.title,
        version=rule.version,
        status=rule.status,
        level=rule.level,
        typology=rule.typology,
        role=rule.role,
        budget=rule.budget,
        description=rule.description,
        looks_at=said.looks_at() if over_entries else "",
        partition=partition_in_words(rule.per) if over_entries else "",
        words=said.meanings(),
        steps=tuple((s.name, said.step(s)) for s in rule.steps.values()),
        measures=tuple((m.name, said.measure(m)) for m in rule.measures.values()),
        clauses=said.clauses() if over_entries else (),
        correlation=said.correlation(),
        reason=rule.reason,
        numbers=tuple(_number(rule, name) for name in rule.parameters),
        lists=tuple(_list_used(library.lists[name]) for name in said.lists()),
        sources=tuple(_source(library, name) for name in rule.indicators),
        techniques=rule.techniques,
        falsepositives=rule.falsepositives,
        cases=len(cases),
        hits=sum(bool(c.expect.hit) for c in cases),
        near_misses=sum(c.near_miss for c in cases),
        blind=sum(c.expect.cannot_tell for c in cases),
        logic=rule.fingerprint,
        example=(None if lake is None else from_run(rule, lake)) or from_cases(cases),
    )


def _number(rule: Rule, name: str) -> Number:
    found = rule.parameters[name]
    return Number(name, found.default, found.unit, found.basis, found.note or "", found.range)


def _source(library: Library, name: str) -> Source:
    found = library.indicators[name]
    return Source(name, found.grade, found.citation, found.url, found.text)


def _list_used(found: AnyList) -> ListUsed:
    match found:
        case ValueList():
            kind, entries = f"values of {found.column.replace('_', ' ')}", len(found.values)
        case AmountList():
            kind, entries = f"amounts by {found.column.replace('_', ' ')}", len(found.values)
        case PatternList():
            kind, entries = "forms of text", len(found.patterns)
        case _:
            scripts = ", ".join(sorted({term.script for term in found.terms}))
            kind, entries = f"words and phrases ({scripts})" if scripts else "words and phrases", len(found.terms)
    return ListUsed(found.name, kind, entries, found.description, found.source)


def from_cases(cases: Sequence[Case]) -> Example | None:
    """The first case that hits."""
    for case in cases:
        if case.expect.hit:
            payments = case.tables["transactions"].sort("booked_at", maintain_order=True)
            columns, rows = _payments(payments, ("remittance_information", "merchant_category_code"))
            observed = tuple(Observed(name, value) for name, value in case.expect.observed)
            told = f"the case “{case.name}”"
            return Example(told, ", ".join(case.expect.hit), "", observed, columns, rows, payments.height)
    return None


def from_run(rule: Rule, lake: Lake) -> Example | None:
    """The strongest episode of the latest run: its values, and a few of its payments."""
    run = lake.latest_run()
    if run is None:
        return None
    mine = lake.run_table(run.run_id, "episodes").filter(pl.col("rule_id") == rule.id)
    best = mine.sort("strength", "hits", "episode_id", descending=[True, True, False]).head(1).collect()
    if best.is_empty():
        return None
    episode = best.row(0, named=True)
    its = pl.col("episode_id") == episode["episode_id"]
    clauses = lake.run_table(run.run_id, "clauses").filter(its).sort("clause").collect()
    evidence = lake.run_table(run.run_id, "evidence").filter(its).select("transaction_id").unique()
    payments = lake.scan("transactions").join(evidence, on="transaction_id", how="semi").sort("booked_at").collect()
    columns, rows = _payments(payments)
    observed = tuple(
        Observed(
            row["measure"],
            None if row["observed"] != row["observed"] else row["observed"],
            "" if row["threshold"] is None else f"{row['operator']} {number_in_words(row['threshold'])}",
        )
        for row in clauses.iter_rows(named=True)
    )
    told = f"the strongest episode of run {run.run_id}"
    return Example(told, episode["account_id"], episode["reason"], observed, columns, rows, payments.height)


def _payments(payments: pl.DataFrame, more: Sequence[str] = ()) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    """Columns that are filled, of the last few payments."""
    some = payments.tail(SHOWN)
    columns = tuple(c for c in (*_OF_PAYMENT, *more) if c in some.columns and some[c].null_count() < some.height)
    return columns, tuple(some.select(columns).iter_rows())
