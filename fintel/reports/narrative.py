"""The narrative: who, what, when, where, why, how, in plain neutral words.

Every sentence is a value that carries the entries it rests on, or names another source, and the
facts inside it, so that each number can be computed again from the payments. Nothing of the detector
(scores, rule ids, thresholds) is told; nothing is guessed.

Order of content as FinCEN asks for (FFIEC BSA/AML manual, appendix L): introduction, body,
conclusion. Wording keeps to people first and adds no detail that could hurt somebody who is
presumed to be a victim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from fintel.config import Filer
from fintel.domain.case import Case, CaseTransaction, Person, Role
from fintel.reports.comparisons import comparison_sentences
from fintel.reports.fincen_codes import key_terms, main_typologies
from fintel.reports.hops import hop_sentences
from fintel.reports.sentences import PAYMENTS, Fact, Sentence
from fintel.reports.text import cents, clean, count, day, known, money

#: FinCEN's schema annotates the last block with 17,000; this leaves room for the officer's words.
BUDGET = 15_000
MAX_LISTED = 12
MAX_OTHERS = 8
MAX_GROUPS = 16

_TYPOLOGY = {
    "OSEC": "online child sexual exploitation",
    "HT-SEX": "human trafficking for sexual exploitation",
    "HT-LABOUR": "human trafficking for forced labour",
    "SCAM-COMPOUND": "investment fraud run from scam centres",
    "SEXTORTION": "financially motivated sextortion",
    "ML-GENERAL": "money laundering",
}
_NOUNS: dict[tuple[str, str], tuple[str, str]] = {
    ("cash", "in"): ("cash deposit", "cash deposits"),
    ("cash", "out"): ("cash withdrawal", "cash withdrawals"),
    ("credit_transfer", ""): ("credit transfer", "credit transfers"),
    ("direct_debit", ""): ("direct debit", "direct debits"),
    ("card", ""): ("card payment", "card payments"),
    ("prepaid", ""): ("prepaid card payment", "prepaid card payments"),
    ("cheque", ""): ("check", "checks"),
    ("draft", ""): ("bank draft", "bank drafts"),
    ("money_order", ""): ("money order", "money orders"),
    ("gift_card", ""): ("gift card payment", "gift card payments"),
    ("crypto", ""): ("virtual currency transfer", "virtual currency transfers"),
    ("fx", ""): ("currency exchange", "currency exchanges"),
    ("fee", ""): ("fee", "fees"),
    ("reinvestment", ""): ("reinvestment", "reinvestments"),
}
_BY_CHANNEL = {
    "wire": ("wire transfer", "wire transfers"),
    "p2p": ("person-to-person transfer", "person-to-person transfers"),
    "mobile_transfer": ("mobile transfer", "mobile transfers"),
}
_THROUGH = {
    "branch": "at a branch", "atm": "at an ATM", "online": "online", "app": "in an app",
    "agent": "through an agent", "card_present": "with the card present",
    "card_not_present": "without the card present", "vasp": "through a virtual asset service provider",
    "kiosk": "at a kiosk",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Narrative:
    """Sentences in order. ``text`` is what goes into a filing: one line, parts named."""

    sentences: tuple[Sentence, ...]
    left_out: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in order."""
        return tuple(dict.fromkeys(s.part for s in self.sentences))

    def of(self, part: str) -> tuple[Sentence, ...]:
        """Sentences of one part."""
        return tuple(s for s in self.sentences if s.part == part)

    @property
    def text(self) -> str:
        """All sentences in one line; citations are for the officer's page and stay out."""
        parts = (f"{p.upper()}: " + " ".join(s.text for s in self.of(p)) for p in self.parts)
        return clean(" ".join(parts))


def noun_of(row: CaseTransaction) -> tuple[str, str]:
    """What a payment is called, one and many. Cash is cash whatever its channel; only a credit
    transfer over the wire channel is a wire."""
    kind = row.instrument or ""
    if kind == "credit_transfer" and row.channel in _BY_CHANNEL:
        return _BY_CHANNEL[row.channel]
    return _NOUNS.get((kind, row.direction)) or _NOUNS.get((kind, "")) or ("payment", "payments")


def write(case: Case, filer: Filer, on: date) -> Narrative:
    """The narrative of a case as of the filing day ``on``, within ``BUDGET`` characters.

    What does not fit is left out from the least important part on (single payments first: the
    attachment has them all) and counted.
    """
    made = [
        *_introduction(case, filer, on),
        *_who(case),
        *_what(case),
        *hop_sentences(case),
        *_listing(case),
        *_where(case),
        *comparison_sentences(case),
        *_conclusion(case, filer),
    ]
    used, kept = 0, set()
    for part in ("Introduction", "Conclusion", "Who", "Why", "What and how", "Where", "When"):
        for place, sentence in enumerate(made):
            if sentence.part == part and used + len(sentence.text) < BUDGET:
                used += len(sentence.text) + 1
                kept.add(place)
    return Narrative(tuple(s for i, s in enumerate(made) if i in kept), len(made) - len(kept))


def _ids(rows: Iterable[CaseTransaction]) -> tuple[str, ...]:
    return tuple(row.entry_id for row in rows)


def _span(rows: Sequence[CaseTransaction]) -> tuple[str, tuple[Fact, ...]]:
    first, last = min(r.day for r in rows), max(r.day for r in rows)
    facts = (Fact("first day", day(first), PAYMENTS), Fact("last day", day(last), PAYMENTS))
    return (f"On {day(first)}", facts) if first == last else (f"From {day(first)} to {day(last)}", facts)


def _sum(rows: Sequence[CaseTransaction], base: str) -> tuple[str, tuple[Fact, ...]]:
    """The sum in words: in the payments' own currency if they share one, and in the base currency if
    all have a value in it; "several currencies" if neither."""
    currencies = sorted({r.currency for r in rows})
    values = [r.amount_base for r in rows if r.amount_base is not None]
    own = money(sum((r.amount for r in rows), Decimal(0)), currencies[0]) if len(currencies) == 1 else ""
    value = money(cents(sum(values, Decimal(0))), base) if len(values) == len(rows) else ""
    facts = (Fact("sum", own, PAYMENTS), Fact("sum in base", value, PAYMENTS))
    given = tuple(f for f in facts if f.text)
    if not given:
        return "several currencies", ()
    if len(given) == 1 or own == value:
        return given[0].text, given[:1]
    return f"{own} (equal to {value})", given


def _of(rows: Sequence[CaseTransaction]) -> str:
    return "of" if len(rows) == 1 else "totalling"


def _who_says(filer: Filer) -> str:
    return known(filer.name, 150) or "The reporting institution"


def _introduction(case: Case, filer: Filer, on: date) -> Iterable[Sentence]:
    part = "Introduction"
    terms = key_terms(case, on)
    if terms:
        listed = ", ".join(t.term for t in terms)
        facts = tuple(Fact("key term", t.term, t.source) for t in terms)
        yield Sentence(part, f"{listed}.", (), facts, ", ".join(t.source for t in terms))
    rows = case.payments
    span, facts = _span(rows)
    total, sums = _sum(rows, case.base_currency)
    least = "at least " if case.truncated else ""
    number = count(len(rows), "payment")
    named = [_TYPOLOGY.get(t, "") for t in main_typologies(case)]
    about = " and ".join(n for n in named if n) or "unusual activity"
    says = _who_says(filer)
    match, they = ("matches", "it") if len(rows) == 1 else ("match", "they")
    yield Sentence(
        part,
        f"{says} reports {least}{number} that {match} published indicators of {about}.",
        _ids(rows),
        (Fact("payments", number, PAYMENTS), Fact("filer", says, "filer settings")),
    )
    yield Sentence(part, f"{span} {they} moved {least}{total}.", _ids(rows), (*facts, *sums))


def _described(person: Person) -> tuple[str, tuple[Fact, ...]]:
    """A person's record in words, with only what is on record."""
    facts: list[Fact] = []
    source = "customer record" if person.customer else "payment and account records"

    def fact(name: str, value: str | None, limit: int = 150) -> str:
        text = known(value, limit)
        if text is None:
            return ""
        facts.append(Fact(name, text, source))
        return text

    bits = [fact("name", person.label) or "a person or organisation whose name is not on record"]
    if person.birth_date and not person.is_organisation:
        bits.append(f"born on {fact('birth date', day(person.birth_date))}")
    place = [
        fact("address", person.address),
        fact("city", person.city),
        fact("state", person.state, 3),
        fact("postcode", person.postcode, 16),
        fact("country", person.country, 2),
    ]
    if any(place):
        bits.append(("address " if any(place[:-1]) else "country ") + " ".join(p for p in place if p))
    for words, name, value in (
        ("occupation", "occupation", person.occupation),
        ("line of business", "industry", person.industry),
        ("phone", "phone", person.phone),
        ("e-mail", "e-mail", person.email),
    ):
        if text := fact(name, value):
            bits.append(f"{words} {text}")
    for account in person.accounts:
        number = fact("account", account.number, 64)
        agent = fact("bank", account.agent)
        bits.append(f"account {number}" + (f" at {agent}" if agent else ""))
        if account.opened_on:
            bits.append(f"opened on {fact('opened', day(account.opened_on))}")
    return ", ".join(bits), tuple(facts)


def _who(case: Case) -> Iterable[Sentence]:
    part = "Who"
    holder, role = case.holder, case.holder.role
    rows = [t for t in case.evidence if t.account_id == case.account_id] or list(case.evidence)
    words, facts = _described(holder)
    source = "customer record" if holder.customer else "payment and account records"
    yield Sentence(part, f"The account holder is {words}.", _ids(rows), facts, source)
    if role is Role.PRESUMED_VICTIM:
        text = "The account holder is presumed to be a victim and is not reported as a subject."
        yield Sentence(part, text, _ids(rows), (), "FinCEN: a victim is not a subject")
    elif role is Role.POSSIBLE_BOTH:
        text = "The account holder may be a victim and is not reported as a subject."
        yield Sentence(part, text, _ids(rows), (), "FinCEN: a victim is not a subject")
    elif role.may_be_subject:
        yield Sentence(part, "The account holder is reported as a subject.", _ids(rows))
    first = case.period[0]
    for person in sorted(case.minors, key=lambda p: p.key != holder.key):
        who = "The account holder" if person.key == holder.key else (known(person.label, 150) or "A person")
        age = f"{person.age_on(first)} years"
        facts = (Fact("name", who, source), Fact("age", age, source), Fact("day", day(first), PAYMENTS))
        text = f"{who} was {age} old on {day(first)} by the record."
        yield Sentence(part, text, _ids(rows), facts, "customer record")
    if not role.may_be_subject:
        yield from _orders(part, [t for t in rows if t.direction == "out"])
    for person in case.subjects:
        if person.key == holder.key:
            continue
        theirs = _with(case, person)
        words, facts = _described(person)
        text = f"Payments were received by {words}; what part they had is not known."
        yield Sentence(part, text, _ids(theirs), facts, "payment and account records")
    if not case.subjects:
        yield Sentence(part, "No subject is known.", _ids(rows), (), "payment and account records")


def _orders(part: str, rows: Sequence[CaseTransaction]) -> Iterable[Sentence]:
    """Addresses from which a presumed victim's payments were ordered: narrative only."""
    for address in sorted({clean(r.ip_address, 39) for r in rows if r.ip_address})[:5]:
        theirs = [r for r in rows if clean(r.ip_address, 39) == address]
        number = count(len(theirs), "payment")
        facts = (Fact("count", number, PAYMENTS), Fact("IP address", address, PAYMENTS))
        text = f"IP address {address} ordered {number} from the holder's account."
        yield Sentence(part, text, _ids(theirs), facts)


def _with(case: Case, person: Person) -> list[CaseTransaction]:
    keys = {person.key, *(a.account_id for a in person.accounts)}
    return [t for t in case.evidence if t.counterparty_key in keys]


def _what(case: Case) -> Iterable[Sentence]:
    part = "What and how"
    groups: dict[tuple[str, tuple[str, str], str, str], list[CaseTransaction]] = {}
    for row in case.evidence:
        through = _THROUGH.get(row.channel or "", "")
        groups.setdefault((row.direction, noun_of(row), through, row.currency), []).append(row)
    largest = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))[:MAX_GROUPS]
    for (direction, nouns, through, _), rows in sorted(largest, key=lambda g: (g[0][0], g[1][0].day, g[0])):
        span, facts = _span(rows)
        total, sums = _sum(rows, case.base_currency)
        number = count(len(rows), *nouns)
        verb = "credited to" if direction == "in" else "debited from"
        were = "was" if len(rows) == 1 else "were"
        whose = _account_words(case, rows)
        how = f" made {through}" if through else ""
        text = f"{span}, {number} {_of(rows)} {total}{how} {were} {verb} {whose}."
        yield Sentence(part, text, _ids(rows), (Fact("count", number, PAYMENTS), *facts, *sums))
    for person in case.others[:MAX_OTHERS]:
        for direction in ("in", "out"):
            rows = [t for t in _with(case, person) if t.direction == direction]
            if rows:
                yield _other_side(case, person, direction, rows)


def _account_words(case: Case, rows: Sequence[CaseTransaction]) -> str:
    alone = {r.account_id for r in rows} == {case.account_id}
    return "the account" if alone else "the account and linked accounts"


def _other_side(case: Case, person: Person, direction: str, rows: Sequence[CaseTransaction]) -> Sentence:
    facts = []
    name = known(person.label, 150)
    bits = [name or "a person or organisation whose name is not on record"]
    if name:
        facts.append(Fact("name", name, PAYMENTS))
    for account in person.accounts[:1]:
        number = known(account.number, 64)
        if number:
            bits.append(f"account {number}")
            facts.append(Fact("account", number, PAYMENTS))
        if agent := known(account.agent, 100):
            bits.append(f"at {agent}")
            facts.append(Fact("bank", agent, PAYMENTS))
    country = known(rows[0].counterparty_country, 2)
    if country:
        bits.append(f"country {country}")
        facts.append(Fact("country", country, PAYMENTS))
    who = ", ".join(bits)
    span, days = _span(rows)
    total, sums = _sum(rows, case.base_currency)
    number = count(len(rows), "payment")
    came = "came from" if direction == "in" else "went to"
    text = f"{span}, {number} {_of(rows)} {total} {came} {who}."
    return Sentence("What and how", text, _ids(rows), (*facts, Fact("count", number, PAYMENTS), *days, *sums))


def _listing(case: Case) -> Iterable[Sentence]:
    """The largest payments one by one, in time order; the attachment has them all."""
    part = "When"
    rows = sorted(case.payments, key=lambda r: (-(r.amount_base or r.amount), r.entry_id))[:MAX_LISTED]
    for row in sorted(rows, key=lambda r: (r.booked_at, r.entry_id)):
        amount = money(row.amount, row.currency)
        verb = "credited" if row.direction == "in" else "debited"
        name = known(row.counterparty_name, 80) or known(row.merchant_name, 80)
        side = "from" if row.direction == "in" else "to"
        facts = [Fact("first day", day(row.day), PAYMENTS), Fact("sum", amount, PAYMENTS)]
        who = ""
        if name:
            who = f" {side} {name}"
            facts.append(Fact("name", name, PAYMENTS))
        text = f"{day(row.day)}: {noun_of(row)[0]} of {amount} {verb}{who}."
        yield Sentence(part, text, (row.entry_id,), tuple(facts))


def _where(case: Case) -> Iterable[Sentence]:
    part = "Where"
    for direction, words in (("in", "came from"), ("out", "went to")):
        rows = [t for t in case.evidence if t.direction == direction and known(t.counterparty_country, 2)]
        codes = sorted({clean(t.counterparty_country, 2) for t in rows})
        if codes:
            facts = tuple(Fact("country", c, PAYMENTS) for c in codes)
            noun = "country" if len(codes) == 1 else "countries"
            yield Sentence(part, f"Payments {words} the {noun} {', '.join(codes)}.", _ids(rows), facts)
    placed = [t for t in case.evidence if t.place_id or t.place_city]
    names = {_place(t) for t in placed}
    if names:
        number = count(len(names), "place")
        shown = sorted(names)[:10]
        facts = (Fact("places", number, PAYMENTS), *(Fact("place", n, PAYMENTS) for n in shown))
        such = "" if len(shown) == len(names) else "among them "
        text = f"Payments were made at {number}: {such}{'; '.join(shown)}."
        yield Sentence(part, text, _ids(placed), facts)


def _place(row: CaseTransaction) -> str:
    parts = (known(row.place_id, 40), known(row.place_city, 50), known(row.place_country, 2))
    return ", ".join(p for p in parts if p) or "a place without a name"


def _conclusion(case: Case, filer: Filer) -> Iterable[Sentence]:
    part = "Conclusion"
    rows = case.payments
    text = "The payments are listed in the attached file and rest on the records of the reporting institution."
    yield Sentence(part, text, _ids(rows))
    if case.truncated:
        text = "More payments of the same kind are on record than are listed."
        yield Sentence(part, text, _ids(rows))
    if office := known(filer.contact_office, 150):
        fact = Fact("contact office", office, "filer settings")
        text = f"Supporting records can be asked for at {office}."
        yield Sentence(part, text, (), (fact,), "filer settings")
