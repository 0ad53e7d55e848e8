"""Local filters and suppressions: what one institution leaves out, without a copy of the rule.

Files in ``filters.local/`` beside ``fintel.toml``. A *suppression* marks findings on a subject that somebody
has looked into; they are still scored, and stay out of the queue. A *filter* is a condition that is joined by
``and`` to where a rule looks. Each says who wants it, why, and until when. Whatever is wrong with an entry, it
has no effect: rather an alert too many than one that nobody misses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

from fintel.errors import Diagnostic, RuleError, Severity, did_you_mean
from fintel.rules.checks import rule_findings
from fintel.rules.expression import parse, read_conditions
from fintel.rules.fields import Fields
from fintel.rules.lists import yaml_files
from fintel.rules.model import Library, Rule
from fintel.rules.rule_file import with_shared_conditions
from fintel.rules.scope import entry_columns
from fintel.rules.source import Findings, Scalar, Sequence, Span, bounded, read
from fintel.rules.source import Mapping as Keys

FOLDER = "filters.local"
#: What a suppression may be about, and the longest that one may last.
SUBJECTS = ("account", "party", "counterparty")
LONGEST = timedelta(days=366)
MAX_REASON = 300
MAX_NAME = 80
_COMMON = ("rule", "reason", "by", "until")


@dataclass(frozen=True)
class Suppression:
    """Findings of some rules on one account, holder or counterparty that need no look until a day.

    ``rule``: as written, ``rules``: the ids that it means. ``subject``: one of ``SUBJECTS``.
    """

    rule: str
    rules: frozenset[str]
    subject: str
    value: str
    reason: str
    by: str
    until: date
    file: str

    @property
    def said(self) -> str:
        """In one line, for whoever meets a suppressed account."""
        return f"{self.reason} (by {self.by}, until {self.until.isoformat()}, {self.file})"


@dataclass(frozen=True)
class LocalFilters:
    """What is in effect. ``wheres``: by rule id, the conditions that narrow where it looks; ``narrowed``: these
    rules; ``files``: sixteen hex digits of each file, by name."""

    suppressions: tuple[Suppression, ...] = ()
    wheres: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    narrowed: Mapping[str, Rule] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def filtered(self, library: Library) -> Library:
        """The library with its rules narrowed."""
        return replace(library, rules=tuple(self.narrowed.get(r.id, r) for r in library.rules))

    @property
    def record(self) -> dict[str, object]:
        """For a manifest: the files, and a digest of what in them was in effect on the day."""
        marks = sorted((s.rule, s.subject, s.value, s.said) for s in self.suppressions)
        effect = json.dumps([marks, {r: list(w) for r, w in self.wheres.items()}], sort_keys=True)
        return {"files": dict(self.files), "in_effect": hashlib.sha256(effect.encode()).hexdigest()[:16]}


def read_local_filters(folder: Path, library: Library, today: date) -> tuple[LocalFilters, tuple[Diagnostic, ...]]:
    """Read every file of a folder; nothing where there is no such folder.

    ``today``: what has ended before it has no effect.
    """
    findings = Findings()
    suppressions: list[Suppression] = []
    wheres: dict[str, list[str]] = {}
    narrowed: dict[str, Rule] = {}
    files: dict[str, str] = {}
    for path in yaml_files(folder, findings):
        node = read(path, findings)
        if node is None:
            continue
        files[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        reader = _Reader(library, today, path.name, findings)
        top = Fields(node, findings)
        top.check(("suppress", "filter"), ())
        for entry in _entries(top, "suppress"):
            suppression = reader.suppression(entry)
            if suppression is not None:
                suppressions.append(suppression)
        for entry in _entries(top, "filter"):
            for rule, where in reader.filters(entry, narrowed):
                narrowed[rule.id] = rule
                wheres.setdefault(rule.id, []).append(where)
    found = LocalFilters(tuple(suppressions), {r: tuple(w) for r, w in wheres.items()}, narrowed, files)
    return found, bounded(dict.fromkeys(findings.items))


def _entries(fields: Fields, name: str) -> Iterator[Fields]:
    node = fields.node.get(name)
    if node is None:
        return
    if not isinstance(node, Sequence):
        fields.wrong(name, "a list of entries", node)
        return
    for item in node.items:
        if isinstance(item, Keys):
            yield Fields(item, fields.findings)
        else:
            fields.wrong(name, "entries of keys and values", item)


@dataclass
class _Reader:
    library: Library
    today: date
    file: str
    findings: Findings

    def suppression(self, fields: Fields) -> Suppression | None:
        """One entry of ``suppress``; None where it has no effect."""
        before = len(self.findings.items)
        fields.check((*_COMMON, *SUBJECTS), _COMMON)
        subjects = [name for name in SUBJECTS if fields.text(name)]
        if len(subjects) != 1:
            hint = f"one of: {', '.join(SUBJECTS)}"
            self.findings.add("R103", "a suppression is about one subject", fields.node.span, hint)
        rules = self._rules(fields)
        until = self._until(fields)
        reason, by = self._said(fields)
        if len(self.findings.items) > before or until is None:
            return None
        (subject,) = subjects
        meant = frozenset(r.id for r in rules)
        return Suppression(fields.text("rule"), meant, subject, fields.text(subject), reason, by, until, self.file)

    def filters(self, fields: Fields, narrowed: Mapping[str, Rule]) -> Iterator[tuple[Rule, str]]:
        """One entry of ``filter``: each rule that it narrows, narrowed, and the condition."""
        before = len(self.findings.items)
        fields.check((*_COMMON, "where"), (*_COMMON, "where"))
        rules = self._rules(fields)
        until = self._until(fields)
        self._said(fields)
        if len(self.findings.items) > before or until is None:
            return
        where, place = fields.text("where"), fields.span("where")
        alone = [r for r in rules if r.correlation is not None and r.id == fields.text("rule")]
        if alone:
            hint = f"filter {', '.join(alone[0].correlation.components)}" if alone[0].correlation else None
            self.findings.add("R104", f"'{alone[0].id}' looks at other rules, not at entries", place, hint)
        for rule in rules:
            if rule.correlation is None:
                found = self._narrowed(narrowed.get(rule.id, rule), where, place)
                if found is not None:
                    yield found, where

    def _narrowed(self, rule: Rule, where: str, place: Span) -> Rule | None:
        step = rule.steps.get(rule.anchor.strip())
        if step is None:
            joined = replace(rule, anchor=f"({rule.anchor}) and ({where})")
        else:
            last = replace(step, where=f"({step.where}) and ({where})")
            joined = replace(rule, steps={**rule.steps, step.name: last})
        found = with_shared_conditions(joined, self.library.conditions)
        columns, lists = entry_columns(), self.library.lists
        parameters = {name: p.default for name, p in rule.parameters.items()}
        written = ((name, text, place) for name, text in found.conditions.items())
        conditions, _ = read_conditions(written, columns=columns, parameters=parameters, lists=lists)
        try:
            # alone first: it must be a whole condition, not the end of one bracket and the beginning of another
            parse(where, columns=columns, parameters=parameters, lists=lists, conditions=conditions, location=place)
        except RuleError as error:
            self.findings.items.extend(error.diagnostics)
            return None
        wrong = [d for d in rule_findings(found, self.library) if d.severity is Severity.ERROR]
        for one in wrong:
            self.findings.add(one.code, f"{rule.id}: {one.message}", place, one.hint)
        return None if wrong else found

    def _rules(self, fields: Fields) -> list[Rule]:
        """The rules that ``pack/rule`` or ``pack/*`` means."""
        wanted = fields.text("rule")
        pack, _, name = wanted.partition("/")
        found = [r for r in self.library.rules if r.id == wanted or (name == "*" and r.pack == pack)]
        if wanted and not found:
            names = [r.id for r in self.library.rules] + [f"{p}/*" for p in self.library.packs]
            self.findings.add(
                "R100", f"no rule '{wanted}'", fields.span("rule"), did_you_mean(wanted, names) or "pack/rule or pack/*"
            )
        return found

    def _until(self, fields: Fields) -> date | None:
        text = fields.text("until")
        if not text:
            self._blank(fields, "until")
            return None
        try:
            until = date.fromisoformat(text)
        except ValueError:
            self.findings.add("R101", f"'{text}' is no day", fields.span("until"), "such as 2026-06-30")
            return None
        if until > self.today + LONGEST:
            hint = f"{(self.today + LONGEST).isoformat()} at most, then look again"
            self.findings.add("R101", "it ends more than a year from now", fields.span("until"), hint)
            return None
        if until < self.today:
            what = f"ended on {until.isoformat()} and has no effect any more"
            self.findings.add("R102", what, fields.span("until"), "delete it, or look again", Severity.WARNING)
            return None
        return until

    def _said(self, fields: Fields) -> tuple[str, str]:
        """Why, and who: one line each, for others to read."""
        found = []
        for name, longest in (("reason", MAX_REASON), ("by", MAX_NAME)):
            text = " ".join(fields.text(name).split())
            if len(text) > longest or not text.isprintable():
                what = f"'{name}' takes one line of at most {longest} characters that can be printed"
                self.findings.add("R007", what, fields.span(name))
            elif not text:
                self._blank(fields, name)
            found.append(text)
        return found[0], found[1]

    def _blank(self, fields: Fields, name: str) -> None:
        """Note quotes with nothing in them; a value that is left out is noted already."""
        node = fields.node.get(name)
        if isinstance(node, Scalar) and not node.empty:
            self.findings.add("R006", f"'{name}' is empty", node.span)
