"""Who works where, rents from whom, sends money home to whom, and how busy each account is."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic import geography as geo
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.words import MERCHANTS
from fintel.feeds.synthetic.world import INDUSTRY, OCCUPATION, PRODUCT, Bools, Generator, World

_CARD_TRADE = ("restaurant", "shop", "salon", "spa", "laundromat", "motel", "car dealer", "online shop")
_CASH_TRADE = ("restaurant", "shop", "salon", "spa", "laundromat", "motel", "farm", "charity", "car dealer")


class Circumstances:
    """What the routine rests on: jobs, homes, schools, relatives, trade; one element an account.

    ``waged`` may be cleared for accounts whose wages a scheme or look-alike makes itself.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.w = world
        rng = np.random.default_rng([seed, 12])
        w = world
        self.people: Ints = np.arange(w.n_persons)
        self.orgs: Ints = np.arange(w.n_persons, w.n_persons + w.n_orgs)
        self.seconds: Ints = np.arange(w.n_persons + w.n_orgs, w.n_own)
        jobs = w.parties.occupation[: w.n_persons]
        idle = np.isin(jobs, [OCCUPATION[o] for o in ("student", "retired", "homemaker", "unemployed")])
        n = w.n_persons
        self.waged: Bools = ~idle & (rng.random(n) < 0.82)
        # Cleared for whoever has no household of one's own: no rent, bills, fees, friends or relatives.
        self.settled: Bools = np.ones(w.n_accounts, dtype=bool)
        self.benefit: Bools = idle & (rng.random(n) < 0.55) & (jobs != OCCUPATION["student"])
        self._work(rng, n)
        self._home(rng, n)
        self._kin(rng)
        self._trade(rng)

    def _near(self, rng: Generator, country: Ints, pool: Ints) -> Ints:
        """One account of ``pool`` for each country, from that country if there is one, sizes by Zipf."""
        chosen = pool[(rng.random(len(country)) ** 2.2 * len(pool)).astype(np.int64)]
        for code in np.unique(country):
            local = pool[self.w.country[pool] == code]
            rows = np.flatnonzero(country == code)
            if len(local):
                chosen[rows] = local[(rng.random(len(rows)) ** 1.8 * len(local)).astype(np.int64)]
        return chosen

    def _work(self, rng: Generator, n: int) -> None:
        w = self.w
        outside = rng.random(n) < 0.65
        country = w.country[:n]
        self.employer = np.where(outside, self._near(rng, country, w.employers), self._near(rng, country, self.orgs))
        # 0 monthly, 1 every two weeks, 2 weekly, 3 twice a month: an employer's own custom.
        style = rng.choice(4, w.n_accounts, p=[0.4, 0.3, 0.15, 0.15])
        self.pay_style = style[self.employer]
        self.pay_phase = rng.integers(0, 28, w.n_accounts)[self.employer]
        parts = np.array([12.0, 26.0, 52.0, 24.0])[self.pay_style]
        self.wage = w.parties.income[:n] * 0.76 / parts
        self.pension = w.parties.income[:n] / 12.0
        self.government = self._near(rng, country, w.governments)

    def _home(self, rng: Generator, n: int) -> None:
        w = self.w
        income = np.maximum(w.parties.income[:n], 3000.0 * geo.PRICE[w.country[:n]])
        head = w.parties.household[:n] == np.arange(n)
        self.renter = head & (rng.random(n) < 0.6) & (w.age(np.arange(n)) >= 19)
        private = self.people[rng.integers(0, n, max(n // 50, 1))]
        properties = self.orgs[w.parties.industry[w.party[self.orgs]] == INDUSTRY["property"]]
        pools = np.concatenate([w.landlords, private, properties])
        self.landlord = self._near(rng, w.country[:n], pools)
        self.renter &= self.landlord != np.arange(n)
        self.rent = np.round(income * rng.uniform(0.2, 0.36, n) / 12.0 / 10) * 10
        self.rent_day = rng.choice([1, 1, 1, 2, 3, 5, 28], n)
        self.bills = np.where(head, rng.poisson(1.6, n), rng.poisson(0.5, n))
        self.bill_day = rng.integers(1, 29, n)
        self.utility = self._near(rng, w.country[:n], w.utilities)
        parent = (w.age(np.arange(n)) > 28) & (w.age(np.arange(n)) < 56)
        self.pupil = parent & (rng.random(n) < 0.1)
        self.school = self._near(rng, w.country[:n], w.schools)
        self.fee = np.round(income * rng.uniform(0.02, 0.07, n) / 12.0 / 5) * 5 + 20

    def _kin(self, rng: Generator) -> None:
        """Ordinary monthly family remittances: pairs of (sender, receiver, day, dollars)."""
        w = self.w
        abroad = np.flatnonzero(w.abroad())
        poorer = np.flatnonzero(w.own(countries=("PH", "MX", "TH")))
        richer = w.own(countries=("US", "CA", "GB", "AU", "DE"))
        senders = np.flatnonzero(richer & (rng.random(w.n_accounts) < 0.08))
        outside = np.flatnonzero(w.elsewhere(("US", "CA", "GB", "AU", "DE")))
        n = len(poorer) * 2 // 3
        a = abroad[(rng.random(len(senders)) ** 2 * len(abroad)).astype(np.int64)]
        self.kin_from = np.concatenate([senders, rng.choice(outside, n), rng.choice(senders, n // 2)])
        self.kin_to = np.concatenate([a, rng.choice(poorer, n), rng.choice(poorer, n // 2)])
        m = len(self.kin_from)
        related = rng.random(m) < 0.65
        p, src, dst = w.parties, w.party[self.kin_from], w.party[self.kin_to]
        p.family[src[related]], p.culture[src[related]] = p.family[dst[related]], p.culture[dst[related]]
        p.given[src] %= 8
        self.kin_day = rng.integers(1, 29, m)
        self.kin_usd: Floats = np.round(np.exp(rng.normal(5.2, 0.7, m))).astype(np.float64)
        self.kin_again = rng.random(m) < 0.35
        self.kin_weekly = rng.random(m) < 0.15

    def _trade(self, rng: Generator) -> None:
        w, orgs = self.w, self.orgs
        line = w.parties.industry[w.party[orgs]]
        size = w.parties.income[w.party[orgs]]
        self.card_takings = np.isin(line, [INDUSTRY[i] for i in _CARD_TRADE])
        self.cash_takings = np.isin(line, [INDUSTRY[i] for i in _CASH_TRADE]) & (rng.random(len(orgs)) < 0.75)
        self.till = size / 330.0
        self.cash_share = rng.beta(2.0, 3.0, len(orgs))
        self.cash_rate = np.where(
            self.cash_takings, rng.choice([0.08, 0.25, 0.75], len(orgs), p=[0.4, 0.35, 0.25]), 0.0
        )
        self.acquirer = self._near(rng, w.country[orgs], w.acquirers)
        self.invoice_rate = np.minimum(0.05 * np.exp(rng.normal(0, 0.9, len(orgs))), 1.0)
        self.invoice_usd = np.clip(size / 160.0, 120.0, 60_000.0)

    def measure(self) -> None:
        """Fix how busy each account is, once schemes and look-alikes have set ``World.activity``."""
        w = self.w
        rate = np.zeros(w.n_own)
        thrift = np.where(w.product[: w.n_own] == PRODUCT["wallet"], 0.4, 1.0)
        thrift = np.where(w.product[: w.n_own] == PRODUCT["savings"], 0.0, thrift)
        rate[:] = w.activity[: w.n_own] * thrift
        rate[self.orgs] *= 0.25
        self.rate = rate
        weights = np.array([m[0] for m in MERCHANTS.values()])
        rng = np.random.default_rng([w.epoch_day, w.n_own])
        self.outgoing = 0.06 * np.exp(rng.normal(-0.2, 0.7, w.n_own))
        self.far = rng.permutation(np.concatenate([np.flatnonzero(w.abroad()), np.flatnonzero(w.elsewhere())]))
        self.mix = np.cumsum(weights / weights.sum())
        self.night = np.array([m[3] for m in MERCHANTS.values()])
