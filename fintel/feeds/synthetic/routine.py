"""Daily life: wages, rent, bills, shopping, cash, friends, trade. Made a few days at a time."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from fintel.feeds.synthetic import geography as geo
from fintel.feeds.synthetic.circumstances import Circumstances
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, INSTRUMENT, Ledger
from fintel.feeds.synthetic.scene import KIND, Scene
from fintel.feeds.synthetic.words import MCC, MCC_INDEX
from fintel.feeds.synthetic.world import PRODUCT, Bools, Generator

_TRANSFER = INSTRUMENT["credit_transfer"]
_OFFICE = 13.0


class Routine(Circumstances):
    """The payments of everyday life."""

    # A few days --------------------------------------------------------------------------------

    def write(self, rng: Generator, out: Ledger, first: int, last: int) -> None:
        """Add the payments of the days ``first`` to ``last`` - 1 to ``out``."""
        scene = Scene(self.w, rng, out)
        alive = self.rate > 0
        weights = np.array([self._busy(d) for d in range(first, last)])
        self._buys(scene, first, weights)
        self._cash(scene, first, weights)
        self._friends(scene, first, weights)
        self._invoices(scene, first, weights)
        self._affairs(scene, first, weights)
        for day in range(first, last):
            self._wages(scene, day, alive)
            self._dues(scene, day)
            self._remittances(scene, day)
            self._takings(scene, day)

    def _busy(self, day: int) -> float:
        today = self.w.start + timedelta(days=day)
        season = 1.35 if today.month == 12 and today.day < 25 else 1.0
        return season * (1.0, 0.95, 0.95, 1.0, 1.2, 1.25, 0.9)[today.weekday()]

    def _draw(self, scene: Scene, rate: Floats, weights: Floats, first: int) -> tuple[Ints, Floats]:
        """Accounts and days of a Poisson process with a rate a day for each account."""
        edges = np.cumsum(rate)
        n = int(scene.rng.poisson(edges[-1] * weights.sum()))
        who = np.searchsorted(edges, scene.rng.random(n) * edges[-1], side="right")
        day = first + scene.rng.choice(len(weights), n, p=weights / weights.sum())
        return np.minimum(who, len(rate) - 1), day.astype(float)

    def _buys(self, scene: Scene, first: int, weights: Floats) -> None:
        # Errands come together: one purchase often leads to others within hours, for some people more so.
        alone = 0.2 + 0.46 * (np.arange(self.w.n_own) * 7919 % 1009) / 1009.0
        who, day = self._draw(scene, 0.17 * alone * self.rate, weights, first)
        errands = scene.rng.geometric(alone[who])
        start = np.repeat(14.2 + scene.rng.normal(0, 3.2, len(who)), errands)
        who, day = np.repeat(who, errands), np.repeat(day, errands)
        n = len(who)
        # A third of one's purchases are of few favourite kinds: heavy tails in every category.
        mcc = np.searchsorted(self.mix, scene.rng.random(n))
        liking = (who * 7919 + scene.rng.integers(0, 3, n) * 104729) % 1009 / 1009.0
        mcc = np.where(scene.rng.random(n) < 0.4, np.searchsorted(self.mix, liking**1.0), mcc)
        mcc = np.minimum(mcc, len(MCC) - 1)
        late = scene.rng.random(n) < self.night[mcc]
        hour = np.where(
            late, scene.rng.uniform(20.5, 29.5, n), start + scene.rng.exponential(1.2, n) + self.w.rhythm[who]
        )
        away = scene.rng.random(n) < np.where(mcc == MCC_INDEX["7011"], 0.9, 0.05)
        country = self.w.country[who]
        home = self.w.city(who)
        other = geo.FIRST_CITY[country] + (scene.rng.random(n) * geo.CITY_COUNT[country]).astype(np.int64)
        scene.buy(day, hour, who, mcc, city=np.where(away, other, home))

    def _cash(self, scene: Scene, first: int, weights: Floats) -> None:
        w = self.w
        poor = np.where(w.product[: w.n_own] == PRODUCT["wallet"], 3.0, 1.0)
        who, day = self._draw(scene, 0.028 * self.rate * poor, weights, first)
        n = len(who)
        usd = scene.around(n, 85.0, 0.7) * np.sqrt(geo.PRICE[w.country[who]])
        hour = 14.5 + scene.rng.normal(0, 4.0, n) + w.rhythm[who]
        country = w.country[who]
        other = geo.FIRST_CITY[country] + (scene.rng.random(n) * geo.CITY_COUNT[country]).astype(np.int64)
        city = np.where(scene.chance(n, 0.08), other, w.city(who))
        scene.cash(day, hour, usd, who, incoming=np.zeros(n, dtype=bool), machine=scene.chance(n, 0.85), city=city)
        # People paid in cash and tips bring it to the machine, some after a late shift.
        paid = np.where(np.arange(w.n_own) % 9 == 4, 0.05, 0.003) * self.rate
        who, day = self._draw(scene, paid, weights, first)
        n = len(who)
        usd = scene.around(n, 210.0, 0.8) * geo.PRICE[w.country[who]]
        hour = np.where(scene.chance(n, 0.22), scene.uniform(n, 20.0, 30.0), 14.0 + scene.rng.normal(0, 3.5, n))
        scene.cash(
            day,
            hour,
            usd,
            who,
            incoming=np.ones(n, dtype=bool),
            machine=scene.chance(n, 0.6),
            site=who + scene.rng.integers(0, 2, n),
        )

    def _friends(self, scene: Scene, first: int, weights: Floats) -> None:
        w = self.w
        person = np.where(np.arange(w.n_own) < w.n_persons, 1.0, 0.1)
        who, day = self._draw(scene, self.outgoing * self.rate * person, weights, first)
        n = len(who)
        # A small circle of friends for each, in one's own country; some strangers.
        slot = (scene.rng.random(n) ** 2 * 6).astype(np.int64)
        slot = np.where(scene.chance(n, 0.15), scene.rng.integers(0, 10_000, n), slot)
        friend = self._friend(who, slot)
        # A fifth of the people have friends and small dealings in other countries.
        far = (who % 5 == 1) & scene.chance(n, 0.45)
        friend = np.where(far, self._abroad(who * 31 + slot % 6 * 7), friend)
        incoming = scene.chance(n, 0.5)
        usd = scene.around(n, 34.0, 0.95) * np.sqrt(geo.PRICE[w.country[who]])
        hour = 17.0 + scene.rng.normal(0, 4.5, n) + w.rhythm[who]
        keep = (friend != who) & self.settled[who] & self.settled[friend]
        kind = scene.kinds(
            n,
            {
                "none": 0.42,
                "social": 0.36,
                "gift": 0.06,
                "rent": 0.03,
                "service": 0.04,
                "sale": 0.05,
                "handle": 0.01,
                "loan": 0.03,
            },
        )
        channel = scene.choose(
            n, (CHANNEL["p2p"], CHANNEL["mobile_transfer"], CHANNEL["app"], CHANNEL["online"]), (4, 2, 3, 2)
        )
        scene.pay(
            day[keep],
            hour[keep],
            usd[keep],
            np.where(incoming, friend, who)[keep],
            np.where(incoming, who, friend)[keep],
            channel=channel[keep],
            instrument=_TRANSFER,
            kind=kind[keep],
            rounded=(scene.rng.random(n) < 0.62).astype(float)[keep],
        )

    def _abroad(self, slot: Ints) -> Ints:
        """An account abroad or at another bank for each number; a few are paid by many."""
        share = slot * 7919 % 10_007 / 10_007.0
        account: Ints = self.far[(share**3 * len(self.far)).astype(np.int64)]
        return account

    def _friend(self, who: Ints, slot: Ints) -> Ints:
        """Friend number ``slot`` of each account: fixed by arithmetic, no table needed."""
        w = self.w
        near = np.concatenate([np.arange(w.n_persons), w.person_home + w.n_seconds])
        near = near[np.argsort(w.country[near], kind="stable")]
        lo = np.searchsorted(w.country[near], w.country[who])
        hi = np.searchsorted(w.country[near], w.country[who], side="right")
        mixed = (who * 2654435761 + slot * 40503 + 12345) % 4294967291
        friend: Ints = near[lo + mixed % np.maximum(hi - lo, 1)]
        return friend

    def _invoices(self, scene: Scene, first: int, weights: Floats) -> None:
        w = self.w
        i, day = self._draw(scene, self.invoice_rate * self.w.activity[self.orgs], weights, first)
        n = len(i)
        partners = np.concatenate([self.orgs, w.suppliers])
        slot = (scene.rng.random(n) ** 2 * 9).astype(np.int64)
        other = partners[(i * 48271 + slot * 69621 + 7) % len(partners)]
        incoming = scene.chance(n, 0.5)
        usd = self.invoice_usd[i] * np.exp(scene.rng.normal(0, 1.1, n))
        keep = other != self.orgs[i]
        kind = scene.kinds(n, {"invoice": 0.75, "none": 0.2, "loan": 0.05})
        channel = scene.choose(n, (CHANNEL["online"], CHANNEL["wire"], CHANNEL["app"], CHANNEL["branch"]), (6, 2, 1, 1))
        mine = self.orgs[i]
        scene.pay(
            day[keep],
            (_OFFICE + scene.rng.normal(0, 2.8, n))[keep],
            usd[keep],
            np.where(incoming, other, mine)[keep],
            np.where(incoming, mine, other)[keep],
            channel=channel[keep],
            instrument=scene.choose(n, (_TRANSFER, INSTRUMENT["cheque"]), (9, 1))[keep],
            kind=kind[keep],
            rounded=(scene.rng.random(n) < 0.3).astype(float)[keep],
        )

    def _affairs(self, scene: Scene, first: int, weights: Floats) -> None:
        """Now and then something large: a car, a tax bill, an inheritance, a family loan, money abroad."""
        w = self.w
        who, day = self._draw(scene, 0.016 * self.rate[: w.n_persons], weights, first)
        n = len(who)
        slot = scene.rng.integers(0, 10_000, n)
        firm = w.suppliers[scene.rng.integers(0, len(w.suppliers), n)]
        other = np.where(scene.chance(n, 0.5), self._friend(who, slot), firm)
        other = np.where(scene.chance(n, 0.25), self._abroad(slot), other)
        keep = other != who
        who, day, other, n = who[keep], day[keep], other[keep], int(keep.sum())
        incoming = scene.chance(n, 0.5)
        usd = scene.around(n, 1500.0, 1.25) * np.sqrt(geo.PRICE[w.country[who]])
        scene.pay(
            day,
            13.5 + scene.rng.normal(0, 3.5, n) + w.rhythm[who],
            usd,
            np.where(incoming, other, who),
            np.where(incoming, who, other),
            channel=scene.choose(n, tuple(CHANNEL[c] for c in ("online", "app", "wire", "branch")), (5, 4, 1, 1)),
            instrument=_TRANSFER,
            kind=scene.kinds(n, {"none": 0.33, "loan": 0.28, "invoice": 0.26, "gift": 0.05, "levy": 0.08}),
            rounded=scene.chance(n, 0.6).astype(float),
        )

    def _wages(self, scene: Scene, day: int, alive: Bools) -> None:
        w = self.w
        today = w.start + timedelta(days=day)
        serial = w.epoch_day + day
        due = _pay_day(today, serial, self.pay_style, self.pay_phase)
        rows = np.flatnonzero(due & self.waged & alive[: w.n_persons])
        n = len(rows)
        usd = self.wage[rows] * np.exp(scene.rng.normal(0, 0.05, n))
        scene.pay(
            np.full(n, float(day)),
            scene.uniform(n, 1.0, 9.0),
            usd,
            self.employer[rows],
            rows,
            channel=CHANNEL["online"],
            instrument=_TRANSFER,
            kind=scene.kinds(n, {"wage": 0.9, "none": 0.1}),
        )
        if today.day in (3, 4):
            rows = np.flatnonzero(self.benefit & self.settled[self.people] & (self.people % 2 == today.day % 2))
            n = len(rows)
            scene.pay(
                np.full(n, float(day)),
                scene.uniform(n, 2.0, 7.0),
                self.pension[rows],
                self.government[rows],
                rows,
                channel=CHANNEL["online"],
                instrument=_TRANSFER,
                kind=np.full(n, KIND["none"]),
            )

    def _dues(self, scene: Scene, day: int) -> None:
        """Rent, bills, school fees, savings."""
        w = self.w
        today = w.start + timedelta(days=day)
        at = float(day)
        home = self.settled[self.people]
        rows = np.flatnonzero(home & self.renter & (self.rent_day == today.day))
        n = len(rows)
        scene.pay(
            np.full(n, at),
            11 + scene.rng.normal(0, 4, n),
            self.rent[rows],
            rows,
            self.landlord[rows],
            channel=scene.choose(n, (CHANNEL["online"], CHANNEL["app"]), (1, 1)),
            instrument=_TRANSFER,
            rounded=1.0,
            kind=scene.kinds(n, {"rent": 0.8, "none": 0.2}),
        )
        for turn in range(3):
            rows = np.flatnonzero(home & (self.bills > turn) & ((self.bill_day + 9 * turn) % 28 + 1 == today.day))
            n = len(rows)
            scene.pay(
                np.full(n, at),
                scene.uniform(n, 0.0, 8.0),
                scene.around(n, 68.0, 0.5) * geo.PRICE[w.country[rows]],
                rows,
                w.utilities[(self.utility[rows] - w.utilities[0] + turn) % len(w.utilities)],
                channel=CHANNEL["online"],
                instrument=INSTRUMENT["direct_debit"],
                kind=scene.kinds(n, {"bill": 0.85, "none": 0.15}),
            )
        rows = np.flatnonzero(home & self.pupil & (self.bill_day == today.day))
        n = len(rows)
        scene.pay(
            np.full(n, at),
            13 + scene.rng.normal(0, 4, n),
            self.fee[rows],
            rows,
            self.school[rows],
            channel=scene.choose(n, (CHANNEL["online"], CHANNEL["app"]), (1, 1)),
            instrument=_TRANSFER,
            rounded=1.0,
            kind=scene.kinds(n, {"school": 0.85, "none": 0.15}),
        )
        rows = self.seconds[(self.seconds * 31 % 28 + 1) == today.day]
        main = w.party[rows]
        n = len(rows)
        back = scene.chance(n, 0.2)
        usd = scene.around(n, 180.0, 0.9) * geo.PRICE[w.country[rows]]
        scene.pay(
            np.full(n, at),
            12 + scene.rng.normal(0, 4, n),
            usd,
            np.where(back, rows, main),
            np.where(back, main, rows),
            channel=CHANNEL["app"],
            instrument=_TRANSFER,
            rounded=1.0,
            kind=np.full(n, KIND["none"]),
        )

    def _remittances(self, scene: Scene, day: int) -> None:
        today = self.w.start + timedelta(days=day)
        again = self.kin_again & ((self.kin_day + 14) % 28 + 1 == today.day)
        weekly = self.kin_weekly & ((self.kin_day + day) % 7 == 0)
        there = self.settled[self.kin_from] & self.settled[self.kin_to]
        rows = np.flatnonzero(there & ((self.kin_day == today.day) | again | weekly))
        n = len(rows)
        who = self.kin_from[rows]
        channel = scene.choose(n, (CHANNEL["app"], CHANNEL["online"], CHANNEL["agent"]), (4, 3, 3))
        scene.pay(
            np.full(n, float(day)),
            16.0 + scene.rng.normal(0, 4.5, n) + self.w.rhythm[who],
            self.kin_usd[rows].astype(np.float64) * np.exp(scene.rng.normal(0, 0.15, n)),
            who,
            self.kin_to[rows],
            channel=channel,
            instrument=_TRANSFER,
            kind=scene.kinds(n, {"support": 0.5, "none": 0.3, "school": 0.12, "gift": 0.08}),
            rounded=(scene.rng.random(n) < 0.75).astype(float),
        )

    def _takings(self, scene: Scene, day: int) -> None:
        """Card settlements and cash of shops; offerings of a charity come as cash too."""
        w = self.w
        weekday = (w.start + timedelta(days=day)).weekday()
        rows = np.flatnonzero(self.card_takings & scene.chance(len(self.orgs), 0.45 if weekday < 6 else 0.2))
        n = len(rows)
        scene.pay(
            np.full(n, float(day)),
            scene.uniform(n, 1.0, 6.0),
            self.till[rows] * np.exp(scene.rng.normal(0, 0.35, n)),
            self.acquirer[rows],
            self.orgs[rows],
            channel=CHANNEL["online"],
            instrument=_TRANSFER,
            kind=np.full(n, KIND["none"]),
        )
        rows = np.flatnonzero(scene.chance(len(self.orgs), self.cash_rate * (0.3 if weekday == 6 else 0.6)))
        n = len(rows)
        usd = (
            self.till[rows]
            * self.cash_share[rows]
            / np.maximum(self.cash_rate[rows], 0.05)
            * np.exp(scene.rng.normal(0, 0.4, n))
        )
        usd = np.where(scene.chance(n, 0.7), np.minimum(usd, scene.uniform(n, 6000, 9990)), usd)
        hour = np.where(scene.chance(n, 0.3), scene.uniform(n, 20.0, 25.0), 12.0 + scene.rng.normal(0, 2.5, n))
        scene.cash(
            np.full(n, float(day)),
            hour,
            usd,
            self.orgs[rows],
            incoming=np.ones(n, dtype=bool),
            machine=scene.chance(n, 0.3),
            site=self.orgs[rows] + scene.rng.integers(0, 2, n),
        )
        if weekday == 2:
            rows = np.flatnonzero(self.settled[self.people] & ((self.people + day) % 40 == 0))
            n = len(rows)
            usd = scene.around(n, 400.0, 1.2)
            scene.pay(
                np.full(n, float(day)),
                scene.uniform(n, 8, 23),
                usd,
                w.vasps[rows % len(w.vasps)],
                rows,
                channel=CHANNEL["vasp"],
                instrument=_TRANSFER,
                kind=np.full(n, KIND["none"]),
            )


def _pay_day(today: date, serial: int, style: Ints, phase: Ints) -> Bools:
    """Whether it is pay day: monthly on day 1 to 28, two-weekly, weekly, or twice a month."""
    monthly = (style == 0) & (25 + phase % 4 == today.day)
    biweekly = (style == 1) & ((serial + phase) % 14 == 0)
    weekly = (style == 2) & ((serial + phase % 3) % 7 == 1)
    twice = (style == 3) & (today.day in (15, 28))
    due: Bools = monthly | biweekly | weekly | twice
    return due
