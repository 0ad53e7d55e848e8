"""Draws and single payments: what habits are made of."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic.geography import PRICE, Floats, Ints, to_cents
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT, PURPOSE, Ledger
from fintel.feeds.synthetic.words import KINDS, MERCHANTS, text_kinds
from fintel.feeds.synthetic.world import PRODUCT, Bools, Generator, World

KIND = {name: i for i, name in enumerate(KINDS)} | {"none": -1}

_PURPOSE_OF = np.full(len(KINDS) + 1, -1, dtype=np.int64)
for _kind, _code in (
    ("wage", "SALA"),
    ("rent", "RENT"),
    ("school", "EDUC"),
    ("support", "FAMI"),
    ("gift", "GIFT"),
    ("bill", "UTIL"),
    ("invoice", "SUPP"),
    ("charity", "CHAR"),
    ("loan", "LOAN"),
):
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

    def crowd(self, pool: Bools, sizes: Ints, near: Ints | None = None) -> tuple[Ints, Ints]:
        """``sizes[i]`` accounts out of a pool for each instance: (instance of row, account of row); nine of
        ten from the country of the account ``near[i]`` if given."""
        found = np.flatnonzero(pool)
        inst = np.repeat(np.arange(len(sizes)), sizes)
        drawn = found[self.rng.integers(0, len(found), len(inst))]
        if near is None:
            return inst, drawn
        found = found[np.argsort(self.w.country[found], kind="stable")]
        here = self.w.country[near][inst]
        low, high = (np.searchsorted(self.w.country[found], here, side=side) for side in ("left", "right"))
        local = found[np.minimum(low + (self.rng.random(len(inst)) * (high - low)).astype(np.int64), len(found) - 1)]
        return inst, np.where((high > low) & self.chance(len(inst), 0.9), local, drawn)

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
        self,
        day: Floats,
        hour: Floats,
        usd: Floats,
        debtor: Ints,
        creditor: Ints,
        *,
        channel: Ints | int,
        instrument: Ints | int,
        kind: Ints,
        scheme: Ints | int = -1,
        rounded: Floats | float = 0.0,
        named: Ints | int = -1,
        order: Ints | None = None,
    ) -> tuple[Ints, Ints]:
        """Payments from account to account, one element a payment; those of one ``order`` (a standing order,
        a payroll) carry one text. Returns (UTC seconds, cents)."""
        n = len(day)
        actor = np.where(debtor >= 0, debtor, creditor)
        city = self.w.city(actor)
        text = self._text(kind, actor)
        if order is not None and n:
            _, first, back = np.unique(order, return_index=True, return_inverse=True)
            text = text[first][back]
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
            t,
            offset=offset,
            cents=cents,
            currency=currency,
            debtor=debtor,
            creditor=creditor,
            channel=channels,
            instrument=instrument,
            text=text,
            purpose=self._purpose(kind),
            place=place,
            named=named,
            scheme=scheme,
            device=np.where(remote, self.w.parties.device[party], -1),
            ip=np.where(remote, ip, -1),
        )
        return t, cents

    def buy(
        self,
        day: Floats,
        hour: Floats,
        who: Ints,
        mcc: Ints,
        *,
        city: Ints | None = None,
        usd: Floats | None = None,
        scheme: Ints | int = -1,
        rounded: Floats | float = 0.0,
    ) -> None:
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
        prepaid = self.w.product[who] == PRODUCT["prepaid"]
        self.out.add(
            t,
            offset=offset,
            cents=to_cents(usd, self.w.currency[who], rounded),
            currency=self.w.currency[who],
            debtor=who,
            channel=channel,
            merchant=shop,
            scheme=scheme,
            instrument=np.where(prepaid, INSTRUMENT["prepaid"], INSTRUMENT["card"]),
        )

    def cash(
        self,
        day: Floats,
        hour: Floats,
        usd: Floats,
        who: Ints,
        *,
        incoming: Bools,
        machine: Bools,
        city: Ints | None = None,
        site: Ints | None = None,
        scheme: Ints | int = -1,
        rounded: Floats | float = 1.0,
        named: Ints | int = -1,
    ) -> None:
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
            t,
            offset=offset,
            cents=to_cents(usd, self.w.currency[who], rounded),
            currency=self.w.currency[who],
            debtor=np.where(incoming, -1, who),
            creditor=np.where(incoming, who, -1),
            instrument=INSTRUMENT["cash"],
            place=place,
            channel=np.where(machine, CHANNEL["atm"], CHANNEL["branch"]),
            scheme=scheme,
            named=named,
        )
