"""The measures of the shipped rules, for our engine and in plain SQL for engines that know nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
from population import PERS

from fintel.domain.schema import SEEN_ENTRIES
from fintel.engine.partition import Measure as Window
from fintel.rules import loader
from fintel.rules.compiler import COLUMNS, Plan, compile_library, lists_in_base
from fintel.rules.expression import parse, read_conditions
from fintel.rules.model import BETWEEN, Library, Rule

BASE = "USD"
PLAIN = ("count", "sum", "min", "max", "mean", "std", "distinct", "first", "last")


@dataclass(frozen=True)
class Asked:
    """One measure at the entries that ``anchor`` selects: SQL beside the engine's own description."""

    number: int
    per: tuple[str, ...]
    anchor: str
    where: str
    anchor_mask: int
    window: Window


@dataclass(frozen=True)
class Work:
    """What every contender computes."""

    library: Library
    plan: Plan
    asked: tuple[Asked, ...]

    @property
    def pers(self) -> tuple[tuple[str, ...], ...]:
        """Partitions, each once."""
        return tuple(dict.fromkeys(a.per for a in self.asked))

    @property
    def conditions(self) -> tuple[str, ...]:
        """Anchors and filters, each once."""
        return tuple(dict.fromkeys(text for a in self.asked for text in (a.anchor, a.where)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of entries (and mentions) that the measures need."""
        read = {c for text in self.conditions for c in pl.sql_expr(text).meta.root_names()}
        read |= {c for a in self.asked for c in (*a.per, a.window.column) if c != "*"}
        return tuple(sorted(read | {"booked_at", "transaction_id", "account_id", "direction"}))

    def windows(self, per: tuple[str, ...]) -> Mapping[tuple[int, int], list[Asked]]:
        """Measures of a partition by (span, offset): those that one window serves."""
        found: dict[tuple[int, int], list[Asked]] = {}
        for asked in self.asked:
            if asked.per == per:
                found.setdefault((asked.window.span, asked.window.offset), []).append(asked)
        return found


def work(rules: int) -> Work:
    """The first so many shipped rules by id; 0 means all."""
    library, _ = loader.load()
    library = library.only(
        sorted(rule.id for rule in library.rules if is_plain(rule) and rule.per in PERS)[: rules or None]
    )
    plan = compile_library(library, base_currency=BASE)
    asked: dict[tuple[object, ...], Asked] = {}
    for compiled in plan.rules:
        rule = compiled.rule
        anchor = _sql(rule.anchor, "anchor", rule, compiled.parameters, library)
        for measure in rule.measures.values():
            window = compiled.windows[measure.name]
            where = (
                anchor if measure.where is None else _sql(measure.where, "where", rule, compiled.parameters, library)
            )
            if measure.column not in ("*", "booked_at"):
                where = f"({where} and {measure.column} is not null)"
            key = (rule.per, compiled.anchor, window)
            asked.setdefault(key, Asked(len(asked), rule.per, anchor, where, compiled.anchor, window))
    return Work(library, plan, tuple(asked.values()))


def is_plain(rule: Rule) -> bool:
    """Whether polars ``rolling`` and SQL windows have every measure of the rule: no steps, no matches, no peers, and
    no shares and ratios, which the contenders' columns of integers do not hold."""
    return rule.correlation is None and not rule.steps and all(
        m.kind in PLAIN and not (m.same or m.at or m.of) and m.column not in BETWEEN and not is_float(m.column)
        for m in rule.measures.values()
    )  # fmt: skip


def _sql(text: str, part: str, rule: Rule, parameters: Mapping[str, float], library: Library) -> str:
    lists = lists_in_base(library, BASE, {})
    conditions, _ = read_conditions(
        ((name, words, None) for name, words in rule.conditions.items()),
        columns=COLUMNS, parameters=parameters, lists=lists,
    )  # fmt: skip
    place = rule.place(part)
    return parse(
        text, columns=COLUMNS, parameters=parameters, lists=lists, conditions=conditions, location=place
    ).text  # fmt: skip


def is_number(column: str) -> bool:
    """Whether a column of entries is money or an integer."""
    return column != "*" and str(SEEN_ENTRIES[column].type) in ("money", "int")


def is_float(column: str) -> bool:
    """Whether a column of entries is a share, a ratio or a place."""
    return column != "*" and str(SEEN_ENTRIES[column].type) == "float"
