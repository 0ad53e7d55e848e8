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
    CaseClause,
    CaseReason,
    CaseTransaction,
    RuleMeta,
)
from fintel.errors import ReportError
from fintel.features.entries import entries as entries_of
from fintel.reports.activity import with_baseline
from fintel.reports.people import holder_role, other_subjects, people_of

#: More evidence than this is no longer one report; the run keeps far fewer rows a clause.
MAX_EVIDENCE = 50_000
#: Payments of the account that are shown beside the evidence, nearest to it in time.
MAX_CONTEXT = 2_000


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
    cited = tuple(dict.fromkeys(e for r in case_reasons for e in r.cited))
    if not wanted:
        raise ReportError(
            f"alert {alert_row['alert_id']} has no evidence rows",
            hint="a draft needs at least one rule reason; reasons of a model or of the graph alone prove nothing",
        )
    if len(cited) > MAX_EVIDENCE:
        raise ReportError(f"{len(cited)} evidence rows are more than one report holds ({MAX_EVIDENCE})")
    rows, left_out = _rows(account_id, wanted, cited, transactions, accounts, parties, settings.base_currency)
    holder, others = people_of(alert_row, rows, accounts, parties)
    first = min(row["day"] for row in rows if row["evidence"])
    holder = replace(holder, role=holder_role(case_reasons, holder.age_on(first)))
    typologies = tuple(t for t in str(alert_row.get("typologies") or "").split(";") if t)
    subjects = (holder,) if holder.role.may_be_subject else other_subjects(holder, others, first)
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
        entry_ids = tuple(sorted(set(rows.get((row["episode_id"], row["measure"]), ()))))
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
                clauses=with_baseline(compared.get(row["episode_id"] or "", ()), episode.get("peak_at")),
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
    cited: tuple[str, ...],
    transactions: pl.DataFrame,
    accounts: pl.DataFrame,
    parties: pl.DataFrame,
    base: str,
) -> tuple[list[dict[str, Any]], int]:
    """Activity, what it is measured against, and context as rows, in time order; and how much context
    was left out."""
    ids = pl.Series([c.rsplit("/", 1)[0] for c in cited]).unique().implode()
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
    proof, needed = pl.Series(list(wanted)).implode(), pl.Series(list(cited)).implode()
    frame = (
        entries_of(tables)
        .filter((pl.col("account_id") == account_id) | pl.col("entry_id").is_in(needed))
        .collect()
        .join(origin, on="transaction_id", how="left")
        .with_columns(
            evidence=pl.col("entry_id").is_in(proof),
            cited=pl.col("entry_id").is_in(needed),
            day=pl.coalesce("local_date", pl.col("booked_at").dt.date()),
            amount_base=pl.coalesce("amount_base", pl.when(pl.col("currency") == base).then(pl.col("amount"))),
            own_name=pl.when(pl.col("direction") == "in").then("creditor_name").otherwise("debtor_name"),
        )
        .sort("booked_at", "entry_id")
    )
    proven = frame.filter("cited")
    if proven.height < len(cited):
        absent = sorted(set(cited) - set(proven["entry_id"]))
        raise ReportError(
            f"{len(absent)} evidence rows name payments that are not there, such as {absent[0]!r}",
            hint="give the transactions of the same lake that the run saw",
        )
    low, high = proven["booked_at"].min(), proven["booked_at"].max()
    context = frame.filter(~pl.col("cited"))
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
