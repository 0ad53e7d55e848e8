"""Running the cases of rules: what they expect beside what the engine finds."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import polars as pl

from fintel.domain.detection import Outcome
from fintel.errors import Diagnostic, Location
from fintel.rules.cases import Case, load_cases
from fintel.rules.model import Library, Rule

#: Observed values are doubles of exact sums; a case writes them with few digits.
TOLERANCE = 1e-6


class Detection(Protocol):
    """What a run finds: frames as ``domain.schema`` has them."""

    @property
    def rule_results(self) -> pl.DataFrame:
        """How each rule fared."""

    @property
    def episodes(self) -> pl.DataFrame:
        """Hits joined in time."""

    @property
    def clauses(self) -> pl.DataFrame:
        """Observed values of each episode."""


class Detect(Protocol):
    """The engine's entry point: canonical tables and rules in, findings out."""

    def __call__(self, tables: Mapping[str, pl.DataFrame], library: Library, *, base_currency: str) -> Detection:
        """Run every rule of the library."""


@dataclass(frozen=True)
class CaseResult:
    """``differences`` is empty when the rule said what the case expects."""

    rule_id: str
    case: str
    differences: tuple[str, ...]
    location: Location

    @property
    def passed(self) -> bool:
        """No difference."""
        return not self.differences


@dataclass(frozen=True)
class PackResult:
    """Every case that could be run, and what was wrong with the files of the others."""

    results: tuple[CaseResult, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def passed(self) -> bool:
        """Every case ran and passed."""
        return not self.diagnostics and all(r.passed for r in self.results)


def run_case(rule: Rule, case: Case, library: Library, detect: Detect) -> CaseResult:
    """Run one rule on one case."""
    found = detect(case.tables, library.with_components((rule.id,)), base_currency=case.base)
    return CaseResult(rule.id, case.name, tuple(_differences(rule, case, found)), case.location)


def run_cases(library: Library, detect: Detect, *, rule_ids: Collection[str] | None = None) -> PackResult:
    """Run the cases of every rule (or of those named)."""
    results: list[CaseResult] = []
    diagnostics: list[Diagnostic] = []
    for rule in library.rules:
        if rule_ids is not None and rule.id not in rule_ids:
            continue
        cases, findings = load_cases(rule)
        diagnostics.extend(findings)
        results.extend(run_case(rule, case, library, detect) for case in cases)
    return PackResult(tuple(results), tuple(diagnostics))


def _differences(rule: Rule, case: Case, found: Detection) -> Iterator[str]:
    result = found.rule_results.filter(pl.col("rule_id") == rule.id)
    if result.height != 1:
        yield f"the run reports the rule {result.height} times"
        return
    outcome = result["outcome"][0]
    wanted = Outcome.CANNOT_TELL if case.expect.cannot_tell else Outcome.EVALUATED
    if outcome != wanted:
        why = result["reason"][0]
        yield f"outcome is {outcome}{f' ({why})' if why else ''}, not {wanted}"
        return
    episodes = found.episodes.filter(pl.col("rule_id") == rule.id)
    hit = tuple(sorted(episodes["account_id"].unique().to_list()))
    if hit != case.expect.hit:
        yield f"hits {_accounts(hit)}, not {_accounts(case.expect.hit)}"
        return
    yield from _observed_differences(case, episodes, found.clauses)


def _accounts(ids: tuple[str, ...]) -> str:
    return ", ".join(ids) or "nothing"


def _observed_differences(case: Case, episodes: pl.DataFrame, clauses: pl.DataFrame) -> Iterator[str]:
    """Some episode must show every expected value; else say what each shows."""
    if not case.expect.observed:
        return
    shown = []
    for episode in episodes["episode_id"].to_list():
        rows = clauses.filter(pl.col("episode_id") == episode)
        values: dict[str, float] = dict(zip(rows["measure"].to_list(), rows["observed"].to_list(), strict=True))
        wrong = [
            f"{name} is {values.get(name, 'not shown')}, not {value:g}"
            for name, value in case.expect.observed
            if name not in values or not math.isclose(values[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        ]
        if not wrong:
            return
        shown.append("; ".join(wrong))
    yield from shown
