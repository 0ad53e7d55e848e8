"""Who lives in the synthetic world: parties, accounts, merchants, places, devices."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt

from fintel.feeds.synthetic import geography as geo
from fintel.feeds.synthetic.geography import Floats, Ints
from fintel.feeds.synthetic.words import (
    CULTURES,
    FAMILY,
    GIVEN,
    INDUSTRIES,
    LANGUAGE,
    MCC,
    MERCHANTS,
    OCCUPATIONS,
    Phrases,
)

Bools = npt.NDArray[np.bool_]
Generator = np.random.Generator

#: Margin in days before the first and after the last day for which clocks are known.
MARGIN = 3
PRODUCTS = ("current", "savings", "wallet", "business", "youth", "prepaid")
PRODUCT = {name: i for i, name in enumerate(PRODUCTS)}
OCCUPATION = {name: i for i, name in enumerate(OCCUPATIONS)}
INDUSTRY = {name: i for i, name in enumerate(INDUSTRIES)}
#: Declared yearly income in US dollars at home prices.
INCOME = np.array(
    [9e3, 62e3, 44e3, 52e3, 88e3, 58e3, 34e3, 28e3, 46e3, 43e3, 29e3, 8e3, 9e3, 31e3, 48e3, 98e3, 35e3,
     33e3, 30e3, 95e3, 37e3, 36e3]
)  # fmt: skip
_WEIGHT = np.array([0, 5, 7, 5, 5, 5, 5, 5, 6, 8, 0, 4, 5, 8, 9, 6, 5, 3, 3, 6, 3, 6], dtype=float)


class Parties:
    """Columns of all parties; person and organisation alike. ``birth`` is days since 1970."""

    def __init__(self, n: int) -> None:
        self.organisation: Bools = np.zeros(n, dtype=bool)
        for name in ("country", "city", "given", "family", "birth", "household", "device", "phone", "sex"):
            setattr(self, name, np.zeros(n, dtype=np.int64))
        self.occupation: Ints = np.full(n, -1, dtype=np.int64)
        self.industry: Ints = np.full(n, -1, dtype=np.int64)
        self.income: Floats = np.zeros(n)
        self.culture: Ints = np.zeros(n, dtype=np.int64)

    country: Ints
    city: Ints
    given: Ints
    family: Ints
    birth: Ints
    household: Ints
    device: Ints
    phone: Ints
    sex: Ints


class World:
    """Parties and accounts. Index ranges are internal; the ids that are written carry no order.

    Accounts: own persons, own organisations, own second accounts, then external ones. ``free`` marks
    own accounts that no scheme or look-alike has taken; ``activity`` scales an account's daily life.
    """

    def __init__(self, seed: int, accounts: int, start: date, days: int) -> None:
        rng = np.random.default_rng([seed, 11])
        self.start, self.days = start, days
        self.epoch_day = (start - date(1970, 1, 1)).days
        self.phrases = Phrases(rng)
        self.clock = geo.offsets(date.fromordinal(start.toordinal() - MARGIN), days + 2 * MARGIN)
        self.fx = geo.rates(rng, geo.LEAD + days + MARGIN)
        self.n_persons = max(round(0.83 * accounts), 1)
        self.n_orgs = max(round(0.1 * accounts), 1)
        self.n_seconds = accounts - self.n_persons - self.n_orgs
        self.n_own = accounts
        own = self.n_persons + self.n_orgs
        n_abroad, n_home = max(round(0.36 * accounts), 60), max(round(0.3 * accounts), 60)
        groups = {
            "employers": max(round(0.012 * accounts), 10), "landlords": max(round(0.01 * accounts), 8),
            "utilities": 24, "schools": max(round(0.004 * accounts), 12), "vasps": 8, "msbs": 5,
            "acquirers": 6, "governments": 8, "suppliers": max(round(0.06 * accounts), 30),
        }  # fmt: skip
        n_parties = own + n_abroad + n_home + sum(groups.values())
        self.parties = Parties(n_parties)
        self.person_abroad = np.arange(own, own + n_abroad)
        self.person_home = np.arange(own + n_abroad, own + n_abroad + n_home)
        self._people(rng, np.arange(self.n_persons), self._countries(rng, self.n_persons, "own"))
        self._people(rng, self.person_abroad, self._countries(rng, n_abroad, "abroad"))
        self._people(rng, self.person_home, self._countries(rng, n_home, "own"))
        self._organisations(rng, np.arange(self.n_persons, own), self._countries(rng, self.n_orgs, "own"))
        first = own + n_abroad + n_home
        ext_orgs = np.arange(first, n_parties)
        self._organisations(rng, ext_orgs, self._countries(rng, len(ext_orgs), "own"))
        self._households(rng)
        self._accounts(rng)
        for name, size in groups.items():
            setattr(self, name, np.arange(first, first + size) + self.n_seconds)
            first += size
        # One government a country with own customers, so that benefits come from home.
        homes = [i for i, c in enumerate(geo.COUNTRIES) if c.own > 0]
        for account, country in zip(self.governments, homes, strict=True):
            self.parties.country[self.party[account]] = country
            self.parties.city[self.party[account]] = geo.FIRST_CITY[country]
            self.country[account] = country
        self._shops(rng)
        self.free: Bools = np.ones(self.n_accounts, dtype=bool)

    employers: Ints
    landlords: Ints
    utilities: Ints
    schools: Ints
    vasps: Ints
    msbs: Ints
    acquirers: Ints
    governments: Ints
    suppliers: Ints

    def _countries(self, rng: Generator, n: int, share: str) -> Ints:
        weights = np.array([getattr(c, share) for c in geo.COUNTRIES])
        return rng.choice(len(geo.COUNTRIES), n, p=weights / weights.sum())

    def _cities(self, rng: Generator, country: Ints) -> Ints:
        # The first cities of a country are the larger ones.
        drawn = rng.random(len(country)) ** 1.6 * geo.CITY_COUNT[country]
        return geo.FIRST_CITY[country] + drawn.astype(np.int64)

    def _people(self, rng: Generator, rows: Ints, country: Ints) -> None:
        p, n = self.parties, len(rows)
        p.country[rows], p.city[rows] = country, self._cities(rng, country)
        culture = np.array([CULTURES.index(c.culture) for c in geo.COUNTRIES])[country]
        # A quarter of the people in sending countries have names from elsewhere.
        moved = (rng.random(n) < 0.27) & np.isin(culture, [0, 1])
        origin = np.array([CULTURES.index(c.culture) for c in geo.COUNTRIES])[self._countries(rng, n, "abroad")]
        p.culture[rows] = np.where(moved, origin, culture)
        given = np.array([len(GIVEN[c].split()) for c in CULTURES])[p.culture[rows]]
        family = np.array([len(FAMILY[c].split()) for c in CULTURES])[p.culture[rows]]
        p.given[rows] = (rng.random(n) * given).astype(np.int64)
        p.family[rows] = (rng.random(n) * family).astype(np.int64)
        band = rng.choice(4, n, p=[0.04, 0.18, 0.62, 0.16])
        low, high = np.array([14, 18, 26, 65])[band], np.array([18, 26, 65, 86])[band]
        age = low + rng.random(n) * (high - low)
        p.birth[rows] = self.epoch_day - (age * 365.25).astype(np.int64)
        job = rng.choice(len(OCCUPATIONS), n, p=_WEIGHT / _WEIGHT.sum())
        young = (age < 18) | ((age < 26) & (rng.random(n) < 0.45))
        job = np.where(young, OCCUPATION["student"], job)
        p.occupation[rows] = np.where(age >= 66, OCCUPATION["retired"], job)
        price = geo.PRICE[country]
        p.income[rows] = np.round(INCOME[p.occupation[rows]] * price * np.exp(rng.normal(0, 0.5, n)), -2)
        p.sex[rows] = rng.integers(0, 2, n)

    def _organisations(self, rng: Generator, rows: Ints, country: Ints) -> None:
        p, n = self.parties, len(rows)
        p.organisation[rows] = True
        p.country[rows], p.city[rows] = country, self._cities(rng, country)
        p.culture[rows] = np.array([CULTURES.index(c.culture) for c in geo.COUNTRIES])[country]
        p.family[rows] = (rng.random(n) * np.array([len(FAMILY[c].split()) for c in CULTURES])[p.culture[rows]]).astype(
            np.int64
        )
        p.given[rows] = rng.integers(0, 4, n)
        p.birth[rows] = self.epoch_day - (365 * rng.gamma(2.0, 4.0, n)).astype(np.int64)
        p.industry[rows] = rng.integers(0, len(INDUSTRIES), n)
        p.income[rows] = np.round(geo.PRICE[country] * np.exp(rng.normal(12.4, 1.1, n)), -3)

    def _households(self, rng: Generator) -> None:
        """Group own persons by city into households of one to five who share an address, often a family
        name, now and then a phone or a device."""
        p, n = self.parties, self.n_persons
        everybody = len(p.country)
        p.household[:] = np.arange(everybody)
        p.device[:] = np.arange(everybody)
        p.phone[:] = np.arange(everybody)
        order = np.lexsort((rng.random(n), p.city[:n]))
        size = rng.choice([1, 2, 3, 4, 5], n, p=[0.5, 0.25, 0.12, 0.09, 0.04])
        leader = np.repeat(np.arange(n), size)[:n]
        heads = order[np.searchsorted(leader, leader)]
        same_city = p.city[order] == p.city[heads]
        heads = np.where(same_city, heads, order)
        p.household[order] = heads
        kin = (rng.random(n) < 0.7) & (heads != order)
        p.family[order] = np.where(kin, p.family[heads], p.family[order])
        p.culture[order] = np.where(kin, p.culture[heads], p.culture[order])
        given = np.array([len(GIVEN[c].split()) for c in CULTURES])[p.culture[order]]
        p.given[order] = p.given[order] % given
        p.device[order] = np.where(rng.random(n) < 0.2, heads, p.device[order])
        p.phone[order] = np.where(rng.random(n) < 0.12, heads, p.phone[order])

    def _accounts(self, rng: Generator) -> None:
        p = self.parties
        own = self.n_persons + self.n_orgs
        second = rng.integers(0, self.n_persons, self.n_seconds)
        external = np.arange(own, len(p.country))
        self.party: Ints = np.concatenate([np.arange(own), second, external])
        self.n_accounts = len(self.party)
        self.country: Ints = p.country[self.party].copy()
        self.currency: Ints = geo.COUNTRY_CURRENCY[self.country]
        age = (self.epoch_day - p.birth[self.party]) / 365.25
        opened = rng.gamma(1.3, 1100.0, self.n_accounts).astype(np.int64) + 5
        # Some accounts are opened while we look.
        opened = np.where(rng.random(self.n_accounts) < 0.05, -rng.integers(0, self.days, self.n_accounts), opened)
        limit = np.maximum((age - np.where(p.organisation[self.party], 0, 13)) * 365, 1).astype(np.int64)
        self.opened: Ints = self.epoch_day - np.minimum(opened, limit)
        self.product: Ints = np.full(self.n_accounts, PRODUCT["current"], dtype=np.int64)
        self.product[age < 18] = PRODUCT["youth"]
        wallets = np.isin(self.country, [geo.CODE[c] for c in ("PH", "MX", "TH", "IN", "GH", "NG", "KE")])
        self.product[wallets & (rng.random(self.n_accounts) < 0.6)] = PRODUCT["wallet"]
        self.product[p.organisation[self.party]] = PRODUCT["business"]
        self.product[own : own + self.n_seconds] = rng.choice(
            [PRODUCT["savings"], PRODUCT["prepaid"], PRODUCT["current"]], self.n_seconds, p=[0.7, 0.2, 0.1]
        )
        self.agent: Ints = np.where(np.arange(self.n_accounts) < self.n_own, 0, rng.integers(1, 7, self.n_accounts))
        self.activity: Floats = np.exp(rng.normal(-0.05, 0.75, self.n_accounts))
        self.activity[rng.random(self.n_accounts) < 0.15] *= 0.15
        # Personal clock: when in the day someone acts; a tenth work nights.
        self.rhythm: Floats = rng.normal(0.0, 1.5, self.n_accounts)
        self.rhythm[rng.random(self.n_accounts) < 0.1] += 10.0
        self.purchase_scale: Floats = np.exp(rng.normal(0.0, 0.35, self.n_accounts))

    def _shops(self, rng: Generator) -> None:
        """Merchants by category and city, places by city."""
        cities, kinds, names, numbers = [], [], [], []
        for k, code in enumerate(MCC):
            labels, online = MERCHANTS[code][4], MERCHANTS[code][5]
            for city in [-1] if online else range(len(geo.CITIES)):
                for i in range(len(labels)):
                    cities.append(city)
                    kinds.append(k)
                    names.append(i)
                    numbers.append(int(rng.integers(1, 900)))
        self.shop_city: Ints = np.array(cities)
        self.shop_kind: Ints = np.array(kinds)
        self.shop_name: Ints = np.array(names)
        self.shop_number: Ints = np.array(numbers)
        width = max(len(m[4]) for m in MERCHANTS.values())
        self._shop_table = np.full((len(MCC), len(geo.CITIES), width), -1, dtype=np.int64)
        self._shop_width: Ints = np.array([len(MERCHANTS[c][4]) for c in MCC], dtype=np.int64)
        for row, (kind, city, name) in enumerate(zip(kinds, cities, names, strict=True)):
            if city < 0:
                self._shop_table[kind, :, name] = row
            else:
                self._shop_table[kind, city, name] = row
        #: Places of a city: 4 branches, 8 machines, 4 agents, in that order.
        self.places_per_city = 16
        self.n_places = self.places_per_city * len(geo.CITIES)

    def shop(self, rng: Generator, kind: Ints, city: Ints) -> Ints:
        """A merchant of a category in a city (or online)."""
        which = (rng.random(len(kind)) * self._shop_width[kind]).astype(np.int64)
        return self._shop_table[kind, city, which]

    def place(self, rng: Generator, city: Ints, sort: str, favourite: Ints | None = None) -> Ints:
        """A branch, machine or agent of a city; ``favourite`` fixes which."""
        first, count = {"branch": (0, 4), "atm": (4, 8), "agent": (12, 4)}[sort]
        which = rng.integers(0, count, len(city)) if favourite is None else favourite % count
        return city * self.places_per_city + first + which

    def city(self, account: Ints) -> Ints:
        """Home city of an account's holder."""
        return self.parties.city[self.party[account]]

    def language(self, account: Ints) -> Ints:
        """Index of the language that a holder writes in."""
        table = np.array([LANGUAGE.get(c.language, 0) for c in geo.COUNTRIES])
        origin = {"tl": "tl", "es": "es", "th": "th", "de": "de", "uk": "uk", "fr": "fr"}
        names = np.array([LANGUAGE[origin.get(c, "en")] for c in CULTURES])
        home = table[self.country[account]]
        foreign = names[self.parties.culture[self.party[account]]]
        return np.where((home == 0) & (account % 3 == 0), foreign, home)

    def moment(self, day: Ints, hour: Floats, city: Ints) -> tuple[Ints, Ints]:
        """UTC seconds and offset minutes of a local hour (wrapped to the day) in a city."""
        day = np.clip(day, -1, self.days)
        offset = self.clock[city, day + MARGIN]
        local = (day + self.epoch_day) * 86400 + np.floor(np.mod(hour, 24.0) * 3600).astype(np.int64)
        return local - offset * 60, offset

    def age(self, account: Ints) -> Floats:
        """Years of age of the holder on the first day."""
        return (self.epoch_day - self.parties.birth[self.party[account]]) / 365.25

    def take(self, rng: Generator, pool: Bools, n: int) -> Ints:
        """Up to ``n`` accounts of a pool that nothing has taken yet, at random; they are taken now."""
        found = rng.permutation(np.flatnonzero(pool & self.free))[:n]
        self.free[found] = False
        return found

    def own(self, *, organisation: bool = False, countries: tuple[str, ...] = ()) -> Bools:
        """Mask of own main accounts of persons or organisations, in given countries if any."""
        mask = np.zeros(self.n_accounts, dtype=bool)
        if organisation:
            mask[self.n_persons : self.n_persons + self.n_orgs] = True
        else:
            mask[: self.n_persons] = True
        if countries:
            mask &= np.isin(self.country, [geo.CODE[c] for c in countries])
        return mask

    def abroad(self, countries: tuple[str, ...] = ()) -> Bools:
        """Mask of external persons' accounts abroad, in given countries if any."""
        mask = np.zeros(self.n_accounts, dtype=bool)
        mask[self.person_abroad + self.n_seconds] = True
        if countries:
            mask &= np.isin(self.country, [geo.CODE[c] for c in countries])
        return mask

    def elsewhere(self, countries: tuple[str, ...] = ()) -> Bools:
        """Mask of external persons' accounts at other banks in the home countries."""
        mask = np.zeros(self.n_accounts, dtype=bool)
        mask[self.person_home + self.n_seconds] = True
        if countries:
            mask &= np.isin(self.country, [geo.CODE[c] for c in countries])
        return mask
