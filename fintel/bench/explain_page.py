"""Explanations as blocks, and blocks as Markdown: one rule, one pack, the whole of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from fintel.bench.coverage import STATES, Covered, catalogue
from fintel.bench.explain import Example, Explanation, Number, explain
from fintel.rules.model import Library, Pack
from fintel.rules.wording import number_in_words

#: What a grade of an indicator means.
GRADES = {"V1": "read in the original", "V2": "read in a second place", "U": "a lead, not verified"}
_BASES = {"source": "the source's", "engineering": "ours, to be tuned"}
_ABOUT = """Made from the rules themselves by `fintel rules docs`; do not edit. `fintel rules explain RULE` prints
one of these sections, with an example of your own data once a run has found one."""

WINDOWS = (
    "At each entry that it looks at, every measure is taken over entries up to that one, never after it; a window "
    "ends at the entry and leaves out its first moment. An empty value is neither yes nor no. Hits that touch are one "
    "episode."
)


@dataclass(frozen=True)
class Block:
    """A heading with what stands below it: sentences, a list, or a table."""

    heading: str
    sentences: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()


def blocks(found: Explanation) -> tuple[Block, ...]:
    """An explanation in the order in which it is read."""
    parts = [Block("", (found.description, standing(found)))]
    if found.correlation:
        parts.append(Block("What it looks at", ("Findings of other rules, together.",), found.correlation))
    else:
        looks = f"It looks at {found.looks_at}. Windows are kept for each {found.partition}."
        parts.append(Block("What it looks at", (looks,)))
        parts.append(Block("In these words", items=_named(found.words, " ")))
        parts.append(Block("Steps", items=_named(found.steps, "_")))
        rows = tuple((f"`{name}`", words) for name, words in found.measures)
        parts.append(Block("What it measures", columns=("measure", "what it is"), rows=rows))
        parts.append(Block("It is a hit where all of this holds", items=found.clauses))
    parts.append(Block("What a hit says", (f"“{found.reason}”",)))
    numbers = tuple(
        (f"`{n.name}`", number_in_words(n.value), n.unit, _BASES.get(n.basis, n.basis), _limits(n), n.note or "–")
        for n in found.numbers
    )
    parts.append(Block("Numbers", columns=("parameter", "value", "unit", "basis", "range", "note"), rows=numbers))
    lists = tuple((f"`{one.name}`", one.kind, one.entries, one.description, one.source) for one in found.lists)
    parts.append(Block("Lists", columns=("list", "kind", "entries", "what it holds", "source"), rows=lists))
    sources = tuple(
        f"`{s.id}` [{s.grade}] {s.citation}. In our words: {s.text}{f' <{s.url}>' if s.url else ''}"
        for s in found.sources
    )
    parts.append(Block("Published by", items=sources))
    parts.append(Block("Lawful look-alikes that may hit", items=found.falsepositives))
    parts.append(Block("How it is computed", computed(found)))
    if found.example is not None:
        parts += _example(found.example)
    return tuple(p for p in parts if p.sentences or p.items or p.rows)


def _limits(number: Number) -> str:
    return "–" if number.range is None else " to ".join(number_in_words(v) for v in number.range)


def _named(pairs: Iterable[tuple[str, str]], blank: str) -> tuple[str, ...]:
    return tuple(f"“{name.replace('_', ' ') if blank == '_' else name}”: {words}" for name, words in pairs)


def standing(found: Explanation) -> str:
    """Level, status, budget and cases in one line."""
    holder = "the holder is probably a victim" if found.role == "victim" else "the holder is the subject"
    budget = "" if found.budget is None else f"; budget {found.budget:g} false alarms per 10,000 accounts and 30 days"
    return f"{found.typology}, level {found.level}, status {found.status}, version {found.version}; {holder}{budget}."


def computed(found: Explanation) -> tuple[str, ...]:
    """Where the numbers come from, and what holds them."""
    counted = (
        f"{found.cases} cases hold it: {found.hits} hits, {found.near_misses} near misses, {found.blind} blind feeds."
    )
    if found.correlation:
        return (
            "The moment of a component's episode is its peak; the correlation is judged at each such moment, "
            "looking back.",
            f"{counted} Logic {found.logic}.",
        )
    return (
        WINDOWS,
        f"`fintel rules sql {found.id}` writes the same as one query. {counted} Logic {found.logic}.",
    )


def _example(found: Example) -> list[Block]:
    told = f"Account {found.account}, of {found.origin}."
    shown = tuple(
        f"`{o.name}` is {'empty' if o.observed is None else f'{o.observed:,.6g}'}"
        + (f" ({o.comparison})" if o.comparison else "")
        for o in found.observed
    )
    said = (told, found.reason) if found.reason else (told,)
    rows = tuple(tuple(_cell(v) for v in row) for row in found.payments)
    last = f"the last {len(rows)} of {found.of} payments" if found.of > len(rows) else f"{found.of} payments"
    return [
        Block("An example", said, shown),
        Block(f"Its evidence: {last}", columns=tuple(c.replace("_", " ") for c in found.columns), rows=rows),
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, Decimal):
        return f"{value:,.2f}"
    return str(value)


# -- Markdown


def rule_markdown(found: Explanation, depth: int = 1) -> str:
    """One rule as Markdown, its heading at a depth."""
    lines = [f"{'#' * depth} {_plain(found.title)}", "", f"`{found.id}`", ""]
    for block in blocks(found):
        if block.heading:
            lines += [f"**{_plain(block.heading)}**", ""]
        for sentence in block.sentences:
            lines += [_plain(sentence), ""]
        if block.items:
            lines += [*(f"- {_plain(item)}" for item in block.items), ""]
        if block.rows:
            lines += [*table(block.columns, block.rows), ""]
    return "\n".join(lines)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return [*lines, *(f"| {' | '.join(_plain(str(v)).replace('|', '&#124;') or '–' for v in row)} |" for row in rows)]


def _plain(text: str) -> str:
    """A text in which Markdown sees nothing but code spans and web addresses in angle brackets."""
    pieces = " ".join(text.split()).split("`")
    if len(pieces) % 2 == 0:  # a mark that is not closed begins no code
        pieces = ["&#96;".join(pieces)]
    for n in range(0, len(pieces), 2):
        for sign in "*[]_":
            pieces[n] = pieces[n].replace(sign, f"\\{sign}")
        head, *tail = pieces[n].split("<")
        pieces[n] = head + "".join(
            "<" + t.replace("\\", "") if t.startswith(("https://", "http://")) else "&lt;" + t for t in tail
        )
    return "`".join(pieces)


def pages(library: Library) -> dict[str, str]:
    """Every page by its path: ``packs.md``, and ``rules/<pack>.md`` for each pack."""
    found = {r.id: explain(r, library) for r in library.rules}
    named = {"packs.md": index_page(library, found)}
    for pack in library.packs.values():
        mine = [found[r.id] for r in library.rules if r.pack == pack.name]
        if mine:
            named[f"rules/{pack.name}.md"] = pack_page(pack, mine)
    return named


def pack_page(pack: Pack, found: Sequence[Explanation]) -> str:
    """A pack: what it is for, an overview, then each rule."""
    overview = table(
        ("rule", "level", "status", "what it sees"),
        [(f"`{e.id.partition('/')[2]}`", e.level, e.status, e.title) for e in found],
    )
    head = [f"# {_plain(pack.title or pack.name)}", "", _ABOUT, "", _plain(pack.description), "", WINDOWS, ""]
    sections = [rule_markdown(e, 2).replace(f"{WINDOWS}\n\n", "") for e in found]
    return "\n".join([*head, f"{len(found)} rules.", "", *overview, "", *sections]).rstrip() + "\n"


def index_page(library: Library, found: dict[str, Explanation]) -> str:
    """All rules in one table, and how each published indicator is accounted for."""
    covered = catalogue(library)
    lines = ["# Rule packs", "", *_INDEX.strip("\n").split("\n"), ""]
    lines += [f"{len(library.rules)} rules, {sum(e.cases for e in found.values())} cases.", "", "## Rules", ""]
    for pack in library.packs.values():
        mine = [r for r in library.rules if r.pack == pack.name]
        if not mine:
            continue
        lines += [f"### {pack.name}", "", _plain(pack.description), ""]
        lines += [f"[Each rule of {pack.name} explained](rules/{pack.name}.md)", ""]
        listed = [
            (f"`{r.id}`", r.level, r.status, "victim" if r.role == "victim" else "", r.title, ", ".join(r.indicators))
            for r in mine
        ]
        lines += [*table(("rule", "level", "status", "role", "what it sees", "indicators"), listed), ""]
    lines += ["## Published indicators", "", _COVERAGE.strip("\n"), ""]
    lines += [*table(("typology", *STATES), _counts(covered)), ""]
    rows = [(f"`{c.indicator.id}`", c.indicator.grade, c.indicator.text, _accounted(c)) for c in covered]
    lines += [*table(("indicator", "grade", "what is observed", "how it is accounted for"), rows), ""]
    return "\n".join(lines).rstrip() + "\n"


def _counts(covered: Sequence[Covered]) -> list[tuple[Any, ...]]:
    typologies = list(dict.fromkeys(c.indicator.typology for c in covered))
    counted = [
        (t, *(sum(c.indicator.typology == t and c.state == s for c in covered) for s in STATES)) for t in typologies
    ]
    return [*counted, ("all", *(sum(c.state == s for c in covered) for s in STATES))]


def _accounted(covered: Covered) -> str:
    if covered.rules:
        return ", ".join(f"`{r}`" for r in covered.rules)
    return f"{covered.state}: {covered.why}"


_INDEX = """
Every rule is a published red flag made executable; `rules/indicators.yaml` has the flags in our own words with issuer,
document and grade. No single indicator decides: each rule is a conjunction that leaves out its lawful look-alike, and
its cases (`rules/<pack>/cases/`) hold hits, near misses at every threshold, the look-alike, and a feed on which the
rule must say that it *cannot tell*. Where a feed lacks a column that a rule needs, the answer is *cannot tell*, never
*no*: `fintel rules coverage` says which rules a feed blinds.

A threshold whose basis is *source* stands in the cited document; one whose basis is *engineering* is ours and is to be
tuned on own data (`fintel rules tune`). Most are ours, for the documents say "several", "rapid" and "large". Role
`victim`: the holder of the account is probably a victim, and drafts never name the holder as a subject.

Made from the rules themselves by `fintel rules docs`; do not edit.
"""

_COVERAGE = """
Grades: V1 was read in the original, V2 in a second place, U is a lead that nobody verified (a rule on it alone stays
*experimental*). *Needs data*: an ordinary feed lacks the field. *Not machine-observable*: somebody must see or hear it.
"""
