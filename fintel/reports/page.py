"""The draft as one readable page, for the officer who decides.

Self-contained: no script, no outside resource; a content security policy allows exactly the two
style blocks by their hashes. Every value is escaped: names and payment texts come from strangers.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape

from fintel.domain.case import Case, CaseReason, CaseTransaction, Missing, Person, Role
from fintel.domain.detection import BOUND, MOTIF
from fintel.errors import Diagnostic, Severity
from fintel.reports import pictures
from fintel.reports.narrative import Narrative
from fintel.reports.sentences import Sentence
from fintel.reports.text import cents, clean, count, money, number

MAX_ROWS = 300
MAX_CITED = 4

STYLE = """
:root{--paper:#fff;--ink:#1d2530;--soft:#56616d;--line:#d5dbe1;--wash:#f4f6f8;--warn:#8a3a00;--warnbg:#fff1e0;--link:#125a9c}
@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e8ecf1;--soft:#a3afbb;--line:#38424d;--wash:#1c2229;--warn:#ffc38a;--warnbg:#3a2408;--link:#7ab8f5}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:0 1rem 4rem}h1{font-size:1.5rem;margin:1.2rem 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line);padding-bottom:.2rem}h3{font-size:1rem;margin:1rem 0 .2rem}
.banner{background:var(--warnbg);color:var(--warn);padding:.7rem 1rem;font-weight:600;text-align:center;border-bottom:2px solid}
.note{background:var(--warnbg);color:var(--warn);padding:.6rem .9rem;border-left:4px solid;margin:.8rem 0}
p{margin:.3rem 0 .6rem;max-width:46rem}.soft{color:var(--soft)}a{color:var(--link)}.cite{font-size:.78em;color:var(--soft);white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:.86rem}th,td{text-align:left;vertical-align:top;padding:.3rem .5rem;border-bottom:1px solid var(--line)}
th{background:var(--wash);font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.d{white-space:nowrap}td{overflow-wrap:break-word;max-width:22rem}
.wide{overflow-x:auto;margin:.4rem 0 1rem}tr.context td{color:var(--soft)}tr:target td{background:var(--warnbg)}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
svg{max-width:100%;height:auto}@media print{.wide{overflow:visible}}
"""  # noqa: E501

_KINDS = {MOTIF: "the money's way", BOUND: "a search was cut short: numbers of the graph may be too low"}
_ROLES = {
    Role.SUSPECTED_OFFENDER: "suspected (proposed by the rules; you decide)",
    Role.FACILITATOR: "facilitator (proposed; you decide)",
    Role.PRESUMED_VICTIM: "presumed victim: not a subject of this report",
    Role.POSSIBLE_BOTH: "possibly victim and participant: you decide, not a subject until then",
    Role.UNKNOWN: "part not known",
}
TO_ADD = (
    "Earlier reports on the same people or accounts, with their document numbers.",
    "What was done: monitoring, contact with the customer, restrictions, and by whom it was decided.",
    "Behaviour that staff saw, and which staff, by office.",
    "Whether law enforcement was called. Where somebody is in danger now, call first, then file.",
    "Whether each proposed role is right; a person who may be a victim is not a subject.",
)


def render_page(
    case: Case,
    narrative: Narrative,
    *,
    missing: Sequence[Missing],
    findings: Sequence[Diagnostic],
    schema_checked: str,
    made_at: datetime,
) -> str:
    """The page.

    Parameters
    ----------
    missing: facts the XML lacks.
    findings: of own checks, schema and recomputation.
    schema_checked: in words, whether the XSD was applied.
    made_at: given by the caller.
    """
    places = {t.entry_id: i for i, t in enumerate(case.transactions)}
    shown = _shown(case)
    anchors = {t.entry_id: places[t.entry_id] for t in shown}
    sections = [
        _summary(case, made_at),
        _protection(case),
        _completeness(missing, findings, schema_checked),
        _narrative(narrative, anchors),
        "<h2>For you to add or decide</h2><ul>" + "".join(f"<li>{escape(t)}</li>" for t in TO_ADD) + "</ul>",
        _people(case),
        "<h2>Over time</h2>" + pictures.timeline(_of_account(case), case.base_currency),
        _reasons(case),
        _transactions(case, shown, places),
    ]
    policy = " ".join(f"'sha256-{_hash(s)}'" for s in (STYLE, pictures.STYLE))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src {policy}; '
        "base-uri 'none'; form-action 'none'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        f"<title>DRAFT {_e(case.case_id)}</title><style>{STYLE}</style></head><body>"
        '<div class="banner" role="note">DRAFT. Not filed. Confidential: do not show it, or that it exists, '
        "to anybody it is about (31 USC 5318(g)(2)).</div>"
        "<main>" + "".join(sections) + "</main></body></html>\n"
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _e(text: str | None, limit: int = 400) -> str:
    return escape(clean(text, limit), quote=True)


def _summary(case: Case, made_at: datetime) -> str:
    first, last = case.period
    total = "not known in one currency" if case.total is None else money(cents(case.total), case.base_currency)
    flows = "; ".join(_flow(case, d) for d in ("in", "out"))
    facts = (
        ("Account", case.account_id),
        ("Holder", case.holder.label or "name not on record"),
        ("Evidence", f"{count(len(case.payments), 'payment')} from {first} to {last}"),
        ("Total", f"{total}, counted once each whether in or out ({flows})"),
        ("Typologies", ", ".join(case.typologies)),
        ("Run", case.run_id),
        ("Made", made_at.isoformat(timespec="seconds")),
    )
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{_e(v)}</dd>" for k, v in facts)
    return f"<h1>Draft suspicious activity report {_e(case.case_id)}</h1><dl>{rows}</dl>"


def _flow(case: Case, direction: str) -> str:
    rows = [t for t in case.evidence if t.direction == direction]
    values = [t.amount_base for t in rows if t.amount_base is not None]
    return f"{len(rows)} {direction}, {money(cents(sum(values, Decimal(0))), case.base_currency)}"


def _protection(case: Case) -> str:
    notes = []
    if case.minors:
        names = ", ".join(_e(p.label, 150) or "a person without a name" for p in case.minors)
        notes.append(
            f"<strong>Safeguarding.</strong> On record as under 18: {names}. Hand this to the safeguarding "
            "queue at once. Where a child may be in danger, call law enforcement before filing."
        )
    if case.holder.role is Role.PRESUMED_VICTIM:
        notes.append(
            "<strong>The account holder is presumed to be a victim.</strong> Their data stand in the narrative "
            "only. Do not freeze, close or restrict the account because of this draft without a trained "
            "investigator: it can put the person in danger or warn whoever controls them."
        )
    if case.holder.role is Role.POSSIBLE_BOTH:
        notes.append(
            "<strong>The account holder may be a victim, a participant, or both.</strong> The draft does not "
            "name them as subject. Decide that first. People who are made to commit offences need help."
        )
    return "".join(f'<div class="note" role="note">{n}</div>' for n in notes)


def _completeness(missing: Sequence[Missing], findings: Sequence[Diagnostic], schema: str) -> str:
    errors = sum(f.severity is Severity.ERROR for f in findings)
    if errors or missing:
        lead = (
            f'<div class="note"><strong>The XML cannot be filed as it is.</strong> '
            f"{count(len(missing), 'fact')} missing, {count(errors, 'error')} found by the checks.</div>"
        )
    else:
        lead = "<p>Nothing is missing and the checks found no error.</p>"
    rows = "".join(f"<tr><td>{_e(m.setting)}</td><td>{_e(m.where)}</td><td>{_e(m.why)}</td></tr>" for m in missing)
    table = _table(("Setting or column", "Where it belongs", "Why"), rows) if missing else ""
    checks = "".join(
        f"<tr><td>{_e(f.code)}</td><td>{_e(str(f.severity))}</td><td>{_e(f.message)}</td><td>{_e(f.hint)}</td></tr>"
        for f in findings
    )
    listed = _table(("Check", "Weight", "Finding", "Hint"), checks) if findings else ""
    return f'<h2>What is missing</h2>{lead}{table}{listed}<p class="soft">{_e(schema)}</p>'


def _table(head: Iterable[str], rows: str) -> str:
    cells = "".join(f"<th{' class=n' if h.startswith('#') else ''}>{escape(h.lstrip('#'))}</th>" for h in head)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>'


def _narrative(narrative: Narrative, anchors: dict[str, int]) -> str:
    parts = []
    for part in narrative.parts:
        said = " ".join(f"{_e(s.text, 2000)} {_cite(s, anchors)}" for s in narrative.of(part))
        parts.append(f"<h3>{escape(part)}</h3><p>{said}</p>")
    left = ""
    if narrative.left_out:
        left = f'<p class="soft">{count(narrative.left_out, "sentence")} left out for length.</p>'
    return f"<h2>Narrative</h2>{''.join(parts)}{left}"


def _cite(sentence: Sentence, anchors: dict[str, int]) -> str:
    cited = sorted(anchors[e] for e in sentence.evidence if e in anchors)[:MAX_CITED]
    links = [f'<a href="#t{n}">{n + 1}</a>' for n in cited]
    if len(sentence.evidence) > len(cited):
        links.append(f"{'and ' if links else ''}{len(sentence.evidence) - len(cited)} more")
    told = ", ".join(links)
    if sentence.source:
        told = f"{told}; {_e(sentence.source)}" if told else _e(sentence.source)
    return f'<span class="cite">[{told}]</span>'


def _people(case: Case) -> str:
    listed = sorted(case.people, key=lambda p: p.key != case.holder.key)[:50]
    subjects = {p.key for p in case.subjects}
    filed = {True: "subject (party 33)", False: "narrative only"}
    rows = "".join(_person(case, p, filed[p.key in subjects]) for p in listed)
    head = ("Name", "Part", "In the XML", "Born", "Country", "Accounts", "Flow")
    return f"<h2>People and organisations</h2>{_table(head, rows)}"


def _person(case: Case, person: Person, filed: str) -> str:
    part = _ROLES[person.role] if person.key == case.holder.key else "other side of payments"
    part = "account holder: " + part if person.key == case.holder.key else part
    accounts = ", ".join(a.account_id for a in person.accounts)
    cells = (
        person.label or "name not on record",
        part,
        filed,
        person.birth_date.isoformat() if person.birth_date else "",
        person.country or "",
        accounts,
        person.flow,
    )
    return "<tr>" + "".join(f"<td{' class=d' if i == 3 else ''}>{_e(c)}</td>" for i, c in enumerate(cells)) + "</tr>"


def _reasons(case: Case) -> str:
    picture = pictures.waterfall(case.prior, case.reasons, case.score)
    rows = "".join(_reason(r) for r in case.reasons)
    head = ("Reason", "Measure", "#Observed", "#Threshold", "#Own normal", "#Peers below")
    return (
        '<h2>Why it was raised</h2><p class="soft">For you, not for the filing: scores and rules stay out of the '
        f"narrative.</p>{picture}{_table(head, rows)}"
    )


def _reason(reason: CaseReason) -> str:
    cited = "".join(f'<br><span class="soft">{_e(c)}</span>' for c in dict.fromkeys(reason.indicators))
    words = f"{_e(reason.text)} ({reason.bits:+.2f} bits){cited}"
    if not reason.clauses:
        return f'<tr><td>{words}</td><td colspan="5" class="soft">no comparison kept</td></tr>'
    made = []
    for place, clause in enumerate(reason.clauses):
        lead = f'<td rowspan="{len(reason.clauses)}">{words}</td>' if place == 0 else ""
        threshold = f"{clause.operator or ''} {number(clause.threshold)}" if clause.threshold is not None else ""
        own = (
            f"{number(clause.own_normal)} ({clause.own_points} earlier)"
            if clause.own_normal is not None and clause.own_points
            else "no history"
        )
        peers = f"{clause.peer_percentile:.1f} %" if clause.peer_percentile is not None else "no peers"
        least = "≥ " if clause.truncated else ""
        unit = f" {clause.unit}" if clause.unit else ""
        words = _KINDS.get(clause.kind, "measured against" if clause.baseline else "")
        against = f' <span class="soft">({words})</span>' if words else ""
        made.append(
            f"<tr>{lead}<td>{_e(clause.measure)}{against}</td>"
            f"<td class=n>{least}{_e(number(clause.observed) + unit)}</td>"
            f"<td class=n>{_e(threshold)}</td><td class=n>{_e(own)}</td>"
            f'<td class=n title="{_e(clause.peer_group)}">{_e(peers)}</td></tr>'
        )
    return "".join(made)


def _of_account(case: Case) -> list[CaseTransaction]:
    """Evidence, and what else the account itself paid or was paid."""
    return [t for t in case.transactions if t.evidence or t.account_id == case.account_id]


def _shown(case: Case) -> list[CaseTransaction]:
    """Evidence first, then context, as far as a page holds; in time order."""
    proof = case.evidence[:MAX_ROWS]
    way = case.hops[: MAX_ROWS - len(proof)]
    context = [t for t in case.transactions if not t.evidence][: MAX_ROWS - len(proof) - len(way)]
    kept = {t.entry_id for t in (*proof, *way, *context)}
    return [t for t in case.transactions if t.entry_id in kept]


def _transactions(case: Case, shown: Sequence[CaseTransaction], places: dict[str, int]) -> str:
    rows = "".join(_row(t, places[t.entry_id], case.account_id) for t in shown)
    hidden = len(case.transactions) - len(shown) + case.left_out
    more = f" {count(hidden, 'more payment')} not shown; the CSV has all of the activity." if hidden else ""
    head = ("No.", "Day", "", "#Amount", f"#In {clean(case.base_currency, 3)}", "How", "Other side", "Country", "Text")
    return (
        f'<h2>Payments</h2><p class="soft">{count(len(case.evidence), "entry", "entries")} of evidence, the rest '
        "(grey) is what it is measured against, other steps of the money's way (the account stands before the other "
        f"side), and context.{more}</p>{_table(head, rows)}"
    )


def _row(row: CaseTransaction, place: int, account_id: str) -> str:
    kind = "" if row.evidence else ' class="context"'
    base = "" if row.amount_base is None else f"{row.amount_base:,.2f}"
    how = " ".join(p for p in (row.instrument, row.channel) if p and p != "unknown")
    other = row.counterparty_name or row.merchant_name or row.counterparty_account or ""
    other = other if row.evidence or row.account_id == account_id else f"{row.account_id}: {other}"
    return (
        f'<tr id="t{place}"{kind}><td>{place + 1}</td><td class=d>{row.day}</td><td>{_e(row.direction)}</td>'
        f"<td class=n>{_e(money(row.amount, row.currency))}</td><td class=n>{base}</td><td>{_e(how)}</td>"
        f"<td>{_e(other, 150)}</td><td>{_e(row.counterparty_country, 2)}</td><td>{_e(row.text, 200)}</td></tr>"
    )
