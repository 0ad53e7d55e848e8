"""How features are computed: which entries, which measures, how these combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["count", "base", "share", "ratio", "days", "hours", "years", "flag"]

#: Which entries a measure counts: SQL over ``entries``, read alike by polars and DuckDB.
MASKS: dict[str, str] = {
    "all": "direction is not null",
    "in": "direction = 'in'",
    "out": "direction = 'out'",
    "in_valued": "direction = 'in' and amount_base is not null",
    "out_valued": "direction = 'out' and amount_base is not null",
    "in_paid": "direction = 'in' and instrument is not null",
    "out_paid": "direction = 'out' and instrument is not null",
    "in_cash": "direction = 'in' and instrument = 'cash'",
    "out_cash": "direction = 'out' and instrument = 'cash'",
    "timed": "local_hour is not null",
    "night": "local_hour >= 22 or local_hour < 6",
    "round": "amount >= 100 and amount % 100 = 0",
    "in_placed": "direction = 'in' and counterparty_country is not null and account_country is not null",
    "out_placed": "direction = 'out' and counterparty_country is not null and account_country is not null",
    "in_abroad": "direction = 'in' and counterparty_country <> account_country",
    "out_abroad": "direction = 'out' and counterparty_country <> account_country",
    "in_country": "direction = 'in' and counterparty_country is not null",
    "out_country": "direction = 'out' and counterparty_country is not null",
    "in_agent": "direction = 'in' and counterparty_agent is not null",
    "out_agent": "direction = 'out' and counterparty_agent is not null",
    "in_kind": "direction = 'in' and counterparty_kind is not null and counterparty_kind <> 'unknown'",
    "out_kind": "direction = 'out' and counterparty_kind is not null and counterparty_kind <> 'unknown'",
    "in_person": "direction = 'in' and counterparty_kind = 'person'",
    "out_person": "direction = 'out' and counterparty_kind = 'person'",
}
#: Masks that need the order of entries. ``known`` ones leave out the feed's first 30 days, when
#: everybody looks new.
DERIVED: dict[str, str] = {
    "in_new": "credits from a counterparty not met in the 90 days before",
    "out_new": "debits to a counterparty not met in the 90 days before",
    "in_known": "credits with a counterparty, after the feed's first 30 days",
    "out_known": "debits with a counterparty, after the feed's first 30 days",
}
#: Columns that a feed fills for some kinds of payment only: unknown until the feed first fills them.
SPARSE = ("place_id", "place_city", "device_id")


@dataclass(frozen=True, slots=True)
class Measure:
    """``kind`` of ``column`` over the entries of ``mask`` in [as_of - offset - days, as_of - offset).

    ``kind`` is one of the engine's, or ``top_share``. ``column`` may also be ``day`` (calendar day,
    UTC), ``taken`` or ``waited`` (money passed on within 48 hours, and value times hours it lay).
    """

    kind: str
    column: str
    mask: str
    days: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Direct:
    """The measure itself; NaN where entries of ``among`` exist but none of ``known``."""

    measure: Measure
    known: str | None = None
    among: str | None = None


@dataclass(frozen=True, slots=True)
class Quotient:
    """``scale * top / bottom``, at most ``cap``; NaN where ``bottom`` is 0 or unknown."""

    top: Measure
    bottom: Measure
    cap: float | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Repeats:
    """1 - different amounts / amounts; NaN where there are none."""

    mask: str
    days: int


@dataclass(frozen=True, slots=True)
class Mutual:
    """Share of counterparties that both send and receive; NaN where there are none."""

    days: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Log2 of the last 30 days over what 30 days held in up to 180 days before, 1 added to counts.

    NaN where the account's history before those 30 days is shorter than 30 days.
    """

    measure: Measure


@dataclass(frozen=True, slots=True)
class Profile:
    """From the account's and its holder's records as of the moment (``features.profiles``)."""

    column: str


@dataclass(frozen=True, slots=True)
class Pooled:
    """A graph column of entries (``domain.graph_schema``), over the account's entries in [as_of - days, as_of).

    ``fold``: ``max`` and ``sum`` (0 without an entry), ``count`` (entries at which it is at least ``least``), ``mean``
    and ``share`` (of the entries that know it, those at which it is at least ``least``; NaN where none does). ``side``:
    entries that come in, that go out, or both.
    """

    column: str
    fold: Literal["max", "sum", "count", "mean", "share"]
    days: int
    side: Literal["in", "out", "both"] = "both"
    least: int = 1


@dataclass(frozen=True, slots=True)
class Static:
    """A column of ``graph.account_features`` as of the moment; ``part`` says of what: the counterparties of the days
    before (``profile``), the rings of shared identifiers (``ring``), or who is known to be suspicious (``risk``)."""

    part: Literal["profile", "ring", "risk"]
    column: str


@dataclass(frozen=True, slots=True)
class RuleHits:
    """Different rules with a hit on the days from as_of - days on, strictly before as_of: how many (``count``), or the
    highest level (``level``: 0 none, 1 low … 4 critical); of one typology or of one level, if given."""

    fold: Literal["count", "level"]
    days: int
    typology: str | None = None
    level: str | None = None


Recipe = Direct | Quotient | Repeats | Mutual | Growth | Profile | Pooled | Static | RuleHits
