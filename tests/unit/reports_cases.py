"""Made-up cases for the tests of reports: tables as a run leaves them, nobody real."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from fintel.config import Address, Filer, Settings
from fintel.domain import schema
from fintel.domain.case import Case, RuleMeta
from fintel.frames import empty, fit, polars_schema
from fintel.reports.draft import build_case

AT = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
FILER = Filer(
    name="Example Remit Inc",
    tin="12-0000001",
    ein="120000001",
    transmitter_control_code="TBSATEST",
    regulator="7",
    organisation_type="4",
    phone="+1 703 555 0100",
    contact_office="BSA Office",
    contact_phone="703 555 0101",
    address=Address(street="1 Test Street", city="Anytown", state="VA", postcode="22000", country="US"),
)
FEED = {"source": "t", "feed_id": "f", "source_file": "made_up.csv"}
START = datetime(2025, 11, 3, 14, 0, tzinfo=UTC)


@dataclass
class Story:
    """A case in few words: payments (all of them evidence unless told), one rule, people."""

    name: str
    typology: str
    role: str = "subject"
    rule: str = "pack/some-rule"
    meta: RuleMeta | None = None
    payments: list[dict[str, Any]] = field(default_factory=list)
    parties: list[dict[str, Any]] = field(default_factory=list)
    accounts: list[dict[str, Any]] = field(default_factory=list)
    measures: list[tuple[str, str, str, float | None, float | None, float | None]] = field(default_factory=list)
    base: str = "USD"
    bits: float = 7.0

    def pay(self, days: float, amount: str, direction: str, other: str | None = None, **more: Any) -> Story:
        """A payment of account A1; ``other`` is the other side's account."""
        sides = {"in": ("creditor", "debtor"), "out": ("debtor", "creditor")}[direction]
        row = {
            "transaction_id": f"t:{len(self.payments) + 1}",
            "booked_at": START + timedelta(days=days),
            "amount": Decimal(amount),
            "currency": "USD",
            "amount_base": Decimal(amount),
            "status": "booked",
            f"{sides[0]}_account_id": "A1",
            f"{sides[1]}_account_id": other,
            "evidence": True,
            "direction": direction,
            "source_row": len(self.payments) + 2,
            **FEED,
        }
        name = more.pop("other_name", None)
        country = more.pop("other_country", None)
        row |= {f"{sides[1]}_name": name, f"{sides[1]}_country": country, **more}
        self.payments.append(row)
        return self

    def frames(self) -> dict[str, Any]:
        """Arguments of ``build_case``."""
        rows = [{k: v for k, v in p.items() if k not in ("evidence", "direction")} for p in self.payments]
        transactions = _table(rows, schema.TRANSACTIONS)
        proof = [p for p in self.payments if p["evidence"]]
        first, last = proof[0]["booked_at"], max(p["booked_at"] for p in proof)
        ids = [f"{p['transaction_id']}/{p['direction']}" for p in proof]
        measures = self.measures or [("payments", "count", "*", 3.0, 1.0, 97.5)]
        clauses, evidence = [], []
        for n, (measure, kind, column, threshold, own, peers) in enumerate(measures, 1):
            clauses.append({
                "run_id": "r1", "episode_id": "e1", "clause": n, "measure": measure, "kind": kind, "column": column,
                "window_from": first - timedelta(days=1), "window_to": last,
                "observed": _observed(kind, column, proof), "operator": ">=", "threshold": threshold, "unit": None,
                "own_normal": own, "own_points": 9 if own is not None else 0, "peer_group": "persons",
                "peer_percentile": peers, "evidence_rows": len(ids), "evidence_truncated": False,
            })  # fmt: skip
            evidence += [
                {"run_id": "r1", "episode_id": "e1", "measure": measure, "entry_id": e, "transaction_id": e.rsplit("/", 1)[0]}
                for e in ids
            ]  # fmt: skip
        alert = {
            "run_id": "r1", "alert_id": f"alert-{self.name}", "rank": 1, "account_id": "A1",
            "party_id": "P1" if self.parties else None, "holding": "own", "prior": -9.96, "score": -9.96 + self.bits,
            "reasons": 1, "typologies": self.typology, "first_at": first, "last_at": last, "summary": "words",
        }  # fmt: skip
        reason = {
            "run_id": "r1", "account_id": "A1", "reason": 1, "origin": "rule", "name": self.rule,
            "typology": self.typology, "episode_id": "e1", "bits_full": self.bits, "damping": 1.0, "bits": self.bits,
            "text": f"{len(ids)} payments beyond the ordinary",
        }  # fmt: skip
        episode = {
            "run_id": "r1", "episode_id": "e1", "rule_id": self.rule, "account_id": "A1", "partition": "A1",
            "typology": self.typology, "level": "high", "started_at": first, "ended_at": last, "peak_at": last,
            "peak_entry_id": ids[-1], "hits": 1, "strength": 0.5, "reason": "words",
        }  # fmt: skip
        account = {"account_id": "A1", "party_id": "P1", "holding": "own", "product": "checking", "agent": "Example Remit Inc", "country": "US", **FEED, "source_row": 2}  # fmt: skip
        meta = self.meta or RuleMeta("Some pattern of payments", self.typology, self.role, ("Frequent payments in a short period (Some FIU, 2025)",))  # fmt: skip
        return {
            "alert_row": alert,
            "reasons": _table([reason], schema.REASONS),
            "episodes": _table([episode], schema.EPISODES),
            "clauses": _table(clauses, schema.CLAUSES),
            "evidence": _table(evidence, schema.EVIDENCE),
            "transactions": transactions,
            "accounts": _table([account if self.parties else {**account, "party_id": None}, *self.accounts], schema.ACCOUNTS),
            "parties": _table(self.parties, schema.PARTIES),
            "settings": Settings(base_currency=self.base, filer=FILER),
            "rules_meta": {self.rule: meta},
        }  # fmt: skip

    def case(self) -> Case:
        """The case."""
        return build_case(**self.frames())


def _table(rows: list[dict[str, Any]], table: schema.Table) -> pl.DataFrame:
    if not rows:
        return empty(table)
    return fit(pl.DataFrame(rows, schema_overrides=dict(polars_schema(table)), infer_schema_length=None), table)


def _observed(kind: str, column: str, proof: list[dict[str, Any]]) -> float:
    if kind == "count":
        return float(len(proof))
    if kind == "sum":
        return float(sum(p["amount_base"] for p in proof))
    key = {"counterparty_id": lambda p: p["debtor_account_id"] if p["direction"] == "in" else p["creditor_account_id"]}
    return float(len({key.get(column, lambda p: p.get(column))(p) for p in proof} - {None}))


def party(party_id: str, **facts: Any) -> dict[str, Any]:
    return {"party_id": party_id, **FEED, "source_row": 2, **facts}


ALEX = party(
    "P1", name="Alex Specimen", given_name="Alex", family_name="Specimen", kind="person",
    birth_date=date(1985, 2, 3), country="US", city="Anytown", state="VA", address="22 Sample Road",
    postcode="22000-0001", phone="+1 703 555 0199", email="alex@example.com", tax_id="900-00-0001",
    occupation="Carpenter", sex="M",
)  # fmt: skip


def structuring() -> Story:
    """Cash just under 10,000 at three branches, then out together."""
    story = Story(
        "structuring",
        "ML-GENERAL",
        rule="ml/cash-under-limit",
        meta=RuleMeta("Cash deposits at several places", "ML-GENERAL", "subject", ("Cash split over places (FinCEN, 2014)",), ("T0016",)),
        parties=[ALEX],
        measures=[("deposits", "count", "*", 3.0, 1.0, 99.2), ("total", "sum", "amount_base", 10000.0, 1200.0, 99.9), ("places", "distinct", "place_id", 2.0, None, None)],
    )  # fmt: skip
    for n, amount in enumerate(("9500.00", "9200.50", "9800.00", "9650.00")):
        story.pay(n * 0.3, amount, "in", instrument="cash", channel="branch", place_id=f"B{n % 3}", place_city=f"Town {n % 3}", place_country="US")  # fmt: skip
    return story


def osec() -> Story:
    """Small sends to one person abroad, through an app; the sender is the subject."""
    story = Story(
        "osec", "OSEC", rule="osec/low-value-sends", parties=[ALEX],
        measures=[("sends", "count", "*", 4.0, 0.0, 99.0), ("recipients", "distinct", "counterparty_id", 1.0, None, None)],
    )  # fmt: skip
    for n in range(6):
        story.pay(
            n, f"{20 + 5 * n}.00", "out", "X|R1", other_name="Sam Placeholder", other_country="PH", currency="CAD",
            amount_base=Decimal(f"{14 + n}.25"), instrument="credit_transfer", channel="app", ip_address="192.0.2.44",
            remittance_information="school fees",
        )  # fmt: skip
    story.pay(-20, "60.00", "in", "A9", other_name="Employer Ltd", instrument="credit_transfer", evidence=False)
    return story


def organisation() -> Story:
    """An organisation as subject."""
    firm = party("P1", name="Placeholder Staffing LLC", kind="organisation", country="US", city="Anytown", industry="Staffing", tax_id="12-0000009")  # fmt: skip
    story = Story("organisation", "HT-LABOUR", rule="labour/wage-return", parties=[firm])
    for n in range(5):
        story.pay(
            n, "850.00", "in", f"X|W{n}", other_name=f"Worker {n}", instrument="credit_transfer", channel="online"
        )
    return story


def victim() -> Story:
    """The holder is presumed to be a victim; whoever receives the money is known."""
    story = Story("victim", "HT-SEX", role="victim", rule="ht/controlled-account", parties=[
        party("P1", name="Kim Beispiel", given_name="Kim", family_name="Beispiel", kind="person", birth_date=date(1999, 5, 6),
              country="US", city="Quietville", state="TX", address="9 Hidden Lane", phone="2025550144", email="kim@example.org", tax_id="900000002"),
        party("P2", name="Robin Controller", kind="person", country="US"),
    ], accounts=[{"account_id": "B|77", "party_id": "P2", "holding": "external", **FEED, "source_row": 3}])  # fmt: skip
    for n in range(4):
        story.pay(n, "400.00", "in", instrument="cash", channel="atm", place_city="Quietville", place_country="US")
        story.pay(n + 0.1, "390.00", "out", "B|77", other_name="Robin Controller", instrument="credit_transfer", channel="p2p", ip_address="198.51.100.7")  # fmt: skip
    return story


def sextortion() -> Story:
    """A boy of 15 pays; nobody knows to whom but for an account."""
    child = party("P1", name="Jo Minor", given_name="Jo", family_name="Minor", kind="person", birth_date=date(2010, 6, 1), country="US")  # fmt: skip
    story = Story("sextortion", "SEXTORTION", role="victim", rule="sextortion/payer", parties=[child])
    for n in range(3):
        story.pay(n * 0.1, "50.00", "out", "N|555", other_country="NG", instrument="credit_transfer", channel="p2p")
    return story


def unknown() -> Story:
    """A presumed victim and nobody else on record."""
    story = Story("unknown", "HT-SEX", role="victim", rule="ht/cash", parties=[{**ALEX, "name": "Lee Exemplo", "family_name": "Exemplo", "given_name": "Lee"}])  # fmt: skip
    for n in range(4):
        story.pay(n, "300.00", "in", instrument="cash", channel="atm")
    return story


STORIES = {s.__name__: s for s in (structuring, osec, organisation, victim, sextortion, unknown)}
