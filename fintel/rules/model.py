"""Rules, lists and the library that holds them. Frozen; made by ``loader``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property

from fintel.errors import Location
from fintel.rules.lexer import canonical
from fintel.rules.list_types import AmountList, AnyList, KeywordList, PatternList, ValueList
from fintel.rules.source import Span

STATUSES = ("experimental", "test", "stable", "deprecated")
ROLES = ("subject", "victim")
SUBJECTS = ("account",)
#: ``source``: the number stands in the cited document. ``engineering``: ours, to be tuned.
BASES = ("source", "engineering")
#: What a measure may do with the entries of its window; ``peers`` looks at other accounts instead.
KINDS = (
    "count", "sum", "min", "max", "mean", "std", "distinct", "first", "last",
    "growth", "rising", "top", "hops", "peers",
)  # fmt: skip
#: What lies between one entry of a window and the next: days, and kilometres between their places.
BETWEEN = ("gap", "leg_km")
#: Columns that the first of ``per`` may be: what a window belongs to.
PARTITION_COLUMNS = (
    "account_id", "party_id", "counterparty_id", "device_id", "ip_address", "place_id",
    "party_address", "party_phone", "party_email",
)  # fmt: skip
#: What accounts may have in common to be peers.
PEER_COLUMNS = (
    "account_kind", "account_country", "party_age_band", "party_occupation", "party_industry", "account_product",
)  # fmt: skip
#: Parts of a correlation that name rules.
GROUPS = ("all", "any", "ordered")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a rule can be tuned by. ``unit`` is an ISO 4217 code, or a word."""

    name: str
    default: float
    unit: str
    basis: str
    range: tuple[float, float] | None = None
    note: str | None = None

    @property
    def is_money(self) -> bool:
        """The unit is a currency: the value is converted to the base currency before use."""
        return len(self.unit) == 3 and self.unit.isascii() and self.unit.isupper()


@dataclass(frozen=True, slots=True)
class Measure:
    """A number computed from the entries of a window.

    The window of an anchor entry at time t is ``(t - offset - timespan, t - offset]``. ``where``
    None means: the entries that the anchor selects; the name of a step means its entries.

    ``same``: pairs (column of the anchor entry, column of the window's entries) that must be equal.
    ``at``: ``counterparty`` computes it over the other side's own entries. ``of``: with ``top``, what
    is added up. ``quantile`` and ``by``: with ``peers``, whose ``column`` is a measure's name.
    """

    name: str
    kind: str
    column: str
    timespan: timedelta
    offset: timedelta = timedelta(0)
    where: str | None = None
    same: tuple[tuple[str, str], ...] = ()
    at: str = ""
    of: str = ""
    quantile: float | None = None
    by: tuple[str, ...] = ()

    @property
    def logic(self) -> tuple[object, ...]:
        """What decides its value: for a fingerprint."""
        plain = (
            self.kind,
            self.column,
            self.timespan.total_seconds(),
            self.offset.total_seconds(),
            None if self.where is None else canonical(self.where),
        )
        more = (self.same, self.at, self.of, self.quantile, self.by)
        return (*plain, *more) if any(more) else plain


@dataclass(frozen=True, slots=True)
class Step:
    """One link of a chain: entries that ``where`` selects and that stand after enough of the link before.

    ``at_least``: how many entries of the step ``after`` must stand within ``within`` before it, a
    number or ``:parameter``; ``same`` as in ``Measure``.
    """

    name: str
    where: str
    after: str | None = None
    within: timedelta | None = None
    at_least: str = "1"
    same: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Correlation:
    """Rules that must have hit one subject within a span: all of some, any n of some, some in order.

    ``across`` names the one of these groups that is looked for on a counterparty.
    ``at_least``: of ``any``; a number or ``:parameter``.
    """

    timespan: timedelta
    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    at_least: str = "1"
    ordered: tuple[str, ...] = ()
    across: str = ""

    @property
    def components(self) -> tuple[str, ...]:
        """Every rule it names, once."""
        return tuple(dict.fromkeys((*self.all, *self.any, *self.ordered)))


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition over entries that has a name, so that many rules say the same thing alike."""

    name: str
    text: str
    description: str = ""
    span: Span | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Rule:
    """One published indicator made executable."""

    id: str
    title: str
    version: int
    status: str
    level: str
    typology: str
    indicators: tuple[str, ...]
    techniques: tuple[str, ...]
    description: str
    subject: str
    role: str
    per: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    anchor: str
    measures: Mapping[str, Measure]
    when: str
    reason: str
    falsepositives: tuple[str, ...]
    location: Location
    pack: str
    #: Alerted own accounts per 10,000 and 30 days on a lawful population: more is too many.
    budget: float | None = None
    #: Named conditions that it uses, its own and shared ones, each after those that it uses.
    conditions: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    correlation: Correlation | None = None
    changelog: tuple[str, ...] = ()
    #: Where each part stands: ``anchor``, ``when``, ``measures.<name>.where``, ``parameters.<name>``, …
    spans: Mapping[str, Span] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the logic alone: expressions, windows, partition, parameter values."""
        logic: dict[str, object] = {
            "per": self.per,
            "anchor": canonical(self.anchor),
            "when": canonical(self.when),
            "measures": {m.name: m.logic for m in self.measures.values()},
            "parameters": {p.name: (p.default, p.unit) for p in self.parameters.values()},
        }
        if self.conditions:
            logic["conditions"] = {name: canonical(text) for name, text in self.conditions.items()}
        if self.steps:
            logic["steps"] = [
                (s.name, canonical(s.where), s.after, s.within and s.within.total_seconds(), s.at_least, s.same)
                for s in self.steps.values()
            ]
        if self.correlation is not None:
            c = self.correlation
            logic["correlation"] = (
                c.timespan.total_seconds(), sorted(c.all), sorted(c.any), c.at_least, c.ordered, c.across,
            )  # fmt: skip
        return _hash(logic)

    @cached_property
    def metadata_fingerprint(self) -> str:
        """Sixteen hex digits of everything that the logic's fingerprint leaves out."""
        return _hash(
            {
                "id": self.id,
                "title": self.title,
                "version": self.version,
                "status": self.status,
                "level": self.level,
                "typology": self.typology,
                "indicators": self.indicators,
                "techniques": self.techniques,
                "description": self.description,
                "subject": self.subject,
                "role": self.role,
                "reason": self.reason,
                "falsepositives": self.falsepositives,
                "budget": self.budget,
                "parameters": {p.name: (p.basis, p.range, p.note) for p in self.parameters.values()},
            }
        )

    @property
    def observables(self) -> tuple[str, ...]:
        """What ``when`` and ``reason`` may name: measures, and steps (how many such entries there are)."""
        return (*self.measures, *(name for name in self.steps if name not in self.measures))

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the values that a finding shows: observables; of a correlation, its components and ``any``."""
        if self.correlation is None:
            return self.observables
        return (*self.correlation.components, *(("any",) if self.correlation.any else ()))

    def entries_of(self, text: str, part: str) -> tuple[str, str]:
        """The condition over entries that a text stands for, and its place: a step's name is its ``where``."""
        step = self.steps.get(text.strip())
        return (text, part) if step is None else (step.where, f"steps.{step.name}.where")

    def chain(self, name: str) -> tuple[tuple[Step, timedelta], ...]:
        """A step and those before it, each with how far before an entry of the first it may stand."""
        found: list[tuple[Step, timedelta]] = []
        reach = timedelta(0)
        step: Step | None = self.steps[name]
        while step is not None and len(found) <= len(self.steps):
            found.append((step, reach))
            reach += step.within or timedelta(0)
            step = self.steps.get(step.after) if step.after is not None else None
        return tuple(found)

    def place(self, part: str) -> Span | Location:
        """Where a part stands, else where the rule starts."""
        return self.spans.get(part, self.location)

    def tuned(self, values: Mapping[str, float]) -> Rule:
        """The same rule with other parameter values.

        Raises
        ------
        KeyError: no such parameter.
        """
        parameters = dict(self.parameters)
        for name, value in values.items():
            parameters[name] = replace(parameters[name], default=float(value))
        return replace(self, parameters=parameters)


@dataclass(frozen=True, slots=True)
class Indicator:
    """A published red flag, in our own words, with the place where it was published."""

    id: str
    typology: str
    issuer: str
    document: str
    reference: str
    date: str
    locator: str
    url: str
    grade: str
    text: str
    #: Data that would make it observable; empty where a rule implements it.
    needs: str = ""
    #: Why no machine can observe it; empty where one can.
    not_observable: str = ""

    @property
    def citation(self) -> str:
        """One line for a report."""
        parts = (self.issuer, self.document, self.reference, self.date, self.locator)
        return ", ".join(p for p in parts if p)


@dataclass(frozen=True, slots=True)
class Pack:
    """A folder of rules."""

    name: str
    title: str
    description: str
    folder: str


@dataclass(frozen=True)
class Library:
    """Everything loaded. ``threshold_rates``: US dollars for one unit, for thresholds only."""

    rules: tuple[Rule, ...] = ()
    lists: Mapping[str, AnyList] = field(default_factory=dict)
    indicators: Mapping[str, Indicator] = field(default_factory=dict)
    packs: Mapping[str, Pack] = field(default_factory=dict)
    threshold_rates: Mapping[str, float] = field(default_factory=dict)
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def __getitem__(self, rule_id: str) -> Rule:
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise KeyError(rule_id)

    def only(self, rule_ids: Collection[str]) -> Library:
        """The same library with these rules alone."""
        return replace(self, rules=tuple(r for r in self.rules if r.id in rule_ids))

    def with_components(self, rule_ids: Collection[str]) -> Library:
        """The same library with these rules and those that they correlate."""
        wanted = set(rule_ids)
        for rule in self.rules:
            if rule.id in rule_ids and rule.correlation is not None:
                wanted.update(rule.correlation.components)
        return self.only(wanted)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits of every rule (logic and metadata), list and rate: for a manifest."""
        return _hash(
            {
                "rules": sorted((r.id, r.fingerprint, r.metadata_fingerprint) for r in self.rules),
                "lists": {n: self.list_fingerprint(n) for n in self.lists},
                "indicators": {n: i.citation for n, i in self.indicators.items()},
                "rates": dict(self.threshold_rates),
            }
        )

    def list_fingerprint(self, name: str) -> str:
        """Sixteen hex digits of a list's values or terms."""
        found = self.lists[name]
        match found:
            case ValueList():
                entries = sorted(found.values)
            case AmountList():
                entries = sorted(f"{a.key} {a.amount!r} {a.unit}" for a in found.values)
            case PatternList():
                entries = sorted(p.pattern for p in found.patterns)
            case KeywordList():
                entries = sorted(t.term for t in found.terms)
        return _hash([name, entries])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
