"""The tables beside the payments: accounts, parties, identifiers, rates, labels."""

from __future__ import annotations

import numpy as np
import polars as pl

from fintel.domain.schema import ACCOUNTS, IDENTIFIERS, LABELS, PARTIES, RATES, Table
from fintel.feeds.synthetic import geography as geo
from fintel.feeds.synthetic.geography import Floats
from fintel.feeds.synthetic.tables import Tables, columns_of, pick, shuffled, strings
from fintel.feeds.synthetic.words import INDUSTRIES, OCCUPATIONS, STREETS
from fintel.feeds.synthetic.world import PRODUCTS, Bools, Generator
from fintel.frames import MONEY, POLARS


class Profiles(Tables):
    """Tables of who is who, besides those of ``Tables``."""

    def accounts(self, rng: Generator) -> pl.DataFrame:
        """The accounts table, ordered by id."""
        w = self.w
        n = w.n_accounts
        own = np.arange(n) < w.n_own
        described = own | (rng.random(n) < 0.8)
        rich = own | (rng.random(n) < 0.35)
        kind = np.where(w.parties.organisation[w.party], 1, 0)
        day = pl.Series(w.opened.astype(np.int32)).cast(pl.Date)
        return (
            self._conform(
                ACCOUNTS,
                {
                    "account_id": self.account_ids,
                    "party_id": self.party_ids.gather(w.party),
                    "name": pick(self.names, np.where(self.shown_name, w.party, -1)),
                    "kind": pick(strings(["person", "organisation"]), np.where(rich | (rng.random(n) < 0.4), kind, -1)),
                    "holding": strings(["external", "own"]).gather(own.astype(np.int64)),
                    "agent": self.agents.gather(self.agent_index),
                    "country": self.codes.gather(w.country),
                    "currency": self.currencies.gather(w.currency),
                    "product": pick(strings(list(PRODUCTS)), np.where(own, w.product, -1)),
                    "opened_on": day.set(pl.Series(~(own & (rng.random(n) < 0.97))), None),
                },
            )
            .filter(pl.Series(described))
            .sort("account_id")
        )

    def parties(self, rng: Generator) -> pl.DataFrame:
        """The parties table, ordered by id. Of strangers little is known."""
        w, p = self.w, self.w.parties
        n = len(p.country)
        own = np.arange(n) < w.n_persons + w.n_orgs
        seen = own | (rng.random(n) < 0.7)
        birth = pl.Series(p.birth.astype(np.int32)).cast(pl.Date)
        person = ~p.organisation
        known_age = person & (own & (rng.random(n) < 0.98) | ~own & (rng.random(n) < 0.6))
        income = pl.Series(p.income).cast(MONEY)
        street = np.array(STREETS)[p.household * 31 % len(STREETS)]
        address = [f"{1 + h * 17 % 240} {s} St" for h, s in zip(p.household, street, strict=True)]
        states = strings([s or None for s in geo.CITY_STATES])
        hide = ~own
        return (
            self._conform(
                PARTIES,
                {
                    "party_id": self.party_ids,
                    "name": self.names,
                    "given_name": self.given.set(pl.Series(hide), None),
                    "family_name": self.family.set(pl.Series(hide), None),
                    "kind": strings(["person", "organisation"]).gather(p.organisation.astype(np.int64)),
                    "birth_date": birth.set(pl.Series(~known_age), None),
                    "country": self.codes.gather(p.country),
                    "city": pick(self.cities, np.where(own | (rng.random(n) < 0.5), p.city, -1)),
                    "state": pick(states, np.where(own, p.city, -1)),
                    "address": strings(list(address)).set(pl.Series(hide), None),
                    "postcode": pick(
                        strings([f"{i:05d}" for i in range(10_000)]), np.where(own, p.household * 7 % 10_000, -1)
                    ),
                    "phone": pick(self.phones, np.where(own | (rng.random(n) < 0.4), p.phone, -1)),
                    "email": self._emails(own & (rng.random(n) < 0.8)),
                    "tax_id": pick(self.party_ids, np.full(n, -1)),
                    "occupation": pick(
                        strings(list(OCCUPATIONS)), np.where(own & (rng.random(n) < 0.94), p.occupation, -1)
                    ),
                    "industry": pick(strings(list(INDUSTRIES)), np.where(own | (rng.random(n) < 0.5), p.industry, -1)),
                    "annual_income": income.set(pl.Series(~(own & (rng.random(n) < 0.9))), None),
                    "sex": pick(strings(["F", "M"]), np.where(own & person & (rng.random(n) < 0.9), p.sex, -1)),
                    "nationality": pick(self.codes, np.where(own & person & (rng.random(n) < 0.5), p.country, -1)),
                },
            )
            .filter(pl.Series(seen))
            .sort("party_id")
        )

    def _emails(self, shown: Bools) -> pl.Series:
        frame = pl.DataFrame({"g": self.given, "f": self.family, "i": self.party_ids.str.slice(7), "s": shown})
        return frame.select(
            pl.when(pl.col("s") & pl.col("g").is_not_null())
            .then(pl.concat_str("g", pl.lit("."), "f", "i", pl.lit("@mail.example")).str.to_lowercase())
            .alias("email")
        )["email"]

    def identifiers(self, rng: Generator) -> pl.DataFrame:
        """Phones, e-mails, devices, addresses and wallets of own parties, ordered by party."""
        w, p = self.w, self.w.parties
        n = w.n_persons + w.n_orgs
        rows = np.arange(n)
        email = self._emails(np.ones(len(p.country), dtype=bool))[:n]
        address = pl.Series(
            [
                f"{1 + h * 17 % 240} {STREETS[h * 31 % len(STREETS)]} St, {geo.CITY_NAMES[c]}".lower()
                for h, c in zip(p.household[:n], p.city[:n], strict=True)
            ],
            dtype=pl.String,
        )
        wallet = strings([f"0x{i:012x}" for i in shuffled(rng, n, 1 << 40, 1 << 47)])
        parts = []
        for kind, values, share in (
            ("phone", self.phones.gather(p.phone[:n]), 0.97),
            ("email", email, 0.8),
            ("address", address, 0.99),
            ("device", self.devices.gather(p.device[:n]), 0.75),
            ("wallet", wallet, 0.06),
        ):
            keep = pl.Series(rng.random(n) < share)
            since = (w.opened[rows] * 86400 + rng.integers(0, 86400, n)) * 1_000_000
            frame = pl.DataFrame({"party_id": self.party_ids[:n], "value": values, "first_seen": since})
            parts.append(frame.with_columns(type=pl.lit(kind)).filter(keep & values.is_not_null()))
        frame = pl.concat(parts)
        seen = pl.col("first_seen").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return self._conform(IDENTIFIERS, {c: frame.with_columns(seen)[c] for c in frame.columns}).sort(
            "party_id", "type", "value"
        )

    def rates(self, base: str) -> pl.DataFrame:
        """A rate of every currency into ``base`` for every day, from ``LEAD`` days before the first."""
        days, width = self.w.fx.shape
        value: Floats = self.w.fx / self.w.fx[:, [geo.CURRENCY[base]]]
        day = np.repeat(np.arange(days) + self.w.epoch_day - geo.LEAD, width).astype(np.int32)
        return self._conform(
            RATES,
            {
                "date": pl.Series(day).cast(pl.Date),
                "currency": self.currencies.gather(np.tile(np.arange(width), days)),
                "base": pl.Series([base]).new_from_index(0, days * width),
                "rate": pl.Series(np.round(value.ravel(), 10)).cast(POLARS[RATES["rate"].type]),
            },
        )

    def labels(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Labels with the table's columns."""
        return self._conform(LABELS, {c: frame[c] for c in frame.columns})

    def _conform(self, table: Table, data: dict[str, pl.Series]) -> pl.DataFrame:
        n = len(next(iter(data.values())))
        full = {
            c: data.get(c, pl.Series([None], dtype=POLARS[table[c].type]).new_from_index(0, n))
            for c in columns_of(table)
        }
        return pl.DataFrame(full)
