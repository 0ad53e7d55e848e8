"""Every case of many rules, fast: read, joined and judged, on as many cores as there are."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from fintel.errors import Diagnostic
from fintel.rules.cases import load_cases
from fintel.rules.judging import Docket, judge
from fintel.rules.model import Library, Rule
from fintel.rules.testing import CaseResult, PackResult

#: Rules in a run: enough to share what a run costs, few enough that masks of one are no burden to another.
RULES_AT_ONCE = 24
#: Fewer rules than this for each process, and starting it costs more than it saves.
RULES_A_PROCESS = 40


@dataclass(frozen=True)
class Timed:
    """A rule's cases and how long they took by themselves, reading and judging."""

    rule_id: str
    cases: int
    seconds: float


def run_library(library: Library, rules: Sequence[Rule], *, processes: int = 0) -> PackResult:
    """Run every case of some rules of a library.

    Parameters
    ----------
    library: lists, rates, and the rules that correlations name.
    processes: how many at once; 0 for as many as cores, if there are rules enough.
    """
    many = processes or max(1, min(os.cpu_count() or 1, len(rules) // RULES_A_PROCESS))
    parts = [tuple(rules[start::many]) for start in range(many)]
    if many == 1:
        return _run_part(library, parts[0])
    # A forked copy of a process with threads may never wake up.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(many - 1, mp_context=context) as pool:
        others = [pool.submit(_run_part, library, part) for part in parts[1:]]
        found = [_run_part(library, parts[0]), *(other.result() for other in others)]
    place = {rule.id: number for number, rule in enumerate(rules)}
    results = sorted((r for part in found for r in part.results), key=lambda r: place[r.rule_id])
    return PackResult(tuple(results), tuple(d for part in found for d in part.diagnostics))


def _run_part(library: Library, rules: Sequence[Rule]) -> PackResult:
    results: list[CaseResult] = []
    diagnostics: list[Diagnostic] = []
    for start in range(0, len(rules), RULES_AT_ONCE):
        dockets = []
        for rule in rules[start : start + RULES_AT_ONCE]:
            cases, findings = load_cases(rule)
            diagnostics.extend(findings)
            dockets.append(Docket((rule,), cases))
        for docket, (verdict,) in zip(dockets, judge(dockets, library), strict=True):
            (rule,) = docket.variants
            results.extend(
                CaseResult(rule.id, case.name, wrong, case.location)
                for case, wrong in zip(docket.cases, verdict, strict=True)
            )
    return PackResult(tuple(results), tuple(diagnostics))


def time_rules(library: Library, rules: Sequence[Rule]) -> tuple[PackResult, tuple[Timed, ...]]:
    """As ``run_library``, each rule by itself, and how long each took; the slowest first."""
    results: list[CaseResult] = []
    diagnostics: list[Diagnostic] = []
    timed = []
    for rule in rules:
        begun = time.perf_counter()
        found = _run_part(library, (rule,))
        timed.append(Timed(rule.id, len(found.results), time.perf_counter() - begun))
        results.extend(found.results)
        diagnostics.extend(found.diagnostics)
    return PackResult(tuple(results), tuple(diagnostics)), tuple(sorted(timed, key=lambda t: -t.seconds))
