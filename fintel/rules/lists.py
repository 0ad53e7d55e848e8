"""Lists of values and of keywords, rates for thresholds, and the catalogue of indicators."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from fintel.domain.detection import Typology
from fintel.errors import Location, Severity
from fintel.rules.fields import Fields, as_number
from fintel.rules.keywords import unmatchable
from fintel.rules.list_types import Amount, AmountList, AnyList, KeywordList, Pattern, PatternList, Term, ValueList
from fintel.rules.model import Condition, Indicator
from fintel.rules.patterns import pattern_fault
from fintel.rules.scripts import SCRIPTS
from fintel.rules.source import Findings, Mapping, Sequence, read

LIST_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
TYPOLOGIES = tuple(t.value for t in Typology)
_CURRENCY = re.compile(r"[A-Z]{3}")
TERM_KEYS = ("term", "language", "category", "source", "grade", "false_positive_risk", "script", "note")
AMOUNT_KEYS = ("key", "amount", "unit", "note", "source")
PATTERN_KEYS = ("pattern", "name", "source", "grade", "false_positive_risk", "note")
#: What stands in a list of each kind, and whether it is about a column.
LIST_CONTENT = {
    "values": ("values", True),
    "amounts": ("values", True),
    "keywords": ("terms", False),
    "patterns": ("patterns", False),
}
INDICATOR_KEYS = tuple(Indicator.__dataclass_fields__)[1:]


#: Most lines of lists that cost more than their length: a lookup is a chain of cases, a pattern an automaton.
_MOST_AMOUNTS = 300
_MOST_PATTERNS = 50
_MOST_CONDITIONS = 200
_LONGEST_TERM = 100


@dataclass
class Shelf:
    """What list files hold. ``rates``: US dollars for one unit.

    ``closed``: names (of lists, currencies) that a folder before this one filled. Another folder of packs
    cannot change them, for that would change rules that are not its own; private lists can.
    """

    lists: dict[str, AnyList] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()

    def close(self) -> None:
        """What is there now is not changed by folders that follow."""
        self.closed = frozenset((*self.lists, *self.rates))

    def open(self) -> None:
        """What is there may be added to: by the private lists of the installation."""
        self.closed = frozenset()

    def put(self, found: AnyList, fields: Fields) -> None:
        """Put a list on the shelf, or its entries to the list of that name."""
        if found.name in self.closed and found == self.lists.get(found.name):
            return  # a copy of the other folder's
        if found.name in self.closed:
            hint = "take another name; what is private goes into lists.local"
            fields.findings.add("R075", f"another folder has a list '{found.name}'", fields.span("name"), hint)
            return
        merged = _merged(self.lists.get(found.name), found, fields)
        size = {AmountList: _MOST_AMOUNTS, PatternList: _MOST_PATTERNS}.get(type(merged))
        entries = merged.values if isinstance(merged, AmountList) else getattr(merged, "patterns", ())
        if size is not None and len(entries) > size:
            fields.findings.add("R021", f"'{found.name}' has more than {size} lines", fields.span("name"))
            return
        self.lists[found.name] = merged


def yaml_files(folder: Path, findings: Findings) -> list[Path]:
    """Files of a folder that end in ``.yaml``, by name.

    One that ends in ``.yml`` is noted, for it would be left out in silence.
    """
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".yaml":
            found.append(path)
        elif path.suffix == ".yml":
            findings.add("R001", "not read: the name ends in .yml", Location(str(path)), "call it .yaml")
    return found


def load_lists(folder: Path, shelf: Shelf, findings: Findings) -> None:
    """Read every list of a folder onto the shelf; a list that is there already gets more entries."""
    for path in yaml_files(folder, findings):
        node = read(path, findings)
        if node is not None:
            _load(path, Fields(node, findings), shelf)


def _load(path: Path, fields: Fields, shelf: Shelf) -> None:
    findings = fields.findings
    kind = fields.choice("kind", (*LIST_CONTENT, "rates"))
    before = len(findings.items)
    if kind == "rates":
        _load_rates(fields, shelf)
        return
    content, about_column = LIST_CONTENT.get(kind, ("values", True))
    column = ("column",) if about_column else ()
    fields.check(("name", "kind", *column, "description", "source", content), ("name", "kind", *column, content))
    name = fields.text("name")
    if name and name != path.stem:
        findings.add("R010", f"'{name}' stands in a file called '{path.name}'", fields.span("name"))
    if not LIST_NAME.fullmatch(name or "x"):
        findings.add("R007", "a name has small letters, digits and '_'", fields.span("name"))
    made: dict[str, Callable[[Fields, str], AnyList]] = {
        "values": _values, "amounts": _amounts, "keywords": _keywords, "patterns": _patterns,
    }  # fmt: skip
    found = made.get(kind, _values)(fields, name)
    if kind and len(findings.items) == before:
        shelf.put(found, fields)


def _values(fields: Fields, name: str) -> ValueList:
    seen: dict[str, None] = {}
    for scalar in fields.scalars("values"):
        value = scalar.value.strip()
        if value in seen:
            message = f"'{value}' stands twice in the list"
            fields.findings.add("R070", message, scalar.span, severity=Severity.WARNING)
        seen[value] = None
    return ValueList(name, fields.text("column"), tuple(seen), fields.text("description"), fields.text("source"))


def _items(fields: Fields, name: str, like: str) -> Iterator[Fields]:
    """The mappings of a list."""
    node = fields.node.get(name)
    if node is not None and not isinstance(node, Sequence):
        fields.wrong(name, f"a list of {like}", node)
    for item in node.items if isinstance(node, Sequence) else ():
        if isinstance(item, Mapping):
            yield Fields(item, fields.findings)
        else:
            fields.wrong(name, f"items like {like}", item)


def _amounts(fields: Fields, name: str) -> AmountList:
    amounts: dict[str, Amount] = {}
    for entry in _items(fields, "values", "{key: US, amount: 10000, unit: USD}"):
        if not entry.check(AMOUNT_KEYS, ("key", "amount")):
            continue
        key, amount = entry.text("key"), entry.number("amount")
        if key in amounts:
            fields.findings.add("R070", f"'{key}' stands twice in the list", entry.span("key"))
        if amount is not None:
            rest = (entry.text("unit", "number"), entry.text("note"), entry.text("source"))
            amounts[key] = Amount(key, amount, *rest)
    texts = (fields.text("description"), fields.text("source"))
    return AmountList(name, fields.text("column"), tuple(amounts.values()), *texts)


def _patterns(fields: Fields, name: str) -> PatternList:
    patterns: list[Pattern] = []
    for entry in _items(fields, "patterns", "{pattern: …, name: …, source: …}"):
        if not entry.check(PATTERN_KEYS, ("pattern",)):
            continue
        found = Pattern(*(entry.text(key) for key in PATTERN_KEYS[:-1]))
        fault = pattern_fault(found.pattern)
        if fault:
            fields.findings.add("R074", f"no pattern that can be looked for: {fault}", entry.span("pattern"))
        else:
            patterns.append(found)
    return PatternList(name, tuple(patterns), fields.text("description"), fields.text("source"))


def _keywords(fields: Fields, name: str) -> KeywordList:
    terms = tuple(
        Term(*(entry.choice(key, SCRIPTS) if key == "script" else entry.text(key) for key in TERM_KEYS[:-1]))
        for entry in _items(fields, "terms", "{term: …, language: …, source: …}")
        if entry.check(TERM_KEYS, ("term",))
    )
    if any(len(t.term) > _LONGEST_TERM for t in terms):
        fields.findings.add("R007", f"a term is longer than {_LONGEST_TERM} characters", fields.span("terms"))
    found = KeywordList(name, terms, fields.text("description"), fields.text("source"))
    for term in unmatchable(found):
        message = f"nothing to look for in '{term}', or a single letter"
        fields.findings.add("R073", message, fields.span("terms"), "take it out", Severity.WARNING)
    return found


def _merged(old: AnyList | None, new: AnyList, fields: Fields) -> AnyList:
    if old is None:
        return new
    if isinstance(old, ValueList) and isinstance(new, ValueList):
        return replace(old, values=tuple(dict.fromkeys((*old.values, *new.values))))
    if isinstance(old, KeywordList) and isinstance(new, KeywordList):
        known = {t.term for t in old.terms}
        return replace(old, terms=(*old.terms, *(t for t in new.terms if t.term not in known)))
    if isinstance(old, PatternList) and isinstance(new, PatternList):
        return replace(old, patterns=tuple(dict.fromkeys((*old.patterns, *new.patterns))))
    if isinstance(old, AmountList) and isinstance(new, AmountList):  # a line of one's own replaces one of the same key
        return replace(old, values=tuple({a.key: a for a in (*old.values, *new.values)}.values()))
    message = f"'{new.name}' is a list of another kind elsewhere"
    fields.findings.add("R071", message, fields.span("kind"))
    return old


def _load_rates(fields: Fields, shelf: Shelf) -> None:
    """Rounded rates: ``base: USD`` and ``rates: {CAD: 0.72}`` = one CAD is about 0.72 USD."""
    fields.check(("name", "kind", "description", "source", "date", "base", "rates"), ("name", "kind", "rates"))
    if fields.text("base", "USD") != "USD":
        fields.findings.add("R072", "threshold rates are in USD for one unit", fields.span("base"))
        return
    node = fields.mapping("rates")
    shelf.rates.setdefault("USD", 1.0)
    for key, value in node or ():
        rate = as_number(value)
        if not _CURRENCY.fullmatch(key.value):
            fields.findings.add("R072", f"'{key.value}' is not a currency code", key.span)
        elif rate is None or not 1e-9 < rate < 1e9:
            fields.findings.add("R072", f"the rate of {key.value} must be a number above 0", value.span)
        elif key.value == "USD" and rate != 1:
            fields.findings.add("R072", "one US dollar is one US dollar", value.span)
        elif key.value in shelf.closed and rate != shelf.rates[key.value]:
            fields.findings.add("R075", f"another folder has a rate of {key.value}", value.span)
        else:
            shelf.rates[key.value] = rate


def load_indicators(path: Path, findings: Findings) -> dict[str, Indicator]:
    """Read a catalogue of indicators; one that is incomplete is left out."""
    node = read(path, findings) if path.is_file() else None
    if node is None:
        return {}
    top = Fields(node, findings)
    top.check(("indicators",), ("indicators",))
    found: dict[str, Indicator] = {}
    for key, value in top.mapping("indicators") or ():
        if not isinstance(value, Mapping):
            top.wrong(key.value, "keys and values", value)
            continue
        fields = Fields(value, findings)
        before = len(findings.items)
        fields.check(INDICATOR_KEYS, ("typology", "issuer", "document", "text"))
        typology = fields.choice("typology", TYPOLOGIES)
        rest = {name: fields.text(name) for name in INDICATOR_KEYS if name != "typology"}
        if len(findings.items) == before:
            found[key.value] = Indicator(id=key.value, typology=typology, **rest)
    return found


def load_conditions(path: Path, findings: Findings) -> dict[str, Condition]:
    """Read named conditions that rules share, in their order."""
    node = read(path, findings) if path.is_file() else None
    if node is None:
        return {}
    top = Fields(node, findings)
    top.check(("conditions",), ("conditions",))
    found: dict[str, Condition] = {}
    for key, value in top.mapping("conditions") or ():
        if len(found) == _MOST_CONDITIONS:
            findings.add("R021", f"more than {_MOST_CONDITIONS} conditions", key.span)
            break
        if not isinstance(value, Mapping):
            top.wrong(key.value, "{text: …, description: …}", value)
            continue
        fields = Fields(value, findings)
        if fields.check(("text", "description"), ("text", "description")):
            found[key.value] = Condition(
                key.value, fields.text("text"), fields.text("description"), fields.span("text")
            )
    return found
