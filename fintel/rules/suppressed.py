"""Which findings are suppressed: the accounts, holders and counterparties that somebody has looked into."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fintel.domain.detection import MOTIF
from fintel.rules.local_filters import Suppression

#: ``episode_id``, ``suppressed``: in words, why it needs no look.
SCHEMA = {"episode_id": pl.String, "suppressed": pl.String}


def suppressed_episodes(
    episodes: pl.DataFrame,
    clauses: pl.DataFrame,
    evidence: pl.DataFrame,
    accounts: pl.DataFrame,
    transactions: pl.LazyFrame,
    suppressions: Sequence[Suppression],
) -> pl.DataFrame:
    """Episodes that a suppression is about, and what it says (``SCHEMA``), one row each.

    Parameters
    ----------
    episodes, clauses, evidence: of a run; ``accounts``: at least ``account_id, party_id``.
    transactions: read only where a suppression is about a counterparty. An episode is about it if it is on the
        other side of every entry of the evidence, motifs of the graph apart, and the evidence is whole.
    """
    found = [pl.DataFrame(schema=SCHEMA)]
    holders = accounts.select("account_id", "party_id").unique("account_id", keep="first", maintain_order=True)
    held = episodes.select("episode_id", "rule_id", "account_id").join(holders, on="account_id", how="left")
    of_rules = {s.rule: s.rules for s in suppressions}
    others = _others(
        episodes, clauses, evidence, transactions, [s for s in suppressions if s.subject == "counterparty"]
    )
    for suppression in suppressions:
        mine = held.filter(pl.col("rule_id").is_in(list(of_rules[suppression.rule])))
        if suppression.subject == "counterparty":
            mine = mine.join(others.filter(pl.col("other") == suppression.value), on="episode_id", how="semi")
        else:
            mine = mine.filter(pl.col(f"{suppression.subject}_id") == suppression.value)
        found.append(mine.select("episode_id", suppressed=pl.lit(suppression.said)))
    return pl.concat(found).unique("episode_id", keep="first", maintain_order=True)


def _others(
    episodes: pl.DataFrame,
    clauses: pl.DataFrame,
    evidence: pl.DataFrame,
    transactions: pl.LazyFrame,
    suppressions: Sequence[Suppression],
) -> pl.DataFrame:
    """``episode_id``, ``other``: the one counterparty of episodes that have no more than one."""
    rules = frozenset[str]().union(*(s.rules for s in suppressions))
    cut = clauses.filter(pl.col("evidence_truncated") & (pl.col("kind") != MOTIF)).select("episode_id")
    some = episodes.filter(pl.col("rule_id").is_in(list(rules))).join(cut, on="episode_id", how="anti")
    # the payments of a motif are of other accounts too: who stands there is not the account's counterparty
    motifs = clauses.filter(pl.col("kind") == MOTIF).select("episode_id", "measure")
    own = evidence.join(motifs, on=["episode_id", "measure"], how="anti")
    mine = own.join(some.select("episode_id"), on="episode_id", how="semi")
    if mine.is_empty():
        return pl.DataFrame(schema={"episode_id": pl.String, "other": pl.String})
    sides = ("debtor_account_id", "creditor_account_id")
    paid = (
        transactions.select("transaction_id", *sides)
        .join(mine.select("transaction_id").unique().lazy(), on="transaction_id", how="semi")
        .collect(engine="streaming")
    )
    # an entry is 'in' on the creditor's account: the other side is the debtor
    other = pl.when(pl.col("entry_id").str.ends_with("/in")).then(sides[0]).otherwise(sides[1])
    seen = mine.join(paid, on="transaction_id", how="left").select("episode_id", other=other)
    return (
        seen.group_by("episode_id")
        .agg(pl.col("other").n_unique().alias("sides"), pl.col("other").first())
        .filter((pl.col("sides") == 1) & pl.col("other").is_not_null())
        .select("episode_id", "other")
    )
