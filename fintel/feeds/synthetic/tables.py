"""From numbers to the canonical tables: ids, names, texts, and what the feed leaves out."""

from __future__ import annotations

import numpy as np
import polars as pl

from fintel.domain.schema import (
    CHANNELS,
    INSTRUMENTS,
    PROVENANCE,
    TRANSACTIONS,
    Table,
)
from fintel.feeds.synthetic import geography as geo
from fintel.feeds.synthetic.geography import Ints
from fintel.feeds.synthetic.ledger import PURPOSES, Columns
from fintel.feeds.synthetic.words import (
    CULTURES,
    FAMILY,
    GIVEN,
    INDUSTRIES,
    MCC,
    MERCHANTS,
    TRADES,
)
from fintel.feeds.synthetic.world import Bools, Generator, World
from fintel.frames import MONEY

#: First part of every transaction id, as the schema asks.
SOURCE = "synthetic"
BOOKED, PENDING, REJECTED, RETURNED, REVERSAL = range(5)
_STATUS = ("booked", "pending", "rejected", "returned", "reversal")
_MASK40 = (1 << 40) - 1
#: Optional columns that this population's feed does not have, as most feeds do not.
LEFT_OUT = frozenset({"place_latitude", "place_longitude", "latitude", "longitude", "ip_country", "relationship"})
_ASCII = str.maketrans({"ü": "u", "ö": "o", "ä": "a", "é": "e", "í": "i", "á": "a", "ó": "o", "ú": "u", "ñ": "n"})


def columns_of(table: Table) -> tuple[str, ...]:
    """Columns of a canonical table that the feed carries: not provenance, not what reading computes."""
    absent = {c.name for c in PROVENANCE} | {"amount_base"} | LEFT_OUT
    return tuple(c for c in table.names if c not in absent)


def strings(values: list[str | None]) -> pl.Series:
    """A string column."""
    return pl.Series(values, dtype=pl.String)


def pick(dictionary: pl.Series, index: Ints) -> pl.Series:
    """Entries of a dictionary; empty where the index is negative."""
    rows = pl.Series(np.asarray(index, dtype=np.int64))
    return dictionary.gather(rows.set(rows < 0, None))


def shuffled(rng: Generator, n: int, low: int, high: int) -> Ints:
    """``n`` distinct numbers between two bounds, in no order."""
    found = np.unique(rng.integers(low, high, int(n * 1.1) + 16))
    return rng.permutation(found)[:n]


class Tables:
    """Dictionaries of one world and the frames made with them."""

    def __init__(self, world: World, seed: int) -> None:
        self.w = world
        rng = np.random.default_rng([seed, 13])
        w, p = world, world.parties
        n_parties = len(p.country)
        self.id_key = int(rng.integers(1 << 39, 1 << 40)) | 1
        self.codes = strings([c.code for c in geo.COUNTRIES])
        self.currencies = strings(list(geo.CURRENCY_NAMES))
        self.cities = strings(list(geo.CITY_NAMES))
        self.party_ids = strings([f"P{i:09d}" for i in shuffled(rng, n_parties, 10**7, 10**9)])
        self.agents = strings(
            [
                f"meridian-{c.code.lower()}" if k == 0 else f"bank{k}-{c.code.lower()}"
                for c in geo.COUNTRIES
                for k in range(7)
            ]
        )
        self.agent_index = w.country * 7 + w.agent
        self.account_ids = self._account_ids(rng)
        self.given, self.family, self.names = self._names()
        self.numbered = np.array(["#" in text for text in w.phrases.texts])
        self.text_head = strings([text.partition("#")[0] for text in w.phrases.texts])
        self.text_tail = strings([text.partition("#")[2] for text in w.phrases.texts])
        self.numbers = strings([str(i) for i in range(10_000)])
        shops = [MERCHANTS[MCC[k]][4][i] for k, i in zip(w.shop_kind, w.shop_name, strict=True)]
        place = [geo.CITY_NAMES[c] if c >= 0 else "" for c in w.shop_city]
        self.merchants = strings(
            [f"{s} {n} {c}".upper() if c else s.upper() for s, n, c in zip(shops, w.shop_number, place, strict=True)]
        )
        self.mcc = strings([MCC[k] for k in w.shop_kind])
        self.place_ids = strings([f"L{i}" for i in shuffled(rng, w.n_places, 10_000, 99_999)])
        self.devices = strings([f"D{i:08x}" for i in shuffled(rng, n_parties, 1 << 20, 1 << 32)])
        ip = shuffled(rng, n_parties, 0, 1 << 22)
        self.ips = strings([f"100.{64 + (i >> 16)}.{(i >> 8) & 255}.{i & 255}" for i in ip])
        self.phones = strings([f"+999{i}" for i in shuffled(rng, n_parties, 10**8, 10**9)])
        self.hex = strings([f"{i:05x}" for i in range(1 << 20)])
        # What the feed knows of a side: names and countries of strangers are often missing.
        hidden = rng.random(w.n_accounts)
        self.shown_name: Bools = hidden > np.where(np.arange(w.n_accounts) < w.n_own, 0.02, 0.12)
        self.shown_country: Bools = rng.random(w.n_accounts) > 0.04

    def _account_ids(self, rng: Generator) -> pl.Series:
        w = self.w
        number = shuffled(rng, w.n_accounts, 10**7, 10**8)
        sort = rng.integers(100_000, 999_999, w.n_accounts)
        gb, de = geo.CODE["GB"], geo.CODE["DE"]
        # IBAN check digits (ISO 7064 mod 97-10), in pieces that fit 64 bits; no real bank has these codes.
        gb_rest = (35351523 % 97 * 10**6 % 97 * 1 + sort) % 97
        gb_rest = (gb_rest * (10**8 % 97) + number) % 97
        gb_check = 98 - (gb_rest * (10**6 % 97) + 161100) % 97
        bank = 99900000 + w.agent
        de_rest = (bank % 97 * (10**10 % 97) + number) % 97
        de_check = 98 - (de_rest * (10**6 % 97) + 131400) % 97
        agents = self.agents.gather(self.agent_index).to_list()
        ids: list[str | None] = []
        for i in range(w.n_accounts):
            if w.country[i] == gb:
                ids.append(f"GB{gb_check[i]:02d}ZZFN{sort[i]:06d}{number[i]:08d}")
            elif w.country[i] == de:
                ids.append(f"DE{de_check[i]:02d}{bank[i]:08d}{number[i]:010d}")
            else:
                ids.append(f"{agents[i]}|{number[i]:08d}")
        return strings(ids)

    def _names(self) -> tuple[pl.Series, pl.Series, pl.Series]:
        p = self.w.parties
        given = {i: GIVEN[c].split() for i, c in enumerate(CULTURES)}
        family = {i: FAMILY[c].split() for i, c in enumerate(CULTURES)}
        first: list[str | None] = []
        last: list[str | None] = []
        full: list[str | None] = []
        for i in range(len(p.country)):
            culture = int(p.culture[i])
            surname = family[culture][p.family[i] % len(family[culture])]
            if p.organisation[i]:
                trade = TRADES[INDUSTRIES[p.industry[i]]]
                name = f"{surname} {trade[p.given[i] % len(trade)]}"
                first.append(None)
                last.append(None)
                full.append(f"{name} Ltd" if i % 3 else name)
            else:
                forename = given[culture][p.given[i] % len(given[culture])]
                first.append(forename)
                last.append(surname)
                full.append(f"{forename} {surname}")
        return strings(first), strings(last), strings(full)

    # Payments ----------------------------------------------------------------------------------

    def ids(self, number: Ints) -> pl.Series:
        """Transaction ids of serial numbers: a permutation of 40 bits, so no order shows."""
        x = number.astype(np.uint64)
        for shift in (21, 17):
            x = (x * np.uint64(self.id_key)) & np.uint64(_MASK40)
            x ^= x >> np.uint64(shift)
        high, low = (x >> np.uint64(20)).astype(np.int64), (x & np.uint64(0xFFFFF)).astype(np.int64)
        both = pl.DataFrame({"h": self.hex.gather(high), "l": self.hex.gather(low)})
        return both.select(pl.concat_str(pl.lit(f"{SOURCE}:"), "h", "l").alias("id"))["id"]

    def transactions(self, rng: Generator, rows: Columns, number: Ints) -> pl.DataFrame:
        """The transactions table of payments that are numbered ``number``."""
        w = self.w
        n = len(number)
        col = {name: values.astype(np.int64) for name, values in rows.items()}
        text = col["text"]
        numbered = self.numbered[np.maximum(text, 0)] & (text >= 0)
        figure = np.where(numbered, rng.integers(0, 10_000, n), -1)
        words = pl.DataFrame(
            {"h": pick(self.text_head, text), "n": pick(self.numbers, figure), "t": pick(self.text_tail, text)}
        ).select(pl.when(pl.col("h").is_not_null()).then(pl.concat_str("h", "n", "t", ignore_nulls=True)).alias("x"))[
            "x"
        ]
        shop = col["merchant"]
        shop_country = np.where(w.shop_city[shop] >= 0, geo.CITY_COUNTRY[w.shop_city[shop]], 0)
        # A machine or branch has a place; a shop's till names its city, not always.
        till = np.where((shop >= 0) & (rng.random(n) > 0.14), w.shop_city[shop], -1)
        place_city = np.where(col["place"] >= 0, col["place"] // w.places_per_city, till)
        unclear = rng.random(n) < 0.07
        electronic = (col["channel"] > 2) & (shop < 0)
        wire = col["channel"] == CHANNELS.index("wire")
        end_to_end = np.where(electronic & (rng.random(n) < 0.12), rng.integers(0, 1 << 20, n), -1)
        half = [pick(self.hex, np.where(wire, rng.integers(0, 1 << 20, n), -1)) for _ in range(6)]
        uetr = pl.DataFrame({f"u{i}": s for i, s in enumerate(half)}).select(
            pl.when(pl.col("u0").is_not_null())
            .then(
                pl.concat_str(
                    pl.concat_str("u0", pl.col("u1").str.slice(0, 3)),
                    pl.lit("-"),
                    pl.col("u2").str.slice(0, 4),
                    pl.lit("-4"),
                    pl.col("u3").str.slice(0, 3),
                    pl.lit("-a"),
                    pl.col("u4").str.slice(0, 3),
                    pl.lit("-"),
                    pl.col("u5"),
                    "u1",
                    pl.col("u3").str.slice(0, 2),
                    ignore_nulls=True,
                )
            )
            .alias("x")
        )["x"]
        data = {
            "transaction_id": self.ids(number),
            "booked_at": pl.Series(col["t"] * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "local_offset_minutes": pl.Series(col["offset"]).set(pl.Series(unclear), None),
            "amount": pl.Series(col["cents"] / 100.0).cast(MONEY),
            "currency": self.currencies.gather(col["currency"]),
            **self._side("debtor", col["debtor"], np.where(col["debtor"] < 0, col["named"], -1), shop),
            **self._side("creditor", col["creditor"], np.where(col["debtor"] < 0, -1, col["named"]), shop),
            "channel": strings(list(CHANNELS)).gather(col["channel"]),
            "instrument": strings(list(INSTRUMENTS)).gather(col["instrument"]),
            "status": strings(list(_STATUS)).gather(col["status"]),
            "reversal_of": self._reversals(col["reverses"]),
            "purpose_code": pick(strings(list(PURPOSES)), col["purpose"]),
            "remittance_information": words,
            "merchant_name": pick(self.merchants, shop),
            "merchant_category_code": pick(self.mcc, shop),
            "merchant_country": pick(self.codes, np.where(shop >= 0, shop_country, -1)),
            "place_id": pick(self.place_ids, col["place"]),
            "place_city": pick(self.cities, place_city),
            "place_country": pick(self.codes, np.where(place_city >= 0, geo.CITY_COUNTRY[place_city], -1)),
            "device_id": pick(self.devices, np.where(rng.random(n) < 0.15, -1, col["device"])),
            "ip_address": pick(self.ips, np.where(rng.random(n) < 0.25, -1, col["ip"])),
            "end_to_end_id": pl.Series(pick(self.hex, end_to_end)),
            "uetr": uetr,
        }
        return pl.DataFrame(data).select(columns_of(TRANSACTIONS))

    def _reversals(self, number: Ints) -> pl.Series:
        rows = np.flatnonzero(number >= 0)
        out = pl.Series([None], dtype=pl.String).new_from_index(0, len(number))
        return out.scatter(rows, self.ids(number[rows])) if len(rows) else out

    def _side(self, side: str, account: Ints, named: Ints, shop: Ints) -> dict[str, pl.Series]:
        w = self.w
        known = account >= 0
        party = np.where(known & self.shown_name[account], w.party[account], -1)
        name = pick(self.names, np.where(named >= 0, named, party))
        # A merchant stands by name on the side that has no account.
        name = name.zip_with(pl.Series(known | (shop < 0)), pick(self.merchants, shop))
        country = np.where(known & self.shown_country[account], w.country[account], -1)
        return {
            f"{side}_account_id": pick(self.account_ids, account),
            f"{side}_name": name,
            f"{side}_agent": pick(self.agents, np.where(known, self.agent_index[account], -1)),
            f"{side}_country": pick(self.codes, country),
        }
