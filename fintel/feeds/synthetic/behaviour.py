"""What people do with accounts, as functions of parameters.

Schemes and their benign look-alikes are made by the same functions and differ in parameters only, so
that no column is a mark of one of them. Every argument that is an array has one element per instance
(a person's habit or a scheme's account) unless the docstring says otherwise; days count from the first
day, amounts are US dollars at home prices, hours are local.
"""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.geography import (
    CITY_COUNT,
    FIRST_CITY,
    PER_USD,
    PRICE,
    Floats,
    Ints,
    to_cents,
)
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT, PURPOSE, Ledger
from fintel.feeds.synthetic.words import KINDS, MCC_INDEX, MERCHANTS, text_kinds
from fintel.feeds.synthetic.world import Bools, Generator, World

KIND = {name: i for i, name in enumerate(KINDS)} | {"none": -1}
#: Ways out of an account.
CASH, TRANSFER, EXCHANGE, REMITTANCE, CARD = range(5)

_PURPOSE_OF = np.full(len(KINDS) + 1, -1, dtype=np.int64)
for _kind, _code in (
    ("wage", "SALA"), ("rent", "RENT"), ("school", "EDUC"), ("support", "FAMI"), ("gift", "GIFT"),
    ("bill", "UTIL"), ("invoice", "SUPP"), ("charity", "CHAR"), ("loan", "LOAN"),
):  # fmt: skip
    _PURPOSE_OF[KIND[_kind]] = PURPOSE[_code]


class Scene:
    """The world, a stream of random numbers and the ledger that payments go to."""

    def __init__(self, world: World, rng: Generator, ledger: Ledger) -> None:
        self.w, self.rng, self.out = world, rng, ledger

    # Draws -------------------------------------------------------------------------------------

    def uniform(self, n: int, low: float, high: float) -> Floats:
        """``n`` numbers between ``low`` and ``high``."""
        return self.rng.uniform(low, high, n)

    def around(self, n: int, median: float, spread: float) -> Floats:
        """``n`` log-normal numbers with a median."""
        return median * np.exp(self.rng.normal(0.0, spread, n))

    def counts(self, n: int, median: float, spread: float, least: int, most: int) -> Ints:
        """``n`` whole numbers, log-normal, within bounds."""
        return np.clip(np.rint(self.around(n, median, spread)), least, most).astype(np.int64)

    def kinds(self, n: int, mix: dict[str, float]) -> Ints:
        """``n`` kinds of text by weight; 'none' is no text."""
        return text_kinds(self.rng, n, mix)

    def choose(self, n: int, options: tuple[int, ...], weights: tuple[float, ...]) -> Ints:
        """``n`` of the options by weight."""
        p = np.array(weights)
        return np.array(options, dtype=np.int64)[self.rng.choice(len(options), n, p=p / p.sum())]

    def chance(self, n: int, probability: Floats | float) -> Bools:
        """``n`` coin flips."""
        return self.rng.random(n) < probability

    def span(self, n: int, shortest: float, longest: float) -> tuple[Floats, Floats]:
        """First and last day of ``n`` habits of some length, anywhere in the period."""
        length = np.minimum(self.uniform(n, shortest, longest), max(self.w.days - 1.0, 1.0))
        first = self.rng.random(n) * np.maximum(self.w.days - length, 0.0)
        return first, first + length

    def crowd(self, pool: Bools, sizes: Ints) -> tuple[Ints, Ints]:
        """``sizes[i]`` accounts out of a pool for each instance: (instance of row, account of row)."""
        found = np.flatnonzero(pool)
        inst = np.repeat(np.arange(len(sizes)), sizes)
        return inst, found[self.rng.integers(0, len(found), len(inst))]

    def circle(self, pool: Bools, n: int, width: int) -> Ints:
        """A table of ``width`` accounts out of a pool for each of ``n`` instances."""
        found = np.flatnonzero(pool)
        return found[self.rng.integers(0, len(found), (n, width))]

    # Payments ----------------------------------------------------------------------------------

    def _text(self, kind: Ints, writer: Ints) -> Ints:
        return self.w.phrases.pick(self.rng, kind, self.w.language(writer))

    def _purpose(self, kind: Ints) -> Ints:
        stated = self.rng.random(len(kind)) < 0.35
        return np.where(stated, _PURPOSE_OF[kind], -1)

    def pay(
        self, day: Floats, hour: Floats, usd: Floats, debtor: Ints, creditor: Ints, *,
        channel: Ints | int, instrument: Ints | int, kind: Ints, scheme: Ints | int = -1,
        rounded: Floats | float = 0.0, named: Ints | int = -1, purchase_city: Ints | None = None,
    ) -> tuple[Ints, Ints]:  # fmt: skip
        """Payments from account to account, one element a payment. Returns (UTC seconds, cents)."""
        n = len(day)
        actor = np.where(debtor >= 0, debtor, creditor)
        city = self.w.city(actor) if purchase_city is None else purchase_city
        t, offset = self.w.moment(np.floor(day).astype(np.int64), hour, city)
        currency = self.w.currency[actor]
        cents = to_cents(usd, currency, rounded)
        channels = np.broadcast_to(np.asarray(channel, dtype=np.int64), (n,))
        agent = channels == CHANNEL["agent"]
        place = np.where(agent, self.w.place(self.rng, city, "agent", actor), -1)
        remote = np.isin(channels, [CHANNEL[c] for c in ("online", "app", "p2p", "mobile_transfer", "vasp")])
        party = self.w.party[actor]
        roam = self.rng.random(n) < 0.15
        ip = np.where(roam, self.rng.integers(0, len(self.w.parties.device), n), self.w.parties.household[party])
        self.out.add(
            t, offset=offset, cents=cents, currency=currency, debtor=debtor, creditor=creditor,
            channel=channels, instrument=instrument, text=self._text(kind, actor),
            purpose=self._purpose(kind), place=place, named=named, scheme=scheme,
            device=np.where(remote, self.w.parties.device[party], -1), ip=np.where(remote, ip, -1),
        )  # fmt: skip
        return t, cents

    def buy(
        self, day: Floats, hour: Floats, who: Ints, mcc: Ints, *, city: Ints | None = None,
        usd: Floats | None = None, scheme: Ints | int = -1, rounded: Floats | float = 0.0,
    ) -> None:  # fmt: skip
        """Card purchases, one element a purchase; ``mcc`` is an index into ``words.MCC``."""
        where = self.w.city(who) if city is None else city
        shop = self.w.shop(self.rng, mcc, where)
        online = self.w.shop_city[shop] < 0
        if usd is None:
            median = np.array([m[1] for m in MERCHANTS.values()])[mcc]
            spread = np.array([m[2] for m in MERCHANTS.values()])[mcc]
            scale = self.w.purchase_scale[who] * np.sqrt(PRICE[self.w.country[who]])
            usd = median * scale * np.exp(self.rng.normal(0.0, 1.0, len(mcc)) * spread)
        t, offset = self.w.moment(np.floor(day).astype(np.int64), hour, where)
        channel = np.where(online, CHANNEL["card_not_present"], CHANNEL["card_present"])
        prepaid = self.w.product[who] == 5
        self.out.add(
            t, offset=offset, cents=to_cents(usd, self.w.currency[who], rounded),
            currency=self.w.currency[who], debtor=who, channel=channel, merchant=shop, scheme=scheme,
            instrument=np.where(prepaid, INSTRUMENT["prepaid"], INSTRUMENT["card"]),
        )  # fmt: skip

    def cash(
        self, day: Floats, hour: Floats, usd: Floats, who: Ints, *, incoming: Bools, machine: Bools,
        city: Ints | None = None, site: Ints | None = None, scheme: Ints | int = -1,
        rounded: Floats | float = 1.0, named: Ints | int = -1,
    ) -> None:  # fmt: skip
        """Cash over a counter or a machine, one element a movement; ``site`` fixes which one."""
        where = self.w.city(who) if city is None else city
        t, offset = self.w.moment(np.floor(day).astype(np.int64), hour, where)
        favourite = who if site is None else site
        place = np.where(
            machine,
            self.w.place(self.rng, where, "atm", favourite),
            self.w.place(self.rng, where, "branch", favourite),
        )
        self.out.add(
            t, offset=offset, cents=to_cents(usd, self.w.currency[who], rounded),
            currency=self.w.currency[who], debtor=np.where(incoming, -1, who),
            creditor=np.where(incoming, who, -1), instrument=INSTRUMENT["cash"], place=place,
            channel=np.where(machine, CHANNEL["atm"], CHANNEL["branch"]), scheme=scheme, named=named,
        )  # fmt: skip

    # Habits ------------------------------------------------------------------------------------

    def sends(
        self, who: Ints, to: Ints, k: Ints, first: Floats, last: Floats, n: Ints, usd: Floats, *,
        hour: Floats, wobble: Floats, kind: Ints, faithful: float, channel: Ints, growth: Floats,
        even: Floats, scheme: Ints, spread: float = 0.35,
    ) -> tuple[Ints, Ints, Floats]:  # fmt: skip
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
            day, hour[i] + self.rng.normal(0, 1, m) * wobble[i], amount, who[i], to[i, rank],
            channel=channel[i], instrument=INSTRUMENT["credit_transfer"],
            kind=np.where(own_kind, kind[i], other), scheme=scheme[i],
            rounded=(self.rng.random(m) < even[i]).astype(float),
        )  # fmt: skip
        return to[i, rank], t, cents / 100.0 / PER_USD[self.w.currency[who[i]]]

    def collects(
        self, who: Ints, inst: Ints, payer: Ints, n: Ints, first: Floats, last: Floats, usd: Floats, *,
        kind: Ints, faithful: float, hour: Floats, wobble: Floats, even: Floats, scheme: Ints,
        spread: float = 0.3, growth: Floats | None = None, regular: Bools | None = None,
    ) -> tuple[Ints, Ints, Floats]:  # fmt: skip
        """Many pay one: row j is ``payer[j]`` who pays account ``who[inst[j]]`` ``n[j]`` times, close
        together, or monthly where ``regular``. Returns (instance, UTC seconds, US dollars) by payment."""
        j = np.repeat(np.arange(len(payer)), n)
        i = inst[j]
        m = len(j)
        trend = np.zeros(len(who)) if growth is None else growth
        order = np.arange(m) - np.repeat(np.cumsum(n) - n, n)
        begin = first[i] + self.rng.random(len(payer))[j] * np.maximum(last[i] - first[i], 0.5)
        gap = self.rng.exponential(2.5, m) * order
        day = begin + gap
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
            day[inside], at[inside], amount[inside], payer[j][inside], who[i][inside],
            channel=channel[inside], instrument=INSTRUMENT["credit_transfer"],
            kind=np.where(own_kind, kind[i], other)[inside], scheme=scheme[i][inside],
            rounded=style[inside].astype(float),
        )  # fmt: skip
        return i[inside], t, cents / 100.0 / PER_USD[self.w.currency[payer[j][inside]]]

    def drains(
        self, who: Ints, inst: Ints, t: Ints, usd: Floats, *, batch: Ints, share: Floats, delay: Floats,
        route: Ints, to: Ints, kind: Ints, scheme: Ints, jitter: float = 0.5,
    ) -> None:  # fmt: skip
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
        self, i: Ints, day: Floats, hour: Floats, usd: Floats, who: Ints, route: Ints, to: Ints,
        kind: Ints, scheme: Ints,
    ) -> None:  # fmt: skip
        r = route == CASH
        # Machines give at most a few hundred a time: larger sums go over the counter.
        self.cash(day[r], hour[r], usd[r], who[i[r]], incoming=np.zeros(r.sum(), dtype=bool),
                  machine=usd[r] < 900, scheme=scheme[i[r]])  # fmt: skip
        r = route == CARD
        self.buy(day[r], hour[r], who[i[r]], self.choose(int(r.sum()), tuple(MCC_INDEX[c] for c in ("5947", "6540", "5732", "5944")), (3, 3, 1, 1)),
                 usd=usd[r], scheme=scheme[i[r]], rounded=1.0)  # fmt: skip
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
            day[r], hour[r], usd[r], who[i], np.where(route == EXCHANGE, exchange, to[i]),
            channel=channel, instrument=INSTRUMENT["credit_transfer"], kind=kind[i], scheme=scheme[i],
            rounded=(self.rng.random(n) < 0.5).astype(float),
        )  # fmt: skip

    def deposits(
        self, who: Ints, first: Floats, last: Floats, n: Ints, usd: Floats, *, spread: Floats, cap: Floats,
        sites: Ints, cities: Ints, hour: Floats, wobble: Floats, machine: Floats, scheme: Ints,
        helpers: Ints | None = None, weekly: Bools | None = None,
    ) -> tuple[Ints, Ints, Floats]:  # fmt: skip
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
        self.cash(day, at, amount, who[i], incoming=np.ones(m, dtype=bool), machine=self.rng.random(m) < machine[i],
                  city=city, site=site, scheme=scheme[i], named=named,
                  rounded=np.where(self.rng.random(m) < 0.6, 1.0, 0.0))  # fmt: skip
        t, _ = self.w.moment(np.floor(day).astype(np.int64), at, city)
        return i, t, amount


def other_city(home: Ints, country: Ints, step: Ints) -> Ints:
    """The city ``step`` places further on in the list of the same country."""
    return FIRST_CITY[country] + (home - FIRST_CITY[country] + step) % CITY_COUNT[country]
