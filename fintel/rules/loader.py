"""Packs of rules from folders of YAML files.

A rule with an error is left out and its diagnostics say why; the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import fintel
from fintel.domain.detection import Level
from fintel.errors import Diagnostic, Location, RuleError, Severity
from fintel.rules.checks import rule_findings
from fintel.rules.fields import Fields, as_number
from fintel.rules.lexer import FORBIDDEN, KEYWORDS
from fintel.rules.lists import LIST_NAME, TYPOLOGIES, Shelf, load_indicators, load_lists, yaml_files
from fintel.rules.model import (
    BASES,
    KINDS,
    ROLES,
    STATUSES,
    SUBJECTS,
    Indicator,
    Library,
    Measure,
    Pack,
    Parameter,
    Rule,
)
from fintel.rules.source import Findings, Mapping, Scalar, Span, bounded, read
from fintel.rules.source import Sequence as Items

PACK_FILE = "pack.yaml"
CATALOGUE = "indicators.yaml"
LISTS = "lists"
CASES = "cases"
_RULE_KEYS = (
    "id", "title", "version", "status", "level", "typology", "indicators", "techniques", "description",
    "subject", "role", "per", "parameters", "anchor", "measures", "when", "reason", "falsepositives",
)  # fmt: skip
_REQUIRED = (
    "id", "title", "version", "status", "level", "typology", "indicators", "description", "per",
    "anchor", "measures", "when", "reason",
)  # fmt: skip
_PACK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_T = TypeVar("_T")
_LEVELS = tuple(level.value for level in Level)


def packs_folder() -> Path:
    """The packs that come with fintel: inside an installed package, else beside it in a checkout.

    Raises
    ------
    RuleError: neither is there.
    """
    home = Path(fintel.__file__).resolve().parent
    for folder in (home / "packs", home.parent / "rules"):
        if (folder / CATALOGUE).is_file():
            return folder
    raise RuleError("no rule packs beside fintel", hint="install fintel again, or name a folder of packs")


def load(
    folders: Sequence[Path] | None = None, *, local_lists: Path | None = None
) -> tuple[Library, tuple[Diagnostic, ...]]:
    """Read packs, lists and catalogues.

    Parameters
    ----------
    folders: folders of packs, or single packs; ``packs_folder()`` if None. Lists of one name in
        several folders are joined.
    local_lists: a folder of private lists (beside ``fintel.toml``), joined in by name.

    Returns
    -------
    The library, and what was wrong: a rule with an error is not in the library.
    """
    roots = [packs_folder()] if folders is None else list(folders)
    findings = Findings()
    shelf = Shelf()
    indicators: dict[str, Indicator] = {}
    packs: dict[str, Pack] = {}
    rules: dict[str, Rule] = {}
    for root in roots:
        if not root.is_dir():
            findings.add("R001", "no such folder of packs", Location(str(root)))
            continue
        load_lists(root / LISTS, shelf, findings)
        indicators |= load_indicators(root / CATALOGUE, findings)
    if local_lists is not None and local_lists.is_dir():
        load_lists(local_lists, shelf, findings)
    for folder in (f for root in roots for f in _pack_folders(root)):
        pack = _load_pack(folder, findings)
        packs[pack.name] = pack
        for path in yaml_files(folder, findings):
            rule = None if path.name == PACK_FILE else _load_rule(path, pack.name, findings)
            if rule is None:
                continue
            if rule.id in rules:
                other = rules[rule.id].location
                findings.add("R011", f"'{rule.id}' is already in {other}", rule.place("id"))
                continue
            rules[rule.id] = rule
    library = Library(tuple(rules.values()), shelf.lists, indicators, packs, shelf.rates)
    return _without_errors(library, findings)


def _without_errors(library: Library, findings: Findings) -> tuple[Library, tuple[Diagnostic, ...]]:
    sound = []
    for rule in library.rules:
        errors = [d for d in rule_findings(rule, library) if d.severity is Severity.ERROR]
        findings.items.extend(errors)
        if not errors:
            sound.append(rule.id)
    return library.only(sound), bounded(findings.items)


def _pack_folders(root: Path) -> list[Path]:
    if (root / PACK_FILE).is_file():
        return [root]
    if not root.is_dir():
        return []
    found = [f for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")]
    return [f for f in found if f.name != LISTS and any(f.glob("*.yaml"))]


def _load_pack(folder: Path, findings: Findings) -> Pack:
    path = folder / PACK_FILE
    if not path.is_file():
        findings.add("R006", f"the pack has no {PACK_FILE}", Location(str(folder)), "name, title, description")
        return Pack(folder.name, folder.name, "", str(folder))
    node = read(path, findings)
    if node is None:
        return Pack(folder.name, folder.name, "", str(folder))
    fields = Fields(node, findings)
    fields.check(("name", "title", "description"), ("name", "title", "description"))
    name = fields.text("name", folder.name)
    if name != folder.name or not _PACK_NAME.fullmatch(name):
        findings.add("R010", f"pack '{name}' stands in folder '{folder.name}'", fields.span("name"))
    return Pack(folder.name, fields.text("title"), fields.text("description"), str(folder))


def _load_rule(path: Path, pack: str, findings: Findings) -> Rule | None:
    node = read(path, findings)
    if node is None:
        return None
    fields = Fields(node, findings)
    before = len(findings.items)
    fields.check(_RULE_KEYS, _REQUIRED)
    spans = {key.value: value.span for key, value in node}
    wanted_id = f"{pack}/{path.stem}"
    if fields.text("id", wanted_id) != wanted_id:
        findings.add("R010", f"the id of this file is '{wanted_id}'", fields.span("id"))
    parameters = _named(fields, "parameters", _parameter, spans)
    measures = _named(fields, "measures", _measure, spans)
    version = fields.integer("version", 1)
    rule = Rule(
        id=wanted_id,
        title=fields.text("title"),
        version=version or 1,
        status=fields.choice("status", STATUSES),
        level=fields.choice("level", _LEVELS),
        typology=fields.choice("typology", TYPOLOGIES),
        indicators=fields.texts("indicators"),
        techniques=fields.texts("techniques"),
        description=fields.text("description"),
        subject=fields.choice("subject", SUBJECTS, "account"),
        role=fields.choice("role", ROLES, "subject"),
        per=fields.texts("per"),
        parameters={p.name: p for p in parameters},
        anchor=_expression(fields, "anchor"),
        measures={m.name: m for m in measures},
        when=_expression(fields, "when"),
        reason=fields.text("reason"),
        falsepositives=fields.texts("falsepositives"),
        location=Location(str(path), 1, 1),
        pack=pack,
        spans=spans,
    )
    return rule if len(findings.items) == before else None


def _expression(fields: Fields, name: str) -> str:
    """An expression exactly as written: places are counted from its first character."""
    node = fields.node.get(name)
    if isinstance(node, Scalar):
        return node.value
    fields.text(name)
    return ""


def _named(
    fields: Fields, name: str, make: Callable[[str, Fields, dict[str, Span]], _T | None], spans: dict[str, Span]
) -> list[_T]:
    """Read ``parameters`` or ``measures``: a mapping from names to mappings."""
    found = []
    for key, value in fields.mapping(name) or ():
        if not LIST_NAME.fullmatch(key.value) or key.value in KEYWORDS | FORBIDDEN:
            hint = "small letters, digits and '_', and no word of SQL"
            fields.findings.add("R007", f"'{key.value}' cannot be a name", key.span, hint)
            continue
        if not isinstance(value, Mapping):
            fields.wrong(key.value, "keys and values: {…}", value)
            continue
        spans[f"{name}.{key.value}"] = key.span
        spans.update({f"{name}.{key.value}.{inner.value}": node.span for inner, node in value})
        made = make(key.value, Fields(value, fields.findings), spans)
        if made is not None:
            found.append(made)
    return found


def _parameter(name: str, fields: Fields, spans: dict[str, Span]) -> Parameter | None:
    fields.check(("default", "unit", "basis", "range", "note"), ("default", "basis"))
    default = fields.number("default")
    basis = fields.choice("basis", BASES)
    limits = fields.node.get("range")
    bounds: tuple[float, float] | None = None
    if limits is not None:
        ends = [as_number(item) for item in limits.items] if isinstance(limits, Items) else []
        if len(ends) != 2 or ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            fields.wrong("range", "two numbers, the smaller first: [2, 30]", limits)
        else:
            bounds = (ends[0], ends[1])
    if default is None:
        return None
    return Parameter(name, default, fields.text("unit", "number"), basis, bounds, fields.text("note") or None)


def _measure(name: str, fields: Fields, spans: dict[str, Span]) -> Measure | None:
    findings = fields.findings
    fields.check((*KINDS, "timespan", "offset", "where"), ())
    kinds = [kind for kind in KINDS if fields.node.get(kind) is not None]
    if len(kinds) != 1:
        hint = f"one of: {', '.join(KINDS)}"
        findings.add("R045", f"measure '{name}' needs exactly one thing to measure", fields.node.span, hint)
    if fields.node.get("timespan") is None:
        hint = "how far it looks back: timespan: 7d"
        findings.add("R043", f"measure '{name}' has no timespan", fields.node.span, hint)
    timespan = fields.timespan("timespan", timedelta(seconds=1))
    offset = fields.timespan("offset", timedelta(0)) or timedelta(0)
    where = _expression(fields, "where") if fields.node.get("where") is not None else None
    if len(kinds) != 1 or timespan is None:
        return None
    return Measure(name, kinds[0], fields.text(kinds[0]), timespan, offset, where)
