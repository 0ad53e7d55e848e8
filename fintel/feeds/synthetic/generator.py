"""Write a synthetic population as canonical tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from fintel.errors import ConfigError
from fintel.feeds.synthetic.geography import CURRENCY, CURRENCY_NAMES, Ints
from fintel.feeds.synthetic.ledger import INSTRUMENT, Columns, Ledger, join, take
from fintel.feeds.synthetic.planting import mimic, plant
from fintel.feeds.synthetic.profiles import Profiles
from fintel.feeds.synthetic.register import FAMILIES, Register
from fintel.feeds.synthetic.routine import Routine
from fintel.feeds.synthetic.tables import BOOKED, PENDING, REJECTED, RETURNED, REVERSAL, Tables
from fintel.feeds.synthetic.world import World

#: Raised whenever equal arguments would give other bytes.
VERSION = 2
#: Payments that one own account makes or gets a day, roughly; only sizes chunks.
_PER_DAY = 0.4

#: Every name that is written, so that an earlier population leaves nothing behind.
_NAMES = (
    "transactions",
    "transactions-[0-9][0-9][0-9][0-9]",
    "accounts",
    "parties",
    "identifiers",
    "labels",
    "rates",
)

Format = Literal["parquet", "csv"]
Schemes = Literal["planted", "left out"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written. ``rows`` by table, ``sha256`` by file, ``schemes`` by typology, ``labelled``
    accounts and payments by typology, ``lookalikes`` accounts by typology."""

    folder: Path
    rows: dict[str, int]
    sha256: dict[str, str]
    schemes: dict[str, int]
    labelled: dict[str, dict[str, int]]
    lookalikes: dict[str, int]

    @property
    def payments(self) -> int:
        """Rows of the transactions table."""
        return self.rows["transactions"]


def generate(
    folder: Path,
    *,
    accounts: int,
    days: int,
    seed: int,
    start: date = date(2025, 1, 1),
    base_currency: str = "USD",
    format: Format = "parquet",
    chunk_rows: int = 1_000_000,
    schemes: Schemes = "planted",
    progress: Progress | None = None,
) -> Summary:
    """Write transactions, accounts, parties, identifiers, labels, rates and ``manifest.json``.

    Parameters
    ----------
    folder: made if absent; what an earlier call wrote there is replaced.
    accounts: own customers' accounts; external counterparties come on top, about 0.75 of each.
    days: length of the period. About ``0.4 * accounts * days`` payments.
    seed: equal arguments give equal bytes, on any number of threads.
    chunk_rows: payments made at a time. Where more are due, transactions come as several files,
        ``transactions-0001`` and on, in order of time.
    schemes: ``left out`` gives a population of daily life and benign look-alikes alone.
    progress: called with days done and days in all.

    Raises
    ------
    ConfigError: fewer than 200 accounts or 30 days, an unknown base currency or format.
    """
    if accounts < 200 or days < 30:
        raise ConfigError("a synthetic population needs at least 200 accounts and 30 days")
    if base_currency not in CURRENCY:
        raise ConfigError(f"no rates for base currency {base_currency}", hint=", ".join(CURRENCY_NAMES))
    if format not in ("parquet", "csv") or chunk_rows < 1 or schemes not in ("planted", "left out"):
        raise ConfigError("format is 'parquet' or 'csv', chunk_rows at least 1, schemes 'planted' or 'left out'")
    folder.mkdir(parents=True, exist_ok=True)
    for name in _NAMES:
        for stale in (*folder.glob(f"{name}.parquet"), *folder.glob(f"{name}.csv")):
            stale.unlink()
    world = World(seed, accounts, start, days)
    routine = Routine(world, seed)
    register = Register()
    planned = Ledger()
    sides = plant(world, routine, register, seed) if schemes == "planted" else [mimic(world, routine, register, seed)]
    for ledger in (part for side in sides for part in side):
        planned.extend(ledger.columns())
    payments_planned = planned.columns()
    _open_in_time(world, payments_planned)
    routine.measure()
    writer = _Writer(folder, format)
    tables = Profiles(world, seed)
    payments = _Payments(world, routine, tables, payments_planned, seed, len(register.family))
    step = max(min(int(chunk_rows / (_PER_DAY * accounts)), days), 1)
    pieces = -(-days // step)
    for piece in range(pieces):
        first, last = piece * step, min((piece + 1) * step, days)
        frame = payments.make(first, last)
        name = "transactions" if pieces == 1 else f"transactions-{piece + 1:04d}"
        writer.write(name, frame)
        if progress is not None:
            progress(last, days)
    rng = np.random.default_rng([seed, 14])
    writer.write("accounts", tables.accounts(rng))
    writer.write("parties", tables.parties(rng))
    writer.write("identifiers", tables.identifiers(rng))
    writer.write("rates", tables.rates(base_currency))
    begin = world.epoch_day * 86400
    labels = register.frame(
        rng,
        payments.scheme_end,
        begin,
        (begin, begin + days * 86400),
        tables.account_ids,
        tables.party_ids,
        world.party,
        payments.labelled,
    )
    labels = tables.labels(labels)
    writer.write("labels", labels)
    summary = _summarise(folder, writer, register, labels)
    arguments = {
        "accounts": accounts,
        "days": days,
        "seed": seed,
        "start": start.isoformat(),
        "base_currency": base_currency,
        "format": format,
        "chunk_rows": chunk_rows,
        **({} if schemes == "planted" else {"schemes": schemes}),
    }
    manifest = {
        "generator": VERSION,
        "arguments": arguments,
        "made_with": {"polars": pl.__version__, "numpy": np.__version__},
        "rows": summary.rows,
        "schemes": summary.schemes,
        "labelled": summary.labelled,
        "lookalikes": summary.lookalikes,
        "sha256": summary.sha256,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_bytes(text.encode())
    return summary


def _open_in_time(world: World, planned: Columns) -> None:
    """Accounts that something is planned for are open some days before it happens."""
    begin = np.full(world.n_accounts, np.iinfo(np.int64).max)
    for side in ("debtor", "creditor"):
        held = planned[side] >= 0
        np.minimum.at(begin, planned[side][held], planned["t"][held])
    day = begin // 86400 - 3 - np.arange(world.n_accounts) % 25
    world.opened = np.minimum(world.opened, day)


class _Writer:
    """Writes frames and keeps rows and checksums."""

    def __init__(self, folder: Path, format: Format) -> None:
        self.folder, self.format = folder, format
        self.rows: dict[str, int] = {}
        self.sha256: dict[str, str] = {}

    def write(self, name: str, frame: pl.DataFrame) -> None:
        path = self.folder / f"{name}.{self.format}"
        if self.format == "parquet":
            frame.rechunk().write_parquet(path, compression="zstd", row_group_size=1 << 18)
        else:
            frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        table = name.split("-")[0]
        self.rows[table] = self.rows.get(table, 0) + frame.height
        with path.open("rb") as file:
            self.sha256[path.name] = hashlib.file_digest(file, "sha256").hexdigest()


class _Payments:
    """Joins daily life and what was planned, in order of time, and numbers the payments."""

    def __init__(
        self, world: World, routine: Routine, tables: Tables, planned: Columns, seed: int, schemes: int
    ) -> None:
        self.world, self.routine, self.tables, self.seed = world, routine, tables, seed
        self.planned = take(planned, np.argsort(planned["t"], kind="stable"))
        self.done = 0
        self.carry: Columns | None = None
        self.number = 0
        self.labelled: list[tuple[pl.Series, Ints]] = []
        self.scheme_end: Ints = np.zeros(schemes, dtype=np.int64)

    def make(self, first: int, last: int) -> pl.DataFrame:
        """Transactions of the days ``first`` to ``last`` - 1; what falls later is kept for the next."""
        world = self.world
        rng = np.random.default_rng([self.seed, 15, first])
        ledger = Ledger()
        self.routine.write(rng, ledger, first, last)
        # A day begins up to 12 hours before UTC's: later days may still add payments from there on.
        final = last >= world.days
        cutoff = (world.epoch_day + last + (MARGIN_DAYS if final else 0)) * 86400 - 14 * 3600
        until = int(np.searchsorted(self.planned["t"], cutoff))
        ledger.extend(take(self.planned, np.arange(self.done, until)))
        self.done = until
        if self.carry is not None:
            ledger.extend(self.carry)
        rows = self._opened(ledger.columns())
        now = rows["t"] < cutoff
        self.carry = take(rows, ~now)
        rows = self._settle(rng, take(rows, now), cutoff, final)
        number = np.arange(self.number - len(rows["t"]), self.number)
        frame = self.tables.transactions(rng, rows, number)
        scheme = rows["scheme"].astype(np.int64)
        planted = np.flatnonzero(scheme >= 0)
        np.maximum.at(self.scheme_end, scheme[planted], rows["t"][planted].astype(np.int64))
        self.labelled.append((frame["transaction_id"].gather(planted), scheme[planted]))
        return frame

    def _opened(self, rows: Columns) -> Columns:
        """Payments of own accounts that are open by then."""
        keep = np.ones(len(rows["t"]), dtype=bool)
        for side in ("debtor", "creditor"):
            account = rows[side]
            own = (account >= 0) & (account < self.world.n_own)
            keep &= ~own | (rows["t"] >= self.world.opened[account] * 86400)
        return take(rows, keep)

    def _settle(self, rng: np.random.Generator, rows: Columns, cutoff: int, final: bool) -> Columns:
        """Put in order and number. Some payments are returned days later, refused, or still pending at
        the end; a return that falls after ``cutoff`` is carried."""
        n = len(rows["t"])
        luck = rng.random(n)
        status = rows["status"].copy()
        transfer = (status == BOOKED) & (rows["instrument"] != INSTRUMENT["cash"])
        status[transfer & (luck > 0.998)] = REJECTED
        back = np.flatnonzero(transfer & (luck < 0.0025))
        status[back] = RETURNED
        if final and n:
            status[transfer & (rows["t"] > rows["t"].max() - 86400) & (luck > 0.9) & (luck < 0.96)] = PENDING
        rows["status"] = status
        mirror = take(rows, back)
        m = len(back)
        mirror["t"] = mirror["t"] + (rng.uniform(1, 6, m) * 86400).astype(np.int64)
        mirror["debtor"], mirror["creditor"] = mirror["creditor"], mirror["debtor"]
        mirror["status"] = np.full(m, REVERSAL, dtype="i1")
        mirror["scheme"] = np.full(m, -1, dtype="i4")
        rows = join(rows, mirror)
        order = np.lexsort((rng.random(n + m), rows["t"]))
        order = order[rows["t"][order] < cutoff]
        number = np.full(n + m, -1, dtype=np.int64)
        number[order] = self.number + np.arange(len(order))
        self.number += len(order)
        rows["reverses"][n:] = number[back]
        later = np.arange(n, n + m)[number[n:] < 0]
        if self.carry is not None:
            self.carry = join(self.carry, take(rows, later))
        return take(rows, order)


#: Days after the last one in which its payments may still fall by UTC.
MARGIN_DAYS = 3


def _summarise(folder: Path, writer: _Writer, register: Register, labels: pl.DataFrame) -> Summary:
    bad = labels.filter("suspicious").group_by("typology", "subject_type").len()
    counts = {(t, s): n for t, s, n in bad.iter_rows()}
    benign = labels.filter(pl.col("label_source") == "review").group_by("typology").len()
    seen = dict(benign.iter_rows())
    return Summary(
        folder=folder,
        rows=writer.rows,
        sha256=writer.sha256,
        schemes={f: register.family.count(f) for f in FAMILIES},
        labelled={
            f: {"accounts": counts.get((f, "account"), 0), "transactions": counts.get((f, "transaction"), 0)}
            for f in FAMILIES
        },
        lookalikes={f: int(seen.get(f, 0)) for f in FAMILIES},
    )
