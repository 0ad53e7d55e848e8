"""Findings that somebody looked at and let stand: one file, each with a reason and, if wanted, an end.

``rules.exclude.yaml`` beside ``fintel.toml`` (and one beside the shipped packs)::

    exclude:
      - {rule: osec/*, code: R056, reason: "both ways on purpose", until: 2027-01-01}

``rule`` is a pack and a file, with ``*`` for any; findings about a list have ``lists/<name>``. What is an
error stays one: it keeps the rule out of every run, so there is nothing that could be let stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from fintel.errors import Diagnostic, Severity
from fintel.rules.codes import CODES
from fintel.rules.fields import Fields
from fintel.rules.source import Findings, Mapping, Sequence, Span, read

FILE_NAME = "rules.exclude.yaml"
KEYS = ("rule", "code", "reason", "until")
MAX_EXCLUSIONS = 2_000
_CODE = re.compile(r"R\d{3}")


@dataclass(frozen=True)
class Exclusion:
    """``rule``: a pattern such as ``osec/*``. ``until``: the last day on which it holds."""

    rule: str
    code: str
    reason: str
    until: date | None
    span: Span

    def fits(self, found: Diagnostic) -> bool:
        """It speaks of this finding."""
        return found.code == self.code and fnmatchcase(subject(found), self.rule)


@dataclass(frozen=True)
class Reviewed:
    """``open`` findings (those about the exclusions included), and the others with what excludes them."""

    open: tuple[Diagnostic, ...]
    excluded: tuple[tuple[Diagnostic, Exclusion], ...]


def subject(found: Diagnostic) -> str:
    """The rule (``pack/name``, of its cases too) or list (``lists/name``) that a finding is about."""
    if found.location is None:
        return ""
    path = Path(found.location.file)
    folder = path.parent.parent if path.parent.name == "cases" else path.parent
    return f"{folder.name}/{path.stem}"


def read_exclusions(path: Path, findings: Findings) -> tuple[Exclusion, ...]:
    """The exclusions of a file; what is wrong with it is noted. One without a reason excludes nothing."""
    node = read(path, findings)
    if node is None:
        return ()
    top = Fields(node, findings)
    top.check(("exclude",), ("exclude",))
    listed = node.get("exclude")
    if not isinstance(listed, Sequence):
        if listed is not None:
            top.wrong("exclude", "a list of {rule: …, code: …, reason: …}", listed)
        return ()
    found = []
    for item in listed.items[:MAX_EXCLUSIONS]:
        if not isinstance(item, Mapping):
            top.wrong("exclude", "items of {rule: …, code: …, reason: …}", item)
            continue
        made = _exclusion(Fields(item, findings))
        if made is not None:
            found.append(made)
    return tuple(found)


def _exclusion(fields: Fields) -> Exclusion | None:
    before = len(fields.findings.items)
    fields.check(KEYS, ())
    for name in ("rule", "code", "reason"):
        if not fields.text(name).strip():
            hint = "why the finding may stand" if name == "reason" else None
            fields.findings.add("R092", f"an exclusion without '{name}'", fields.span(name), hint)
    code, until = fields.text("code"), fields.text("until")
    if code and (not _CODE.fullmatch(code) or code not in CODES):
        fields.findings.add("R092", f"no code '{code}'", fields.span("code"), "as in docs/reference/rules.md")
    day = None
    if until:
        try:
            day = date.fromisoformat(until)
        except ValueError:
            fields.findings.add("R092", f"'{until}' is no day", fields.span("until"), "such as 2027-01-01")
    if len(fields.findings.items) > before:
        return None
    return Exclusion(fields.text("rule"), code, fields.text("reason"), day, fields.node.span)


def review(
    found: Iterable[Diagnostic], exclusions: Iterable[Exclusion], *, today: date, whole: Iterable[str] | None = None
) -> Reviewed:
    """Set aside what exclusions let stand.

    Parameters
    ----------
    today: an exclusion whose ``until`` lies before it no longer holds.
    whole: ids of the rules that were looked at, if not all: an exclusion of others cannot be told unused.
    """
    opened: list[Diagnostic] = []
    excluded: list[tuple[Diagnostic, Exclusion]] = []
    known = list(exclusions)
    used: set[int] = set()
    tried: set[int] = set()
    for item in found:
        fitting = [(n, e) for n, e in enumerate(known) if e.fits(item)]
        used |= {n for n, _ in fitting}
        standing = [e for _, e in fitting if e.until is None or e.until >= today]
        if item.severity is Severity.ERROR and fitting:
            tried |= {n for n, _ in fitting}
            opened.append(item)
        elif standing:
            excluded.append((item, standing[0]))
        else:
            opened.append(item)
    looked_at = None if whole is None else set(whole)
    for number, exclusion in enumerate(known):
        if number in tried:
            message = f"{exclusion.code} is an error for {exclusion.rule}: it keeps the rule out and cannot be excluded"
            opened.append(_about(exclusion, "R093", message, "mend the rule"))
        if exclusion.until is not None and exclusion.until < today:
            message = f"the exclusion of {exclusion.code} for {exclusion.rule} ended on {exclusion.until}"
            opened.append(_about(exclusion, "R091", message, "look again: mend, or another until"))
        elif number not in used and (looked_at is None or any(fnmatchcase(r, exclusion.rule) for r in looked_at)):
            message = f"nothing to exclude: no {exclusion.code} for {exclusion.rule}"
            opened.append(_about(exclusion, "R090", message, "delete it"))
    return Reviewed(tuple(opened), tuple(excluded))


def _about(exclusion: Exclusion, code: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(code, message, exclusion.span.location, hint, Severity.WARNING)
