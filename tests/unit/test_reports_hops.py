"""The money's way in a draft: told and attached, counted in nothing, and nobody becomes a subject by it."""

from __future__ import annotations

import csv
import io
import unicodedata
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest

from fintel.domain.case import Case
from fintel.domain.schema import CLAUSES, EVIDENCE, TRANSACTIONS
from fintel.frames import fit
from fintel.reports import narrative
from fintel.reports.attachment import attachment, safe_cell
from fintel.reports.bundle import write_draft
from fintel.reports.comparisons import disagreements
from fintel.reports.draft import build_case
from tests.unit.reports_cases import ALEX, AT, FEED, FILER, START, Story, party
from tests.unit.test_reports_narrative import agrees, rows_of

HOPS = [("t:90", "A1", "B2", "1000"), ("t:91", "B2", "bank|C3", "980"), ("t:92", "bank|C3", None, "960"), ("t:93", None, "A1", "950")]  # fmt: skip
IDS = ["t:90/out", "t:91/out", "t:92/out", "t:93/in"]


def frames(role: str = "subject"):
    """An account that is paid twice by somebody; one of the payments closes a cycle over two others and a mere name."""
    story = Story("hops", "ML-GENERAL", role, parties=[ALEX, party("P3", name="Chris Sample", kind="person")])
    story.pay(0, "40", "in", "X1", other_name="Xenia Sample").pay(3, "60", "out", "X1", other_name="Xenia Sample")
    story.accounts = [
        {"account_id": "bank|C3", "party_id": "P3", "holding": "external", "agent": "bank", **FEED, "source_row": 3}
    ]
    made = story.frames()
    rows = [
        {"transaction_id": name, "booked_at": START + timedelta(hours=n), "amount": Decimal(amount), "currency": "USD",
         "amount_base": Decimal(amount), "status": "booked", "debtor_account_id": payer, "creditor_account_id": payee,
         "debtor_name": None if payer else "=SUM(1)<b>", "creditor_name": None if payee else "=SUM(1)<b>",
         "source_row": 90 + n, **FEED}
        for n, (name, payer, payee, amount) in enumerate(HOPS)
    ]  # fmt: skip
    clause = {
        "run_id": "r1", "episode_id": "e1", "clause": 9, "measure": "cycle", "kind": "motif", "column": "cycle_hops",
        "window_from": START - timedelta(hours=1), "window_to": START + timedelta(hours=3), "observed": 4.0,
        "unit": "payments", "own_points": 0, "peer_group": "not compared", "evidence_rows": 4,
        "evidence_truncated": False,
    }  # fmt: skip
    bound = {**clause, "clause": 10, "measure": "cycle_truncated", "kind": "bound", "observed": 1.0, "evidence_rows": 0}
    proof = [
        {"run_id": "r1", "episode_id": "e1", "measure": "cycle", "entry_id": i, "transaction_id": i.split("/")[0]}
        for i in IDS
    ]
    for name, table, more in (
        ("transactions", TRANSACTIONS, rows), ("clauses", CLAUSES, [clause, bound]), ("evidence", EVIDENCE, proof),
    ):  # fmt: skip
        made[name] = pl.concat([made[name], fit(pl.DataFrame(more, infer_schema_length=None), table)])
    return made


def case_of(role: str = "subject") -> Case:
    return build_case(**frames(role))


def test_hops_count_in_nothing() -> None:
    case = case_of()
    assert [t.entry_id for t in case.hops] == IDS
    assert case.total == 100 and len(case.payments) == 2 and not {t.entry_id for t in case.evidence} & set(IDS)
    assert {p.key for p in case.others} == {"X1"}
    assert disagreements(case) == () and not case.truncated


@pytest.mark.parametrize("role", ["subject", "victim"])
def test_nobody_is_a_subject_because_of_a_hop(role: str) -> None:
    case = case_of(role)
    assert [p.key for p in case.subjects] == (["P1"] if role == "subject" else ["X1"])


def test_the_narrative_tells_each_step_with_its_payment() -> None:
    case = case_of()
    told = [s for s in narrative.write(case, FILER, date(2026, 1, 15)).sentences if set(s.evidence) & set(IDS)]
    lead, *steps = told
    assert lead.text == "Money came back to where it set out over 4 payments." and set(lead.evidence) == set(IDS)
    assert [s.evidence for s in steps] == [(i,) for i in IDS]
    assert steps[0].text.endswith("1,000.00 USD went from the account to account B2.")
    assert steps[1].text.endswith("went from account B2 to account C3.")
    assert steps[3].text.endswith("went from =SUM(1)<b> to the account.")
    transactions = frames()["transactions"]
    for sentence in told:
        rows = rows_of(sentence, transactions)
        assert all(f.text in sentence.text and agrees(f, rows) for f in sentence.facts)


@pytest.mark.parametrize("role", ["subject", "victim"])
def test_the_attachment_has_the_way_behind_the_activity(role: str) -> None:
    made = attachment(case_of(role))
    rows = list(csv.DictReader(io.StringIO(made.data.decode())))
    assert [(r["payment"], r["part"]) for r in rows] == [("t:1", "activity"), ("t:2", "activity")] + [
        (name, "way") for name, *_ in HOPS
    ]
    assert (made.rows, made.of) == (2, 2)
    accounts = [r["account"] for r in rows]
    assert accounts == (
        ["A1", "A1", "A1", "B2", "bank|C3", "A1"] if role == "subject" else ["", "", "", "B2", "bank|C3", ""]
    )
    assert not any(cell[:1] in "=+-@" for r in rows for cell in r.values() if cell)


def test_a_draft_with_hops_is_whole(tmp_path) -> None:
    files = write_draft(case_of(), tmp_path, filer=FILER, at=AT, version="0")
    page = files.html.read_text()
    assert "(the money's way)" in page and "numbers of the graph may be too low" in page
    assert "B2: bank|C3" in page and "=SUM(1)&lt;b&gt;" in page and "SUM(1)<" not in page
    before_the_narrative = files.xml.read_bytes().split(b"ActivityNarrativeInformation")[0]
    assert not any(word in before_the_narrative for word in (b"SUM", b"B2", b"C3", b"Chris"))


def test_no_sign_that_reads_as_a_formulas_is_left_bare():
    """Every letter of Unicode whose compatibility form begins a formula, at the start and behind a ';'."""
    alike = [c for c in map(chr, range(33, 0x110000)) if unicodedata.normalize("NFKC", c)[0] in "=+-@|%\u2212"]
    assert len(alike) > 20
    for sign in alike:
        assert safe_cell(f"{sign}1;{sign}2").count("'") == 2, hex(ord(sign))
    assert safe_cell("A - B = C") == "A - B = C"
