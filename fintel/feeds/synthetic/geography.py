"""Countries, cities, clocks and exchange rates of the synthetic world.

Rates are rounded figures of the mid 2020s, made to drift; they serve no other purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Units of a currency for one US dollar, yearly volatility, digits of its smallest usual amount.
CURRENCIES: dict[str, tuple[float, float, int]] = {
    "USD": (1.0, 0.0, 2), "CAD": (1.38, 0.06, 2), "GBP": (0.77, 0.08, 2), "AUD": (1.53, 0.09, 2),
    "EUR": (0.92, 0.07, 2), "PHP": (57.5, 0.05, 2), "MXN": (18.4, 0.12, 2), "THB": (34.5, 0.08, 2),
    "INR": (84.0, 0.03, 2), "COP": (4200.0, 0.14, 0), "DOP": (60.0, 0.05, 2), "GHS": (15.5, 0.15, 2),
    "UAH": (41.5, 0.08, 2), "NGN": (1600.0, 0.2, 0), "KES": (129.0, 0.08, 0), "AED": (3.67, 0.001, 2),
    "SGD": (1.34, 0.05, 2), "HKD": (7.8, 0.01, 2), "TRY": (34.0, 0.2, 2), "VND": (25300.0, 0.03, 0),
    "RON": (4.6, 0.07, 2), "PLN": (4.0, 0.08, 2), "BRL": (5.7, 0.15, 2), "JPY": (150.0, 0.1, 0),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Country:
    """A country: currency, culture that names come from, language of texts, share of own customers,
    share of relatives abroad, price level (1 = home), cities as 'name/state/offset/rule'."""

    code: str
    currency: str
    culture: str
    language: str
    own: float
    abroad: float
    price: float
    cities: tuple[str, ...]


_US = (
    "New York/NY/-300/us", "Newark/NJ/-300/us", "Atlanta/GA/-300/us", "Miami/FL/-300/us",
    "Columbus/OH/-300/us", "Chicago/IL/-360/us", "Houston/TX/-360/us", "Dallas/TX/-360/us",
    "Memphis/TN/-360/us", "Denver/CO/-420/us", "El Paso/TX/-420/us", "Phoenix/AZ/-420/none",
    "Los Angeles/CA/-480/us", "San Diego/CA/-480/us", "Las Vegas/NV/-480/us", "Seattle/WA/-480/us",
)  # fmt: skip

COUNTRIES: tuple[Country, ...] = (
    Country("US", "USD", "en", "en", 0.54, 0.0, 1.0, _US),
    Country("CA", "CAD", "en", "en", 0.10, 0.0, 1.0,
            ("Toronto/ON/-300/us", "Montreal/QC/-300/us", "Winnipeg/MB/-360/us", "Calgary/AB/-420/us",
             "Vancouver/BC/-480/us", "Halifax/NS/-240/us")),
    Country("GB", "GBP", "en", "en", 0.09, 0.02, 0.95,
            ("London//0/eu", "Manchester//0/eu", "Leeds//0/eu", "Glasgow//0/eu", "Bristol//0/eu")),
    Country("AU", "AUD", "en", "en", 0.06, 0.01, 1.0,
            ("Sydney/NSW/600/au", "Melbourne/VIC/600/au", "Brisbane/QLD/600/none", "Perth/WA/480/none")),
    Country("DE", "EUR", "de", "de", 0.05, 0.02, 0.9,
            ("Berlin//60/eu", "Hamburg//60/eu", "Köln//60/eu", "München//60/eu")),
    Country("PH", "PHP", "tl", "tl", 0.08, 0.27, 0.3,
            ("Manila//480/none", "Cebu//480/none", "Davao//480/none", "Iligan//480/none",
             "Angeles//480/none")),
    Country("MX", "MXN", "es", "es", 0.05, 0.16, 0.45,
            ("Ciudad de México//-360/none", "Guadalajara//-360/none", "Tijuana//-480/us",
             "Puebla//-360/none")),
    Country("TH", "THB", "th", "th", 0.03, 0.08, 0.4,
            ("Bangkok//420/none", "Chiang Mai//420/none", "Pattaya//420/none")),
    Country("IN", "INR", "hi", "en", 0.0, 0.12, 0.25, ("Mumbai//330/none", "Kochi//330/none", "Ludhiana//330/none")),
    Country("CO", "COP", "es", "es", 0.0, 0.07, 0.35,
            ("Medellín//-300/none", "Cali//-300/none", "Bogotá//-300/none")),
    Country("DO", "DOP", "es", "es", 0.0, 0.06, 0.4, ("Santo Domingo//-240/none", "Santiago//-240/none")),
    Country("GH", "GHS", "gh", "en", 0.0, 0.04, 0.3, ("Accra//0/none", "Kumasi//0/none")),
    Country("UA", "UAH", "uk", "uk", 0.0, 0.04, 0.35, ("Київ//120/eu", "Львів//120/eu")),
    Country("NG", "NGN", "gh", "en", 0.0, 0.03, 0.25, ("Lagos//60/none", "Ibadan//60/none")),
    Country("FR", "EUR", "fr", "fr", 0.0, 0.02, 0.9, ("Paris//60/eu", "Lyon//60/eu")),
    Country("AE", "AED", "hi", "en", 0.0, 0.02, 0.9, ("Dubai//240/none",)),
    Country("HK", "HKD", "zh", "en", 0.0, 0.01, 0.9, ("Hong Kong//480/none",)),
    Country("KH", "USD", "th", "en", 0.0, 0.01, 0.4, ("Phnom Penh//420/none", "Sihanoukville//420/none")),
    Country("RO", "RON", "uk", "en", 0.0, 0.01, 0.5, ("București//120/eu",)),
    Country("KE", "KES", "gh", "en", 0.0, 0.01, 0.3, ("Nairobi//180/none",)),
)  # fmt: skip

#: Countries that receive small cross-border sends in the OSEC alerts (FINTRAC 2025, five leading).
OSEC_RECEIVING = ("PH", "TH", "DO", "CO", "MX")

CODE = {c.code: i for i, c in enumerate(COUNTRIES)}
CURRENCY_NAMES = tuple(CURRENCIES)
CURRENCY = {name: i for i, name in enumerate(CURRENCY_NAMES)}
PER_USD: Floats = np.array([CURRENCIES[n][0] for n in CURRENCY_NAMES])
DIGITS: Ints = np.array([CURRENCIES[n][2] for n in CURRENCY_NAMES], dtype=np.int64)
#: Cash from which a report is due, in the currency itself: published lines for US, Canadian and Australian
#: dollars, euros (the Union's cap) and pesos; elsewhere people keep to a customary round sum.
CASH_LINE: Floats = np.array(
    [{"USD": 10e3, "CAD": 10e3, "AUD": 10e3, "EUR": 10e3, "PHP": 500e3}.get(n, 0.0) for n in CURRENCY_NAMES]
)
CASH_LINE = np.where(CASH_LINE > 0, CASH_LINE, 10e3 * PER_USD)
#: The same in US dollars at the rates above.
CASH_LINE_USD: Floats = CASH_LINE / PER_USD
#: Days before the first one for which there are rates: an Australian morning is the day before by UTC.
LEAD = 7
COUNTRY_CURRENCY: Ints = np.array([CURRENCY[c.currency] for c in COUNTRIES], dtype=np.int64)
PRICE: Floats = np.array([c.price for c in COUNTRIES])

CITIES = tuple(text.split("/") for c in COUNTRIES for text in c.cities)
CITY_COUNT: Ints = np.array([len(c.cities) for c in COUNTRIES], dtype=np.int64)
FIRST_CITY: Ints = np.cumsum(CITY_COUNT) - CITY_COUNT
CITY_COUNTRY: Ints = np.repeat(np.arange(len(COUNTRIES)), CITY_COUNT)
CITY_NAMES = tuple(c[0] for c in CITIES)
CITY_STATES = tuple(c[1] for c in CITIES)
CITY_OFFSET: Ints = np.array([int(c[2]) for c in CITIES], dtype=np.int64)
CITY_RULE = tuple(c[3] for c in CITIES)


def _sunday(year: int, month: int, nth: int) -> date:
    """The nth Sunday of a month, the last one if ``nth`` is -1."""
    if nth > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (nth - 1))
    last = date(year, month + 1, 1) - timedelta(days=1)
    return last - timedelta(days=(last.weekday() + 1) % 7)


def _is_summer(day: date, rule: str) -> bool:
    if rule == "us":
        return _sunday(day.year, 3, 2) <= day < _sunday(day.year, 11, 1)
    if rule == "eu":
        return _sunday(day.year, 3, -1) <= day < _sunday(day.year, 10, -1)
    if rule == "au":
        return not _sunday(day.year, 4, 1) <= day < _sunday(day.year, 10, 1)
    return False


def offsets(start: date, days: int) -> Ints:
    """Minutes ahead of UTC by city and day, shape (cities, days); summer time included."""
    summer = {
        rule: np.array([60 * _is_summer(start + timedelta(days=d), rule) for d in range(days)])
        for rule in ("us", "eu", "au", "none")
    }
    return np.array([CITY_OFFSET[i] + summer[CITY_RULE[i]] for i in range(len(CITIES))], dtype=np.int64)


def rates(rng: np.random.Generator, days: int) -> Floats:
    """US dollars for one unit by day and currency, shape (days, currencies): a slow random walk."""
    volatility = np.array([CURRENCIES[n][1] for n in CURRENCY_NAMES])
    steps = rng.normal(0.0, 1.0, (days, len(CURRENCY_NAMES))) * volatility / np.sqrt(365.0)
    found: Floats = np.round(np.exp(np.cumsum(steps, axis=0)) / PER_USD, 10)
    return found


def to_cents(usd: Floats, currency: Ints, roundness: Floats | float = 0.0) -> Ints:
    """Hundredths of ``currency`` worth ``usd``. ``roundness`` 0 keeps cents, 1 gives customary steps
    (a twentieth of the power of ten below: 127 becomes 125), 2 a tenth of it."""
    local = np.maximum(usd * PER_USD[currency], 1e-9)
    step = 10.0 ** np.floor(np.log10(local)) / np.where(np.asarray(roundness) >= 2, 2.0, 20.0)
    smallest = 10.0 ** -DIGITS[currency]
    step = np.maximum(np.where(np.asarray(roundness) > 0, step, smallest), smallest)
    cents: Ints = np.maximum(np.rint(np.rint(local / step) * step * 100.0), 1.0).astype(np.int64)
    return cents
