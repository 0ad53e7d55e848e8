"""The rules that come with fintel: they load, they cite, and every case says what it should."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from fintel.domain.schema import PROVENANCE
from fintel.rules.cases import Case, Expectation, load_cases
from fintel.rules.checks import check
from fintel.rules.judging import Docket, judge
from fintel.rules.list_types import KeywordList, ValueList
from fintel.rules.loader import load, packs_folder
from fintel.rules.model import Library, Parameter
from fintel.rules.runner import detect_tables
from fintel.rules.testing import run_case

PACKS = {
    "osec": 30, "ht-sexual": 35, "labour": 30, "scam-compound": 18, "sextortion": 8,
    "ml-general": 28, "remittance": 15, "crypto": 14,
}  # fmt: skip
#: Rules that must give an answer on feeds with accounts, times, amounts and nothing else.
BARE = {"pass-through", "fan-in", "fan-out", "gather-scatter", "dormant-then-burst", "round-amounts"}
BARE_COLUMNS = {
    "transaction_id", "booked_at", "amount", "currency", "amount_base", "debtor_account_id", "creditor_account_id",
    "status", *(c.name for c in PROVENANCE),
}  # fmt: skip
#: Small numbers as indicators write them.
IN_WORDS = {
    0: (r"\bno\b",), 1: (r"\bat or slightly above\b",), 2: (r"\btwo\b", r"\btwice\b"),
}  # fmt: skip


@cache
def library() -> Library:
    return load()[0]


def rule_ids() -> list[str]:
    return [rule.id for rule in library().rules]


@cache
def cases(rule_id: str) -> tuple[Case, ...]:
    found, diagnostics = load_cases(library()[rule_id])
    assert not diagnostics, "\n".join(map(str, diagnostics))
    return found


def test_the_library_loads_without_a_finding() -> None:
    loaded, diagnostics = load()
    assert [str(d) for d in (*diagnostics, *check(loaded))] == []


def test_every_rule_file_is_a_rule() -> None:
    folder = packs_folder()
    files = {f"{p.parent.name}/{p.stem}" for p in folder.glob("*/*.yaml") if p.name != "pack.yaml"}
    assert {f for f in files if not f.startswith("lists/")} == set(rule_ids())


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_has_its_rules(pack: str) -> None:
    assert sum(rule.pack == pack for rule in library().rules) >= PACKS[pack]


@pytest.mark.parametrize("rule_id", rule_ids())
def test_a_rule_cites_and_proves_itself(rule_id: str) -> None:
    """A citation that is not mere general knowledge; a hit with its numbers, a near miss, a blind feed."""
    rule = library()[rule_id]
    grades = {library().indicators[i].grade for i in rule.indicators}
    if not grades & {"V1", "V2"}:
        assert rule.status == "experimental", "an unverified lead is no citation"
    assert rule.falsepositives
    assert rule.budget is not None
    found = cases(rule_id)
    assert any(c.expect.hit and (c.expect.observed or rule.correlation) for c in found)
    assert any(c.near_miss for c in found)
    assert any(c.expect.cannot_tell for c in found)


def _says(text: str, parameter: Parameter) -> bool:
    """The number stands in a text, money with its currency beside it: 'CAD 10 to 200' says CAD 200."""
    if parameter.unit == "hour":
        return f"{parameter.default:02.0f}:00" in text
    number = re.escape(f"{parameter.default:,.0f}")
    if parameter.is_money:
        between = r"(?: or [A-Z]{3}|,? [A-Z]{3})*(?: [\d,]+ (?:to|and))?"
        return re.search(rf"\b{parameter.unit}{between} {number}(?![\d,]*\d)", text) is not None
    words = "|".join((rf"(?<![\d,]){number}(?![\d,]*\d)", *IN_WORDS.get(parameter.default, ())))
    return re.search(rf"(?:{words})", text) is not None


@pytest.mark.parametrize("rule_id", rule_ids())
def test_a_number_from_the_source_stands_in_an_indicator_that_the_rule_cites(rule_id: str) -> None:
    texts = [library().indicators[i].text for i in library()[rule_id].indicators]
    for parameter in library()[rule_id].parameters.values():
        if parameter.basis == "source":
            assert parameter.note, f"{parameter.name}: a source without a note"
            assert any(_says(text, parameter) for text in texts), f"{parameter.name}: no indicator cited says it"


@pytest.mark.parametrize("rule_id", rule_ids())
def test_every_case_says_what_it_should(rule_id: str) -> None:
    docket = Docket((library()[rule_id],), cases(rule_id))
    ((verdict,),) = judge([docket], library())
    failed = [(c, wrong) for c, wrong in zip(docket.cases, verdict, strict=True) if wrong]
    assert [f"{case.location}: {case.name}: {'; '.join(wrong)}" for case, wrong in failed] == []


def _bare(case: Case) -> Case:
    """The same payments as a feed has them that knows accounts, times and amounts alone."""
    payments = case.tables["transactions"]
    kept = [c for c in payments.columns if c in BARE_COLUMNS]
    emptied = payments.with_columns(
        pl.lit(None).cast(payments.schema[c]).alias(c) for c in payments.columns if c not in kept
    )
    return replace(case, tables={"transactions": emptied, "rates": case.tables["rates"]})


@pytest.mark.parametrize("name", sorted(BARE))
def test_a_rule_hits_on_accounts_times_and_amounts_alone(name: str) -> None:
    rule = library()[f"ml-general/{name}"]
    hits = [_bare(case) for case in cases(rule.id) if case.expect.hit]
    results = [run_case(rule, replace(c, expect=Expectation(hit=c.expect.hit)), library(), detect_tables) for c in hits]
    assert hits
    assert [f"{r.case}: {r.differences}" for r in results if not r.passed] == []


def test_lists_hold_what_they_say() -> None:
    for found in library().lists.values():
        assert found.description, found.name
        assert found.source, found.name
        if isinstance(found, KeywordList):
            assert all(term.grade in ("V1", "V2", "U") for term in found.terms), found.name
        if isinstance(found, ValueList) and found.column == "country":
            assert all(re.fullmatch("[A-Z]{2}", value) for value in found.values), found.name
        if isinstance(found, ValueList) and found.column == "merchant_category_code":
            assert all(re.fullmatch(r"\d{4}", value) for value in found.values), found.name


def test_lists_that_age_say_when() -> None:
    for name in ("fatf_call_for_action", "fatf_increased_monitoring"):
        assert re.search(r"as of \d+ \w+ \d{4}.*Expires", library().lists[name].description)


def test_the_reference_page_has_every_rule(root: Path) -> None:
    page = (root / "docs" / "reference" / "packs.md").read_text(encoding="utf-8")
    assert [rule for rule in rule_ids() if f"`{rule}`" not in page] == []
    cited = set(re.findall(r"\b(?:FINTRAC|FINCEN|AUSTRAC|AMLC|FATF|AIC)-[A-Z0-9]+-[A-Z0-9]+\b", page))
    assert cited <= set(library().indicators)
