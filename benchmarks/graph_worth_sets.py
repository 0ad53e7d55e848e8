"""Labelled networks and the columns of their payments and accounts, for ``graph_worth.py``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from processes import run
from samples import SAMPLES, write_rates

from fintel.config import Settings as Config
from fintel.feeds import mapping_loader
from fintel.feeds.synthetic import generate
from fintel.graph.columns import account_columns
from fintel.graph.layout import Settings
from fintel.graph.network import Network, network
from fintel.graph.risk import risk
from fintel.graph.seeds import seeds
from fintel.graph.state import edge_features
from fintel.pipeline import canonical_tables, ingest
from fintel.store.lake import Lake

Array = Any
HERE = Path(__file__).resolve().parent

MONTH = timedelta(days=30)
_MICRO = timedelta(microseconds=1)
_DAY = timedelta(days=1)
SYNTH = "fintel synth"
#: Windows for clocks that only know days.
WIDE = Settings(meeting_windows=(_DAY, 7 * _DAY), cycle_windows=(7 * _DAY, 30 * _DAY))
#: Columns of the yardstick's histograms (before those of the ends), and of one end.
HISTOGRAMS, OF_END = 4 * 29 + 2 * 29, 26


@dataclass(frozen=True)
class Labelled:
    """A network with its labels: ``suspicious`` bool (m,) by payment; ``known`` is what stands in the tables.

    ``bad``: ``account_id, time`` (µs): an account took part in something labelled then.
    """

    name: str
    tables: Mapping[str, pl.LazyFrame]
    net: Network
    suspicious: Array
    bad: pl.DataFrame

    @property
    def positives(self) -> int:
        """Payments that are labelled."""
        return int(self.suspicious.sum())

    def split(self) -> tuple[int, int]:
        """Where training ends and where the test begins, µs: 60 % of the labelled payments lie before the first, and
        an embargo of 30 days lies between."""
        ends = int(np.quantile(self.net.time[self.suspicious], 0.6))
        return ends, ends + MONTH // _MICRO


def sample(name: str, folder: Path) -> Labelled:
    """One of the third-party samples."""
    known = SAMPLES[name]
    with tempfile.TemporaryDirectory(prefix="fintel-worth-") as scratch:
        home = Path(scratch)
        config = Config(lake=home / "lake", drafts=home / "drafts")
        with Lake.create_or_open(config.lake) as lake:
            if known.rates:
                ingest(lake, write_rates(home), mapping_loader.load("fintel"), config)
            ingest(lake, folder / known.folder, mapping_loader.load(known.mapping), config)
            return _read(name, canonical_tables(lake))


def population(seed: int, accounts: int, days: int) -> Labelled:
    """A population of ``fintel synth``."""
    with tempfile.TemporaryDirectory(prefix="fintel-worth-") as scratch:
        home = Path(scratch)
        generate(home / "feed", accounts=accounts, days=days, seed=seed)
        config = Config(lake=home / "lake")
        with Lake.create_or_open(config.lake) as lake:
            ingest(lake, home / "feed", mapping_loader.load("fintel"), config)
            return _read(f"{SYNTH}, seed {seed}", canonical_tables(lake))


def _read(name: str, lazy: Mapping[str, pl.LazyFrame]) -> Labelled:
    tables = {k: frame.collect().lazy() for k, frame in lazy.items()}
    net = network(tables)
    labels = tables["labels"].filter(pl.col("suspicious")).collect()
    of = {kind: labels.filter(pl.col("subject_type") == kind) for kind in ("transaction", "account")}
    if of["transaction"].is_empty() and not of["account"].is_empty():
        return _by_day(name, tables, net, of["account"])
    ids = tables["transactions"].select("transaction_id").collect()["transaction_id"].gather(net.row)
    suspicious = ids.is_in(of["transaction"]["subject_id"].implode()).to_numpy()
    at = np.flatnonzero(suspicious)
    ends = pl.concat(
        pl.DataFrame({"account_id": net.nodes.gather(side[at]), "time": net.time[at]})
        for side in (net.source, net.target)
    )
    # Where accounts are labelled by themselves, the other side of a scheme's payment may be a victim.
    if name.startswith(SYNTH):
        ends = ends.join(of["account"], left_on="account_id", right_on="subject_id", how="semi")
    return Labelled(name, tables, net, suspicious, ends.unique(maintain_order=True))


def _by_day(name: str, tables: Mapping[str, pl.LazyFrame], net: Network, named: pl.DataFrame) -> Labelled:
    """Labels of accounts with the day of the deed (30 days before it is known): payments that they made then count.

    Labels whose day is not told (known after the last payment and 30 days) make neither."""
    days = named.select(account_id="subject_id", day=(pl.col("known_at") - MONTH).dt.date())
    paid = net.frame.join(days, left_on="source", right_on="account_id", how="left", maintain_order="left")
    suspicious = paid.select((pl.col("booked_at").dt.date() == pl.col("day")).fill_null(False)).to_series().to_numpy()
    at = np.flatnonzero(suspicious)
    bad = pl.DataFrame({"account_id": net.nodes.gather(net.source[at]), "time": net.time[at]})
    return Labelled(name, tables, net, suspicious, bad.unique(maintain_order=True))


def amounts(data: Labelled) -> Array:
    """The amount alone: float32 (m, 1)."""
    return np.log1p(np.maximum(data.net.amount, 0).astype(np.float32))[:, None]


def features(data: Labelled, settings: Settings | None, families: tuple[str, ...]) -> pl.DataFrame:
    """Columns of the graph stage by payment."""
    return edge_features(data.net, settings, families=families)


def moments(data: Labelled) -> list[tuple[int, int, str]]:
    """Periods of at most 30 days, begin and end in µs: those of training end where it ends, those of the test begin
    where it begins, and those of the embargo are left out."""
    ends, begins = data.split()
    month, last = MONTH // _MICRO, int(data.net.time[-1]) + 1
    first = int(data.net.time[0])
    found = [(at - month, at, "train") for at in range(ends, first + month, -month)][::-1]
    return found + [(at, min(at + month, last), "test") for at in range(begins, last, month)]


def risk_at(data: Labelled, moment: int) -> tuple[Array, Array]:
    """Risk of nodes over payments up to a moment from seeds known by then, and by the begin of the test at the latest:
    float32 (n, 3), and which nodes are seeds."""
    known = seeds(data.tables, _time(min(moment, data.split()[1])))
    if known.is_empty():
        nothing = np.zeros((len(data.net.nodes), 3), np.float32)
        nothing[:, 2] = np.nan
        return nothing, np.zeros(len(data.net.nodes), bool)
    frame = risk(data.net, known, as_of=_time(moment)).frame
    columns = [
        np.log(frame["risk_forward"].to_numpy() + 1e-9), np.log(frame["risk_backward"].to_numpy() + 1e-9),
        frame["hops_to_seed"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
    ]  # fmt: skip
    return np.column_stack(columns).astype(np.float32), frame["account_id"].is_in(
        known["account_id"].implode()
    ).to_numpy()


def risks(data: Labelled) -> tuple[Array, Array]:
    """Risk of both ends of each payment as of the begin of its period: float32 (m, 6); payments of which an end was a
    seed by the begin of the test."""
    net = data.net
    found = np.full((len(net), 6), np.nan, np.float32)
    for begin, end, _ in moments(data):
        rows = np.flatnonzero((net.time >= begin) & (net.time < end))
        of_node, _ = risk_at(data, begin)
        found[rows] = np.hstack([of_node[net.source[rows]], of_node[net.target[rows]]])
    _, seed = risk_at(data, data.split()[1])
    return found, seed[net.source] | seed[net.target]


def accounts(data: Labelled, begin: int, end: int) -> tuple[Array, Array, Array]:
    """Nodes with a payment in a period, what is labelled of them then, and their amounts (count, sum, mean, largest,
    paid and got)."""
    net = data.net
    rows = np.flatnonzero((net.time >= begin) & (net.time < end))
    amount = np.maximum(net.amount[rows], 0).astype(np.float64)
    told = []
    for side in (net.source[rows], net.target[rows]):
        count = np.bincount(side, minlength=len(net.nodes))
        total = np.bincount(side, weights=amount, minlength=len(net.nodes))
        most = np.zeros(len(net.nodes))
        np.maximum.at(most, side, amount)
        told += [count, np.log1p(total), np.log1p(total / np.maximum(count, 1)), np.log1p(most)]
    active = np.flatnonzero(told[0] + told[4])
    guilty = data.bad.filter((pl.col("time") >= begin) & (pl.col("time") < end))["account_id"].unique()
    label = net.nodes.gather(active).is_in(guilty.implode()).to_numpy()
    return active, label, np.column_stack(told)[active].astype(np.float32)


def of_accounts(data: Labelled, frame: pl.DataFrame, settings: Settings | None, begin: int, end: int) -> Array:
    """Columns of accounts as of the end of a period, from those of payments: float32 (n, columns)."""
    told = account_columns(data.net, frame, as_of=_time(end - 1), within=(end - begin) * _MICRO, settings=settings)
    return told.drop("account_id").cast(pl.Float32).to_numpy()


def yardstick_accounts(data: Labelled, columns: Array, begin: int, end: int, of_end: int) -> Array:
    """The same of the yardstick's columns: of an end its largest and latest, of histograms largest and sum."""
    net, nodes = data.net, len(data.net.nodes)
    rows = np.flatnonzero((net.time >= begin) & (net.time < end))
    patterns, stats = columns[rows, :HISTOGRAMS], columns[rows, HISTOGRAMS:]
    sides = ((net.source[rows], stats[:, :of_end]), (net.target[rows], stats[:, of_end:]))
    most, last = (np.full((nodes, of_end), np.nan, np.float32) for _ in range(2))
    when = np.full(nodes, -1, np.int64)
    parts = [most, last]
    for side, own in sides:
        order = np.argsort(side, kind="stable")
        who, start = np.unique(side[order], return_index=True)
        if not who.size:
            continue
        most[who] = np.fmax(most[who], np.maximum.reduceat(own[order], start))
        latest = order[np.append(start[1:], order.size) - 1]
        newer = latest > when[who]
        last[who[newer]], when[who[newer]] = own[latest[newer]], latest[newer]
        for fold in (np.maximum, np.add):
            told = np.full((nodes, HISTOGRAMS), np.nan, np.float32)
            told[who] = fold.reduceat(patterns[order], start)
            parts.append(told)
    return np.hstack(parts)


def yardstick(data: Labelled, kind: str, python: str, folder: Path, timeout: float) -> tuple[Array, str] | str:
    """The yardstick's columns by payment and how it was fed, or why there are none: one payment at a time, so that no
    payment of the same batch is seen; where that takes too long, 128."""
    file, out = folder / "network.npz", folder / "columns.npy"
    net = data.net
    np.savez(file, source=net.source, target=net.target, time=net.time, amount=net.amount)
    why = ""
    for batch in (1, 128):
        arguments = [kind, "--python", python, "--population", str(file), "--threads", "1", "--batch", str(batch),
                     "--features", str(out)]  # fmt: skip
        outcome = run(f"yardstick, {kind}", HERE / "graph_yardstick.py", arguments, timeout)
        if not outcome.ended:
            return np.load(out), f"batch {batch}"
        why = outcome.ended
    return why


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + micros * _MICRO
