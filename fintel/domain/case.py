"""A case: the facts of one alert, arranged for a report. Plain values, no rendering.

Every report (FinCEN today, others later) is drawn from this one model. It holds no decision: a
person makes that, and what stands here is a draft's material.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from fintel.domain.detection import MOTIF


class Role(StrEnum):
    """What part a person is presumed to have. A presumed victim is never a report's subject
    (FinCEN advisory FIN-2020-A008); ``POSSIBLE_BOTH`` waits for a person to decide."""

    SUSPECTED_OFFENDER = "suspected_offender"
    FACILITATOR = "facilitator"
    PRESUMED_VICTIM = "presumed_victim"
    POSSIBLE_BOTH = "possible_both"
    UNKNOWN = "unknown"

    @property
    def may_be_subject(self) -> bool:
        """Whether a draft may name somebody in this role as subject."""
        return self not in (Role.PRESUMED_VICTIM, Role.POSSIBLE_BOTH)


@dataclass(frozen=True, slots=True)
class RuleMeta:
    """What a report needs to know of a rule.

    ``role`` says what the account holder probably is: ``subject`` or ``victim``. ``indicators`` are
    citations of published red flags in words; ``techniques`` are AMLTRIX ids
    (https://framework.amltrix.com), from which classification codes follow.
    """

    title: str
    typology: str
    role: str = "subject"
    indicators: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A fact that the draft needs and does not have: which setting or column would hold it, where
    in the report it belongs, and why it matters."""

    setting: str
    where: str
    why: str


@dataclass(frozen=True, slots=True)
class CaseAccount:
    """An account of a person in the case."""

    account_id: str
    agent: str | None = None
    country: str | None = None
    currency: str | None = None
    product: str | None = None
    holding: str | None = None
    opened_on: date | None = None
    closed_on: date | None = None

    @property
    def number(self) -> str:
        """The number alone: the id is ``agent|number`` where the number is no IBAN."""
        return self.account_id.rsplit("|", 1)[-1]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in the case: a person, an organisation, or not known which.

    ``flow`` is the part in the payments of the evidence: ``sender``, ``receiver``, ``both`` or
    empty. ``sex`` is shown to an investigator and filed, and read by nothing else.
    """

    key: str
    role: Role
    kind: str = "unknown"
    flow: str = ""
    customer: bool = False
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    birth_date: date | None = None
    country: str | None = None
    city: str | None = None
    state: str | None = None
    address: str | None = None
    postcode: str | None = None
    phone: str | None = None
    email: str | None = None
    tax_id: str | None = None
    occupation: str | None = None
    industry: str | None = None
    sex: str | None = None
    accounts: tuple[CaseAccount, ...] = ()

    @property
    def label(self) -> str | None:
        """The best name there is."""
        if self.name:
            return self.name
        parts = [p for p in (self.given_name, self.family_name) if p]
        return " ".join(parts) or None

    @property
    def is_organisation(self) -> bool:
        """Whether the record says so."""
        return self.kind in ("organisation", "institution")

    def age_on(self, day: date) -> int | None:
        """Full years on ``day``; None without a birth date or before birth."""
        born = self.birth_date
        if born is None or born > day:
            return None
        return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


@dataclass(frozen=True, slots=True)
class CaseTransaction:
    """One side of a payment on one account, as in table ``entries``.

    ``day`` is the customer's calendar day where the feed gives an offset, else the UTC day.
    ``evidence``: it is part of the activity that is reported; otherwise it is what that is measured
    against, or context.
    """

    entry_id: str
    transaction_id: str
    account_id: str
    direction: str
    booked_at: datetime
    day: date
    amount: Decimal
    currency: str
    amount_base: Decimal | None
    evidence: bool
    counterparty_key: str | None = None
    counterparty_name: str | None = None
    counterparty_account: str | None = None
    counterparty_agent: str | None = None
    counterparty_country: str | None = None
    channel: str | None = None
    instrument: str | None = None
    text: str | None = None
    merchant_name: str | None = None
    place_id: str | None = None
    place_city: str | None = None
    place_country: str | None = None
    device_id: str | None = None
    ip_address: str | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class CaseClause:
    """One comparison of a reason: observed beside threshold, own normal and peers, with the entries
    that make it. ``truncated``: more rows made the value than are kept. ``baseline``: the rows are
    what the activity is measured against, not the activity."""

    measure: str
    kind: str
    column: str
    window_from: datetime
    window_to: datetime
    observed: float
    operator: str | None
    threshold: float | None
    unit: str | None
    own_normal: float | None
    own_points: int
    peer_group: str
    peer_percentile: float | None
    evidence: tuple[str, ...]
    rows: int
    truncated: bool
    baseline: bool = False


@dataclass(frozen=True, slots=True)
class CaseReason:
    """One reason of the alert, strongest first in the case. ``bits`` and ``text`` are as frozen by
    the run; ``title``, ``role``, ``indicators`` come from the rule's metadata."""

    origin: str
    name: str
    text: str
    bits: float
    title: str
    typology: str | None = None
    role: str | None = None
    indicators: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()
    clauses: tuple[CaseClause, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def evidence(self) -> tuple[str, ...]:
        """Entry ids of the activity, each once, in order."""
        return tuple(dict.fromkeys(e for c in self.clauses if not c.baseline for e in c.evidence))

    @property
    def cited(self) -> tuple[str, ...]:
        """Entry ids of all clauses, what the activity is measured against included."""
        return tuple(dict.fromkeys(e for c in self.clauses for e in c.evidence))


@dataclass(frozen=True, slots=True)
class Case:
    """All facts of one alert.

    ``holder`` keeps the alerted account; ``subjects`` are those a draft names as such (empty: not
    known); ``others`` are the other sides of the evidence. ``left_out`` counts context payments
    beyond the bound; evidence is never left out.
    """

    case_id: str
    run_id: str
    account_id: str
    prior: float
    score: float
    base_currency: str
    typologies: tuple[str, ...]
    holder: Person
    subjects: tuple[Person, ...]
    others: tuple[Person, ...]
    transactions: tuple[CaseTransaction, ...]
    reasons: tuple[CaseReason, ...]
    left_out: int = 0

    @property
    def evidence(self) -> tuple[CaseTransaction, ...]:
        """The entries of the activity that is reported, in time order."""
        return tuple(t for t in self.transactions if t.evidence)

    @property
    def hops(self) -> tuple[CaseTransaction, ...]:
        """Entries of motifs that rules read of the graph, beyond the activity: other steps of the money's way, most of
        them at other accounts."""
        cited = {e for r in self.reasons for c in r.clauses if c.kind == MOTIF for e in c.evidence}
        return tuple(t for t in self.transactions if t.entry_id in cited and not t.evidence)

    @property
    def payments(self) -> tuple[CaseTransaction, ...]:
        """Evidence with each payment once, also when both its sides are entries."""
        return tuple({t.transaction_id: t for t in reversed(self.evidence)}.values())[::-1]

    @property
    def period(self) -> tuple[date, date]:
        """First and last day of the evidence."""
        days = [t.day for t in self.evidence]
        return min(days), max(days)

    @property
    def total(self) -> Decimal | None:
        """Sum of the evidence in the base currency, money in and money out together (FinCEN SAR
        FAQ 23: amounts are aggregated whatever their kind); None if one amount has no value in it."""
        values = [t.amount_base for t in self.payments]
        return None if None in values else sum((v for v in values if v is not None), Decimal(0))

    @property
    def truncated(self) -> bool:
        """Whether some value rests on more rows than the run kept: sums are then lower bounds."""
        return any(c.truncated and not c.baseline for r in self.reasons for c in r.clauses)

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody, each once."""
        return tuple({p.key: p for p in (*self.others, *self.subjects, self.holder)}.values())

    @property
    def minors(self) -> tuple[Person, ...]:
        """Those recorded as under 18 on the first day of the evidence."""
        first = self.period[0]
        return tuple(p for p in self.people if (age := p.age_on(first)) is not None and age < 18)
