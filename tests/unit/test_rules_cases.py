"""Cases: read into canonical tables, compared with what a run finds, and run by the engine itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from test_rules_loader import pack, rewrite

from fintel.domain.schema import (
    ACCOUNTS,
    CLAUSES,
    EPISODES,
    IDENTIFIERS,
    INTEL,
    PARTIES,
    RULE_RESULTS,
    TRANSACTIONS,
)
from fintel.features.entries import entries
from fintel.frames import fit, polars_schema
from fintel.rules.cases import load_cases
from fintel.rules.checks import check
from fintel.rules.loader import load
from fintel.rules.testing import run_cases

__all__ = ["pack"]

FULL = """\
cases:
  - name: everything
    base: EUR
    rates: {USD: 0.9}
    defaults: {account: a, direction: in, instrument: card}
    accounts: {a: {kind: person, party_id: p, opened_on: 2020-02-29}}
    parties: {p: {birth_date: 2001-01-01, annual_income: 1234.5, city: Cebu}}
    entries:
      - {at: "2025-03-01T20:00+02:00", amount: 0.1, currency: USD, counterparty: "r{n}", counterparty_name: "N {n}", repeat: {times: 2, every: 36h}}
      - {at: 2025-03-05T01:00, direction: out, amount: 5, currency: GBP, local_offset: "-03:30", instrument: cash, place_city: NO, account_country: FR}
    expect: {hit: a}
"""


def test_a_case_becomes_canonical_tables(pack):
    (pack / "osec/cases/sends.yaml").write_text(FULL, encoding="utf-8")
    ((case,), findings) = load_cases(load([pack])[0]["osec/sends"])
    assert findings == ()
    payments = case.tables["transactions"]
    assert payments.schema == polars_schema(TRANSACTIONS)
    assert payments["transaction_id"].n_unique() == 3
    assert payments["booked_at"].to_list() == [
        datetime(2025, 3, 1, 18, tzinfo=UTC), datetime(2025, 3, 3, 6, tzinfo=UTC), datetime(2025, 3, 5, 1, tzinfo=UTC),
    ]  # fmt: skip
    assert payments["amount_base"].to_list() == [Decimal("0.09"), Decimal("0.09"), None]
    assert payments["creditor_account_id"].to_list() == ["a", "a", None]
    assert payments["debtor_account_id"].to_list() == ["r1", "r2", "a"]
    assert payments["debtor_name"].to_list() == ["N 1", "N 2", None]
    assert payments["debtor_country"].to_list() == [None, None, "FR"]
    assert payments["instrument"].to_list() == ["card", "card", "cash"]
    assert payments["place_city"].to_list() == [None, None, "NO"]
    assert payments["local_offset_minutes"].to_list() == [None, None, -210]
    assert payments["status"].unique().to_list() == ["booked"]
    assert case.tables["accounts"].schema == polars_schema(ACCOUNTS)
    assert case.tables["accounts"].select("account_id", "party_id", "holding").row(0) == ("a", "p", "own")
    assert case.tables["parties"].schema == polars_schema(PARTIES)
    assert case.tables["parties"]["annual_income"][0] == Decimal("1234.5")
    assert case.tables["rates"].select("currency", "base", "rate").rows() == [("USD", "EUR", Decimal("0.9"))]


TOLD = """\
cases:
  - name: told
    accounts: {a: {party_id: p}}
    parties: {p: {phone: "+63 912 345", latitude: 14.6, longitude: 121.0}}
    identifiers:
      - {party_id: q, type: phone, value: 0063912345, first_seen: "2025-01-01T08:00+08:00"}
    intel:
      - {type: account, value: b}
      - {type: phone, value: 63912345, issuer: a charity, received_on: 2025-01-02}
    entries:
      - {at: 2025-03-01, account: a, direction: out, amount: 5, counterparty: b, ip_country: TH, relationship: none, place_latitude: -10.32, place_longitude: 123.89, account_name: Pat}
    expect: {hit: none}
"""


def test_a_case_tells_identifiers_intelligence_and_places(pack):
    (pack / "osec/cases/sends.yaml").write_text(TOLD, encoding="utf-8")
    ((case,), findings) = load_cases(load([pack])[0]["osec/sends"])
    assert findings == ()
    payment = case.tables["transactions"].row(0, named=True)
    assert (payment["place_latitude"], payment["place_longitude"], payment["ip_country"]) == (-10.32, 123.89, "TH")
    assert (payment["relationship"], payment["debtor_name"]) == ("none", "Pat")
    assert case.tables["parties"].select("latitude", "longitude").row(0) == (14.6, 121.0)
    assert case.tables["identifiers"].schema == polars_schema(IDENTIFIERS)
    assert case.tables["identifiers"]["first_seen"].to_list() == [datetime(2025, 1, 1, tzinfo=UTC)]
    assert case.tables["intel"].schema == polars_schema(INTEL)
    assert case.tables["intel"].select("type", "value", "issuer", "received_on").rows() == [
        ("account", "b", "case", None), ("phone", "63912345", "a charity", date(2025, 1, 2)),
    ]  # fmt: skip
    paying = {name: frame.lazy() for name, frame in case.tables.items()}
    (side,) = entries(paying).filter(direction="out").collect().iter_rows(named=True)
    assert (side["account_intel"], side["counterparty_intel"], side["shared_phone"]) == (True, True, 2)


TOLD_WRONG = [
    ("type: phone, value: 0063912345", "type: fone, value: 0063912345", 6),
    ("{type: account, value: b}", "{type: account}", 0),
    ("{type: account, value: b}", "account", 0),
    ("{party_id: q, type", "{partyid: q, type", 1),
    ("latitude: 14.6,", "latitude: 91,", 10),
    ("latitude: 14.6,", "latitude: x,", 10),
    ("place_longitude: 123.89", "place_longitude: 200", 17),
    ("received_on: 2025-01-02", "received_on: soon", 13),
    ("\"2025-01-01T08:00+08:00\"", "early", 0),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "offset"), TOLD_WRONG)
def test_a_mistake_in_what_is_told_is_found_at_its_place(pack, old, new, offset):
    (pack / "osec/cases/sends.yaml").write_text(TOLD, encoding="utf-8")
    line, column = rewrite(pack, "osec/cases/sends.yaml", old, new)
    cases, findings = load_cases(load([pack])[0]["osec/sends"])
    assert cases == ()
    assert (line, column + offset) in [(d.location.line, d.location.column) for d in findings]


MISTAKES = [
    ("amount: 5", "amount: -5", "R063", 8),
    ("amount: 5", "amount: NaN", "R063", 8),
    ("direction: out", "direction: up", "R063", 11),
    ("instrument: cash", "instrument: gold", "R063", 12),
    ("at: 2025-03-05T01:00", "at: yesterday", "R063", 4),
    ("at: 2025-03-05T01:00, ", "", "R063", None),
    ("place_city", "place_town", "R063", 12),
    ("place_city: NO", "local_hour: 3", "R063", 12),
    ("place_city: NO", "account_kind: person", "R063", 14),
    ('local_offset: "-03:30"', "local_offset: -3", "R063", 14),
    ("times: 2", "times: 0", "R007", 7),
    ("times: 2", "times: 999999999", "R063", None),
    ("every: 36h", "every: 36", "R044", 7),
    ("opened_on: 2020-02-29", "opened_on: 2021-02-29", "R063", 11),
    ("birth_date", "sex", "R063", 0),
    ("kind: person", "kind: robot", "R063", 6),
    ("{USD: 0.9}", "{USD: 0}", "R063", 6),
    ("{hit: a}", "{hit: a, outcome: cannot_tell}", "R063", 0),
    ("{hit: a}", "{hit: a, observed: {send: 1}}", "R063", 20),
    ("{hit: a}", "{outcome: perhaps}", "R013", 10),
    ("name: everything", "nam: everything", "R005", 0),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "code", "offset"), MISTAKES)
def test_a_mistake_in_a_case_is_found_at_its_place(pack, old, new, code, offset):
    (pack / "osec/cases/sends.yaml").write_text(FULL, encoding="utf-8")
    line, column = rewrite(pack, "osec/cases/sends.yaml", old, new)
    cases, findings = load_cases(load([pack])[0]["osec/sends"])
    assert cases == ()
    found = next(d for d in findings if d.code == code)
    if offset is not None:
        assert (found.location.line, found.location.column) == (line, column + offset)


def test_a_rule_wants_a_hit_and_a_near_miss(pack):
    library = load([pack])[0]
    path = pack / "osec/cases/sends.yaml"
    whole = path.read_text()
    path.write_text(whole[: whole.index("  - name: near miss")])
    assert [d.code for d in check(library)] == ["R062"]
    path.write_text(whole.replace("{hit: a, observed: {sends: 4}}", "{hit: none}"))
    assert [d.code for d in check(library)] == ["R061"]
    path.write_text(whole.replace("{hit: none}", "{hit: a}"))
    assert [d.code for d in check(library)] == ["R062", "R063"]
    path.rename(path.with_name("sent.yaml"))
    assert [d.code for d in check(library)] == ["R064", "R060"]


@dataclass
class Found:
    rule_results: pl.DataFrame
    episodes: pl.DataFrame
    clauses: pl.DataFrame


def finding(outcome="evaluated", hits=("a",), sends=4.0):
    """An engine that finds the same thing whatever it is given."""

    def detect(tables, library, *, base_currency):
        (rule,) = library.rules
        results = [{"rule_id": rule.id, "outcome": outcome, "reason": "why"}]
        episodes = [{"episode_id": f"e{n}", "rule_id": rule.id, "account_id": a} for n, a in enumerate(hits)]
        clauses = [{"episode_id": e["episode_id"], "measure": "sends", "observed": sends} for e in episodes]
        return Found(
            fit(pl.DataFrame(results), RULE_RESULTS),
            fit(pl.DataFrame(episodes, schema=["episode_id", "rule_id", "account_id"], orient="row"), EPISODES)
            if episodes
            else fit(pl.DataFrame({"rule_id": []}, schema={"rule_id": pl.String}), EPISODES),
            fit(pl.DataFrame(clauses or {"measure": []}, schema_overrides={"measure": pl.String}), CLAUSES),
        )

    return detect


@pytest.mark.parametrize(
    ("engine", "hit", "near_miss"),
    [
        (finding(), (), ("hits a, not nothing",)),
        (finding(hits=()), ("hits nothing, not a",), ()),
        (finding(hits=("a", "b")), ("hits a, b, not a",), ("hits a, b, not nothing",)),
        (finding(sends=5.0), ("sends is 5.0, not 4",), ("hits a, not nothing",)),
        (finding("cannot_tell"), ("outcome is cannot_tell (why), not evaluated",) , ("outcome is cannot_tell (why), not evaluated",)),
        (finding("failed"), ("outcome is failed (why), not evaluated",), ("outcome is failed (why), not evaluated",)),
    ],
)  # fmt: skip
def test_what_is_found_is_compared_with_what_is_expected(pack, engine, hit, near_miss):
    outcome = run_cases(load([pack])[0], engine)
    assert [r.differences for r in outcome.results] == [hit, near_miss]
    assert outcome.passed is (not hit and not near_miss)
    assert run_cases(load([pack])[0], engine, rule_ids=["x/y"]).results == ()


def test_the_engine_passes_the_scratch_pack_and_says_when_it_cannot_tell(pack):
    from fintel.rules.runner import detect_tables

    path = pack / "osec/cases/sends.yaml"
    blind = "  - name: no rate\n    entries: [{at: 2025-03-01, amount: 10, currency: XXX}]\n    expect: {outcome: cannot_tell}\n"
    path.write_text(path.read_text() + blind)
    rewrite(pack, "osec/sends.yaml", " and recipients <= 3", "")
    outcome = run_cases(load([pack])[0], detect_tables)
    assert outcome.diagnostics == ()
    assert [(r.case, r.differences) for r in outcome.results] == [("hit", ()), ("near miss", ()), ("no rate", ())]


@pytest.mark.parametrize(
    "entry",
    [
        "{at: '0001-01-01T00:00+14:00', amount: 1}",
        "{at: '9999-12-31T23:59-10:00', amount: 1}",
        "{at: 2025-03-01, amount: 1, repeat: {times: 20000, every: 3660d}}",
        "{at: 2025-03-01, amount: 1, repeat: {times: 20000, every: 1d}}, {at: 2025-03-01, amount: 1}",
    ],
)
def test_times_and_numbers_of_entries_are_bounded(pack, entry):
    rewrite(
        pack,
        "osec/cases/sends.yaml",
        "{at: 2025-03-01, amount: 10, counterparty: r, repeat: {times: 3, every: 1d}}",
        entry,
    )
    (rule,) = load([pack])[0].rules
    _, found = load_cases(rule)
    assert found and {d.code for d in found} <= {"R063"}


@pytest.mark.parametrize("rate", ["1e300", "1e-320", "0", "-1", "nan"])
def test_rates_of_cases_are_bounded(pack, rate):
    rewrite(pack, "osec/cases/sends.yaml", "rates: {CAD: 0.7}", f"rates: {{CAD: {rate}}}")
    (rule,) = load([pack])[0].rules
    cases, found = load_cases(rule)
    assert not cases and {d.code for d in found} == {"R063"}


def test_one_file_of_cases_is_bounded(pack):
    case = "  - {name: c, entries: [{at: 2025-03-01, account: a, direction: in, amount: 1, repeat: {times: 20000, every: 1s}}], expect: {hit: none}}\n"
    (pack / "osec/cases/sends.yaml").write_text("cases:\n" + case * 9, encoding="utf-8")
    (rule,) = load([pack])[0].rules
    cases, found = load_cases(rule)
    assert len(cases) == 5 and "100,000" in str(found[0])
