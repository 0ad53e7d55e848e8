"""Communities: accounts that deal with one another more than with the rest, and holders that share identifiers.

Both graphs are split by Leiden's method (networkit), maximising modularity at a stated resolution; a community that
hangs together in pieces only is taken apart into them. In the flow graph two accounts are tied by ``ln(1 + payments)``
between them, either way: a daily payment ties closer than a single one, but not four hundred times. One thread, nodes
visited in the order of their first payment and no random numbers: the same payments give the same communities.

**Communities stay.** Modularity has many near-equal optima, and a hundred more payments among a million can lead to
quite another one. So a run that is given the communities of the run before starts from them and only moves accounts
that are better off elsewhere. (What should be merged or split as a whole shows in a run that starts anew: do so now
and then.) A community keeps the name of the one it overlaps most with, if they share more than half of the smaller;
each name is given once, to the largest overlap. New ones are named after their least member.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fintel.domain.schema import MONEY_SCALE, MONEY_UNITS
from fintel.features.identifiers import MAX_SHARING, TELLING
from fintel.graph.kernels_communities import move
from fintel.graph.network import Network
from fintel.graph.pairs import pairs
from fintel.graph.rings import holders, shared_values

if TYPE_CHECKING:
    from fintel.features.entries import Tables

__all__ = ["community_features", "community_profiles", "flow_communities", "identifier_communities", "partition"]

Array = Any

RESOLUTION = 1.0
_ROUNDS = 3
#: How often a node is looked at, on average, before moving from a given start ends in any case.
_LOOKS = 50


def flow_communities(
    network: Network,
    *,
    as_of: datetime | None = None,
    resolution: float = RESOLUTION,
    before: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``account_id, community_id`` of all nodes in a community of at least two, by payments up to ``as_of``.

    ``resolution``: above 1 gives smaller communities, below 1 larger ones. ``before``: what the run before returned.
    Raises ValueError if the resolution is not above zero.
    """
    edges = len(network) if as_of is None else int(np.searchsorted(network.time, _micros(as_of), side="right"))
    nodes = len(network.nodes)
    folded = pairs(network.source[:edges], network.target[:edges], nodes)
    payments = folded.total(np.ones(edges))
    tied = coo_array(
        (payments, (np.minimum(folded.source, folded.target), np.maximum(folded.source, folded.target))),
        shape=(nodes, nodes),
    ).tocsr()
    both = tied.tocoo()
    begin = None if before is None else _begin(network.nodes, before)
    label = partition(both.row, both.col, np.log1p(both.data), nodes, resolution, begin)
    found = pl.DataFrame({"account_id": network.nodes, "label": label})
    return _named(found, before)


def identifier_communities(
    tables: Tables,
    *,
    as_of: datetime | None = None,
    kinds: tuple[str, ...] = TELLING,
    resolution: float = RESOLUTION,
    before: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``account_id, community_id`` of accounts whose holders share identifiers of ``kinds``.

    Unlike rings these have no bound on their size: what is strung together by a few values is cut there. A value that
    k holders share ties each of them by ``1 / sqrt(k)``; values of more than ``MAX_SHARING`` holders tie nobody.
    """
    shared = shared_values(tables, as_of, kinds).filter(pl.col("holders") <= MAX_SHARING)
    if shared.is_empty():
        return pl.DataFrame(schema={"account_id": pl.String, "community_id": pl.String})
    value = ["type", "value"]
    tied = (
        shared.join(shared.select(*value, other="holder_id"), on=value)
        .filter(pl.col("holder_id") < pl.col("other"))
        .group_by("holder_id", "other")
        .agg(weight=(1 / (pl.col("holders") - 1)).sum())
        .sort("holder_id", "other")
    )
    who = shared["holder_id"].unique().sort()
    left, right = (who.search_sorted(tied[name]).to_numpy().astype(np.int64) for name in ("holder_id", "other"))
    of_account = holders(tables, as_of)
    begin = None
    if before is not None:
        known = of_account.join(before, on="account_id").group_by("holder_id").agg(pl.col("community_id").min())
        begin = _begin(who, known.rename({"holder_id": "account_id"}))
    label = partition(left, right, tied["weight"].to_numpy(), len(who), resolution, begin)
    found = pl.DataFrame({"holder_id": who, "label": label})
    return _named(of_account.join(found, on="holder_id").select("account_id", "label"), before)


def _begin(nodes: pl.Series, before: pl.DataFrame) -> Array:
    """Labels of the run before, below the number of nodes, int64; a node that had none starts alone."""
    was = (
        nodes.alias("account_id")
        .to_frame()
        .join(before, on="account_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce(pl.format("was {}", "community_id"), pl.format("new {}", "account_id")).alias("was"))
    )
    return (was["was"].rank("dense").cast(pl.Int64) - 1).to_numpy()


def partition(
    left: Array, right: Array, weight: Array, nodes: int, resolution: float = RESOLUTION, begin: Array | None = None
) -> Array:
    """Community number of each node, int64 (nodes,): of an undirected graph, each edge once, weights above zero.

    ``begin``: labels to start from, int64 (nodes,), below ``nodes``; without them Leiden's method gives the start.
    From there nodes move one by one until none gains by it, so that a start from the result stays where it is.
    """
    if not resolution > 0:
        raise ValueError(f"resolution is {resolution}, not above zero")
    if not left.size:
        return np.arange(nodes)
    if begin is None:
        begin = _leiden(left, right, weight, nodes, resolution)
    label = _moved(left, right, weight, begin, resolution)
    inside = label[left] == label[right]
    kept = coo_array((np.ones(int(inside.sum()), np.int8), (left[inside], right[inside])), shape=(nodes, nodes))
    _, piece = connected_components(kept, directed=False)
    return piece.astype(np.int64)


def _leiden(left: Array, right: Array, weight: Array, nodes: int, resolution: float) -> Array:
    # It brings along whatever of pandas, matplotlib and the like is installed: seconds, for those who start anew only.
    import networkit

    ends = (left.astype(np.uint64), right.astype(np.uint64))
    graph = networkit.GraphFromCoo((weight.astype(np.float64), ends), n=nodes, weighted=True, directed=False)
    # Threads are counted for the whole process; what others set is set again.
    threads = networkit.getMaxNumberOfThreads()
    networkit.setNumberOfThreads(1)
    try:
        method = networkit.community.ParallelLeiden(graph, randomize=False, iterations=_ROUNDS, gamma=resolution)
        method.run()
        found = np.asarray(method.getPartition().getVector(), np.int64)
    finally:
        networkit.setNumberOfThreads(threads)
    return np.unique(found, return_inverse=True)[1]


def _moved(left: Array, right: Array, weight: Array, begin: Array, resolution: float) -> Array:
    both = (np.concatenate([left, right]), np.concatenate([right, left]))
    rows = coo_array((np.concatenate([weight, weight]).astype(np.float64), both), shape=(begin.size,) * 2).tocsr()
    start, other = rows.indptr.astype(np.int64), rows.indices.astype(np.int32)
    return move(start, other, rows.data, begin, resolution, _LOOKS * begin.size)


def _named(found: pl.DataFrame, before: pl.DataFrame | None) -> pl.DataFrame:
    """``account_id, label`` to ``account_id, community_id``: names of the run before where they fit."""
    found = found.filter(pl.len().over("label") > 1)
    sizes = found.group_by("label").agg(pl.len().alias("size"), pl.col("account_id").min().alias("least"))
    kept: dict[int, str] = {}
    if before is not None:
        old_sizes = before.group_by("community_id").agg(pl.len().alias("old_size"))
        overlaps = (
            found.join(before, on="account_id")
            .group_by("label", "community_id")
            .agg(pl.len().alias("overlap"))
            .join(sizes, on="label")
            .join(old_sizes, on="community_id")
            .filter(pl.col("overlap") * 2 > pl.min_horizontal("size", "old_size"))
            .sort("overlap", "community_id", "least", descending=[True, False, False])
        )
        taken: set[str] = set()
        for label, name in overlaps.select("label", "community_id").iter_rows():
            if label not in kept and name not in taken:
                kept[label] = name
                taken.add(name)
    used = set(kept.values()) | (set() if before is None else set(before["community_id"]))
    names = []
    for label, least in sizes.sort("least").select("label", "least").iter_rows():
        name = kept.get(label) or _new_name(least, used)
        used.add(name)
        names.append((label, name))
    named = pl.DataFrame(names, schema={"label": pl.Int64, "community_id": pl.String}, orient="row")
    return found.join(named, on="label").select("account_id", "community_id").sort("account_id")


def _new_name(least: str, used: set[str]) -> str:
    tried = 0
    while True:
        name = "community-" + hashlib.sha256(f"{least}/{tried}".encode()).hexdigest()[:12]
        if name not in used:
            return name
        tried += 1


def community_profiles(
    members: pl.DataFrame,
    network: Network,
    *,
    as_of: datetime | None = None,
    seeds: pl.DataFrame | None = None,
    episodes: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One row a community, largest first: ``community_id, accounts, payments`` (between its members), ``turnover`` (of
    these, base currency; payments without a rate count nothing), ``came_in``, ``went_out`` (from and to others),
    ``external_share`` (of all three, what went over its border; null without any), ``hits``, ``hit_accounts``,
    ``seeds``, ``line`` (the same in words)."""
    edges = len(network) if as_of is None else int(np.searchsorted(network.time, _micros(as_of), side="right"))
    of_node = (
        network.nodes.alias("account_id").to_frame().join(members, on="account_id", how="left", maintain_order="left")
    )
    community = of_node["community_id"]
    paid = pl.DataFrame(
        {
            "payer": community.gather(network.source[:edges]),
            "payee": community.gather(network.target[:edges]),
            "units": pl.Series(np.maximum(network.amount[:edges], 0)),
            "self": network.source[:edges] == network.target[:edges],
        }
    ).filter(~pl.col("self"))
    within = (pl.col("payer") == pl.col("payee")).fill_null(False)
    inside = paid.filter(within).group_by(community_id="payer").agg(payments=pl.len().cast(pl.Int64), turnover=_money())
    leaves = paid.filter(~within)
    came = leaves.filter(pl.col("payee").is_not_null()).group_by(community_id="payee").agg(came_in=_money())
    went = leaves.filter(pl.col("payer").is_not_null()).group_by(community_id="payer").agg(went_out=_money())
    told = members.group_by("community_id").agg(pl.len().cast(pl.Int64).alias("accounts"))
    for part in (inside, came, went, *_pointed_at(members, seeds, episodes)):
        told = told.join(part, on="community_id", how="left")
    over = (pl.col("came_in") + pl.col("went_out")).cast(pl.Float64)
    every = over + pl.col("turnover").cast(pl.Float64)
    told = (
        told.with_columns(pl.exclude("community_id").fill_null(0))
        .with_columns(external_share=pl.when(every > 0).then(over / every))
        .sort("accounts", "community_id", descending=[True, False])
        .select(
            "community_id", "accounts", "payments", "turnover", "came_in", "went_out",
            "external_share", "hits", "hit_accounts", "seeds",
        )
    )  # fmt: skip
    lines = [_line(row) for row in told.iter_rows(named=True)]
    return told.with_columns(line=pl.Series(lines, dtype=pl.String))


def _money() -> pl.Expr:
    """Sum of units as money: wider than a column of payments, so that no sum overflows."""
    wide = pl.Decimal(38, MONEY_SCALE)
    units: pl.Expr = pl.col("units").cast(pl.Decimal(38, 0)).sum()
    return (units.cast(wide) / pl.lit(MONEY_UNITS)).cast(wide)


def _pointed_at(
    members: pl.DataFrame, seeds: pl.DataFrame | None, episodes: pl.DataFrame | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    nobody = pl.DataFrame(schema={"account_id": pl.String})
    hits = members.join(nobody if episodes is None else episodes.select("account_id"), on="account_id")
    found = members.join(nobody if seeds is None else seeds.select("account_id"), on="account_id")
    return (
        hits.group_by("community_id").agg(
            hits=pl.len().cast(pl.Int64), hit_accounts=pl.col("account_id").n_unique().cast(pl.Int64)
        ),
        found.group_by("community_id").agg(seeds=pl.col("account_id").n_unique().cast(pl.Int64)),
    )


def _line(row: Mapping[str, Any]) -> str:
    def many(count: int, noun: str) -> str:
        return f"{count:,} {noun}{'' if count == 1 else 's'}"

    share = row["external_share"]
    border = "" if share is None else f", {share:.0%} of all turnover with others"
    hits = f"{many(row['hits'], 'hit')} on {many(row['hit_accounts'], 'account')}" if row["hits"] else "no hits"
    pointed = f"{hits}, {many(row['seeds'], 'seed') if row['seeds'] else 'no seeds'}"
    within = f"{many(row['payments'], 'payment')} of {row['turnover']:,.0f} among them"
    return f"{many(row['accounts'], 'account')}: {within}{border}; {pointed}"


def community_features(
    members: pl.DataFrame, profiles: pl.DataFrame, seeds: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One row a member: ``account_id, community_id, community_accounts, community_external_share`` and
    ``community_seed_share``: the share of *other* members that are seeds, so that no account is told by itself."""
    pointed = pl.lit(False) if seeds is None else pl.col("account_id").is_in(seeds["account_id"].implode())
    return (
        members.join(
            profiles.select("community_id", "accounts", "external_share", "seeds"),
            on="community_id",
            maintain_order="left",
        )
        .with_columns(own=pointed.cast(pl.Int64))
        .select(
            "account_id",
            "community_id",
            community_accounts="accounts",
            community_external_share="external_share",
            community_seed_share=(pl.col("seeds") - pl.col("own")) / (pl.col("accounts") - 1),
        )
    )


def _micros(moment: datetime) -> int:
    return int(pl.Series([moment]).dt.timestamp("us")[0])
