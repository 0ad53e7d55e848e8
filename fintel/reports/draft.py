"""From the tables of a run to one case: who, which payments, why.

Reads polars frames as ``domain.schema`` has them and touches no store, so that a draft can be made
from any of them: a lake, a test, a notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl

from fintel.config import Settings
from fintel.domain.case import (
    Case,
    CaseAccount,
    CaseClause,
    CaseReason,
    CaseTransaction,
    Person,
    Role,
    RuleMeta,
)
from fintel.errors import ReportError
from fintel.features.entries import entries as entries_of

#: More evidence than this is no longer one report; the run keeps far fewer rows a clause.
MAX_EVIDENCE = 50_000
#: Payments of the account that are shown beside the evidence, nearest to it in time.
MAX_CONTEXT = 2_000
#: Other sides that are described, by amount.
MAX_OTHERS = 200
#: Other sides that a draft names as subjects when the holder is a presumed victim, by amount.
MAX_SUBJECTS = 10
#: A second role counts as real from this share of the first one's evidence on.
SECOND_ROLE = 0.5
_CHILD_TYPOLOGIES = frozenset({"OSEC", "SEXTORTION"})


def build_case(
    alert_row: Mapping[str, Any],
    reasons: pl.DataFrame,
    episodes: pl.DataFrame,
    clauses: pl.DataFrame,
    evidence: pl.DataFrame,
    transactions: pl.DataFrame,
    accounts: pl.DataFrame,
    parties: pl.DataFrame,
    settings: Settings,
    rules_meta: Mapping[str, RuleMeta],
) -> Case:
    """The case of one alert.

    Parameters
    ----------
    alert_row: one row of ``alerts`` as a mapping (``frame.row(i, named=True)``).
    reasons, episodes, clauses, evidence: run tables; rows of other alerts are ignored.
    transactions: at least the payments that the evidence names; more of the account's payments
        become context (the ``MAX_CONTEXT`` nearest to the evidence in time).
    accounts, parties: canonical tables; rows of others are ignored.
    settings: ``base_currency`` is read.
    rules_meta: by rule id. A rule that is not there is described by its frozen text alone, and its
        role is taken as ``subject``.

    Raises
    ------
    ReportError: the alert has no evidence, or evidence names payments that are not there: numbers
    would then not recompute.
    """
    run_id, account_id = str(alert_row["run_id"]), str(alert_row["account_id"])
    case_reasons = _reasons(run_id, account_id, reasons, episodes, clauses, evidence, rules_meta)
    wanted = tuple(dict.fromkeys(e for r in case_reasons for e in r.evidence))
    if not wanted:
        raise ReportError(
            f"alert {alert_row['alert_id']} has no evidence rows",
            hint="a draft needs at least one rule reason; model reasons alone prove nothing",
        )
    if len(wanted) > MAX_EVIDENCE:
        raise ReportError(f"{len(wanted)} evidence rows are more than one report holds ({MAX_EVIDENCE})")
    rows, left_out = _rows(account_id, wanted, transactions, accounts, parties, settings.base_currency)
    holder, others = _people(alert_row, rows, transactions, accounts, parties)
    first = min(row["day"] for row in rows if row["evidence"])
    holder = replace(holder, role=_holder_role(case_reasons, holder.age_on(first)))
    typologies = tuple(t for t in str(alert_row.get("typologies") or "").split(";") if t)
    subjects = (holder,) if holder.role.may_be_subject else _other_subjects(others, first)
    return Case(
        case_id=str(alert_row["alert_id"]),
        run_id=run_id,
        account_id=account_id,
        prior=float(alert_row["prior"]),
        score=float(alert_row["score"]),
        base_currency=settings.base_currency,
        typologies=typologies,
        holder=holder,
        subjects=subjects,
        others=others,
        transactions=tuple(_transaction(row) for row in rows),
        reasons=case_reasons,
        left_out=left_out,
    )


def _reasons(
    run_id: str,
    account_id: str,
    reasons: pl.DataFrame,
    episodes: pl.DataFrame,
    clauses: pl.DataFrame,
    evidence: pl.DataFrame,
    meta: Mapping[str, RuleMeta],
) -> tuple[CaseReason, ...]:
    run = pl.col("run_id") == run_id
    mine = reasons.filter(run & (pl.col("account_id") == account_id)).sort("reason")
    wanted = mine["episode_id"].drop_nulls().implode()
    found = {r["episode_id"]: r for r in _dicts(episodes.filter(run & pl.col("episode_id").is_in(wanted)))}
    proof = evidence.filter(run & pl.col("episode_id").is_in(wanted)).group_by("episode_id", "measure")
    rows = {(r["episode_id"], r["measure"]): r["entry_id"] for r in _dicts(proof.agg("entry_id"))}
    compared: dict[str, list[CaseClause]] = {}
    for row in _dicts(clauses.filter(run & pl.col("episode_id").is_in(wanted)).sort("episode_id", "clause")):
        entry_ids = tuple(sorted(rows.get((row["episode_id"], row["measure"]), ())))
        compared.setdefault(row["episode_id"], []).append(
            CaseClause(
                measure=row["measure"],
                kind=row["kind"],
                column=row["column"],
                window_from=row["window_from"],
                window_to=row["window_to"],
                observed=row["observed"],
                operator=row["operator"],
                threshold=row["threshold"],
                unit=row["unit"],
                own_normal=row["own_normal"],
                own_points=row["own_points"],
                peer_group=row["peer_group"],
                peer_percentile=row["peer_percentile"],
                evidence=entry_ids,
                rows=row["evidence_rows"],
                truncated=bool(row["evidence_truncated"]) or len(entry_ids) < row["evidence_rows"],
            )
        )
    made = []
    for row in _dicts(mine):
        rule = meta.get(row["name"])
        episode = found.get(row["episode_id"] or "", {})
        is_rule = row["origin"] == "rule"
        made.append(
            CaseReason(
                origin=row["origin"],
                name=row["name"],
                text=row["text"],
                bits=row["bits"],
                title=rule.title if rule else "",
                typology=row["typology"] or (rule.typology if rule else None),
                role=(rule.role if rule else "subject") if is_rule else None,
                indicators=rule.indicators if rule else (),
                techniques=rule.techniques if rule else (),
                clauses=tuple(compared.get(row["episode_id"] or "", ())),
                started_at=episode.get("started_at"),
                ended_at=episode.get("ended_at"),
            )
        )
    return tuple(made)


def _dicts(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


def _rows(
    account_id: str,
    wanted: tuple[str, ...],
    transactions: pl.DataFrame,
    accounts: pl.DataFrame,
    parties: pl.DataFrame,
    base: str,
) -> tuple[list[dict[str, Any]], int]:
    """Evidence and context as rows, in time order, and how much context was left out."""
    ids = pl.Series([w.rsplit("/", 1)[0] for w in wanted]).unique().implode()
    touched = transactions.filter(
        pl.col("transaction_id").is_in(ids)
        | (pl.col("debtor_account_id") == account_id)
        | (pl.col("creditor_account_id") == account_id)
    )
    # A reversal that came after the run must not take evidence away: it is not read here.
    standing = touched.filter((pl.col("status") == "booked") & pl.col("reversal_of").is_null())
    tables = {"transactions": standing.lazy(), "accounts": accounts.lazy(), "parties": parties.lazy()}
    origin = standing.select(
        "transaction_id",
        "debtor_name",
        "creditor_name",
        origin=pl.format("{}, row {}", "source_file", "source_row"),
    )
    proof = pl.Series(list(wanted)).implode()
    frame = (
        entries_of(tables)
        .filter((pl.col("account_id") == account_id) | pl.col("entry_id").is_in(proof))
        .collect()
        .join(origin, on="transaction_id", how="left")
        .with_columns(
            evidence=pl.col("entry_id").is_in(proof),
            day=pl.coalesce("local_date", pl.col("booked_at").dt.date()),
            amount_base=pl.coalesce("amount_base", pl.when(pl.col("currency") == base).then(pl.col("amount"))),
            own_name=pl.when(pl.col("direction") == "in").then("creditor_name").otherwise("debtor_name"),
        )
        .sort("booked_at", "entry_id")
    )
    proven = frame.filter("evidence")
    if proven.height < len(wanted):
        absent = sorted(set(wanted) - set(proven["entry_id"]))
        raise ReportError(
            f"{len(absent)} evidence rows name payments that are not there, such as {absent[0]!r}",
            hint="give the transactions of the same lake that the run saw",
        )
    low, high = proven["booked_at"].min(), proven["booked_at"].max()
    context = frame.filter(~pl.col("evidence"))
    outside = pl.max_horizontal(pl.lit(low) - pl.col("booked_at"), pl.col("booked_at") - pl.lit(high))
    near = context.sort(outside.clip(lower_bound=timedelta(0)), "booked_at", "entry_id").head(MAX_CONTEXT)
    kept = pl.concat([proven, near]).sort("booked_at", "entry_id")
    return _dicts(kept), context.height - near.height


def _transaction(row: Mapping[str, Any]) -> CaseTransaction:
    key = row["counterparty_id"]
    return CaseTransaction(
        entry_id=row["entry_id"],
        transaction_id=row["transaction_id"],
        account_id=row["account_id"],
        direction=row["direction"],
        booked_at=row["booked_at"],
        day=row["day"],
        amount=row["amount"],
        currency=row["currency"],
        amount_base=row["amount_base"],
        evidence=row["evidence"],
        counterparty_key=key,
        counterparty_name=row["counterparty_name"],
        counterparty_account=None if key is None or key.startswith("name:") else key,
        counterparty_agent=row["counterparty_agent"],
        counterparty_country=row["counterparty_country"],
        channel=row["channel"],
        instrument=row["instrument"],
        text=row["remittance_information"],
        merchant_name=row["merchant_name"],
        place_id=row["place_id"],
        place_city=row["place_city"],
        place_country=row["place_country"],
        device_id=row["device_id"],
        ip_address=row["ip_address"],
        origin=row["origin"],
    )


def _people(
    alert: Mapping[str, Any],
    rows: list[dict[str, Any]],
    transactions: pl.DataFrame,
    accounts: pl.DataFrame,
    parties: pl.DataFrame,
) -> tuple[Person, tuple[Person, ...]]:
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
    top = _dicts(grouped.sort("amount", "key", descending=[True, False]).head(MAX_OTHERS))
    ids = [account_id, *(row["key"] for row in top)]
    books = {r["account_id"]: r for r in _dicts(accounts.filter(pl.col("account_id").is_in(ids)))}
    own = books.get(account_id, {})
    party_ids = {b["party_id"] for b in books.values()} | {alert.get("party_id")}
    known = {r["party_id"]: r for r in _dicts(parties.filter(pl.col("party_id").is_in(list(party_ids))))}
    names = [row["own_name"] for row in rows if row["account_id"] == account_id and row["own_name"]]
    flows = sorted({row["direction"] for row in proven if row["account_id"] == account_id})
    holder = _person(
        account_id,
        own,
        known.get(alert.get("party_id") or own.get("party_id"), {}),
        {"name": names[0] if names else None},
        flows,
    )
    if not own:
        customer = alert.get("holding") == "own"
        account = replace(holder.accounts[0], holding=alert.get("holding"))
        holder = replace(holder, customer=customer, accounts=(account,))
    others = tuple(
        _person(
            row["key"],
            books.get(row["key"], {}),
            known.get(books.get(row["key"], {}).get("party_id"), {}),
            row,
            ["in" if d == "out" else "out" for d in reversed(row["direction"])],
        )
        for row in top
    )
    return holder, others


def _person(
    key: str, book: Mapping[str, Any], party: Mapping[str, Any], seen: Mapping[str, Any], flows: list[str]
) -> Person:
    account = CaseAccount(
        account_id=key,
        agent=book.get("agent") or seen.get("agent"),
        country=book.get("country") or seen.get("country"),
        currency=book.get("currency"),
        product=book.get("product"),
        holding=book.get("holding"),
        opened_on=book.get("opened_on"),
        closed_on=book.get("closed_on"),
    )
    flow = "both" if len(flows) > 1 else {"out": "sender", "in": "receiver"}.get("".join(flows), "")
    return Person(
        key=party.get("party_id") or key,
        role=Role.UNKNOWN,
        kind=party.get("kind") or book.get("kind") or "unknown",
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
        accounts=() if key.startswith("name:") else (account,),
    )


def _holder_role(reasons: tuple[CaseReason, ...], age: int | None) -> Role:
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


def _other_subjects(others: tuple[Person, ...], first: Any) -> tuple[Person, ...]:
    """Who received the holder's money. Payers are left out (they may be deceived themselves), and so
    are institutions and anybody recorded as under 18."""
    adults = (p for p in others if (age := p.age_on(first)) is None or age >= 18)
    receivers = (p for p in adults if p.flow in ("receiver", "both") and p.kind != "institution")
    return tuple(receivers)[:MAX_SUBJECTS]
