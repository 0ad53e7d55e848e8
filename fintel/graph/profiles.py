"""What is particular about an account's counterparties, as of a moment: how many, how concentrated, how new, whether
they pay both ways, where they are, whether they know each other, and who else they pay.

Amounts are in the base currency; payments without one count as payments but not as amounts. Self-transfers are left
out. A measure that rests on nothing is null and not zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from fintel.domain.schema import ACCOUNTS, PARTIES
from fintel.frames import empty
from fintel.graph.kernels_profiles import both_ways, common, links, signatures, spread
from fintel.graph.network import Network
from fintel.graph.pairs import Pairs, pairs
from fintel.graph.rings import Rings

__all__ = ["RECENT", "SIGNATURE", "corridors", "counterparty_profiles", "jaccard_estimate", "payer_overlaps"]

Array = Any
Tables = Mapping[str, pl.LazyFrame]

RECENT = timedelta(days=30)
#: Payers with more payees than this know nobody: that two people get wages from one employer ties neither to him.
HUB = 256
#: Values of a MinHash signature. The standard error of an estimate is sqrt(J (1 - J) / SIGNATURE), at most 0.044.
SIGNATURE = 128
#: Signatures are compared by bands of this many values: of sets with J >= 0.3 one pair in 400 is missed.
_BAND = 2
#: Collectors in one band of equal values beyond which the band says nothing.
_CROWD = 200
_SPREAD = ("entropy", "herfindahl", "gini", "top_share")


def counterparty_profiles(
    network: Network, *, as_of: datetime, recent: timedelta = RECENT, rings: Rings | None = None
) -> pl.DataFrame:
    """One row a node, in the network's order, of payments up to ``as_of``.

    ``account_id``; ``payers``, ``payees`` (distinct). For each side, of the amounts by counterparty: ``<side>_entropy``
    (bits), ``<side>_herfindahl`` (1 / n to 1), ``<side>_gini`` (0: all equal), ``<side>_top_share``;
    ``new_<side>s_share`` (first seen in the last ``recent``). ``history_days`` (since the first payment in or out: if
    short, everything is new). ``reciprocity`` (of all counterparties, those who paid and were paid),
    ``reciprocal_amount_share`` (of what went either way, what came back: 2 Σ min / Σ). ``unrelated_payers`` (of all
    pairs of payers, those of whom neither paid the other and who share no ring; null below two payers),
    ``payers_passed_over`` (payers with more than ``HUB`` payees, whose payments were not looked at).
    """
    now = _micros(as_of)
    edges = int(np.searchsorted(network.time, now, side="right"))
    nodes = len(network.nodes)
    folded = pairs(network.source[:edges], network.target[:edges], nodes)
    amount = folded.total(np.maximum(network.amount[:edges], 0))
    payers, payees = folded.payers, folded.payees
    back = both_ways(folded.source, folded.target, folded.out_start, folded.in_start, folded.in_pair)
    first = _first_times(folded, network.time[:edges])
    young = (first > now - recent // timedelta(microseconds=1)).astype(np.float64)
    group = np.full(nodes, -1, np.int64) if rings is None else _groups(network.nodes, rings)
    arrays = (folded.source, folded.target, folded.out_start, folded.in_start, folded.in_pair)
    linked, passed_over = links(arrays, back, group, HUB)
    possible = payers * (payers - 1) // 2
    columns: dict[str, Any] = {"account_id": network.nodes, "payers": payers, "payees": payees}
    columns |= _spreads("payer", spread(folded.in_start, folded.in_pair, amount))
    columns |= _spreads("payee", spread(folded.out_start, np.arange(folded.source.size), amount))
    columns["new_payers_share"] = _part(np.bincount(folded.target, young, nodes), payers)
    columns["new_payees_share"] = _part(np.bincount(folded.source, young, nodes), payees)
    columns["history_days"] = _history(folded, first, nodes, now)
    mutual = np.bincount(folded.source, (back >= 0).astype(np.float64), nodes)
    columns["reciprocity"] = _part(mutual, payers + payees - mutual)
    columns["reciprocal_amount_share"] = _returned(folded, amount, back, nodes)
    columns["unrelated_payers"] = _part(possible - linked, possible)
    columns["payers_passed_over"] = passed_over
    return pl.DataFrame(columns).with_columns(pl.col(pl.Float64).fill_nan(None))


def _spreads(side: str, values: Array) -> dict[str, Array]:
    return {f"{side}_{what}": np.ascontiguousarray(values[:, i]) for i, what in enumerate(_SPREAD)}


def _part(of: Array, whole: Array) -> Array:
    return np.divide(of, whole, out=np.full(whole.size, np.nan), where=whole > 0)


def _first_times(folded: Pairs, time: Array) -> Array:
    """Time of the first payment of each pair: the last one written, going backwards in time."""
    first = np.zeros(folded.source.size, np.int64)
    inside = np.flatnonzero(folded.of_edge >= 0)[::-1]
    first[folded.of_edge[inside]] = time[inside]
    return first


def _history(folded: Pairs, first: Array, nodes: int, now: int) -> Array:
    begun = np.full(nodes, np.iinfo(np.int64).max)
    np.minimum.at(begun, folded.source, first)
    np.minimum.at(begun, folded.target, first)
    seen = begun <= now
    return np.where(seen, (now - np.where(seen, begun, now)) / (timedelta(days=1) / timedelta(microseconds=1)), np.nan)


def _returned(folded: Pairs, amount: Array, back: Array, nodes: int) -> Array:
    less = np.where(back >= 0, np.minimum(amount, amount[back]), 0.0) if amount.size else amount
    both = np.bincount(folded.source, less, nodes) + np.bincount(folded.target, less, nodes)
    return _part(both, np.bincount(folded.source, amount, nodes) + np.bincount(folded.target, amount, nodes))


def _groups(nodes: pl.Series, rings: Rings) -> Array:
    told = nodes.alias("account_id").to_frame().join(rings.members, on="account_id", how="left", maintain_order="left")
    number = told["ring_id"].rank("dense").cast(pl.Int64) - 1
    return number.fill_null(-1).to_numpy()


def payer_overlaps(
    network: Network, *, as_of: datetime, at_least: int = 5, similarity: float = 0.3
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Collectors with the same payers: pairs of accounts whose sets of payers are alike, most alike first.

    Returns the pairs ``account_id, other_id, payers, other_payers, shared_payers, jaccard`` (exact; each pair once,
    ``account_id`` the lesser id) and what was left out ``account_id, reason, bands``. Looked at are accounts with
    ``at_least`` payers. Candidates are found by MinHash (of pairs with a Jaccard similarity of 0.3, one in 400 is
    missed; of 0.5, one in 100 million) and then counted exactly. Bands in which more than 200 accounts agree are left
    out: ``bands`` of the 64 say nothing of that account, which makes a miss likelier.
    """
    edges = int(np.searchsorted(network.time, _micros(as_of), side="right"))
    folded = pairs(network.source[:edges], network.target[:edges], len(network.nodes))
    # Sets of payers, ascending by number: what counting in common needs.
    order = np.lexsort((folded.source[folded.in_pair], folded.target[folded.in_pair]))
    payer = folded.source[folded.in_pair[order]]
    collectors = np.flatnonzero(folded.payers >= at_least)
    left, right, crowded = _candidates(signatures(folded.in_start, payer, collectors, SIGNATURE))
    left, right = collectors[left], collectors[right]
    shared = common(folded.in_start, payer, left, right)
    count = folded.payers
    frame = pl.DataFrame(
        {
            "a": network.nodes.gather(left),
            "b": network.nodes.gather(right),
            "n": count[left],
            "m": count[right],
            "shared_payers": shared,
            "jaccard": _part(shared, count[left] + count[right] - shared),
        }
    )
    swapped = pl.col("b") < pl.col("a")
    found = frame.filter(pl.col("jaccard") >= similarity).select(
        account_id=pl.min_horizontal("a", "b"),
        other_id=pl.max_horizontal("a", "b"),
        payers=pl.when(swapped).then("m").otherwise("n"),
        other_payers=pl.when(swapped).then("n").otherwise("m"),
        shared_payers="shared_payers",
        jaccard="jaccard",
    )
    at = np.flatnonzero(crowded)
    skipped = pl.DataFrame(
        {
            "account_id": network.nodes.gather(collectors[at]),
            "reason": pl.repeat(f"agrees with more than {_CROWD} accounts", at.size, dtype=pl.String, eager=True),
            "bands": crowded[at],
        }
    )
    return (
        found.sort("jaccard", "account_id", "other_id", descending=[True, False, False]),
        skipped.sort("account_id"),
    )


def _candidates(signature: Array) -> tuple[Array, Array, Array]:
    """Rows that agree in a whole band: pairs (left < right), each once; and, of each row, bands too crowded."""
    codes = []
    crowded = np.zeros(signature.shape[0], np.int64)
    for begin in range(0, signature.shape[1], _BAND):
        band = pl.DataFrame({f"v{c}": signature[:, begin + c] for c in range(_BAND)}).with_row_index("row")
        keys = [f"v{c}" for c in range(_BAND)]
        alike = band.filter(pl.len().over(keys).is_between(2, _CROWD))
        crowded[band.filter(pl.len().over(keys) > _CROWD)["row"].to_numpy()] += 1
        both = alike.join(alike, on=keys, suffix="_b").filter(pl.col("row") < pl.col("row_b"))
        codes.append(both.select((pl.col("row").cast(pl.UInt64) * 2**32 + pl.col("row_b")).alias("code"))["code"])
    code = pl.concat(codes).unique().sort().to_numpy()
    return (code >> 32).astype(np.int64), (code & 0xFFFFFFFF).astype(np.int64), crowded


def jaccard_estimate(network: Network, account_ids: list[str], *, as_of: datetime) -> Array:
    """MinHash estimates of the similarity of the accounts' sets of payers: float64 (k, k).

    The standard error of each is sqrt(J (1 - J) / ``SIGNATURE``). Raises KeyError on an unknown account.
    """
    edges = int(np.searchsorted(network.time, _micros(as_of), side="right"))
    folded = pairs(network.source[:edges], network.target[:edges], len(network.nodes))
    numbers = network.numbers(pl.Series(account_ids, dtype=pl.String))
    if (numbers < 0).any():
        raise KeyError(account_ids[int(np.argmin(numbers))])
    signature = signatures(folded.in_start, folded.source[folded.in_pair], numbers, SIGNATURE)
    return (signature[:, None, :] == signature[None, :, :]).mean(axis=2)


def corridors(network: Network, tables: Tables, *, as_of: datetime) -> pl.DataFrame:
    """Where the counterparties are: one row an account with a counterparty of known country, by account.

    The country of a side is the payment's, else the account's, else the holder's. ``account_id``, ``countries``
    (distinct, of counterparties), ``corridor_entropy`` (bits, of the amounts by country), ``top_country_share``,
    ``cross_border_share`` (of the amounts between sides of known country, what went over a border), ``known_share`` (of
    all its amounts, those whose counterparty's country is known).
    """
    edges = int(np.searchsorted(network.time, _micros(as_of), side="right"))
    described = (
        tables.get("accounts", empty(ACCOUNTS).lazy())
        .join(tables.get("parties", empty(PARTIES).lazy()), on="party_id", how="left", suffix="_of_party")
        .select("account_id", home=pl.coalesce("country", "country_of_party"))
        .unique("account_id", keep="first", maintain_order=True)
        .collect(engine="in-memory")
    )
    told = tables["transactions"].select("debtor_country", "creditor_country").collect()[network.row[:edges]]
    home = (
        network.nodes.alias("account_id").to_frame().join(described, on="account_id", how="left", maintain_order="left")
    )
    paid = pl.DataFrame(
        {
            "payer": network.source[:edges],
            "payee": network.target[:edges],
            "units": np.maximum(network.amount[:edges], 0).astype(np.float64),
            **{f"{side}_told": told[f"{side}_country"] for side in ("debtor", "creditor")},
            "debtor_home": home["home"].gather(network.source[:edges]),
            "creditor_home": home["home"].gather(network.target[:edges]),
        }
    ).select(
        "payer",
        "payee",
        "units",
        **{end: pl.coalesce(f"{side}_told", f"{side}_home") for end, side in (("from", "debtor"), ("to", "creditor"))},
    )
    paid = paid.filter((pl.col("payer") != pl.col("payee")) & (pl.col("units") > 0))
    sides = pl.concat(
        [
            paid.select(account="payer", own="from", other="to", units="units"),
            paid.select(account="payee", own="to", other="from", units="units"),
        ]
    )
    over = (pl.col("own") != pl.col("other")) & pl.col("own").is_not_null() & pl.col("other").is_not_null()
    both = pl.col("own").is_not_null() & pl.col("other").is_not_null()
    whole = sides.group_by("account").agg(
        cross=pl.col("units").filter(over).sum(),
        both=pl.col("units").filter(both).sum(),
        known=pl.col("units").filter(pl.col("other").is_not_null()).sum(),
        all=pl.col("units").sum(),
    )
    share = pl.col("units") / pl.col("units").sum()
    mix = (
        sides.filter(pl.col("other").is_not_null())
        .group_by("account", "other")
        .agg(pl.col("units").sum())
        .sort("account", "units", "other")
        .group_by("account")
        .agg(
            countries=pl.len().cast(pl.Int64),
            corridor_entropy=-(share * share.log(2)).sum(),
            top_country_share=share.max(),
        )
    )
    found = mix.join(whole, on="account")
    return (
        found.with_columns(account_id=network.nodes.gather(found["account"]))
        .select(
            "account_id",
            "countries",
            pl.col("corridor_entropy").clip(lower_bound=0) + 0.0,
            "top_country_share",
            cross_border_share=pl.when(pl.col("both") > 0).then(pl.col("cross") / pl.col("both")),
            known_share=pl.col("known") / pl.col("all"),
        )
        .sort("account_id")
    )


def _micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
