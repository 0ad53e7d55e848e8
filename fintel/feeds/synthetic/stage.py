"""A scene with what planting needs besides: the routine to adjust and the register to write into."""

from __future__ import annotations

import numpy as np

from fintel.feeds.synthetic import geography as geo
from fintel.feeds.synthetic.behaviour import Behaviour, other_city
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.ledger import CHANNEL, Ledger
from fintel.feeds.synthetic.register import Register
from fintel.feeds.synthetic.routine import Routine
from fintel.feeds.synthetic.words import MCC_INDEX
from fintel.feeds.synthetic.world import Bools, Generator, World

#: Countries that send, with own customers there.
SENDING = ("US", "CA", "GB", "AU", "DE")


class Stage(Behaviour):
    """Where schemes and look-alikes are put on."""

    def __init__(self, world: World, rng: Generator, ledger: Ledger, routine: Routine, register: Register) -> None:
        super().__init__(world, rng, ledger)
        self.routine, self.register = routine, register

    def number(self, rate: float, least: int = 1) -> int:
        """How many at ``rate`` for each own account, at least ``least``."""
        return max(round(rate * self.w.n_own), least)

    def quieten(self, who: Ints, low: float, high: float) -> None:
        """Leave a part of everyday life, between ``low`` and ``high``."""
        own = who[who < self.w.n_own]
        self.w.activity[own] = self.uniform(len(own), low, high)

    def unsettle(self, who: Ints) -> None:
        """No household, no friends, no wages of one's own: an account that others use, or nobody."""
        self.routine.settled[who] = False
        self.routine.waged[who[who < self.w.n_persons]] = False
        self.quieten(who, 0.0, 0.03)

    def shell(self, who: Ints) -> None:
        """Companies without a trade of their own."""
        own = self.w.n_persons
        firms = who[(who >= own) & (who < own + self.w.n_orgs)] - own
        self.routine.card_takings[firms] = False
        self.routine.cash_rate[firms] = 0.0
        self.quieten(firms + own, 0.0, 0.15)

    def unwaged(self, who: Ints, share: float) -> None:
        """A share of ``who`` has no wages."""
        people = who[who < self.w.n_persons]
        self.routine.waged[people[self.chance(len(people), share)]] = False

    def hours(self, n: int, night: float) -> Floats:
        """A usual hour for each of ``n`` people; a share ``night`` of them acts from 20 to 4."""
        late = self.chance(n, night)
        return np.where(late, self.uniform(n, 20.0, 28.0), self.uniform(n, 7.5, 21.0))

    def remote(self, n: int) -> Ints:
        """A usual remote channel for each of ``n`` people."""
        names = ("app", "online", "agent", "mobile_transfer")
        return self.choose(n, tuple(CHANNEL[c] for c in names), (5, 3, 2, 1))

    def kin(self, who: Ints, relatives: Ints, share: float) -> None:
        """Give a share of ``relatives`` (one row each) the family name of ``who``."""
        p, mine = self.w.parties, self.w.party[who]
        hit = self.chance(len(who), share)
        theirs = self.w.party[relatives]
        p.family[mine[hit]], p.culture[mine[hit]] = p.family[theirs[hit]], p.culture[theirs[hit]]
        p.given[mine] %= 8

    def share_home(self, who: Ints, head: Ints, share: float) -> None:
        """Let a share of ``who`` live with ``head`` (row by row), half of them with one device."""
        p = self.w.parties
        mine, theirs = self.w.party[who], self.w.party[head]
        hit = self.chance(len(who), share)
        p.household[mine[hit]] = p.household[theirs[hit]]
        hit &= self.chance(len(who), 0.5)
        p.device[mine[hit]] = p.device[theirs[hit]]

    def extras(
        self,
        who: Ints,
        first: Floats,
        last: Floats,
        codes: tuple[str, ...],
        n: Ints,
        scheme: Ints,
        night: float = 0.4,
    ) -> None:
        """``n`` purchases of the given categories within each habit's span."""
        i = np.repeat(np.arange(len(who)), n)
        m = len(i)
        day = first[i] + self.rng.random(m) * (last[i] - first[i])
        mcc = self.choose(m, tuple(MCC_INDEX[c] for c in codes), tuple(1.0 for _ in codes))
        self.buy(day, self.hours(m, night), who[i], mcc, scheme=scheme[i])

    def stays(
        self,
        who: Ints,
        first: Floats,
        last: Floats,
        trips: Ints,
        *,
        nights: float,
        usd: Floats,
        deposit: Floats,
        ticket: Floats,
        band: tuple[float, float],
        back: float,
        night: Floats,
        around: float,
        scheme: Ints,
    ) -> None:
        """Trips to other cities of the country: lodging, food, taxi, parking; ``deposit`` is the mean
        number of cash deposits of about ``ticket`` dollars, within ``band``, in the same city, a share
        ``night`` of them late, a share ``back`` at home after the trip; ``around`` the mean number of other
        purchases on a trip."""
        i = np.repeat(np.arange(len(who)), trips)
        m = len(i)
        day = first[i] + self.rng.random(m) * (last[i] - first[i])
        home, country = self.w.city(who[i]), self.w.country[who[i]]
        city = other_city(home, country, self.rng.integers(0, geo.CITY_COUNT[country]))
        length = np.clip(self.rng.poisson(nights, m), 1, 7)
        lodging = np.full(m, MCC_INDEX["7011"])
        self.buy(
            day,
            self.uniform(m, 13.0, 24.5),
            who[i],
            lodging,
            city=city,
            scheme=scheme[i],
            usd=usd[i] * length * np.exp(self.rng.normal(0, 0.3, m)),
            rounded=self.chance(m, 0.3).astype(float),
        )
        j = np.repeat(np.arange(m), self.rng.poisson(around, m))
        k = len(j)
        codes = ("5814", "4121", "7523", "5812", "5541", "5912", "5499")
        mcc = self.choose(k, tuple(MCC_INDEX[c] for c in codes), (4, 2, 2, 1, 1, 1, 2))
        self.buy(
            day[j] + self.rng.random(k) * length[j],
            self.uniform(k, 8.0, 26.0),
            who[i[j]],
            mcc,
            city=city[j],
            scheme=scheme[i[j]],
        )
        j = np.repeat(np.arange(m), self.rng.poisson(deposit[i]))
        k = len(j)
        late = self.chance(k, night[i[j]])
        hour = np.where(late, self.uniform(k, 22.0, 30.0), self.uniform(k, 9.0, 21.0))
        homeward = self.chance(k, back)
        self.cash(
            day[j] + np.where(homeward, length[j] + 1.0, self.rng.random(k) * (length[j] + 0.8)),
            hour,
            np.clip(ticket[i[j]] * np.exp(self.rng.normal(0, 0.35, k)), *band),
            who[i[j]],
            incoming=np.ones(k, dtype=bool),
            machine=self.chance(k, 0.85),
            city=np.where(homeward, home[j], city[j]),
            site=self.rng.integers(0, 8, k),
            scheme=scheme[i[j]],
        )

    def people(self, countries: tuple[str, ...] = SENDING, ages: tuple[float, float] = (18, 90)) -> Bools:
        """Mask of own persons of some countries and ages."""
        everybody = np.arange(self.w.n_accounts)
        age = self.w.age(everybody)
        return self.w.own(countries=countries) & (age >= ages[0]) & (age < ages[1])


#: No scheme: what look-alikes pass.
def nobody(n: int) -> Ints:
    """``n`` times no scheme."""
    return np.full(n, -1, dtype=np.int64)
