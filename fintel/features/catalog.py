"""The features of an account as of a moment: what each is, how it is computed, how it is said.

One line a feature; ``windows`` computes them, ``models`` learns from them, the reference page is made
from here. A feature sees entries strictly before its moment. Unknown stays unknown: a share of what
was never recorded is NaN, not 0. No identifier, no absolute time, no label and no protected trait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fintel.features.catalog_network import LINES as NETWORK_LINES
from fintel.features.recipes import (
    DERIVED,
    MASKS,
    Direct,
    Growth,
    Measure,
    Mutual,
    Profile,
    Quotient,
    Recipe,
    Repeats,
    Unit,
)

FAMILIES: dict[str, str] = {
    "volume": "how many entries and how much",
    "counterparties": "how many different senders and recipients, how concentrated, how new",
    "cash": "cash in and out",
    "amounts": "typical, largest, spread, round and repeated amounts",
    "flow": "what comes in and goes out again",
    "time": "night, bursts, dormancy",
    "places": "countries, banks, cities, branches, devices",
    "baseline": "against the account's own past",
    "profile": "what is known of the account and its holder",
    "motifs": "forms of the flow of money that the account's payments end or close",
    "network": "what is particular about its counterparties, and whom shared identifiers tie it to",
    "risk": "how near it is to accounts that are known to be suspicious, itself left out",
    "rules": "which rules it hit",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """A catalogue line.

    ``words`` say the value in a reason (``{value}`` is the value). ``needs`` are entry columns without
    which it is unknown. ``sign``: +1 if more never speaks against suspicion (boosted models keep to it),
    -1 if less, None where nobody says; ``basis``: the published indicators that say so (ids of
    ``indicators.yaml``). ``days``: how far back it looks. ``model``: False keeps it out of models.
    """

    name: str
    unit: Unit
    family: str
    doc: str
    words: str
    recipe: Recipe
    needs: tuple[str, ...] = ()
    sign: int | None = None
    basis: tuple[str, ...] = ()
    days: int = 0
    model: bool = True


@dataclass(frozen=True, slots=True)
class _Line:
    """A family of features over windows (``days``) and, where ``{side}`` and the like occur, both sides.

    ``rising``: indicators by which more of it is more suspicious, by side (``""`` where there are none).
    """

    name: str
    days: tuple[int, ...]
    unit: Unit
    family: str
    doc: str
    words: str
    recipe: Callable[[str, int], Recipe]
    needs: tuple[str, ...] = ()
    rising: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def count(mask: str, days: int) -> Measure:
    """How many entries of a mask."""
    return Measure("count", "*", mask, days)


def money(kind: str, mask: str, days: int) -> Measure:
    """A measure of ``amount_base``."""
    return Measure(kind, "amount_base", mask, days)


def distinct(column: str, mask: str, days: int) -> Measure:
    """How many different values of a column."""
    return Measure("distinct", column, mask, days)


# fmt: off
_WORDS = {
    "in": {"side": "in", "entries": "credits", "entry": "credit", "others": "senders", "other": "sender"},
    "out": {"side": "out", "entries": "debits", "entry": "debit", "others": "recipients", "other": "recipient"},
}
_ALL, _MOST, _LONG, _QUARTER = (7, 30, 90, 365), (7, 30, 90), (30, 90), (90,)
_BASE, _OTHER = ("amount_base",), ("counterparty_id",)

_LINES = (
    _Line("{side}_count", _ALL, "count", "volume", "Number of {entries}", "{value} {entries}",
          lambda s, d: Direct(count(s, d))),
    _Line("{side}_sum", _ALL, "base", "volume", "Sum of {entries}", "{entries} of {value}",
          lambda s, d: Direct(money("sum", f"{s}_valued", d), f"{s}_valued", s), _BASE),
    _Line("{others}", _ALL, "count", "counterparties", "Different {others}", "{value} different {others}",
          lambda s, d: Direct(distinct("counterparty_id", s, d)), _OTHER,
          {"in": ("FINTRAC-CHAM-06", "FINTRAC-PROTECT-40")}),
    _Line("new_{other}_share", _LONG, "share", "counterparties",
          "Share of {entries} with {others} not met in the 90 days before", "{value} of {entries} with new {others}",
          lambda s, d: Quotient(count(f"{s}_new", d), count(f"{s}_known", d)), _OTHER),
    _Line("top_{other}_share", _LONG, "share", "counterparties",
          "Share of the most frequent {other} among {entries} that have one", "{value} of {entries} with one {other}",
          lambda s, d: Direct(Measure("top_share", "counterparty_id", s, d)), _OTHER),
    _Line("mutual_share", _LONG, "share", "counterparties",
          "Share of counterparties that both send and receive", "{value} of counterparties both send and receive",
          lambda s, d: Mutual(d), _OTHER),
    _Line("person_{other}_share", _QUARTER, "share", "counterparties",
          "Share of {entries} whose {others} are persons", "{value} of {entries} with persons",
          lambda s, d: Quotient(count(f"{s}_person", d), count(f"{s}_kind", d)), ("counterparty_kind",)),
    _Line("cash_{side}_count", _MOST, "count", "cash", "Cash {entries}", "{value} cash {entries}",
          lambda s, d: Direct(count(f"{s}_cash", d), f"{s}_paid", s), ("instrument",),
          {"in": ("FINTRAC-PROTECT-39", "FINCEN-FUNNEL-01")}),
    _Line("cash_{side}_share", _LONG, "share", "cash",
          "Share of {entries} in cash, where the instrument is known", "{value} of {entries} in cash",
          lambda s, d: Quotient(count(f"{s}_cash", d), count(f"{s}_paid", d)), ("instrument",)),
    _Line("{side}_mean", (30, 90, 365), "base", "amounts", "Mean {entry}", "{entries} of {value} on average",
          lambda s, d: Direct(money("mean", f"{s}_valued", d)), _BASE),
    _Line("{side}_max", (30, 90, 365), "base", "amounts", "Largest {entry}", "a largest {entry} of {value}",
          lambda s, d: Direct(money("max", f"{s}_valued", d)), _BASE),
    _Line("{side}_spread", _LONG, "ratio", "amounts",
          "Standard deviation of {entries} over their mean", "{entries} that vary by {value} times their mean",
          lambda s, d: Quotient(money("std", f"{s}_valued", d), money("mean", f"{s}_valued", d)), _BASE),
    _Line("repeated_{side}_share", _QUARTER, "share", "amounts",
          "1 - different amounts / {entries}", "{value} of {entries} repeat an amount",
          lambda s, d: Repeats(f"{s}_valued", d), _BASE),
    _Line("round_share", _LONG, "share", "amounts",
          "Share of entries in whole hundreds of the payment's currency", "{value} of amounts are whole hundreds",
          lambda s, d: Quotient(count("round", d), count("all", d)), ("amount",)),
    _Line("out_to_in_ratio", _MOST, "ratio", "flow",
          "Sum of debits over sum of credits, at most 10", "debits of {value} times the credits",
          lambda s, d: Quotient(money("sum", "out_valued", d), money("sum", "in_valued", d), 10.0), _BASE),
    _Line("passed_on_share", _LONG, "share", "flow",
          "Share of the value of credits that leaves within 48 hours, oldest money first",
          "{value} of the money received leaves within 48 hours",
          lambda s, d: Quotient(Measure("sum", "taken", "out", d), money("sum", "in_valued", d), 1.0), _BASE,
          {"": ("FINTRAC-CHAM-08", "FINTRAC-PROTECT-41")}),
    _Line("passed_on_hours", _QUARTER, "hours", "flow",
          "Hours that passed-on money lay in the account, weighted by value",
          "money passed on after {value} on average",
          lambda s, d: Quotient(Measure("sum", "waited", "out", d), Measure("sum", "taken", "out", d)), _BASE),
    _Line("night_share", _LONG, "share", "time",
          "Share of entries from 22 to 6 on the customer's clock, where it is known", "{value} of payments at night",
          lambda s, d: Quotient(count("night", d), count("timed", d)), ("local_hour",)),
    _Line("active_days", _LONG, "count", "time", "Days (UTC) with an entry", "payments on {value} days",
          lambda s, d: Direct(distinct("day", "all", d))),
    _Line("busiest_day_share", _LONG, "share", "time",
          "Share of entries on the busiest day (UTC)", "{value} of payments on one day",
          lambda s, d: Direct(Measure("top_share", "day", "all", d))),
    _Line("since_{side}", _QUARTER, "days", "time",
          "Days since the last {entry}, if there is one", "the last {entry} {value} ago",
          lambda s, d: Direct(Measure("last", "booked_at", s, d))),
    _Line("abroad_{side}_share", _LONG, "share", "places",
          "Share of {entries} across a border, where both countries are known", "{value} of {entries} across a border",
          lambda s, d: Quotient(count(f"{s}_abroad", d), count(f"{s}_placed", d)),
          ("counterparty_country", "account_country")),
    _Line("{other}_countries", _QUARTER, "count", "places",
          "Different countries of {others}", "{others} in {value} countries",
          lambda s, d: Direct(distinct("counterparty_country", s, d), f"{s}_country", s), ("counterparty_country",),
          {"in": ("FINTRAC-CHAM-06",)}),
    _Line("{other}_banks", _QUARTER, "count", "places", "Different banks of {others}", "{others} at {value} banks",
          lambda s, d: Direct(distinct("counterparty_agent", s, d), f"{s}_agent", s), ("counterparty_agent",)),
    _Line("cities", _LONG, "count", "places", "Different cities of payment", "payments in {value} cities",
          lambda s, d: Direct(distinct("place_city", "all", d)), ("place_city",)),
    _Line("places", _LONG, "count", "places",
          "Different branches, machines or agents", "payments at {value} branches, machines or agents",
          lambda s, d: Direct(distinct("place_id", "all", d)), ("place_id",)),
    _Line("devices", _LONG, "count", "places", "Different devices that ordered", "payments from {value} devices",
          lambda s, d: Direct(distinct("device_id", "all", d)), ("device_id",)),
    _Line("{side}_count_growth", (30,), "ratio", "baseline",
          "Log2 of the number of {entries} against the account's own 180 days before",
          "{entries} {value} the account's own usual number",
          lambda s, d: Growth(count(s, d))),
    _Line("{side}_sum_growth", (30,), "ratio", "baseline",
          "Log2 of the sum of {entries} against the account's own 180 days before",
          "sum of {entries} {value} the account's own usual sum",
          lambda s, d: Growth(money("sum", f"{s}_valued", d)), _BASE),
)

_SINGLE = (
    Feature("quiet_before_30d", "days", "time", "Days without entry before the last 30, if the 90 before them have one",
            "{value} without payments before the last 30 days",
            Direct(Measure("last", "booked_at", "all", 90, 30)), days=120),
    Feature("account_age_days", "days", "profile", "Days since the account was opened, at most 3,650",
            "an account opened {value} ago", Profile("account_age_days"), ("account_age_days",)),
    Feature("is_organisation", "flag", "profile",
            "1 if the holder is an organisation or institution, 0 if a person",
            "held by an organisation: {value}", Profile("is_organisation"), ("account_kind",)),
    Feature("income_ratio_90d", "ratio", "profile",
            "Credits of 90 days over a quarter of the declared income, at most 100",
            "credits of {value} times the declared income in 90 days", Profile("income_ratio_90d"),
            ("party_income", "amount_base"), days=90),
    Feature("party_age", "years", "profile", "Age of the holder; for subgroup reports, kept out of models",
            "a holder aged {value}", Profile("party_age"), ("party_age",), model=False),
)
# fmt: on


def _expand(line: _Line) -> Iterator[Feature]:
    sides = _WORDS if "{" in line.name else {"": {}}
    for days in line.days:
        for side, words in sides.items():
            recipe = line.recipe(side, days)
            yield Feature(
                name=f"{line.name.format(**words)}_{days}d",
                unit=line.unit,
                family=line.family,
                doc=line.doc.format(**words),
                words=line.words.format(value="{value}", **words) + f" in {days} days",
                recipe=recipe,
                needs=line.needs,
                sign=1 if side in line.rising else None,
                basis=line.rising.get(side, ()),
                days=days + (30 if isinstance(recipe, Growth) else 0),
            )


WINDOW_FEATURES: tuple[Feature, ...] = (*(f for line in _LINES for f in _expand(line)), *_SINGLE)
FEATURES: tuple[Feature, ...] = (
    *WINDOW_FEATURES,
    *(
        Feature(n.name, n.unit, n.family, n.doc, n.words, n.recipe, n.needs, sign=n.sign, basis=n.basis, days=n.days)
        for n in NETWORK_LINES
    ),
)
BY_NAME: dict[str, Feature] = {f.name: f for f in FEATURES}


def model_features(history_days: float) -> tuple[Feature, ...]:
    """Features that a model may use when the feed reaches ``history_days`` behind its first snapshot.

    A window that reaches behind the feed's first day would tell the date, not the behaviour.
    """
    return tuple(f for f in FEATURES if f.model and f.days <= history_days)


def _signed(feature: Feature) -> str:
    if not feature.sign:
        return "–"
    sign = "+" if feature.sign > 0 else "-"
    return f"{sign} ({', '.join(feature.basis)})" if feature.basis else sign


def reference() -> str:
    """The reference page, Markdown."""
    lines = [
        "# Features of an account",
        "",
        "Made from `fintel/features/catalog.py`. Every feature is as of a moment and sees entries strictly before",
        "it: a window of *n* days is [moment - n days, moment). What was never recorded is unknown (empty), not 0.",
        "Units: *base* is the base currency, *share* is 0 to 1, *flag* is 0 or 1.",
        "A *sign* of + says that more of it never lowers a boosted model's score, because the published indicators",
        "beside it call more of it suspicious (`rules/indicators.yaml`). Where none does, a model finds out itself.",
    ]
    for family, what in FAMILIES.items():
        lines += ["", f"## {family}: {what}", ""]
        lines += ["| name | unit | what | needs | sign | in models |", "|---|---|---|---|---|---|"]
        lines += [
            f"| `{f.name}` | {f.unit} | {f.doc} | {', '.join(f.needs) or '–'} | {_signed(f)} | "
            f"{'yes' if f.model else 'no'} |"
            for f in FEATURES
            if f.family == family
        ]
    lines += ["", "## Which entries are meant", "", "| mask | entries |", "|---|---|"]
    lines += [f"| `{name}` | `{sql}` |" for name, sql in MASKS.items()]
    lines += [f"| `{name}` | {what} |" for name, what in DERIVED.items()]
    return "\n".join(lines) + "\n"
