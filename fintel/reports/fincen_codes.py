"""Code lists of FinCEN's SAR batch format (SARX 1.2) and what chooses among them.

Source: EFL_SARXBatchSchema.xsd v1.2 of 12/17/2021 (https://www.fincen.gov/base/EFL_SARXBatchSchema.xsd)
for the lists; the advisories named below for the key terms.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from fintel.domain.case import Case, CaseReason, CaseTransaction

REGULATORS = frozenset({"1", "2", "3", "4", "6", "7", "9", "13", "99"})
ORGANISATION_TYPES = frozenset({"1", "2", "3", "4", "5", "11", "12", "999"})
MSB = "4"
SUBTYPES: dict[int, frozenset[int]] = {
    1: frozenset({106, 111, 112, 113, 114, 1999}),
    3: frozenset({301, 304, 305, 308, 309, 310, 312, 320, 321, 322, 323, 324, 325, 3999}),
    4: frozenset({401, 402, 403, 404, 405, 409, 4999}),
    5: frozenset({501, 502, 504, 505, 506, 507, 5999}),
    6: frozenset({601, 603, 604, 608, 609, 6999}),
    7: frozenset({701, 7999}),
    8: frozenset({801, 804, 805, 806, 807, 808, 809, 812, 820, 821, 822, 823, 824, 8999}),
    9: frozenset({901, 903, 904, 905, 907, 908, 909, 910, 911, 913, 917, 920, 921, 922, 924, 925, 926, 927, 928, 9999}),
    10: frozenset({1001, 1003, 1005, 1006, 1007, 10999}),
    11: frozenset({1101, 1102, 11999}),
    12: frozenset({1201, 1202, 1203, 1204, 12999}),
}  # fmt: skip
PRODUCTS = frozenset({2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 46, 47, 30})
MEANS = frozenset({31, 32, 33, 34, 35, 36, 37, 38, 39, 41})
OTHER_MEANS = 41
#: Countries whose states the form asks for.
STATED = frozenset({"US", "CA", "MX"})
#: Words that stand for nothing; the format has a box for "unknown" instead.
FILLER = frozenset({
    "UNKNOWN", "N/A", "NA", "NONE", "NULL", "XX", "XXX", "SAME AS ABOVE", "NOT APPLICABLE", "TBD", "-", ".",
})  # fmt: skip
CTR_THRESHOLD = 10_000


@dataclass(frozen=True, slots=True)
class KeyTerm:
    """What an advisory wants in a report: the term of field 2 and narrative, and its code."""

    typology: str
    term: str
    code: int
    other_text: str | None
    since: date
    source: str
    alone: bool = False


KEY_TERMS = (
    KeyTerm("HT-SEX", "HUMAN TRAFFICKING FIN-2020-A008", 927, None, date(2020, 10, 15), "FIN-2020-A008"),
    KeyTerm("HT-LABOUR", "HUMAN TRAFFICKING FIN-2020-A008", 927, None, date(2020, 10, 15), "FIN-2020-A008"),
    KeyTerm("OSEC", "OCSE-FIN-2021-NTC3", 9999, "OCSE", date(2021, 9, 16), "FIN-2021-NTC3", alone=True),
    KeyTerm("SEXTORTION", "FIN-2025-SEXTORTION", 9999, "SEXTORTION", date(2025, 9, 8), "FIN-2025-NTC2"),
    KeyTerm("SCAM-COMPOUND", "FIN-2023-PIGBUTCHERING", 3999, "PIG BUTCHERING", date(2023, 9, 8), "FIN-2023-Alert005"),
)  # fmt: skip

#: Field 2 holds 50 characters: with several advisories only their identifiers stand there.
_SHORT = {"HUMAN TRAFFICKING FIN-2020-A008": "FIN-2020-A008"}
#: A second typology is reported too from this share of the first one's evidence on.
SECOND_TYPOLOGY = 0.5


@dataclass(frozen=True, slots=True)
class Classification:
    """One suspicious activity: type, subtype and, for "other", its text."""

    type: int
    subtype: int
    other_text: str | None = None


def type_of(subtype: int) -> int | None:
    """The type that a subtype belongs to, None if there is no such subtype."""
    return next((t for t, subtypes in SUBTYPES.items() if subtype in subtypes), None)


def main_typologies(case: Case) -> tuple[str, ...]:
    """The strongest typology by evidence of rules, and those close behind it."""
    bits: dict[str, float] = {}
    for reason in case.reasons:
        if reason.typology and reason.origin == "rule":
            bits[reason.typology] = bits.get(reason.typology, 0.0) + max(reason.bits, 0.0)
    if not bits:
        return case.typologies[:1]
    floor = SECOND_TYPOLOGY * max(bits.values())
    return tuple(sorted((t for t, b in bits.items() if b >= floor), key=lambda t: (-bits[t], t)))


def key_terms(case: Case, on: date) -> tuple[KeyTerm, ...]:
    """Terms in force on the filing day, strongest typology first, each term once."""
    found = (k for t in main_typologies(case) for k in KEY_TERMS if k.typology == t and k.since <= on)
    return tuple({k.term: k for k in found}.values())


def field_two(terms: Iterable[KeyTerm]) -> str | None:
    """The note to FinCEN: one term in full; several as identifiers; a term that wants to stand alone
    (FIN-2021-NTC3) alone."""
    wanted = tuple(terms)
    if not wanted:
        return None
    for term in wanted:
        if term.alone:
            return term.term
    if len(wanted) == 1:
        return wanted[0].term
    short = [_SHORT.get(t.term, t.term) for t in wanted]
    while len(" ".join(short)) > 50:
        short.pop()
    return " ".join(short)


def is_structuring(reason: CaseReason) -> bool:
    """AMLTRIX T0016 (structuring) and its children, or a rule that says so in its name."""
    named = "structur" in f"{reason.name} {reason.title}".lower()
    return named or any(t.split(".")[0] == "T0016" for t in reason.techniques)


def classifications(case: Case, on: date) -> tuple[Classification, ...]:
    """Codes that typology and facts support; never by an amount alone. The officer may change them."""
    codes: dict[int, str | None] = {}
    others: list[str] = []
    for term in key_terms(case, on):
        if term.code == 9999 and term.other_text:
            others.append(term.other_text)
        else:
            codes[term.code] = term.other_text
    if others:
        codes[9999] = " ".join(others)[:50].rstrip()
    proof = {t.entry_id: t for t in case.evidence}
    for reason in case.reasons:
        rows = [proof[e] for e in reason.evidence]
        for code in _by_facts(reason, rows):
            codes.setdefault(code, None)
    if len({t.account_id for t in case.evidence}) > 1:
        codes.setdefault(807, None)
    if not codes:
        codes[8999] = "FLOW OF FUNDS DESCRIBED IN NARRATIVE"
    return tuple(Classification(type_of(c) or 0, c, codes[c]) for c in sorted(codes))


def _by_facts(reason: CaseReason, rows: list[CaseTransaction]) -> list[int]:
    codes: list[int] = []
    families = {t.split(".")[0] for t in reason.techniques}
    cash = [t for t in rows if t.instrument == "cash"]
    if is_structuring(reason) and cash:
        # A limit is avoided only where the parts are below it and the whole is not.
        values = [t.amount_base for t in cash if t.amount_base is not None]
        if len(values) == len(cash) and max(values) < CTR_THRESHOLD <= sum(values):
            codes.append(114)
    if "T0083" in families:
        codes.append(824)
    if reason.techniques and set(reason.techniques) & {"T0013.001", "T0013.004"}:
        codes += [909, 913]
    if any(t.instrument == "credit_transfer" for t in rows):
        codes.append(805)
    senders = {t.counterparty_key for t in rows if t.direction == "in" and t.counterparty_key}
    if len(senders) >= 3:
        codes.append(809)
    if {"in", "out"} <= {t.direction for t in rows} and families & {"T0070", "T0105", "T0083"}:
        codes.append(821)
    if len({t.place_id or t.place_city for t in rows if t.place_id or t.place_city}) >= 3:
        codes.append(910)
    if any(c.own_normal is not None and c.own_points > 0 and c.observed > 2 * c.own_normal for c in reason.clauses):
        codes.append(812)
    return codes


def assets(case: Case) -> tuple[tuple[int, int, str | None], ...]:
    """Products and payment instruments of the evidence: (subtype, type, text for "other").

    Cash is currency (39 dollars, 32 foreign), never a funds transfer. What has no code of its own is
    named as other.
    """
    found: dict[int, None] = {}
    named: dict[str, None] = {}
    plain = {"credit_transfer": 33, "direct_debit": 33, "cheque": 37, "draft": 31, "money_order": 36, "prepaid": 16}
    words = {"gift_card": "GIFT CARD", "crypto": "VIRTUAL CURRENCY", "card": "PAYMENT CARD", "fx": "CURRENCY EXCHANGE"}
    products = {a.account_id: (a.product or "").lower() for p in case.people for a in p.accounts}
    for row in case.evidence:
        kind = row.instrument or ""
        product = products.get(row.account_id, "")
        if kind == "cash":
            found[39 if row.currency == "USD" else 32] = None
        elif kind == "card" and "credit" in product:
            found[5] = None
        elif kind == "card" and "debit" in product:
            found[6] = None
        elif kind in plain:
            found[plain[kind]] = None
        elif kind in words:
            named[words[kind]] = None
        if any(word in product for word in ("current", "checking", "savings", "deposit")):
            found[46] = None
    made = [(c, 5 if c in PRODUCTS else 6, None) for c in sorted(found)]
    other = [(OTHER_MEANS, 6, ", ".join(sorted(named))[:50])] if named else []
    return (*made, *other)
