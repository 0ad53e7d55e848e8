"""Why the activity is unusual: published indicators, the account's own normal, comparable accounts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from fintel.domain.case import Case, CaseClause, CaseReason, CaseTransaction
from fintel.errors import Diagnostic, Severity
from fintel.reports.sentences import PAYMENTS, Fact, Sentence
from fintel.reports.text import cents, clean, count, day, money, number

#: Citations told for one pattern; the page has them all.
MAX_CITATIONS = 3
#: A comparison with peers is told from the upper quarter on; below, it says nothing unusual.
HIGH_AMONG_PEERS = 75

_DISTINCT: dict[str, tuple[str, str, str]] = {
    "counterparty_id": ("counterparty_key", "other party", "other parties"),
    "counterparty_country": ("counterparty_country", "country", "countries"),
    "counterparty_agent": ("counterparty_agent", "bank or agent", "banks or agents"),
    "place_id": ("place_id", "place", "places"),
    "place_city": ("place_city", "city", "cities"),
    "local_date": ("day", "day", "days"),
    "device_id": ("device_id", "device", "devices"),
    "ip_address": ("ip_address", "IP address", "IP addresses"),
    "merchant_name": ("merchant_name", "merchant", "merchants"),
    "account_id": ("account_id", "account", "accounts"),
    "currency": ("currency", "currency", "currencies"),
}


def recomputed(clause: CaseClause, rows: Sequence[CaseTransaction]) -> float | None:
    """The clause's value from its own evidence rows; None where its kind cannot be told in words."""
    if clause.kind == "count":
        return float(len(rows))
    if clause.kind == "distinct" and clause.column in _DISTINCT:
        seen = {getattr(r, _DISTINCT[clause.column][0]) for r in rows}
        return float(len(seen - {None}))
    amounts = [r.amount_base if clause.column == "amount_base" else r.amount for r in rows]
    if clause.column not in ("amount", "amount_base") or any(a is None for a in amounts):
        return None
    values = [a for a in amounts if a is not None]
    if clause.kind == "sum":
        return float(sum(values, Decimal(0)))
    if clause.kind in ("min", "max") and values:
        return float(min(values) if clause.kind == "min" else max(values))
    return None


def _rows(case: Case, clause: CaseClause) -> list[CaseTransaction]:
    proof = {t.entry_id: t for t in case.transactions}
    return [proof[e] for e in clause.evidence]


def disagreements(case: Case) -> tuple[Diagnostic, ...]:
    """Clauses whose frozen value is not what their evidence rows make: such numbers are not told."""
    found = []
    for reason in case.reasons:
        for clause in reason.clauses:
            value = recomputed(clause, _rows(case, clause))
            if value is None or clause.truncated or _same(value, clause.observed):
                continue
            message = f"{clause.measure} is {number(clause.observed)} in the run, {number(value)} by its rows"
            hint = "the sentence was left out; look at the payments before filing"
            found.append(Diagnostic("S130", message, hint=hint, severity=Severity.WARNING))
    return tuple(found)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(1.0, abs(a), abs(b))


def comparison_sentences(case: Case) -> Iterable[Sentence]:
    """Indicators cited by the reasons, then each comparison that says something, each once."""
    made: dict[str, Sentence] = {}
    for reason in case.reasons:
        if reason.evidence and (sentence := _pattern(reason)):
            made.setdefault(sentence.text, sentence)
    for reason in case.reasons:
        for clause in reason.clauses:
            for sentence in _compared(case, clause):
                made.setdefault(sentence.text, sentence)
    return tuple(made.values())


def _pattern(reason: CaseReason) -> Sentence | None:
    """What the payments look like, in the words of the rule's title, and who published that."""
    title = clean(reason.title, 200).rstrip(".")
    cited = "; ".join(list(dict.fromkeys(clean(c, 250).rstrip(".") for c in reason.indicators))[:MAX_CITATIONS])
    if not title:
        return None
    facts = [Fact("pattern", title, "rule's title")]
    text = f"The payments show this pattern: {title}"
    if cited:
        facts.append(Fact("citations", cited, "published indicators"))
        text += f" (published indicators: {cited})"
    return Sentence(
        "Why", f"{text}.", reason.evidence, tuple(facts), "published indicators" if cited else "rule's title"
    )


def _compared(case: Case, clause: CaseClause) -> Iterable[Sentence]:
    if clause.baseline:
        return
    rows = _rows(case, clause)
    value = recomputed(clause, rows)
    above = clause.operator in (">", ">=") and clause.own_normal is not None
    ranked = clause.operator in (">", ">=") and clause.peer_percentile is not None
    if value is None or not rows or not (above or ranked):
        return
    if clause.column == "amount" and clause.kind == "sum" and len({r.currency for r in rows}) > 1:
        return
    if not clause.truncated and not _same(value, clause.observed):
        return
    words = _value_words(case, clause, rows, value)
    # The window's start is exclusive, so the payments' own days say it better.
    first, last = min(r.day for r in rows), max(r.day for r in rows)
    span = f"On {day(first)}" if first == last else f"From {day(first)} to {day(last)}"
    least = "at least " if clause.truncated else ""
    facts = [
        Fact("first day", day(first), PAYMENTS),
        Fact("last day", day(last), PAYMENTS),
        Fact(_fact_name(clause), words, PAYMENTS),
    ]
    text = f"{span} the records show {least}{words}"
    if above and clause.own_normal is not None and clause.own_points > 0 and value > clause.own_normal:
        usual = _plain(case, clause, clause.own_normal)
        points = count(clause.own_points, "earlier comparable moment")
        text += f", where the usual value for this account is {usual} (median of {points})"
        facts += [Fact("own normal", usual, "account history"), Fact("points", points, "account history")]
    if ranked and clause.peer_percentile is not None and clause.peer_percentile >= HIGH_AMONG_PEERS:
        share = f"{int(clause.peer_percentile * 10) / 10:g} percent"
        text += f"; this is more than the highest such value at {share} of comparable accounts"
        facts.append(Fact("peers", share, "comparable accounts"))
    if len(facts) > 3:
        yield Sentence("Why", f"{text}.", clause.evidence, tuple(facts))


def _fact_name(clause: CaseClause) -> str:
    if clause.kind == "count":
        return "count"
    if clause.kind == "distinct":
        return f"distinct {_DISTINCT[clause.column][0]}"
    return f"{clause.kind} {clause.column}"


def _value_words(case: Case, clause: CaseClause, rows: Sequence[CaseTransaction], value: float) -> str:
    direction = {r.direction for r in rows}
    kind = {"in": "incoming ", "out": "outgoing "}.get("".join(direction), "")
    if clause.kind == "count":
        return count(int(value), f"{kind}payment")
    if clause.kind == "distinct":
        _, one, many = _DISTINCT[clause.column]
        return count(int(value), one, many)
    shown = _plain(case, clause, value)
    return {
        "sum": f"{kind}payments totalling {shown}",
        "min": f"{kind}payments of at least {shown}",
        "max": f"{kind}payments of up to {shown}",
    }[clause.kind]


def _plain(case: Case, clause: CaseClause, value: float) -> str:
    if clause.kind in ("count", "distinct"):
        return number(value)
    exact = Decimal(str(round(value, 5)))
    if clause.column == "amount_base":
        return money(cents(exact), case.base_currency)
    currencies = {r.currency for r in _rows(case, clause)}
    return money(exact, currencies.pop()) if len(currencies) == 1 else f"{exact:,.2f}"
