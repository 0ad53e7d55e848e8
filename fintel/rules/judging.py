"""Rules, and variants of rules, judged by their cases many at a time.

What each says is what ``runner.detect_tables`` would say of the case alone: the same masks, windows and
conditions are evaluated, over joined cases, and whether a rule is blind is asked of each case by itself.
Tests hold both to the same answers. What goes wrong in a joined run is run again alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.detection import Outcome
from fintel.domain.schema import ENTRIES, Type
from fintel.engine.arrays import Entries, as_seen_by_masks, load, order_by_time
from fintel.engine.conditions import Conditions, Flags
from fintel.engine.partition import Slice, partition
from fintel.features.entries import booked
from fintel.rules.across import Across
from fintel.rules.cases import Case
from fintel.rules.compiler import CompiledRule, Plan, compile_library, groups
from fintel.rules.episodes import numbered_hits, strongest
from fintel.rules.joined import Feed, join
from fintel.rules.joined import groups as feeds
from fintel.rules.model import Library, Rule
from fintel.rules.prepared import blindness, latest_rates, seen_entries
from fintel.rules.runner import RULE_FAILURES, detect_tables
from fintel.rules.testing import Answer, answer_of, differences

#: What is wrong with each variant in each case; nothing where it says what the case expects.
Verdicts = list[list[tuple[str, ...]]]


@dataclass(frozen=True)
class Docket:
    """A rule's variants (the rule as it stands, or changed), and the cases that they are judged by."""

    variants: tuple[Rule, ...]
    cases: tuple[Case, ...]


def judge(dockets: Sequence[Docket], library: Library) -> list[Verdicts]:
    """For each docket, what is wrong with each of its variants in each of its cases.

    ``library``: lists, rates, and the rules that correlations name.
    """
    verdicts: list[Verdicts] = [[[()] * len(d.cases) for _ in d.variants] for d in dockets]
    shared: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for number, docket in enumerate(dockets):
        if docket.variants:
            for key, places in feeds(docket.variants[0], docket.cases):
                shared.setdefault(key, []).extend((number, place) for place in places)
    for heard in shared.values():
        cases = [dockets[number].cases[place] for number, place in heard]
        concerned = sorted({number for number, _ in heard})
        named = [
            (number, which, replace(rule, id=f"{rule.id}#{number}.{which}"))
            for number in concerned
            for which, rule in enumerate(dockets[number].variants)
        ]
        answers = _answers([rule for _, _, rule in named], cases, library)
        own = {number: [i for i, (n, _) in enumerate(heard) if n == number] for number in concerned}
        for number, which, rule in named:
            for here in own[number]:
                found = differences(cases[here], answers(rule.id, here))
                verdicts[number][which][heard[here][1]] = tuple(found)
    return verdicts


def _answers(rules: Sequence[Rule], cases: Sequence[Case], library: Library) -> Callable[[str, int], Answer | None]:
    """What each rule says of each case."""
    if not any(rule.correlation for rule in rules):
        try:
            return _Sitting(join(cases), rules, library).answer
        except RULE_FAILURES:  # one of them alone is the cause, and is told so below
            pass
    return _one_by_one(rules, cases, library)


def _one_by_one(rules: Sequence[Rule], cases: Sequence[Case], library: Library) -> Callable[[str, int], Answer | None]:
    components = {c for rule in rules if rule.correlation is not None for c in rule.correlation.components}
    known = {rule.id for rule in rules}
    others = tuple(r for r in library.rules if r.id in components - known)
    wanted = replace(library, rules=(*others, *rules))
    runs = [detect_tables(case.tables, wanted, base_currency=case.base, threads=1) for case in cases]
    return lambda rule_id, place: answer_of(runs[place], rule_id)


@dataclass(frozen=True)
class _Counts:
    selected: Sequence[int]
    undecided: Sequence[int]


@dataclass
class _Swept:
    """Hits of a rule in a slice: accounts, cases, and the episodes they make when asked for."""

    rule: CompiledRule
    feed: Feed
    piece: Slice
    measured: pl.DataFrame
    hits: npt.NDArray[np.int64]

    @cached_property
    def _anchors(self) -> npt.NDArray[np.int32]:
        return self.piece.anchors(self.rule.anchor)

    @cached_property
    def accounts(self) -> Mapping[int, tuple[str, ...]]:
        """Accounts with a hit, by case."""
        data = self.piece.entries
        entries = self.piece.rows[self._anchors[self.hits]]
        cases = self.feed.case_of(data.row[entries])
        found: dict[int, set[str]] = {}
        names = data.dictionary["account_id"]
        for case, code in set(zip(cases.tolist(), data.codes["account_id"][entries].tolist(), strict=True)):
            found.setdefault(case, set()).add(self.feed.name_of(str(names[code])))
        return {case: tuple(sorted(accounts)) for case, accounts in found.items()}

    @cached_property
    def shown(self) -> Mapping[int, list[Mapping[str, float]]]:
        """What the measures are at the peak of each episode, by case."""
        names = list(self.rule.measured)
        hits = numbered_hits(self.piece, self.rule, self._anchors, self.measured, self.hits)
        episodes = strongest(hits, self.rule)
        cases = self.feed.case_of(self.piece.entries.row[episodes["entry"].to_numpy()])
        values = episodes.select(pl.col(names).cast(pl.Float64).fill_null(float("nan")))
        found: dict[int, list[Mapping[str, float]]] = {}
        for case, row in zip(cases.tolist(), values.iter_rows(named=True), strict=True):
            found.setdefault(case, []).append(row)
        return found


class _Sitting:
    """Rules evaluated over one feed of cases."""

    def __init__(self, feed: Feed, rules: Sequence[Rule], library: Library) -> None:
        self.feed = feed
        base = feed.cases[0].base
        wanted = replace(library, rules=tuple(rules))
        rates = latest_rates(feed.tables, base, None)
        self.plan: Plan = compile_library(wanted, base_currency=base, rates=rates)
        self.compiled = {r.rule.id: r for r in self.plan.rules}
        self.seen, self.flags = self._read(wanted)
        order = order_by_time(booked(feed.tables["transactions"].with_row_index("row")), "row")
        self.data: Entries = load(
            self.seen.lazy(),
            order,
            masks=self.plan.masks,
            flags=self.flags,
            values=self.plan.values,
            codes=self.plan.codes,
        )
        self.selected = self._selected()
        self.swept = dict(self._sweep())

    def _read(self, library: Library) -> tuple[pl.DataFrame, Mapping[str, Flags]]:
        plan = self.plan
        seen, flags = seen_entries(self.feed.tables, plan, library)
        kept = {"row", "direction", "booked_at", *plan.values, *plan.codes, *plan.masks.columns()}
        kept |= {name for f in flags.values() for name in (f.place, f.column)}
        kept |= {column.name for column in ENTRIES.columns if column.type is Type.MONEY}
        return seen.select(sorted(kept)).collect(engine="in-memory"), flags

    def _selected(self) -> npt.NDArray[np.int64]:
        """How many entries each mask selects, by case and mask."""
        cases = self.feed.case_of(self.data.row)
        many = len(self.feed.cases)
        counts = [np.bincount(cases, weights=self.data.mask(m), minlength=many) for m in range(len(self.plan.masks))]
        return np.array(counts, np.int64).reshape(-1, many).T

    def _sweep(self) -> Iterator[tuple[str, _Swept]]:
        across = Across(self.data, 1)
        for per, rules in groups(self.plan.rules).items():
            ready = [r for r in rules if self.data.selected[r.anchor_mask]]
            for rule in ready:
                across.prepare(rule)
            relevant = sorted({mask for rule in ready for mask in rule.masks})
            # a feed of cases is far smaller than a slice
            for piece in partition(self.data, per, relevant) if ready else ():
                for rule in ready:
                    if not piece.anchors(rule.anchor).size:
                        continue
                    measured = rule.observe(piece, across.given(piece, rule))
                    held = measured.select(rule.when.fill_null(value=False).alias("hit")).to_series().to_numpy()
                    yield rule.rule.id, _Swept(rule, self.feed, piece, measured, np.flatnonzero(held))

    def answer(self, rule_id: str, case: int) -> Answer:
        """What a rule says of a case."""
        if rule_id in self.plan.unconverted:
            reason = f"no rate turns {self.plan.unconverted[rule_id]} into the base currency"
            return Answer(Outcome.CANNOT_TELL, reason)
        blind = self._blindness(self.compiled[rule_id], case)
        if blind is not None:
            return Answer(Outcome.CANNOT_TELL, blind)
        swept = self.swept.get(rule_id)
        if swept is None or case not in swept.accounts:
            return Answer(Outcome.EVALUATED)
        return Answer(Outcome.EVALUATED, None, swept.accounts[case], lambda: swept.shown[case])

    def _blindness(self, rule: CompiledRule, case: int) -> str | None:
        """Why the rule has no answer on the case's own payments."""
        selected = self.selected[case]
        # what is not even blind if no entry can be decided is not blind
        if blindness(rule, _Counts(selected, np.ones_like(selected))) is None:
            return None
        masks = list(dict.fromkeys(rule.filters.values()))
        undecided = np.zeros_like(selected)
        undecided[masks] = self._undecided(masks, case)
        found = blindness(rule, _Counts(selected, undecided))
        return None if found is None else found.reason

    def _undecided(self, masks: Sequence[int], case: int) -> npt.NDArray[np.int64]:
        """How many entries of a case some masks cannot decide."""
        conditions = Conditions(self.plan.masks.formulas[mask] for mask in masks)
        first, last = self.feed.first_row[case], self.feed.first_row[case + 1]
        own = as_seen_by_masks(self.seen.lazy().filter(pl.col("row").is_between(first, last, closed="left")))
        batch = own.collect(engine="in-memory")
        scratch = [np.empty(batch.height, np.int64) for _ in range(-(-len(conditions) // 64))]
        return conditions.compiled().evaluate(batch, self.flags, scratch)[1]
