"""Run a plan over entries: three answers a rule, episodes with clauses and evidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from fintel.domain.detection import Outcome
from fintel.domain.schema import RULE_RESULTS
from fintel.engine.arrays import Entries
from fintel.engine.local import sweep
from fintel.engine.partition import Slice, partition
from fintel.features.entries import booked
from fintel.frames import fit
from fintel.rules.across import Across
from fintel.rules.compiler import CompiledRule, Plan, groups
from fintel.rules.correlation import Findings, correlate
from fintel.rules.episodes import TWIN_LIMIT, Found, find
from fintel.rules.findings import tables_of
from fintel.rules.model import Library, Rule
from fintel.rules.prepared import blindness, prepare

#: What can go wrong inside one rule without being a defect of fintel. The others go on.
RULE_FAILURES = (
    pl.exceptions.PolarsError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError, MemoryError,
)  # fmt: skip

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Detection:
    """What a run of rules found; frames have the schemas of ``domain.schema`` (``run_id`` empty).

    ``moments``: ``episode_id``, ``at``: the first hit of each episode on each day (UTC).
    """

    rule_results: pl.DataFrame
    episodes: pl.DataFrame
    clauses: pl.DataFrame
    evidence: pl.DataFrame
    seconds: Mapping[str, float]
    moments: pl.DataFrame


@dataclass
class _Tally:
    candidates: int = 0
    hits: int = 0
    seconds: float = 0.0
    failure: str | None = None


def _silent(stage: str, done: int, of: int) -> None:
    del stage, done, of


def detect_tables(
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    library: Library,
    *,
    base_currency: str = "USD",
    as_of: datetime | None = None,
    threads: int = 0,
    progress: Progress = _silent,
) -> Detection:
    """Run every rule of a library over canonical tables.

    Parameters
    ----------
    tables: ``transactions`` and, where known, ``accounts``, ``parties``, ``rates``.
    as_of: nothing booked later is seen.
    progress: called with stage, slices done, slices in all.
    """
    lazy = {name: frame.lazy() for name, frame in tables.items()}
    clock: dict[str, float] = {}
    with _timed(clock, "entries"):
        prepared = prepare(lazy, library, base_currency=base_currency, as_of=as_of)
        plan, data = prepared.plan, prepared.data
    tallies = {r.rule.id: _Tally(failure=prepared.failures.get(r.rule.id)) for r in plan.rules}
    with _timed(clock, "rules"):
        across = Across(data, threads)
        found = _sweep_rules(across, plan, tallies, threads, progress)
    with _timed(clock, "evidence"):
        _look_for_twin_evidence(across, plan, found)
        findings = tables_of(lazy["transactions"], data, plan, found, base_currency)
    answers = {r.rule.id: _answer(r, data, tallies[r.rule.id]) for r in plan.rules}
    with _timed(clock, "correlation"):
        findings = _correlate(findings, plan, tallies, booked(lazy["transactions"], as_of))
    results = _results(library, plan, answers, data, tallies, findings.episodes)
    return Detection(results, findings.episodes, findings.clauses, findings.evidence, clock, findings.moments)


@contextmanager
def _timed(clock: dict[str, float], name: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    clock[name] = time.perf_counter() - begun


def _sweep_rules(
    across: Across, plan: Plan, tallies: dict[str, _Tally], threads: int, progress: Progress
) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {}
    data = across.data
    for per, rules in groups(plan.rules).items():
        ready = [
            r
            for r in rules
            if data.selected[r.anchor_mask] and tallies[r.rule.id].failure is None and not blindness(r, data)
        ]
        ready = [r for r in ready if _prepare(across, r, tallies[r.rule.id])]
        if not ready:
            continue
        relevant = sorted({mask for rule in ready for mask in rule.masks})

        def evaluate(piece: Slice, ready: Sequence[CompiledRule] = ready) -> list[tuple[str, Found | str, float]]:
            return [_attempt(piece, rule, across) for rule in ready]

        entries_done = 0
        pieces = partition(data, per, relevant)
        for number, answers in enumerate(sweep(pieces, evaluate, threads=threads), start=1):
            for rule_id, answer, seconds in answers:
                tally = tallies[rule_id]
                tally.seconds += seconds
                if isinstance(answer, str):
                    tally.failure = answer
                    continue
                tally.candidates += answer.candidates
                tally.hits += answer.hits
                found.setdefault(rule_id, []).append(answer)
            entries_done = number
            progress(f"rules per {', '.join(per)}", entries_done, 0)
    return found


def _prepare(across: Across, rule: CompiledRule, tally: _Tally) -> bool:
    """Answers of other partitions are ready for the rule; if not, the tally says why."""
    begun = time.perf_counter()
    try:
        across.prepare(rule)
    except RULE_FAILURES as error:
        tally.failure = f"{type(error).__name__}: {error}"
    tally.seconds += time.perf_counter() - begun
    return tally.failure is None


def _look_for_twin_evidence(across: Across, plan: Plan, found: dict[str, list[Found]]) -> None:
    for rule in plan.rules:
        parts = found.get(rule.rule.id, [])
        peaks = [
            part.episodes.select(pl.lit(place, dtype=pl.Int64).alias("part"), "number", "entry")
            for place, part in enumerate(parts)
            if part.episodes is not None
        ]
        if not rule.twins or not peaks:
            continue
        more = across.evidence(rule, pl.concat(peaks), TWIN_LIMIT).partition_by("part", as_dict=True)
        for (place,), rows in more.items():
            part = parts[place]
            assert part.evidence is not None  # it has episodes
            parts[place] = replace(part, evidence=pl.concat([part.evidence, rows.select(part.evidence.columns)]))


def _correlate(findings: Findings, plan: Plan, tallies: dict[str, _Tally], payments: pl.LazyFrame) -> Findings:
    """The findings of the rules, and those of correlations of them."""
    together = findings
    for rule, parameters in plan.correlations:
        begun = time.perf_counter()
        try:
            found = correlate(rule, parameters, findings, payments)
        except RULE_FAILURES as error:
            tallies[rule.id] = _Tally(failure=f"{type(error).__name__}: {error}")
            continue
        together += found.findings
        tallies[rule.id] = _Tally(found.candidates, found.hits, time.perf_counter() - begun)
    return together.in_order() if plan.correlations else findings


def _answer(rule: CompiledRule, data: Entries, tally: _Tally) -> tuple[Outcome, str | None]:
    """What the run can say of a rule, and why it cannot say more."""
    if tally.failure is not None:
        return Outcome.FAILED, tally.failure
    blind = blindness(rule, data)
    return (Outcome.CANNOT_TELL, blind.reason) if blind else (Outcome.EVALUATED, None)


def _answer_together(
    rule: Rule, parameters: Mapping[str, float], answers: Mapping[str, tuple[Outcome, str | None]]
) -> tuple[Outcome, str | None]:
    """A correlation can tell where the rules that it needs can."""
    wanted = rule.correlation
    assert wanted is not None  # the plan's choice
    blind = [name for name in wanted.components if answers.get(name, (Outcome.FAILED, ""))[0] is not Outcome.EVALUATED]
    needed = [name for name in (*wanted.all, *wanted.ordered) if name in blind]
    if needed:
        return Outcome.CANNOT_TELL, f"{', '.join(needed)} cannot tell"
    count = parameters[wanted.at_least[1:]] if wanted.at_least.startswith(":") else float(wanted.at_least)
    seeing = [name for name in wanted.any if name not in blind]
    if wanted.any and len(seeing) < count:
        return Outcome.CANNOT_TELL, f"{', '.join(name for name in wanted.any if name in blind)} cannot tell"
    return Outcome.EVALUATED, None


def _attempt(piece: Slice, rule: CompiledRule, across: Across) -> tuple[str, Found | str, float]:
    begun = time.perf_counter()
    try:
        answer: Found | str = find(piece, rule, across.given(piece, rule))
    except RULE_FAILURES as error:
        answer = f"{type(error).__name__}: {error}"
    return rule.rule.id, answer, time.perf_counter() - begun


def _results(
    library: Library,
    plan: Plan,
    answers: dict[str, tuple[Outcome, str | None]],
    data: Entries,
    tallies: dict[str, _Tally],
    episodes: pl.DataFrame,
) -> pl.DataFrame:
    compiled = {r.rule.id: r for r in plan.rules}
    together = {rule.id: _answer_together(rule, parameters, answers) for rule, parameters in plan.correlations}
    counts = {
        rule: (number, subjects)
        for rule, number, subjects in episodes.group_by("rule_id")
        .agg(pl.len(), pl.col("account_id").n_unique())
        .iter_rows()
    }
    rows = []
    for rule in library.rules:
        tally = tallies.get(rule.id, _Tally())
        if rule.id in plan.unconverted:
            outcome: Outcome = Outcome.CANNOT_TELL
            reason: str | None = f"no rate turns {plan.unconverted[rule.id]} into the base currency"
        else:
            outcome, reason = (answers | together)[rule.id]
            if tally.failure is not None:
                outcome, reason = Outcome.FAILED, tally.failure
        unseen = data.undecided[compiled[rule.id].anchor_mask] if rule.id in compiled and tally.failure is None else 0
        number, subjects = counts.get(rule.id, (0, 0))
        rows.append(
            ("", rule.id, rule.version, rule.fingerprint, str(outcome), reason,
             tally.candidates, unseen, tally.hits, number, subjects)
        )  # fmt: skip
    return fit(
        pl.DataFrame(rows, schema=list(RULE_RESULTS.names), orient="row", infer_schema_length=None), RULE_RESULTS
    )
