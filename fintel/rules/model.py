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
from fintel.rules.source import Span

STATUSES = ("experimental", "test", "stable", "deprecated")
ROLES = ("subject", "victim")
SUBJECTS = ("account",)
#: ``source``: the number stands in the cited document. ``engineering``: ours, to be tuned.
BASES = ("source", "engineering")
#: What a measure may do with the entries of its window.
KINDS = ("count", "sum", "min", "max", "mean", "std", "distinct", "first", "last")
#: Columns that the first of ``per`` may be: what a window belongs to.
PARTITION_COLUMNS = ("account_id", "party_id", "counterparty_id", "device_id", "ip_address", "place_id")


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
    None means: the entries that the anchor selects.
    """

    name: str
    kind: str
    column: str
    timespan: timedelta
    offset: timedelta = timedelta(0)
    where: str | None = None


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
    #: Where each part stands: ``anchor``, ``when``, ``measures.<name>.where``, ``parameters.<name>``, …
    spans: Mapping[str, Span] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits of the logic alone: expressions, windows, partition, parameter values."""
        return _hash(
            {
                "per": self.per,
                "anchor": canonical(self.anchor),
                "when": canonical(self.when),
                "measures": {
                    m.name: (
                        m.kind,
                        m.column,
                        m.timespan.total_seconds(),
                        m.offset.total_seconds(),
                        None if m.where is None else canonical(m.where),
                    )
                    for m in self.measures.values()
                },
                "parameters": {p.name: (p.default, p.unit) for p in self.parameters.values()},
            }
        )

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
                "parameters": {p.name: (p.basis, p.range, p.note) for p in self.parameters.values()},
            }
        )

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
class ValueList:
    """Values for ``x in @name``. ``column`` says what they are: country, merchant_category_code, …"""

    name: str
    column: str
    values: tuple[str, ...]
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """A keyword or phrase, who published it, and how often it is innocent."""

    term: str
    language: str = ""
    category: str = ""
    source: str = ""
    grade: str = ""
    false_positive_risk: str = ""


@dataclass(frozen=True, slots=True)
class KeywordList:
    """Terms for ``mentions(@name)``."""

    name: str
    terms: tuple[Term, ...]
    description: str = ""
    source: str = ""


AnyList = ValueList | KeywordList


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

    def __getitem__(self, rule_id: str) -> Rule:
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise KeyError(rule_id)

    def only(self, rule_ids: Collection[str]) -> Library:
        """The same library with these rules alone."""
        return replace(self, rules=tuple(r for r in self.rules if r.id in rule_ids))

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
        entries = found.values if isinstance(found, ValueList) else [t.term for t in found.terms]
        return _hash([name, sorted(entries)])


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
