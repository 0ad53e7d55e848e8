"""What people do with accounts, as functions of parameters.

Schemes and their benign look-alikes are made by the same functions and differ in parameters only, so
that no column is a mark of one of them. Every argument that is an array has one element per instance
(a person's habit or a scheme's account) unless the docstring says otherwise; days count from the first
day, amounts are US dollars at home prices, hours are local.
"""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.geography import CITY_COUNT, FIRST_CITY, PER_USD, Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT
from fintel.feeds.synthetic.scene import Scene
from fintel.feeds.synthetic.words import MCC_INDEX
from fintel.feeds.synthetic.world import Bools

#: Ways out of an account.
CASH, TRANSFER, EXCHANGE, REMITTANCE, CARD = range(5)


class Behaviour(Scene):
    """Habits: series of payments of many people at once."""

    def sends(
        self,
        who: Ints,
        to: Ints,
        k: Ints,
        first: Floats,
        last: Floats,
        n: Ints,
        usd: Floats,
        *,
        hour: Floats,
        wobble: Floats,
        kind: Ints,
        faithful: float,
        channel: Ints,
        growth: Floats,
        even: Floats,
        scheme: Ints,
        spread: float = 0.35,
    ) -> tuple[Ints, Ints, Floats]:
        """Small transfers of ``who`` to the first ``k`` accounts of its row in ``to``, ``n`` of them
        between two days. ``growth`` above 0 makes them denser and larger towards the end, ``even`` is
        the share of round amounts, ``faithful`` the share that carries the habit's own kind of text.
        Returns (recipient, UTC seconds, US dollars) by payment."""
        i = np.repeat(np.arange(len(who)), n)
        m = len(i)
        u = self.rng.random(m) ** (1.0 / (1.0 + growth[i]))
        day = first[i] + u * (last[i] - first[i])
        rank = (self.rng.random(m) ** 1.4 * k[i]).astype(np.int64)
        amount = usd[i] * (1.0 + 0.7 * growth[i] * (u - 0.5)) * np.exp(self.rng.normal(0, spread, m))
        own_kind = self.rng.random(m) < faithful
        other = self.kinds(m, {"none": 0.6, "social": 0.25, "gift": 0.15})
        t, cents = self.pay(
            day,
            hour[i] + self.rng.normal(0, 1, m) * wobble[i],
            amount,
            who[i],
            to[i, rank],
            channel=channel[i],
            instrument=INSTRUMENT["credit_transfer"],
            kind=np.where(own_kind, kind[i], other),
            scheme=scheme[i],
            rounded=(self.rng.random(m) < even[i]).astype(float),
        )
        return to[i, rank], t, cents / 100.0 / PER_USD[self.w.currency[who[i]]]

    def collects(
        self,
        who: Ints,
        inst: Ints,
        payer: Ints,
        n: Ints,
        first: Floats,
        last: Floats,
        usd: Floats,
        *,
        kind: Ints,
        faithful: float,
        hour: Floats,
        wobble: Floats,
        even: Floats,
        scheme: Ints,
        spread: float = 0.3,
        growth: Floats | None = None,
        regular: Bools | None = None,
        gap: float = 2.5,
    ) -> tuple[Ints, Ints, Floats]:
        """Many pay one: row j is ``payer[j]`` who pays account ``who[inst[j]]`` ``n[j]`` times, about ``gap``
        days apart, or monthly where ``regular``. Returns (instance, UTC seconds, US dollars) by payment."""
        j = np.repeat(np.arange(len(payer)), n)
        i = inst[j]
        m = len(j)
        trend = np.zeros(len(who)) if growth is None else growth
        order = np.arange(m) - np.repeat(np.cumsum(n) - n, n)
        begin = first[i] + self.rng.random(len(payer))[j] * np.maximum(last[i] - first[i], 0.5)
        day = begin + self.rng.exponential(gap, m) * order
        if regular is not None:
            day = np.where(regular[i], first[i] + 30.0 * order + self.rng.exponential(1.2, m), day)
        day = np.minimum(day, np.maximum(last[i], first[i]) + 2.0)
        level = usd[i] * np.exp(self.rng.normal(0, spread, len(payer)))[j]
        amount = level * (1.0 + trend[i]) ** order * np.exp(self.rng.normal(0, 0.1, m))
        style = self.rng.random(len(payer))[j] < even[i]
        own_kind = self.rng.random(m) < faithful
        other = self.kinds(m, {"none": 0.65, "social": 0.35})
        at = hour[i] + self.rng.normal(0, 1, m) * wobble[i]
        channel = self.choose(
            m, (CHANNEL["p2p"], CHANNEL["mobile_transfer"], CHANNEL["app"], CHANNEL["online"]), (4, 2, 3, 2)
        )
        inside = day < self.w.days
        t, cents = self.pay(
            day[inside],
            at[inside],
            amount[inside],
            payer[j][inside],
            who[i][inside],
            channel=channel[inside],
            instrument=INSTRUMENT["credit_transfer"],
            kind=np.where(own_kind, kind[i], other)[inside],
            scheme=scheme[i][inside],
            rounded=style[inside].astype(float),
        )
        return i[inside], t, cents / 100.0 / PER_USD[self.w.currency[payer[j][inside]]]

    def drains(
        self,
        who: Ints,
        inst: Ints,
        t: Ints,
        usd: Floats,
        *,
        batch: Ints,
        share: Floats,
        delay: Floats,
        route: Ints,
        to: Ints,
        kind: Ints,
        scheme: Ints,
        jitter: float = 0.5,
    ) -> None:
        """Pay out what came in: ``inst``, ``t``, ``usd`` are credits (as ``collects`` returns them);
        every ``batch`` credits, ``share`` of them leaves by ``route`` about ``delay`` hours later."""
        if len(t) == 0:
            return
        order = np.lexsort((t, inst))
        inst, t, usd = inst[order], t[order], usd[order]
        starts = np.searchsorted(inst, np.arange(len(who)))
        rank = np.arange(len(t)) - starts[inst]
        group = inst * 100_000 + rank // batch[inst]
        edge = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        total = np.add.reduceat(usd, edge)
        end = np.r_[edge[1:], len(t)] - 1
        i = inst[edge]
        m = len(i)
        wait = delay[i] * np.exp(self.rng.normal(0, jitter, m)) * 3600.0
        offset = self.w.clock[self.w.city(who[i]), 0] * 60
        when = t[end] + wait + offset - self.w.epoch_day * 86400.0
        day, hour = np.floor(when / 86400.0), np.mod(when / 3600.0, 24.0)
        amount = total * np.clip(share[i] * np.exp(self.rng.normal(0, 0.03, m)), 0.02, 1.0)
        inside = day < self.w.days
        i, day, hour, amount = i[inside], day[inside], hour[inside], amount[inside]
        self._leave(i, day, hour, amount, who, route[i], to, kind, scheme)

    def _leave(
        self,
        i: Ints,
        day: Floats,
        hour: Floats,
        usd: Floats,
        who: Ints,
        route: Ints,
        to: Ints,
        kind: Ints,
        scheme: Ints,
    ) -> None:
        r = route == CASH
        # Machines give at most a few hundred a time: larger sums go over the counter.
        self.cash(
            day[r],
            hour[r],
            usd[r],
            who[i[r]],
            incoming=np.zeros(r.sum(), dtype=bool),
            machine=usd[r] < 900,
            scheme=scheme[i[r]],
        )
        r = route == CARD
        self.buy(
            day[r],
            hour[r],
            who[i[r]],
            self.choose(int(r.sum()), tuple(MCC_INDEX[c] for c in ("5947", "6540", "5732", "5944")), (3, 3, 1, 1)),
            usd=usd[r],
            scheme=scheme[i[r]],
            rounded=1.0,
        )
        r = (route == TRANSFER) | (route == REMITTANCE) | (route == EXCHANGE)
        i, route, n = i[r], route[r], int(r.sum())
        exchange = self.w.vasps[who[i] % len(self.w.vasps)]
        channel = np.where(
            route == EXCHANGE,
            CHANNEL["vasp"],
            self.choose(n, (CHANNEL["online"], CHANNEL["app"], CHANNEL["p2p"]), (3, 3, 1)),
        )
        channel = np.where(
            route == REMITTANCE,
            self.choose(n, (CHANNEL["online"], CHANNEL["app"], CHANNEL["agent"], CHANNEL["wire"]), (2, 3, 2, 2)),
            channel,
        )
        self.pay(
            day[r],
            hour[r],
            usd[r],
            who[i],
            np.where(route == EXCHANGE, exchange, to[i]),
            channel=channel,
            instrument=INSTRUMENT["credit_transfer"],
            kind=kind[i],
            scheme=scheme[i],
            rounded=(self.rng.random(n) < 0.35).astype(float),
        )

    def deposits(
        self,
        who: Ints,
        first: Floats,
        last: Floats,
        n: Ints,
        usd: Floats,
        *,
        spread: Floats,
        cap: Floats,
        sites: Ints,
        cities: Ints,
        hour: Floats,
        wobble: Floats,
        machine: Floats,
        scheme: Ints,
        helpers: Ints | None = None,
        weekly: Bools | None = None,
    ) -> tuple[Ints, Ints, Floats]:
        """Cash paid in ``n`` times over ``sites`` places in ``cities`` towns; no amount above ``cap``.
        ``helpers`` (instance, people) names others as payers. Returns (instance, UTC seconds, dollars)."""
        i = np.repeat(np.arange(len(who)), n)
        m = len(i)
        day = first[i] + self.rng.random(m) * (last[i] - first[i])
        if weekly is not None:
            order = np.arange(m) - np.repeat(np.cumsum(n) - n, n)
            even = first[i] + (last[i] - first[i]) * (order + self.rng.random(m) * 0.5) / n[i]
            day = np.where(weekly[i], even, day)
        amount = usd[i] * np.exp(self.rng.normal(0, 1, m) * spread[i])
        over = amount > cap[i]
        amount = np.where(over, cap[i] * self.uniform(m, 0.8, 0.995), amount)
        home = self.w.city(who[i])
        country = self.w.country[who[i]]
        other = self.rng.integers(0, cities[i])
        city = other_city(home, country, other)
        site = who[i] + self.rng.integers(0, sites[i])
        named = np.full(m, -1, dtype=np.int64)
        if helpers is not None:
            named = self.w.party[helpers[i, self.rng.integers(0, helpers.shape[1], m)]]
        at = hour[i] + self.rng.normal(0, 1, m) * wobble[i]
        self.cash(
            day,
            at,
            amount,
            who[i],
            incoming=np.ones(m, dtype=bool),
            machine=self.rng.random(m) < machine[i],
            city=city,
            site=site,
            scheme=scheme[i],
            named=named,
            rounded=np.where(self.rng.random(m) < 0.6, 1.0, 0.0),
        )
        t, _ = self.w.moment(np.floor(day).astype(np.int64), at, city)
        return i, t, amount


def other_city(home: Ints, country: Ints, step: Ints) -> Ints:
    """The city ``step`` places further on in the list of the same country."""
    return FIRST_CITY[country] + (home - FIRST_CITY[country] + step) % CITY_COUNT[country]
