"""Motifs as instances: the very payments that make a pattern, in time order, within a window, bounded.

``find`` looks at the payments that the per-payment columns flag (``graph.columns``) and at no others, and writes out
what stands behind them. What a bound or the hub policy kept from sight is told per account in ``Motifs.skipped``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from fintel.domain.schema import MONEY_SCALE, MONEY_UNITS
from fintel.errors import FintelError, did_you_mean
from fintel.features.entries import Tables
from fintel.frames import MONEY, MONEY_SUM, TIMESTAMP
from fintel.graph import instances_chains, instances_cycles, instances_layers, instances_places, instances_stars
from fintel.graph.instances_found import Array, Band, Found, Search, cut_at, linked
from fintel.graph.kernels_chains import PEELED
from fintel.graph.layout import MICROSECOND
from fintel.graph.network import Network
from fintel.graph.ways import about, between, near_in_time

_DAY = timedelta(days=1)
#: How many instances are told at most, unless said otherwise.
LIMIT = 1_000
#: Of one anchor as many are compared with each other, or ``limit`` if that is more: so the bound never changes what is
#: told, only how much work one account can make.
PER_ACCOUNT = 1_000
CAP = 512
#: Payments of a cycle at most, unless said otherwise.
HOPS = 10
#: How the reason ends where instances were found but are more than the limit.
LIMITED = "instances; the strongest are told"
BUDGET = 20_000


@dataclass(frozen=True)
class Kind:
    """A kind of motif.

    doc: what it is. anchor: the account that an instance is told of. within: how far its payments lie apart at most, by
    default; where ``each`` names a part, how far those of each such part (chains: a payment from the one before, so how
    long money lies at an account). at_least: what there must be at least, by default, of ``of``.
    band: share of an amount that is passed on, where there is an amount rule by default.
    reach: an account's instances are made of payments of accounts at most so many payments from it; None: of any.
    """

    doc: str
    anchor: str
    of: str
    within: timedelta
    at_least: int
    search: Callable[[Search], Found]
    amounts: str
    band: Band | None = None
    reach: int | None = None
    each: str = ""


_PASSED = Band(0.85, 1.05)
KINDS: Mapping[str, Kind] = {
    "fan-in": Kind(
        "many pay one", "the payee", "payers", _DAY, 5, instances_stars.fan_in, "none", reach=1,
    ),
    "fan-out": Kind(
        "one pays many", "the payer", "payees", _DAY, 5, instances_stars.fan_out, "none", reach=1,
    ),
    "gather-scatter": Kind(
        "many pay one, who then pays many", "the account in the middle", "payers and payees", 7 * _DAY, 3,
        instances_stars.gather_scatter, "what it pays is what it was paid", reach=1,
    ),
    "scatter-gather": Kind(
        "one pays several mids, which pay one", "the payer", "mids", 7 * _DAY, 3, instances_stars.scatter_gather,
        "each mid passes on what it was paid", reach=1,
    ),
    "cycle": Kind(
        "money comes back to where it set out", "where it sets out", "payments", 7 * _DAY, 3, instances_cycles.cycles,
        "each payment passes on the one before",
    ),
    "chain": Kind(
        "money is passed on from account to account", "where it sets out", "payments", 2 * _DAY, 3,
        instances_chains.chains, "each payment passes on the one before", _PASSED, each="payment from the one before",
    ),
    "peel-chain": Kind(
        "a large sum is passed on and a little stays behind each time", "where it sets out", "payments", 2 * _DAY, 4,
        instances_chains.peel_chains, "each payment passes on that share of the largest sum received", Band(*PEELED),
        each="payment from the one before",
    ),
    "reciprocal": Kind(
        "two accounts pay each other", "who paid first", "payments each way", 7 * _DAY, 1, instances_stars.round_trips,
        "the sums of both directions are alike", reach=0,
    ),
    "stack": Kind(
        "layers: several payers reach a payee over several mids", "the payee", "payers and mids", 7 * _DAY, 3,
        instances_layers.stacks, "each mid passes on what it was paid",
    ),
    "funnel": Kind(
        "paid in at many places, out at one", "the account", "places in", 7 * _DAY, 3, instances_places.funnels, "none",
    ),
    "smurfing": Kind(
        "several scatter-gathers through a shared set of mules", "a payer", "mules", 7 * _DAY, 3,
        instances_layers.smurfing, "each mule passes on what it was paid", _PASSED, each="scatter-gather",
    ),
    "triangle": Kind(
        "three accounts: directly and over a mid, or round", "where it sets out", "", 7 * _DAY, 1,
        instances_layers.triangles, "each payment passes on the one before", reach=1,
    ),
    "burst": Kind(
        "many new counterparties at once", "who pays or is paid by them", "new counterparties", _DAY, 5,
        instances_stars.bursts, "none", reach=1,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Motifs:
    """What was found.

    instances: ``motif_id, kind, account_id`` (the anchor), ``begun, ended, accounts, payments, amount`` (sum over its
    payments, base currency; null where none is known), ``retention`` (share passed on; null where the kind has none or
    amounts are unknown), strongest first. edges: ``motif_id, hop, row, source, target, booked_at, amount_base``, and
    ``transaction_id`` where ``find`` was given tables; ``row`` is the payment's in the transactions table. skipped:
    ``account_id, reason, edges``: at how many payments of the account something was left out, and why.
    """

    instances: pl.DataFrame
    edges: pl.DataFrame
    skipped: pl.DataFrame


def find(
    network: Network,
    kind: str,
    *,
    accounts: Collection[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    within: timedelta | None = None,
    tolerance: float | None = None,
    fee: float = 0.0,
    hops: int = HOPS,
    at_least: int | None = None,
    limit: int = LIMIT,
    cap: int = CAP,
    budget: int = BUDGET,
    tables: Tables | None = None,
) -> Motifs:
    """The instances of a kind of motif (``KINDS``).

    Parameters
    ----------
    accounts: only instances in which one of these takes part, whatever its part. Where a kind has a ``reach``, only
        the payments that far from them are looked at, and cycles are looked for nearest to them first: so fewer bounds
        are met, and an instance may be told that the search for all accounts had to leave out.
    since, until: only payments in [since, until] are looked at.
    within: all payments of an instance lie in (t - within, t], t being its last; for chains and peel chains, each is
        at most so much later than the one before; for smurfing, those of each of its scatter-gathers lie so.
    tolerance, fee: the amount rule: an amount x is passed on if the next lies in [x * (1 - fee - tolerance),
        x * (1 + tolerance)]. By default chains and peel chains have their own (``Kind.band``) and others have none;
        a tolerance of infinity: any amount.
    hops: payments of a cycle at most.
    at_least: what there must be at least, of ``Kind.of``.
    limit: instances told at most, the strongest first; the rest is counted in ``skipped``.
    cap: hub policy: so many payments of an account are looked at for one payment, and no more.
    budget: so many steps of the search for the cycles that one payment closes.
    tables: canonical tables, to name the payments by ``transaction_id``; needed by ``funnel``.

    Raises ``FintelError`` on a kind that there is not, or a bound that makes no sense.
    """
    if kind not in KINDS:
        raise FintelError(f"there is no motif '{kind}'", hint=did_you_mean(kind, KINDS) or f"one of {', '.join(KINDS)}")
    chosen = KINDS[kind]
    window = chosen.within if within is None else within
    least = chosen.at_least if at_least is None else at_least
    if window < MICROSECOND or least < 1 or limit < 1 or cap < 2 or budget < 1 or not 2 <= hops <= 64:
        raise FintelError("within, at_least, limit and budget must be positive, cap at least 2, hops from 2 to 64")
    if not (0 <= fee < 1 and (0 <= (tolerance or 0) < 1 or tolerance == np.inf)):
        raise FintelError("tolerance and fee are shares from 0 to less than 1")
    if tolerance is None and fee == 0:
        band = chosen.band or Band(0.0, np.inf)
    elif tolerance == np.inf:
        band = Band(0.0, np.inf)
    else:
        band = Band(max(1 - fee - (tolerance or 0), 1e-9), 1 + (tolerance or 0))
    places = None
    if kind == "funnel":
        if tables is None:
            raise FintelError("funnel reads places from the payments", hint="find(…, tables=…)")
        looked_at, places = instances_places.placed(tables, since, until)
    else:
        looked_at = between(network, since, until)
    members = None
    if accounts is not None:
        members = looked_at.numbers(pl.Series(sorted(accounts), dtype=pl.String))
        members = members[members >= 0]
        if chosen.reach is not None:
            looked_at = about(looked_at, members, chosen.reach)
        elif kind == "cycle":
            looked_at = near_in_time(looked_at, members, window // MICROSECOND)
    search = Search(
        looked_at, linked(looked_at), window // MICROSECOND, band, least, hops, cap, budget, places, members
    )
    found = _distinct(_held(looked_at, chosen.search(search), members), max(limit, PER_ACCOUNT))
    return _told(looked_at, kind, found, limit, tables)


def _held(network: Network, found: Found, members: Array | None) -> Found:
    """The instances in which one of these accounts (numbers) takes part; all, if for all was asked."""
    if members is None or not len(found):
        return found
    mine = np.zeros(len(network.nodes) + 1, bool)
    mine[members] = True
    with_one = mine[network.source[found.edge]] | mine[network.target[found.edge]]
    return found.kept(np.flatnonzero(np.logical_or.reduceat(with_one, found.start[:-1])))


def _distinct(found: Found, most: int) -> Found:
    """In order (strength, payments, the latest, the first payment), without those whose payments all stand in a
    stronger one of the same anchor; ``most`` of an anchor, the rest counted as skipped, unlike ones or not."""
    if not len(found):
        return found
    sizes = np.diff(found.start)
    last = np.maximum.reduceat(found.edge, found.start[:-1])
    first = np.minimum.reduceat(found.edge, found.start[:-1])
    retained = np.nan_to_num(found.retention, nan=-1.0)
    order = np.lexsort((found.anchor, first, last, -retained, -sizes, -found.score))
    taken: dict[int, _Taken] = {}
    chosen, left = [], []
    for i in order.tolist():
        anchor = int(found.anchor[i])
        stronger = taken.setdefault(anchor, _Taken())
        if len(stronger) >= most:
            left.append(anchor)
        elif stronger.take(found.edge[found.start[i] : found.start[i + 1]].tolist()):
            chosen.append(i)
    kept = found.kept(np.asarray(chosen, np.int64))
    reason = f"more than {most:,} instances of the account; the strongest are looked at"
    return replace(kept, skipped=[*kept.skipped, *cut_at(reason, np.asarray(left, np.int64))])


class _Taken:
    """Instances of one anchor as sets of payments. One that holds all of some payments holds the rarest of them too, so
    only those that do are compared."""

    def __init__(self) -> None:
        self._sets: list[set[int]] = []
        self._with: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._sets)

    def take(self, payments: list[int]) -> bool:
        """Whether no instance holds them all; it is one of them then."""
        nothing: list[int] = []
        rarest = min((self._with.get(e, nothing) for e in payments), key=len)
        mine = set(payments)
        if any(mine <= self._sets[k] for k in rarest):
            return False
        for e in mine:
            self._with.setdefault(e, []).append(len(self._sets))
        self._sets.append(mine)
        return True


def _told(network: Network, kind: str, found: Found, limit: int, tables: Tables | None) -> Motifs:
    skipped = list(found.skipped)
    if len(found) > limit:
        skipped.append((f"more than {limit:,} {LIMITED}", found.anchor[limit:]))
        found = found.kept(np.arange(limit))
    number = np.repeat(np.arange(len(found)), np.diff(found.start))
    edge = found.edge
    edges = pl.DataFrame(
        {
            "number": number,
            "hop": pl.Series(found.hop, dtype=pl.Int64),
            "row": network.row[edge],
            "source": network.nodes.gather(network.source[edge]),
            "target": network.nodes.gather(network.target[edge]),
            "booked_at": pl.Series(network.time[edge], dtype=pl.Int64).cast(TIMESTAMP),
            "units": pl.Series(network.amount[edge], dtype=pl.Int64),
        }
    ).with_columns(amount_base=pl.when(pl.col("units") >= 0).then(_money("units")))
    ids = _ids(kind, edges, found)
    edges = edges.with_columns(motif_id=ids.gather(number))
    instances = (
        edges.group_by("number", maintain_order=True)
        .agg(
            pl.first("motif_id"),
            kind=pl.lit(kind),
            begun=pl.min("booked_at"),
            ended=pl.max("booked_at"),
            accounts=pl.col("source").append(pl.col("target")).drop_nulls().n_unique().cast(pl.Int64),
            payments=pl.len().cast(pl.Int64),
            amount=pl.when(pl.col("amount_base").is_not_null().any()).then(pl.col("amount_base").cast(MONEY_SUM).sum()),
        )
        .with_columns(
            account_id=network.nodes.gather(found.anchor),
            retention=pl.Series(found.retention, dtype=pl.Float64).fill_nan(None),
        )
        .select("motif_id", "kind", "account_id", "begun", "ended", "accounts", "payments", "amount", "retention")
    )
    told = ["motif_id", "hop", "row", "source", "target", "booked_at", "amount_base"]
    if tables is not None:
        rows = tables["transactions"].select("transaction_id").with_row_index("row")
        edges = edges.join(
            rows.join(edges.lazy().select("row").unique(), on="row", how="semi").collect(),
            on="row",
            how="left",
            maintain_order="left",
        )
        told.insert(3, "transaction_id")
    return Motifs(instances, edges.select(told), _skipped(network, skipped))


def _ids(kind: str, edges: pl.DataFrame, found: Found) -> pl.Series:
    """An id by what the instance is made of: the same payments give the same id, whatever else is in the network."""
    columns = [edges[name].to_list() for name in ("hop", "source", "target", "units")]
    moments = edges["booked_at"].to_physical().to_list()
    ids: list[str] = []
    seen: dict[str, int] = {}
    for begin, end in zip(found.start[:-1].tolist(), found.start[1:].tolist(), strict=True):
        text = "\n".join(repr([c[k] for c in columns] + [moments[k]]) for k in range(begin, end))
        name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        seen[name] = seen.get(name, 0) + 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return pl.Series("motif_id", ids, dtype=pl.String)


def _skipped(network: Network, skipped: list[tuple[str, Array]]) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"account_id": pl.String, "reason": pl.String, "edges": pl.Int64})
    frames = [
        pl.DataFrame({"account_id": network.nodes.gather(nodes)})
        .group_by("account_id")
        .agg(edges=pl.len().cast(pl.Int64))
        .select("account_id", pl.lit(reason).alias("reason"), "edges")
        for reason, nodes in skipped
    ]
    return (
        pl.concat([empty, *frames])
        .group_by("account_id", "reason")
        .agg(pl.sum("edges"))
        .sort("edges", "account_id", "reason", descending=[True, False, False])
    )


def _money(units: str) -> pl.Expr:
    exact: pl.Expr = (pl.col(units).cast(pl.Decimal(38, MONEY_SCALE)) / MONEY_UNITS).cast(MONEY)
    return exact
