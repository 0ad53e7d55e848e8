"""Who is in a case: the holder, the other sides, and which of them a draft may name as subjects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import polars as pl

from fintel.domain.case import CaseAccount, CaseReason, Person, Role
from fintel.reports.text import clean

#: Other sides that are described, by amount.
MAX_OTHERS = 200
#: Other sides that a draft names as subjects when the holder is a presumed victim, by amount.
MAX_SUBJECTS = 10
#: A second role counts as real from this share of the first one's evidence on.
SECOND_ROLE = 0.5
_CHILD_TYPOLOGIES = frozenset({"OSEC", "SEXTORTION"})


def people_of(
    alert: Mapping[str, Any],
    rows: list[dict[str, Any]],
    accounts: pl.DataFrame,
    parties: pl.DataFrame,
) -> tuple[Person, tuple[Person, ...]]:
    """The holder of the alerted account, and the other sides of the evidence by amount, each once.

    ``rows``: evidence and context as ``draft`` makes them. Roles of the others stay unknown.
    """
    account_id = str(alert["account_id"])
    proven = [row for row in rows if row["evidence"]]
    seen = pl.DataFrame(
        [
            {
                "key": row["counterparty_id"],
                "name": row["counterparty_name"],
                "agent": row["counterparty_agent"],
                "country": row["counterparty_country"],
                "direction": row["direction"],
                "amount": float(row["amount_base"] if row["amount_base"] is not None else row["amount"]),
            }
            for row in proven
            if row["counterparty_id"] is not None and row["counterparty_id"] != account_id
        ],
        schema={
            "key": pl.String,
            "name": pl.String,
            "agent": pl.String,
            "country": pl.String,
            "direction": pl.String,
            "amount": pl.Float64,
        },
    )
    firsts = [pl.col(c).drop_nulls().first() for c in ("name", "agent", "country")]
    grouped = seen.group_by("key", maintain_order=True).agg(
        *firsts, pl.col("direction").unique().sort(), pl.col("amount").sum()
    )
    top = grouped.sort("amount", "key", descending=[True, False]).head(MAX_OTHERS).to_dicts()
    linked = sorted({row["account_id"] for row in proven} - {account_id})
    ids = [account_id, *linked, *(row["key"] for row in top)]
    books = _by("account_id", accounts, ids)
    own = books.get(account_id, {})
    party_id = alert.get("party_id") or own.get("party_id")
    known = _by("party_id", parties, [*(b["party_id"] for b in books.values()), party_id])
    names = [row["own_name"] for row in rows if row["account_id"] == account_id and row["own_name"]]
    flows = sorted({row["direction"] for row in proven if row["account_id"] == account_id})
    book = own or {"holding": alert.get("holding"), "party_id": party_id}
    record = known.get(party_id, {})
    accounts_of = [_account(account_id, book, {})]
    accounts_of += [
        _account(i, books[i], {}) for i in linked if i in books and books[i]["party_id"] == party_id is not None
    ]
    seen_name = {"name": names[0] if names else None}
    holder = _person(account_id, book, record, seen_name, flows, tuple(accounts_of))
    others = []
    for row in top:
        key = row["key"]
        book = books.get(key, {})
        flows = ["in" if d == "out" else "out" for d in row["direction"]]
        numbers = () if key.startswith("name:") else (_account(key, book, row),)
        others.append(_person(key, book, known.get(book.get("party_id"), {}), row, flows, numbers))
    return _merged(holder, others)


def _by(key: str, frame: pl.DataFrame, ids: list[str | None]) -> dict[str | None, dict[str, Any]]:
    wanted = [i for i in ids if i is not None]
    return {row[key]: row for row in frame.filter(pl.col(key).is_in(wanted)).to_dicts()}


def _merged(holder: Person, seen: list[Person]) -> tuple[Person, tuple[Person, ...]]:
    """One person for all accounts of a party; the holder's other accounts are the holder's."""
    people = {holder.key: holder}
    for person in seen:
        known = people.get(person.key)
        if known is None:
            people[person.key] = person
        else:
            flow = known.flow if known is holder or known.flow == person.flow else "both"
            accounts = tuple(dict.fromkeys((*known.accounts, *person.accounts)))
            people[person.key] = replace(known, accounts=accounts, flow=flow)
            if known is holder:
                holder = people[person.key]
    return people.pop(holder.key), tuple(people.values())


def _account(account_id: str, book: Mapping[str, Any], seen: Mapping[str, Any]) -> CaseAccount:
    return CaseAccount(
        account_id=account_id,
        agent=book.get("agent") or seen.get("agent"),
        country=book.get("country") or seen.get("country"),
        currency=book.get("currency"),
        product=book.get("product"),
        holding=book.get("holding"),
        opened_on=book.get("opened_on"),
        closed_on=book.get("closed_on"),
    )


def _person(
    key: str,
    book: Mapping[str, Any],
    party: Mapping[str, Any],
    seen: Mapping[str, Any],
    flows: list[str],
    accounts: tuple[CaseAccount, ...],
) -> Person:
    kinds = [k for k in (party.get("kind"), book.get("kind")) if k and k != "unknown"]
    flow = "both" if len(flows) > 1 else {"out": "sender", "in": "receiver"}.get("".join(flows), "")
    return Person(
        key=book.get("party_id") or key,
        role=Role.UNKNOWN,
        kind=kinds[0] if kinds else "unknown",
        flow=flow,
        customer=book.get("holding") == "own",
        name=party.get("name") or book.get("name") or seen.get("name"),
        given_name=party.get("given_name"),
        family_name=party.get("family_name"),
        birth_date=party.get("birth_date"),
        # The country of a bank is not that of a person; the payment's is the person's side.
        country=party.get("country") or seen.get("country"),
        city=party.get("city"),
        state=party.get("state"),
        address=party.get("address"),
        postcode=party.get("postcode"),
        phone=party.get("phone"),
        email=party.get("email"),
        tax_id=party.get("tax_id"),
        occupation=party.get("occupation"),
        industry=party.get("industry"),
        sex=party.get("sex"),
        accounts=accounts,
    )


def holder_role(reasons: tuple[CaseReason, ...], age: int | None) -> Role:
    """What the holder probably is: whichever role has more evidence; both where they are close.

    A holder under 18 is never proposed as an offender: a person has to look first.
    """
    victim = sum(max(r.bits, 0.0) for r in reasons if r.role == "victim")
    subject = sum(max(r.bits, 0.0) for r in reasons if r.role == "subject")
    if age is not None and age < 18:
        child = any(r.typology in _CHILD_TYPOLOGIES for r in reasons)
        return Role.PRESUMED_VICTIM if child or victim > subject else Role.POSSIBLE_BOTH
    if victim > subject:
        return Role.PRESUMED_VICTIM
    if victim > 0 and victim >= SECOND_ROLE * subject:
        return Role.POSSIBLE_BOTH
    return Role.SUSPECTED_OFFENDER if subject > 0 else Role.UNKNOWN


def other_subjects(holder: Person, others: tuple[Person, ...], first: date) -> tuple[Person, ...]:
    """Who received the holder's money. Payers are left out (they may be deceived themselves), and so
    are institutions, anybody recorded as under 18, and anybody of the holder's own name, who may be
    the holder with an account elsewhere."""
    own = clean(holder.label).casefold()

    def may_be(person: Person) -> bool:
        age = person.age_on(first)
        namesake = bool(own) and clean(person.label).casefold() == own
        child = age is not None and age < 18
        return person.flow in ("receiver", "both") and person.kind != "institution" and not (namesake or child)

    return tuple(p for p in others if may_be(p))[:MAX_SUBJECTS]
