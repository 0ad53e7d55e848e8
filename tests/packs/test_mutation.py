"""Cases hold their rules closely: moved thresholds are noticed, in a sample and over the whole library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from fintel.bench.mutation import Fate, fates, moved, mutants, mutate, rates
from fintel.rules import judging
from fintel.rules.cases import load_cases
from fintel.rules.judging import Docket, judge
from fintel.rules.loader import load
from fintel.rules.model import Library, Parameter, Rule
from fintel.rules.reading import read_expressions
from fintel.rules.runner import detect_tables
from fintel.rules.testing import run_case

LEAST = 0.9
#: One rule of each form: windows, steps, own per, another side, peers, contacts, correlation.
FORMS = (
    "osec/low-value-sends-few-recipients", "crypto/kiosk-accounts-one-phone", "labour/cash-above-peers",
    "remittance/many-senders-one-payee", "labour/wages-of-one-address", "ml-general/composite-relay-chain",
    "sextortion/recovery-fee-after-young-payments", "ml-general/fan-in",
)  # fmt: skip


@pytest.fixture(scope="module")
def library() -> Library:
    return load()[0]


def _share(found: Iterable[Fate]) -> float:
    counts = rates(found).values()
    return sum(r.killed for r in counts) / sum(r.made for r in counts)


def test_moved_thresholds_are_noticed(library: Library) -> None:
    found = list(mutate(library, kinds=["threshold"], sample=150, seed=20261124))
    assert len(found) > 140
    assert _share(found) >= LEAST, [f.mutant.what for f in found if not f.killed]


@pytest.mark.long
def test_every_pack_notices_what_is_moved(library: Library) -> None:
    found = list(mutate(library))
    for (pack, kind), rate in rates(found).items():
        if kind == "threshold":
            assert rate.value is not None
            assert rate.value >= LEAST, (pack, rate, [f.mutant.what for f in found if not f.killed])
    assert _share(f for f in found if f.mutant.kind == "comparison") >= LEAST


@pytest.mark.parametrize("rule_id", FORMS)
def test_judged_together_is_judged_alone(library: Library, rule_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same differences, word for word, for the rule and for changed ones that fail."""
    rule = library[rule_id]
    cases = load_cases(rule)[0]
    changed = mutants(rule)[:: max(1, len(mutants(rule)) // 3)]
    changed = tuple(m for m in changed if not read_expressions(m.rule, library).errors)
    if rule.correlation is None:  # nothing went wrong in the joined run
        monkeypatch.setattr(judging, "_one_by_one", None)
    variants = (rule, *(m.rule for m in changed))
    (verdicts,) = judge([Docket(variants, cases)], library)
    assert not any(verdicts[0])
    alone = [
        [
            run_case(variant, case, _with(library, variant), detect_tables).differences
            for case in cases
        ]
        for variant in variants
    ]  # fmt: skip
    assert verdicts == alone
    assert any(any(verdict) for verdict in verdicts[1:]), "no changed rule fails: the test compares nothing"


def _with(library: Library, rule: Rule) -> Library:
    return replace(library, rules=tuple(rule if r.id == rule.id else r for r in library.rules))


@pytest.mark.long
def test_every_case_is_judged_together_as_alone(library: Library) -> None:
    dockets = [Docket((rule,), load_cases(rule)[0]) for rule in library.rules]
    for start in range(0, len(dockets), 20):
        part = dockets[start : start + 20]
        for docket, (verdict,) in zip(part, judge(part, library), strict=True):
            (rule,) = docket.variants
            alone = [run_case(rule, case, library, detect_tables).differences for case in docket.cases]
            assert verdict == alone, rule.id


def test_what_is_moved() -> None:
    def parameter(default: float, unit: str) -> Parameter:
        return Parameter("x", default, unit, "engineering")

    assert moved(parameter(4, "count")) == (3, 5)
    assert moved(parameter(2, "count")) == (1, 3)
    assert moved(parameter(10, "days")) == (7, 13)
    assert moved(parameter(0, "count")) == (-1, 1)
    assert moved(parameter(200, "CAD")) == (150, 250)
    assert moved(parameter(1, "share")) == (0.75, 1.25)
    assert moved(parameter(-0.5, "share")) == (-0.625, -0.375)


def test_every_part_of_a_rule_is_changed(library: Library) -> None:
    rule = library["osec/low-value-sends-few-recipients"]
    found = mutants(rule)
    assert len({m.rule.fingerprint for m in found} | {rule.fingerprint}) == len(found) + 1
    assert {m.kind for m in found} == {"threshold", "comparison", "timespan", "clause"}
    assert sum(m.kind == "threshold" for m in found) == 2 * len(rule.parameters)
    spans = {m.timespan for f in found if f.kind == "timespan" for m in f.rule.measures.values()}
    assert {m.timespan / 2 for m in rule.measures.values()} | {2 * m.timespan for m in rule.measures.values()} <= spans
    composite = mutants(library["ml-general/composite-relay-chain"])
    assert {m.kind for m in composite} >= {"timespan"}
    span = library["ml-general/composite-relay-chain"].correlation
    assert span is not None
    assert {m.rule.correlation.timespan for m in composite if m.kind == "timespan" and m.rule.correlation} == {
        span.timespan / 2, span.timespan * 2,
    }  # fmt: skip
    assert timedelta(0) not in spans


def test_a_rule_whose_cases_notice_nothing_is_told(library: Library) -> None:
    rule = library["osec/low-value-sends-few-recipients"]
    hits = [case for case in load_cases(rule)[0] if case.expect.hit][:1]
    found = fates(mutants(rule, ["threshold"]), hits, library)
    assert any(f.killed for f in found)
    assert not all(f.killed for f in found), "one case alone cannot hold both sides of a threshold"
    assert [f.killer for f in fates(mutants(rule, ["threshold"]), [], library)] == [None] * 2 * len(rule.parameters)
