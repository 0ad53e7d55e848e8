"""Findings as tables: episodes with ids, clauses with peers, evidence with entry ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import CLAUSES, EPISODES, EVIDENCE, Table
from fintel.engine.arrays import Entries
from fintel.frames import empty, fit
from fintel.graph.witnesses import MOTIFS
from fintel.rules.compiler import CompiledRule, Plan
from fintel.rules.correlation import CITED, Findings
from fintel.rules.episodes import Found
from fintel.rules.wording import describe

Floats = npt.NDArray[np.float64]
#: Smaller peer groups fall back to all accounts with such entries.
PEERS_AT_LEAST = 30


def tables_of(
    transactions: pl.LazyFrame, data: Entries, plan: Plan, found: Mapping[str, list[Found]], base: str
) -> Findings:
    """Episodes, clauses and evidence of all rules, in rule and subject order."""
    whole = _whole(data)
    made = [_rule_tables(rule, data, found[rule.rule.id], base, whole) for rule in plan.rules if rule.rule.id in found]
    parts = [part for part in made if part is not None]
    if not parts:
        return Findings(empty(EPISODES), empty(CLAUSES), empty(EVIDENCE))
    episodes, clauses, evidence, moments = (pl.concat(tables) for tables in zip(*parts, strict=True))
    names = _entry_ids(
        transactions, data, pl.concat([evidence["entry"], episodes["peak_entry"], episodes["first_entry"]])
    )
    evidence = evidence.join(names, on="entry", how="left", maintain_order="left")
    for which in ("peak", "first"):
        named = names.select(pl.col("entry").alias(f"{which}_entry"), pl.col("entry_id").alias(f"{which}_entry_id"))
        episodes = episodes.join(named, on=f"{which}_entry", how="left", maintain_order="left")
    ids = pl.Series(
        "episode_id",
        [
            _episode_id(*row)
            for row in episodes.select(
                "rule_id", "fingerprint", "account_id", "partition", "first_entry_id"
            ).iter_rows()
        ],
    )
    episodes = episodes.with_columns(ids)
    key = episodes.select("rule_id", "number", "episode_id")
    clauses = clauses.join(key, on=["rule_id", "number"], how="left", maintain_order="left")
    evidence = evidence.join(key, on=["rule_id", "number"], how="left", maintain_order="left")
    moments = moments.join(key, on=["rule_id", "number"], how="left", maintain_order="left")

    def finish(frame: pl.DataFrame, table: Table, by: list[str]) -> pl.DataFrame:
        shaped = frame.with_columns(run_id=pl.lit("")).sort(by)
        return fit(shaped.select([c for c in shaped.columns if c in table]), table)

    return Findings(
        finish(episodes, EPISODES, ["rule_id", "account_id", "started_at", "partition"]),
        finish(clauses, CLAUSES, ["episode_id", "clause"]),
        finish(evidence, EVIDENCE, ["episode_id", "measure", "entry_id"]),
        moments.select("episode_id", pl.col("at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")),
        _cited(plan, data, episodes, evidence),
    )


def _cited(plan: Plan, data: Entries, episodes: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Of each episode of a rule that reads a motif's column: the entry at its peak, if the anchor reads it; and the
    latest entry of a measure that reads it."""
    parts = [CITED.to_frame()]
    for rule in plan.rules:
        mine = pl.col("rule_id") == rule.rule.id
        for part, motifs in rule.motifs.items():
            if part == "anchor":
                at = episodes.filter(mine).select("episode_id", entry="peak_entry")
            else:
                rows = evidence.filter(mine & (pl.col("measure") == part))
                times = pl.Series("at", data.time[rows["entry"].to_numpy()])
                at = rows.select("episode_id", "entry").with_columns(times).sort("episode_id", "at", "entry")
                at = at.unique("episode_id", keep="last", maintain_order=True)
            entry = at["entry"].to_numpy()
            for motif in sorted(motifs):
                column = MOTIFS[motif].column
                counted = data.values[column][entry] / data.scales[column] if column in data.values else None
                cut = data.mask(rule.cut_short[MOTIFS[motif].family], entry).view(np.bool_)
                parts.append(
                    at.select(
                        "episode_id", motif=pl.lit(motif), row=pl.Series(data.row[entry]),
                        counted=pl.Series(counted, dtype=pl.Float64) if counted is not None else pl.lit(None),
                        cut=pl.Series(cut),
                    ).cast(CITED)
                )  # fmt: skip
    return pl.concat(parts)


def _episode_id(*parts: str) -> str:
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def _entry_ids(transactions: pl.LazyFrame, data: Entries, wanted: pl.Series) -> pl.DataFrame:
    """``entry`` → ``entry_id``, ``transaction_id``, read back from the payments."""
    entry = wanted.unique().sort()
    index = entry.to_numpy()
    table = pl.DataFrame(
        {"entry": entry, "row": data.row[index], "direction": np.where(data.side[index] == 1, "out", "in")}
    )
    ids = (
        transactions.select("transaction_id")
        .with_row_index("row")
        .filter(pl.col("row").is_in(table["row"].unique().implode()))
        .collect(engine="streaming")
        .with_columns(pl.col("row").cast(pl.UInt32))
    )
    return table.join(ids, on="row", how="left", maintain_order="left").select(
        "entry", "transaction_id", pl.format("{}/{}", "transaction_id", "direction").alias("entry_id")
    )


def _rule_tables(
    compiled: CompiledRule, data: Entries, found: Sequence[Found], base: str, whole: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame] | None:
    """One rule's episodes, clauses, evidence and moments over all slices, numbered through."""
    episodes_parts, evidence_parts, moments_parts, base_number = [], [], [], 0
    for part in found:
        if part.episodes is None or part.evidence is None or part.moments is None:
            continue
        shift = pl.col("number").cast(pl.Int64) + base_number
        episodes_parts.append(part.episodes.with_columns(shift.alias("number"), key=pl.lit(base_number)))
        evidence_parts.append(part.evidence.with_columns(shift.alias("number")))
        moments_parts.append(part.moments.with_columns(shift.alias("number"), rule_id=pl.lit(compiled.rule.id)))
        base_number += int(part.episodes["number"].max() or 0) + 1  # type: ignore[arg-type]
    if not episodes_parts:
        return None
    rule = compiled.rule
    raw = pl.concat(episodes_parts)
    evidence = pl.concat(evidence_parts).with_columns(rule_id=pl.lit(rule.id))
    entry = raw["entry"].to_numpy()
    share = _share(raw, evidence, data, whole)
    partition_names = [data.dictionary[c].gather(data.codes[c][entry]).cast(pl.String) for c in rule.per]
    peers = _Peers(compiled, data, found)
    clauses = describe(compiled, raw, evidence, peers.percentile, base)
    from_time = pl.Datetime("us")
    episodes = raw.select(
        "number",
        rule_id=pl.lit(rule.id),
        fingerprint=pl.lit(rule.fingerprint),
        account_id=data.dictionary["account_id"].gather(raw["account"]).cast(pl.String),
        partition=pl.select(pl.concat_str(partition_names, separator=" | ")).to_series(),
        typology=pl.lit(rule.typology),
        level=pl.lit(rule.level),
        started_at=pl.col("started").cast(from_time).dt.replace_time_zone("UTC"),
        ended_at=pl.col("ended").cast(from_time).dt.replace_time_zone("UTC"),
        peak_at=pl.col("time").cast(from_time).dt.replace_time_zone("UTC"),
        peak_entry=pl.col("entry"),
        first_entry="first_entry",
        hits="hits",
        strength="strength",
        share=share,
        reason=clauses.reasons,
    )
    return episodes, clauses.table, evidence, pl.concat(moments_parts)


def _whole(data: Entries) -> pl.DataFrame:
    """``turnover`` and number of entries (``all``) of every account, by its code."""
    accounts = data.codes["account_id"]
    return pl.DataFrame(
        {"turnover": np.bincount(accounts, weights=data.values["amount_base"]), "all": np.bincount(accounts)}
    )


def _share(raw: pl.DataFrame, evidence: pl.DataFrame, data: Entries, whole: pl.DataFrame) -> pl.Series:
    """Of each episode: the part of its subject's turnover, else of its entries, that is evidence."""
    accounts, amounts = data.codes["account_id"], data.values["amount_base"]
    rows = evidence.select("number", "entry").unique(maintain_order=True)
    index = rows["entry"].to_numpy()
    mine = rows.with_columns(account=pl.Series(accounts[index]), amount=pl.Series(amounts[index]))
    subjects = raw.select("number", "account")
    proof = (
        mine.join(subjects, on=["number", "account"], how="semi")
        .group_by("number")
        .agg(value=pl.col("amount").sum(), entries=pl.len())
    )
    joined = pl.concat(
        [subjects.join(proof, on="number", how="left", maintain_order="left"), whole[subjects["account"]]],
        how="horizontal",
    )
    by_value = pl.col("value").fill_null(0) / pl.col("turnover")
    by_number = pl.col("entries").fill_null(0) / pl.col("all")
    share = pl.when(pl.col("turnover") > 0).then(by_value).otherwise(by_number)
    return joined.select(share.clip(0.0, 1.0).alias("share")).to_series()


class _Peers:
    """Each measure's highest value of every subject with such entries, by kind of account."""

    def __init__(self, compiled: CompiledRule, data: Entries, found: Sequence[Found]) -> None:
        self.names = data.dictionary["account_kind"]
        self.kind_codes = data.codes["account_kind"]
        self.sorted: dict[str, dict[int | None, Floats]] = {}
        for name in compiled.measured:
            best = np.concatenate([f.peaks[name][0] for f in found if name in f.peaks])
            kinds = np.concatenate([f.peaks[name][1] for f in found if name in f.peaks])
            known = ~np.isnan(best)
            by_kind: dict[int | None, Floats] = {None: np.sort(best[known])}
            for kind in np.unique(kinds[kinds >= 0]):
                group = best[known & (kinds == kind)]
                if group.size >= PEERS_AT_LEAST:
                    by_kind[int(kind)] = np.sort(group)
            self.sorted[name] = by_kind

    def percentile(self, measure: str, observed: pl.Series, entry: pl.Series) -> tuple[list[str], list[float | None]]:
        """For each episode: who the peers are, and the share of them whose highest value is lower."""
        kinds, values = self.kind_codes[entry.to_numpy()], observed.cast(pl.Float64).fill_null(np.nan).to_numpy()
        known = self.sorted[measure]
        groups, shares = np.empty(len(values), object), np.full(len(values), np.nan)
        for kind, ordered in known.items():
            here = ~np.isin(kinds, [k for k in known if k is not None]) if kind is None else kinds == kind
            word = "accounts" if kind is None else f"{self.names[kind]} accounts"
            groups[here] = f"{ordered.size} {word} with such entries"
            if ordered.size:
                shares[here] = 100.0 * np.searchsorted(ordered, values[here], side="left") / ordered.size
        unknown = np.isnan(values) | np.isnan(shares)
        return groups.tolist(), [None if no else share for no, share in zip(unknown, shares.tolist(), strict=True)]
