"""Cases of a rule: a few payments, and what the rule must say about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path

import polars as pl

from fintel.domain.schema import (
    ACCOUNTS,
    DIRECTIONS,
    ENTRIES,
    IDENTIFIERS,
    INTEL,
    PARTIES,
    RATES,
    TRANSACTIONS,
)
from fintel.errors import Diagnostic, Location, did_you_mean
from fintel.rules.fields import Fields, as_number
from fintel.rules.model import Rule
from fintel.rules.records import Row, Value, frame_of, keyed_rows, listed_rows, typed
from fintel.rules.source import Findings, Node, Scalar, Sequence, bounded, read
from fintel.rules.source import Mapping as Keys

MAX_ENTRIES = 20_000
MAX_FILE_ENTRIES = 100_000
_LONGEST = 100
_SIDES = ("name", "agent", "country")
_OWN_KEYS = ("at", "account", "direction", "amount", "currency", "counterparty", "local_offset", "repeat")
#: Columns that a payment carries itself, whichever side looks at it.
_CARRIED = (
    "channel", "instrument", "purpose_code", "remittance_information", "merchant_name",
    "merchant_category_code", "merchant_country", "place_id", "place_city", "place_country",
    "device_id", "ip_address", "ip_country", "relationship",
)  # fmt: skip
_COORDINATES = ("place_latitude", "place_longitude")
ENTRY_KEYS = (
    *_OWN_KEYS,
    *_CARRIED,
    *_COORDINATES,
    *(f"account_{s}" for s in _SIDES),
    *(f"counterparty_{s}" for s in _SIDES),
)
CASE_KEYS = (
    "name", "near_miss", "base", "rates", "defaults", "accounts", "parties", "identifiers", "intel", "entries",
    "expect", "note",
)  # fmt: skip
_OFFSET = re.compile(r"([+-])(\d{2}):(\d{2})")


@dataclass(frozen=True)
class Expectation:
    """``hit``: accounts with an episode, all of them. ``cannot_tell``: the rule must say so."""

    hit: tuple[str, ...] = ()
    observed: tuple[tuple[str, float], ...] = ()
    cannot_tell: bool = False


@dataclass(frozen=True)
class Case:
    """Canonical tables (``transactions``, ``accounts``, ``parties``, ``rates``; ``identifiers`` and
    ``intel`` where the case gives them) and an expectation."""

    rule_id: str
    name: str
    near_miss: bool
    base: str
    tables: Mapping[str, pl.DataFrame]
    expect: Expectation
    location: Location


def case_file(rule: Rule) -> Path:
    """Where the cases of a rule stand: ``cases/<rule>.yaml`` beside it."""
    path = Path(rule.location.file)
    return path.parent / "cases" / path.name


def load_cases(rule: Rule) -> tuple[tuple[Case, ...], tuple[Diagnostic, ...]]:
    """Cases of a rule, and what is wrong with their file. A wrong case is left out."""
    findings = Findings()
    path = case_file(rule)
    if not path.is_file():
        findings.add("R060", f"no cases: {path}", rule.location, "write a hit and a near miss")
        return (), bounded(findings.items)
    node = read(path, findings)
    if node is None:
        return (), bounded(findings.items)
    top = Fields(node, findings)
    top.check(("cases", "defaults", "base", "rates"), ("cases",))
    listed = node.get("cases")
    if listed is not None and not isinstance(listed, Sequence):
        top.wrong("cases", "a list of cases", listed)
    cases: list[Case] = []
    room = MAX_FILE_ENTRIES
    for item in listed.items if isinstance(listed, Sequence) else ():
        if room <= 0:
            findings.add("R063", f"more than {MAX_FILE_ENTRIES:,} entries in one file", item.span)
            break
        if not isinstance(item, Keys):
            top.wrong("cases", "items with name, entries and expect", item)
            continue
        before = len(findings.items)
        case = _Builder(rule, top, Fields(item, findings)).build()
        room -= case.tables["transactions"].height
        if len(findings.items) == before:
            cases.append(case)
    return tuple(cases), bounded(findings.items)


def case_findings(rule: Rule) -> Iterator[Diagnostic]:
    """R060 to R063: no cases, no hit, no near miss, a case that cannot be read."""
    cases, findings = load_cases(rule)
    yield from findings
    if findings and not cases:
        return
    place = Location(str(case_file(rule)), 1, 1)
    if not any(c.expect.hit for c in cases):
        yield Diagnostic("R061", "no case expects a hit", place, "expect: {hit: <account>}")
    if not any(c.near_miss for c in cases):
        yield Diagnostic("R062", "no near miss", place, "near_miss: true, expect: {hit: none}")


class _Builder:
    """Makes one case."""

    def __init__(self, rule: Rule, top: Fields, fields: Fields) -> None:
        self.rule, self.top, self.fields = rule, top, fields
        self.findings = fields.findings

    def build(self) -> Case:
        fields = self.fields
        fields.check(CASE_KEYS, ("name", "entries", "expect"))
        base = fields.text("base", self.top.text("base", "USD"))
        rates = {base: Decimal(1)} | self._rates()
        payments = [self._payment(n, row, rates, base) for n, row in enumerate(self._entries(), start=1)]
        first_day = min((p["booked_at"] for p in payments if isinstance(p["booked_at"], datetime)), default=None)
        since = first_day.date() if first_day else date(2000, 1, 1)
        rate_rows: list[Row] = [
            {"date": since, "currency": code, "base": base, "rate": rate}
            for code, rate in rates.items()
            if code != base
        ]
        near_miss = fields.choice("near_miss", ("true", "false"), "false") == "true"
        expect = self._expectation()
        if near_miss and (expect.hit or expect.cannot_tell):
            self._wrong("a near miss expects {hit: none}", fields.node.get("near_miss"))
        return Case(
            rule_id=self.rule.id,
            name=fields.text("name"),
            near_miss=near_miss,
            base=base,
            tables={
                "transactions": frame_of(payments, TRANSACTIONS),
                "accounts": frame_of(keyed_rows(fields, "accounts", ACCOUNTS), ACCOUNTS),
                "parties": frame_of(keyed_rows(fields, "parties", PARTIES), PARTIES),
                "rates": frame_of(rate_rows, RATES),
            }
            | {
                table.name: frame_of(rows, table)
                for table in (IDENTIFIERS, INTEL)
                if (rows := listed_rows(fields, table.name, table)) is not None
            },
            expect=expect,
            location=fields.node.span.location,
        )

    def _wrong(self, message: str, node: Node | None, hint: str | None = None) -> None:
        place = node.span if node is not None else self.fields.node.span
        self.findings.add("R063", message, place, hint)

    # -- what happened

    def _rates(self) -> dict[str, Decimal]:
        found = {}
        for fields in (self.top, self.fields):
            for key, node in fields.mapping("rates") or ():
                rate = as_number(node)
                if rate is None or not 1e-9 < rate < 1e9:
                    self._wrong(f"the rate of {key.value} must be a number above 0", node)
                elif isinstance(node, Scalar):
                    found[key.value] = Decimal(node.value)
        return found

    def _entries(self) -> Iterator[dict[str, Scalar]]:
        """Entries with defaults filled in, repeated as told."""
        defaults: dict[str, Node] = {}
        for fields in (self.top, self.fields):
            defaults |= {key.value: node for key, node in fields.mapping("defaults") or ()}
        listed = self.fields.node.get("entries")
        if not isinstance(listed, Sequence):
            self._wrong("'entries' takes a list of {at: …, amount: …}", listed)
            return
        count = 0
        for item in listed.items:
            if not isinstance(item, Keys):
                self._wrong("an entry is {at: …, amount: …}", item)
                continue
            own: dict[str, Node] = {key.value: node for key, node in item}
            for repeated in self._repeated(defaults | own, item):
                count += 1
                if count > MAX_ENTRIES:
                    self._wrong(f"more than {MAX_ENTRIES:,} entries", item)
                    return
                yield repeated

    def _repeated(self, row: dict[str, Node], item: Keys) -> Iterator[dict[str, Scalar]]:
        times, every = 1, timedelta(0)
        repeat = row.pop("repeat", None)
        if isinstance(repeat, Keys):
            fields = Fields(repeat, self.findings)
            fields.check(("times", "every"), ("times", "every"))
            times = min(fields.integer("times", 1) or 1, MAX_ENTRIES + 1)
            every = fields.timespan("every", timedelta(0)) or every
        elif repeat is not None:
            self._wrong("'repeat' takes {times: 6, every: 1d}", repeat)
        if not self._known_keys(row, item):
            return
        scalars = {name: node for name, node in row.items() if isinstance(node, Scalar)}
        start = self._moment(scalars["at"])
        if start is not None and times * every > timedelta(days=366 * _LONGEST):
            self._wrong(f"repeated over more than {_LONGEST} years", item)
            return
        for n in range(times if start else 0):
            filled = {k: Scalar(s.value.replace("{n}", str(n + 1)), s.span) for k, s in scalars.items()}
            if start is not None:
                filled["at"] = Scalar((start + n * every).isoformat(), scalars["at"].span)
            yield filled

    def _known_keys(self, row: dict[str, Node], item: Keys) -> bool:
        before = len(self.findings.items)
        for name, node in row.items():
            if name not in ENTRY_KEYS:
                hint = did_you_mean(name, ENTRY_KEYS)
                if name in ENTRIES:
                    hint = "it is worked out: from local_offset, accounts: or parties:"
                self._wrong(f"an entry has no '{name}'", node, hint)
            elif not isinstance(node, Scalar):
                self._wrong(f"'{name}' takes a single value", node)
        for name in ("at", "account", "direction", "amount"):
            if name not in row:
                self._wrong(f"an entry without '{name}'", item, "give it there or under defaults")
        return len(self.findings.items) == before

    def _moment(self, node: Scalar) -> datetime | None:
        try:
            moment = datetime.fromisoformat(node.value)
        except ValueError:
            self._wrong(f"'{node.value}' is no time", node, "such as 2025-03-01T20:00, UTC")
            return None
        if not 1900 <= moment.year <= 2100:
            self._wrong(f"'{node.value}' is not between 1900 and 2100", node)
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def _payment(self, number: int, row: dict[str, Scalar], rates: Mapping[str, Decimal], base: str) -> Row:
        def text(name: str) -> str | None:
            node = row.get(name)
            return None if node is None or node.empty else node.value

        direction = text("direction")
        if direction not in DIRECTIONS:
            self._wrong(f"'{direction}' is no direction", row["direction"], "in or out")
        own, other = ("debtor", "creditor") if direction == "out" else ("creditor", "debtor")
        currency = text("currency") or "USD"
        amount = self._decimal(row["amount"])
        rate = rates.get(currency)
        payment: Row = {
            "transaction_id": f"case:{number:05d}",
            "booked_at": datetime.fromisoformat(row["at"].value),
            "local_offset_minutes": self._offset(row.get("local_offset")),
            "amount": amount,
            "currency": currency,
            "amount_base": None if rate is None else (amount * rate).quantize(Decimal("0.00001")),
            f"{own}_account_id": text("account"),
            f"{other}_account_id": text("counterparty"),
            "status": "booked",
        }
        payment |= {name: text(name) for name in _CARRIED}
        payment |= {name: self._typed(row[name], name) for name in _COORDINATES if name in row}
        for part in _SIDES:
            payment[f"{own}_{part}"] = text(f"account_{part}")
            payment[f"{other}_{part}"] = text(f"counterparty_{part}")
        for name in ("channel", "instrument"):
            value, values = payment[name], TRANSACTIONS[name].values
            if value is not None and value not in values:
                hint = did_you_mean(str(value), values) or f"one of: {', '.join(values)}"
                self._wrong(f"'{name}' is never '{value}'", row.get(name), hint)
        return payment

    def _typed(self, node: Scalar, name: str) -> Value:
        return typed(node, TRANSACTIONS[name], self.findings)

    def _decimal(self, node: Scalar) -> Decimal:
        try:
            value = Decimal(node.value).quantize(Decimal("0.00001"))
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or not 0 < value < 10**12:
            self._wrong(f"'{node.value}' is no amount above 0", node)
            return Decimal(0)
        return value

    def _offset(self, node: Scalar | None) -> int | None:
        if node is None or node.empty:
            return None
        match = _OFFSET.fullmatch(node.value)
        if match is None:
            self._wrong("'local_offset' is written \"+08:00\"", node)
            return None
        minutes = int(match[2]) * 60 + int(match[3])
        return -minutes if match[1] == "-" else minutes

    # -- what the rule must say

    def _expectation(self) -> Expectation:
        node = self.fields.mapping("expect")
        if node is None:
            return Expectation()
        fields = Fields(node, self.findings)
        fields.check(("hit", "observed", "outcome"), ())
        if (node.get("hit") is None) == (node.get("outcome") is None):
            self._wrong(
                "'expect' takes hit or outcome", node, "{hit: <account>}, {hit: none} or {outcome: cannot_tell}"
            )
            return Expectation()
        if node.get("outcome") is not None:
            fields.choice("outcome", ("cannot_tell",))
            return Expectation(cannot_tell=True)
        listed = isinstance(node.get("hit"), Sequence)
        hit = fields.texts("hit") if listed else (fields.text("hit"),)
        observed = []
        for key, value in fields.mapping("observed") or ():
            amount = as_number(value)
            if key.value not in self.rule.shown:
                hint = did_you_mean(key.value, self.rule.shown)
                self._wrong(f"the rule has no measure '{key.value}'", key, hint)
            elif amount is None:
                self._wrong(f"'{key.value}' takes a number", value)
            else:
                observed.append((key.value, amount))
        return Expectation(tuple(sorted(h for h in hit if h != "none")), tuple(observed))
