"""Running the cases of rules: what they expect beside what the engine finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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


@dataclass(frozen=True)
class Answer:
    """What a rule says of a case: ``hit`` accounts with an episode, ``shown()`` the values of each episode."""

    outcome: str
    reason: str | None = None
    hit: tuple[str, ...] = ()
    shown: Callable[[], Sequence[Mapping[str, float]]] = tuple


def run_case(rule: Rule, case: Case, library: Library, detect: Detect) -> CaseResult:
    """Run one rule on one case."""
    found = detect(case.tables, library.with_components((rule.id,)), base_currency=case.base)
    return CaseResult(rule.id, case.name, tuple(differences(case, answer_of(found, rule.id))), case.location)


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


def answer_of(found: Detection, rule_id: str) -> Answer | None:
    """What a run says of a rule; None where it reports the rule never or more than once."""
    result = found.rule_results.filter(pl.col("rule_id") == rule_id)
    if result.height != 1:
        return None
    episodes = found.episodes.filter(pl.col("rule_id") == rule_id)
    hit = tuple(sorted(episodes["account_id"].unique().to_list()))

    def shown() -> list[Mapping[str, float]]:
        values: list[Mapping[str, float]] = []
        for episode in episodes["episode_id"].to_list():
            rows = found.clauses.filter(pl.col("episode_id") == episode)
            values.append(dict(zip(rows["measure"].to_list(), rows["observed"].to_list(), strict=True)))
        return values

    return Answer(result["outcome"][0], result["reason"][0], hit, shown)


def differences(case: Case, answer: Answer | None) -> Iterator[str]:
    """What an answer has that the case does not expect, in words."""
    if answer is None:
        yield "the run does not report the rule once"
        return
    wanted = Outcome.CANNOT_TELL if case.expect.cannot_tell else Outcome.EVALUATED
    if answer.outcome != wanted:
        yield f"outcome is {answer.outcome}{f' ({answer.reason})' if answer.reason else ''}, not {wanted}"
    elif answer.hit != case.expect.hit:
        yield f"hits {_accounts(answer.hit)}, not {_accounts(case.expect.hit)}"
    elif case.expect.observed:
        yield from _observed_differences(case, answer.shown())


def _accounts(ids: tuple[str, ...]) -> str:
    return ", ".join(ids) or "nothing"


def _observed_differences(case: Case, episodes: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Some episode must show every expected value; else say what each shows."""
    shown = []
    for values in episodes:
        wrong = [
            f"{name} is {values.get(name, 'not shown')}, not {value:g}"
            for name, value in case.expect.observed
            if name not in values or not math.isclose(values[name], value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        ]
        if not wrong:
            return
        shown.append("; ".join(wrong))
    yield from shown
