"""The payments of the motifs that rules read of the graph, as evidence of their episodes.

A motif's payments lie at other accounts too, out of reach of the windows that other evidence is read from. Each
witness gives a clause of kind ``motif`` with what was found, and a row of evidence for each payment, under the motif's
name. A payment is cited by the entry of the subject's own account where it is one of it, else by the payer's, else by
the payee's entry. Where a bound cut the search short there is a clause of kind ``bound`` too. Scores do not hang on
any of it.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from fintel.domain.detection import BOUND, MOTIF
from fintel.domain.schema import CLAUSES, EVIDENCE
from fintel.features.entries import Tables
from fintel.frames import fit
from fintel.graph.entry_columns import TRUNCATED
from fintel.graph.network import network
from fintel.graph.witnesses import MOTIFS, witnesses
from fintel.rules.correlation import Findings

_KEY = ["motif", "row"]


def with_witnesses(found: Findings, tables: Tables, as_of: datetime | None) -> Findings:
    """The findings with the witnesses of what they cite of the graph.

    ``tables``, ``as_of``: as the columns were made of. An episode has one witness of a motif, and none twice under two
    names.
    """
    if found.cited.is_empty():
        return found
    asked = found.cited.select(*_KEY, "counted").unique(_KEY, keep="first", maintain_order=True)
    numbers, legs = witnesses(network(tables, as_of=as_of), asked)
    chosen = _chosen(found, numbers, legs)
    cited = legs.join(chosen.select(*_KEY, "episode_id", "account_id", "measure"), on=_KEY)
    evidence = _evidence(cited, tables)
    clauses = _clauses(found, chosen, evidence)
    return Findings(
        found.episodes,
        pl.concat([found.clauses, fit(clauses, CLAUSES)]).sort("episode_id", "clause"),
        pl.concat([found.evidence, fit(evidence.select(EVIDENCE.names), EVIDENCE)]).sort(
            "episode_id", "measure", "entry_id"
        ),
        found.moments,
        found.cited,
    )


def _chosen(found: Findings, numbers: pl.DataFrame, legs: pl.DataFrame) -> pl.DataFrame:
    """``episode_id, account_id, motif, measure, row, number, payments, cut``: for each episode one of each motif."""
    order = {name: place for place, name in enumerate(MOTIFS)}
    same = legs.group_by(_KEY).agg(same=pl.col("leg").sort().cast(pl.String).str.join(","))
    taken = found.clauses.select("episode_id", measure="measure", taken=pl.lit(value=True)).unique()
    return (
        found.cited.join(numbers, on=_KEY, maintain_order="left")
        .unique(["episode_id", "motif"], keep="first", maintain_order=True)
        .join(same, on=_KEY, maintain_order="left")
        .sort("episode_id", pl.col("motif").replace_strict(order, return_dtype=pl.Int64))
        .unique(["episode_id", "row", "same"], keep="first", maintain_order=True)
        .join(found.episodes.select("episode_id", "account_id"), on="episode_id", maintain_order="left")
        .join(taken, left_on=["episode_id", "motif"], right_on=["episode_id", "measure"], how="left",
              maintain_order="left")
        .with_columns(
            measure=pl.when("taken").then(pl.format("{}-motif", "motif")).otherwise("motif"),
        )
        .drop("taken", "same", "counted")
    )  # fmt: skip


def _evidence(cited: pl.DataFrame, tables: Tables) -> pl.DataFrame:
    """Rows of evidence, with ``booked_at``. A payment that is nobody's entry (of two mere names) is left out."""
    payments = (
        tables["transactions"]
        .select("transaction_id", "booked_at", "debtor_account_id", "creditor_account_id")
        .with_row_index("leg")
        .join(cited.lazy().select("leg").unique(), on="leg", how="semi")
        .collect(engine="streaming")
    )
    own = pl.col("account_id")
    payer, payee = pl.col("debtor_account_id"), pl.col("creditor_account_id")
    mine = pl.when(payer == own).then(pl.lit("out")).when(payee == own).then(pl.lit("in"))
    theirs = pl.when(payer.is_not_null()).then(pl.lit("out")).when(payee.is_not_null()).then(pl.lit("in"))
    return (
        cited.join(payments, on="leg", how="left", maintain_order="left")
        .with_columns(side=pl.coalesce(mine, theirs))
        .filter(pl.col("side").is_not_null())
        .with_columns(run_id=pl.lit(""), entry_id=pl.format("{}/{}", "transaction_id", "side"))
    )


def _clauses(found: Findings, chosen: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Clauses of the witnesses, after those that the episodes have."""
    units = {name: motif.unit for name, motif in MOTIFS.items()}
    columns = {name: motif.column for name, motif in MOTIFS.items()}
    spans = evidence.group_by("episode_id", "measure").agg(
        first=pl.col("booked_at").min(), window_to=pl.col("booked_at").max(), kept=pl.len()
    )
    motifs = chosen.join(spans, on=["episode_id", "measure"], maintain_order="left").select(
        "episode_id", "measure", kind=pl.lit(MOTIF), column=pl.col("motif").replace_strict(columns),
        # A window leaves out its first moment.
        window_from=pl.col("first") - pl.duration(microseconds=1), window_to="window_to", observed="number",
        unit=pl.col("motif").replace_strict(units), evidence_rows="payments",
        evidence_truncated=pl.col("payments") > pl.col("kept"),
    )  # fmt: skip
    peaks = found.episodes.select("episode_id", window_to="peak_at")
    family = pl.col("motif").replace_strict({name: motif.family for name, motif in MOTIFS.items()})
    cut = (
        found.cited.filter("cut")
        .select("episode_id", measure=family.replace_strict(TRUNCATED))
        .unique(maintain_order=True)
        .sort("episode_id", "measure")
        .join(peaks, on="episode_id", maintain_order="left")
        .select(
            "episode_id", "measure", kind=pl.lit(BOUND), column="measure", window_from="window_to",
            window_to="window_to", observed=pl.lit(1.0), unit=pl.lit(None, dtype=pl.String),
            evidence_rows=pl.lit(0, dtype=pl.Int64), evidence_truncated=pl.lit(value=False),
        )
    )  # fmt: skip
    before = found.clauses.group_by("episode_id").agg(before=pl.col("clause").max())
    return (
        pl.concat([motifs, cut])
        .join(before, on="episode_id", how="left", maintain_order="left")
        .with_columns(
            run_id=pl.lit(""), own_points=pl.lit(0), peer_group=pl.lit("not compared"),
            clause=pl.col("before").fill_null(0) + pl.int_range(1, pl.len() + 1).over("episode_id"),
        )
        .drop("before")
    )  # fmt: skip
