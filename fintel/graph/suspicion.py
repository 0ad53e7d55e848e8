"""Reasons that the graph gives: money that came from accounts which somebody pointed at.

**Bits.** At most ``CAP``, and never more than rarity allows, as with rules: of what every third account shows, nobody
can tell whom it means. With ``FOUND`` of the suspicious accounts hoped to be found, a share that so many of the
accounts have or exceed multiplies the odds by ``FOUND`` divided by how many, at most. Of that, an account gets by how
large the share is (bits grow with its logarithm, from ``DOUBLES`` on) and, for ``_MONEY`` of it, how much money that
is beside what accounts usually receive. So more money from seeds never gives fewer bits, and few accounts tie. Less
than ``LEAST`` of an account's money is not told: nearly everybody is a few steps from somebody. All are set by
judgement and checked against labelled sets (``docs/adr/0005-graph-risk.md``); with labels a model's fusion weighs
them anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl

from fintel.domain.schema import ACCOUNTS
from fintel.frames import empty
from fintel.graph.network import Network, network
from fintel.graph.seeds import Tables, seeds
from fintel.graph.tainted import DAYS, HOPS, SPLIT, tainted

#: Seeds that count unless the settings say otherwise.
DEFAULT = ("label", "intel", "rule")
#: Share from which the logarithm grows.
DOUBLES = 0.01
#: Most bits of one kind of seeds: even odds become two to one.
CAP = 1.0
LEAST = 0.01
FOUND = 0.2
_MONEY = 0.2
#: Until a population has shown how rare a share is: one account in two hundred, weighing as much as a thousand do.
_ASSUMED, _ASSUMED_OF = 5.0, 1000.0
#: Accounts told of at most, those with the largest shares: each costs a walk of its own.
MOST = 2_000
#: Seeds named in a reason's words; the split names all.
NAMED = 3

KINDS: Mapping[str, tuple[str, str]] = {
    "label": ("account found suspicious", "accounts found suspicious"),
    "intel": ("account that partners named", "accounts that partners named"),
    "rule": ("account with a hit of a rule of high level", "accounts with hits of rules of high level"),
}

_COLUMNS: dict[str, Any] = {
    "account_id": pl.String,
    "seed_kind": pl.String,
    "seeds": pl.Int64,
    "share": pl.Float64,
    "weighted": pl.Float64,
    "bits": pl.Float64,
    "text": pl.String,
    "path": pl.List(pl.String),
    "path_id": pl.String,
}
REASONS = pl.Schema(_COLUMNS)


@dataclass(frozen=True)
class GraphRisk:
    """What the graph hands to the ranking.

    ``seeds``: as found (``graph.seeds``). ``reasons`` (schema ``REASONS``): one row an account and kind of seed.
    ``split`` (``graph.tainted.SPLIT``): what each seed brings; an account's rows of a kind add up to ``share`` and
    ``weighted`` of the reason. ``path``: payments from a seed to the account, in time order; only the reason of the
    seed's kind has one. ``path_id`` names it in ``evidence``.
    """

    seeds: pl.DataFrame

    reasons: pl.DataFrame
    split: pl.DataFrame

    @property
    def evidence(self) -> pl.DataFrame:
        """Payments of paths, as in ``EVIDENCE``: ``episode_id`` (the path's), ``measure, entry_id, transaction_id``."""
        return (
            self.reasons.select("path_id", "path")
            .explode("path", empty_as_null=False, keep_nulls=False)
            .select(
                episode_id="path_id",
                measure=pl.lit("path"),
                entry_id=pl.format("{}/in", "path"),
                transaction_id="path",
            )
        )


def of_tables(
    tables: Tables,
    as_of: datetime,
    *,
    origins: Sequence[str] = DEFAULT,
    episodes: pl.DataFrame | None = None,
    known_by: datetime | None = None,
) -> GraphRisk:
    """Reasons from canonical tables: for own accounts where the feed describes accounts, else for all.

    Parameters
    ----------
    as_of: nothing that was booked or known later is seen.
    origins: which seeds count (``graph.seeds.ORIGINS``). episodes: hits of rules, needed for the origin ``rule``.
    known_by: the last instant of which seeds are known, where that is before ``as_of``.
    """
    found = seeds(tables, min(as_of, known_by or as_of), episodes if "rule" in origins else None, origins=origins)
    if found.is_empty():
        return GraphRisk(found, pl.DataFrame(schema=REASONS), pl.DataFrame(schema=SPLIT))
    described = tables.get("accounts", empty(ACCOUNTS).lazy()).select("account_id", "party_id", "holding").collect()
    own = described.filter(pl.col("holding") == "own")["account_id"].unique()
    return graph_risk(
        network(tables, as_of=as_of), tables["transactions"], found, as_of=as_of,
        holders=described, accounts=own if len(own) else None,
    )  # fmt: skip


def graph_risk(
    net: Network,
    transactions: pl.LazyFrame,
    known: pl.DataFrame,
    *,
    as_of: datetime,
    holders: pl.DataFrame | None = None,
    accounts: pl.Series | None = None,
) -> GraphRisk:
    """Reasons of accounts of which seeds' money makes ``LEAST`` or more; of the ``MOST`` with the largest shares.

    Parameters
    ----------
    net: of ``transactions``, whose rows it numbers.
    known: seeds as ``graph.seeds.seeds`` gives them, as of the same moment.
    holders: ``account_id, party_id``; a holder's own accounts give its other accounts no reason.
    accounts: only these, where given (own ones, say); rarity is among them, else among all that received money.
    """
    found = tainted(net, known, as_of=as_of, holders=holders)
    wanted = found.shares.filter(pl.col("weighted") >= LEAST)
    if accounts is not None:
        wanted = wanted.filter(pl.col("account_id").is_in(accounts.implode()))
    wanted = wanted.sort("weighted", "account_id", descending=[True, False]).head(MOST)
    split, paths = found.told(wanted["account_id"].sort().to_list())
    told = split.group_by("account_id", "seed_kind", maintain_order=True).agg(
        seeds=pl.len().cast(pl.Int64),
        share=pl.col("share").sum(),
        weighted=pl.col("weighted").sum(),
        named=pl.col("seed_id").head(NAMED),
        parts=pl.col("share").head(NAMED),
    )
    paid = found.received[found.received > 0]
    population = paid.size if accounts is None else len(accounts)
    received = pl.Series("received", found.received[net.numbers(told["account_id"])], dtype=pl.Float64)
    worth = bits(pl.col("weighted"), pl.col("weighted") * received, float(np.median(paid)) if paid.size else 1.0)
    enough = told.with_columns(bits=worth).filter(pl.col("weighted") >= LEAST)
    enough = enough.with_columns(bits=pl.col("bits") * (_rarity(population) / CAP).clip(upper_bound=1.0))
    enough = enough.filter(pl.col("bits") > 0)
    enough = enough.join(_named_paths(paths, transactions, split), on=["account_id", "seed_kind"], how="left")
    texts = [_text(*row) for row in enough.select("seed_kind", "seeds", "share", "named", "parts", "path").iter_rows()]
    reasons = (
        enough.with_columns(text=pl.Series(texts, dtype=pl.String), path_id=_path_ids(enough))
        .select(REASONS.names())
        .cast(REASONS)
        .sort("account_id", "seed_kind")
    )
    kept = split.join(reasons.select("account_id", "seed_kind"), on=["account_id", "seed_kind"], how="semi")
    return GraphRisk(known, reasons, kept)


def bits(weighted: pl.Expr, money: pl.Expr, usual: float) -> pl.Expr:
    """What a weighted share of an account's money is worth, in bits: 0 to ``CAP``, growing with share and money.

    ``money``: that share in money; ``usual``: what an account received, in the same unit, the median.
    """
    size = (1 + weighted / DOUBLES).log() / math.log(1 + 1 / DOUBLES)
    return CAP * ((1 - _MONEY) * size + _MONEY * money / (money + usual))


def _rarity(population: int) -> pl.Expr:
    """Most bits that a share may be worth, by how many accounts have as much or more from seeds of its kind."""
    as_much = pl.col("weighted").rank("max", descending=True).over("seed_kind")
    return (FOUND * (population + _ASSUMED_OF) / (as_much + _ASSUMED)).log(2).clip(lower_bound=0.0)


def _named_paths(paths: pl.DataFrame, transactions: pl.LazyFrame, split: pl.DataFrame) -> pl.DataFrame:
    """``account_id, seed_kind, path``: ids of the payments, for the kind of the seed at which the chain begins."""
    steps = paths.explode("rows", empty_as_null=False, keep_nulls=False).rename({"rows": "row"})
    ids = (
        transactions.select("transaction_id", "debtor_account_id", "debtor_name")
        .with_row_index("row")
        .join(steps.select("row").unique().lazy(), on="row", how="semi")
        .collect(engine="streaming")
    )
    return (
        steps.join(ids, on="row", how="left", maintain_order="left")
        .group_by("account_id", maintain_order=True)
        .agg(
            path=pl.col("transaction_id"),
            seed_id=pl.coalesce("debtor_account_id", pl.format("name:{}", "debtor_name")).first(),
        )
        .join(split.select("account_id", "seed_id", "seed_kind"), on=["account_id", "seed_id"], how="inner")
        .select("account_id", "seed_kind", "path")
    )


def _path_ids(reasons: pl.DataFrame) -> pl.Series:
    told = reasons.select("account_id", "seed_kind", pl.col("path").list.join("\x1f")).iter_rows()
    ids = [None if row[2] is None else blake2b("\x1f".join(row).encode(), digest_size=8).hexdigest() for row in told]
    return pl.Series(ids, dtype=pl.String)


def _text(
    kind: str, seeds: int, share: float, named: Sequence[str], parts: Sequence[float], path: Sequence[str] | None
) -> str:
    one, many = KINDS[kind]
    whom = ", ".join(f"{seed} ({part:.1%})" for seed, part in zip(named, parts, strict=True))
    others = f" and {seeds - len(named)} more" if seeds > len(named) else ""
    over = "" if path is None else f"; path of {len(path)} payments: {' > '.join(path)}"
    if path is not None and len(path) == 1:
        over = f"; payment {path[0]}"
    number = f"1 {one}" if seeds == 1 else f"{seeds:,} {many}"
    text = f"{share:.1%} of the money that it received in {DAYS} days came, over at most {HOPS} payments, from {number}"
    return f"{text}: {whom}{others}{over}"
