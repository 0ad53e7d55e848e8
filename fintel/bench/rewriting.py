"""A new version of a rule's file: defaults replaced where they stand, everything else kept byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from fintel.bench.settings import require_in_range
from fintel.errors import RuleError
from fintel.rules.loader import CASES, PACK_FILE, packs_folder
from fintel.rules.model import Rule
from fintel.rules.source import MAX_BYTES, Findings, Scalar, Sequence, parse
from fintel.rules.source import Mapping as Node

#: What a rule with other numbers has to earn again.
_PROVEN = ("test", "stable")
_KEY = "changelog"
_BOM = "\ufeff"
MAX_AUTHOR = 80


@dataclass(frozen=True)
class Edit:
    """Characters [start, end) of the text become ``new``."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Written:
    """What was written where; ``line`` is the changelog's, ``copied`` are files that went along."""

    file: Path
    version: int
    line: str
    copied: tuple[Path, ...] = ()


def number_text(value: float) -> str:
    """A parameter's value as YAML."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def changelog_line(rule: Rule, values: Mapping[str, float], *, by: str, on: date, data: str = "") -> str:
    """``2: min_sends 4 → 5 (tuned on 2026-11-24, payments of …, by …)``.

    Raises
    ------
    RuleError: nobody is named, or nothing changes.
    """
    author = author_of(by)
    if author is None:
        raise RuleError("who tunes the rule must be named", hint=f"--by NAME, at most {MAX_AUTHOR} letters")
    changed = [
        f"{name} {number_text(rule.parameters[name].default)} → {number_text(value)}"
        for name, value in values.items()
        if rule.parameters[name].default != value
    ]
    if not changed:
        raise RuleError("the setting is the one that the rule has: there is nothing to write")
    about = f", {data}" if data else ""
    return f"{rule.version + 1}: {', '.join(changed)} (tuned on {on.isoformat()}{about}, by {author})"


def author_of(name: str) -> str | None:
    """A person's name for the changelog, in single spaces; None where it is empty, too long or cannot be printed."""
    author = " ".join(name.split())
    return author if author and len(author) <= MAX_AUTHOR and author.isprintable() else None


def rewrite(text: str, name: str, values: Mapping[str, float], line: str) -> str:
    """A rule file's text with other defaults, the next version and one more changelog line.

    Parameters
    ----------
    text: as in the file, with its own line ends and, if there, its byte order mark.
    name: the file's name, for messages.

    Raises
    ------
    RuleError: the file does not hold the rule as fintel reads it.
    """
    plain, node = _read(text, name)
    version = _version(node, name)
    edits = [_default(node, name, parameter, value) for parameter, value in values.items()]
    edits.append(Edit(version.span.start, version.span.end, str(int(version.value) + 1)))
    status = node.get("status")
    if isinstance(status, Scalar) and status.value.strip() in _PROVEN:
        # other numbers have proven nothing yet: fintel rules promote raises it again
        edits.append(Edit(status.span.start, status.span.end, "experimental"))
    edits.append(_log(node, plain, version, json.dumps(line, ensure_ascii=False)))
    return _edited(text, edits)


def rewrite_status(text: str, name: str, status: str, version: int, line: str) -> str:
    """A rule file's text with another status, this version and one more changelog line; else as ``rewrite``.

    Raises
    ------
    RuleError: the file does not hold the rule as fintel reads it.
    """
    plain, node = _read(text, name)
    old = node.get("status")
    if not isinstance(old, Scalar):
        raise RuleError(f"{name} has no status")
    number = _version(node, name)
    edits = [Edit(old.span.start, old.span.end, status), Edit(number.span.start, number.span.end, str(version))]
    return _edited(text, [*edits, _log(node, plain, number, json.dumps(line, ensure_ascii=False))])


def _read(text: str, name: str) -> tuple[str, Node]:
    plain = text.removeprefix(_BOM).replace("\r\n", "\n")
    findings = Findings()
    node = parse(plain, name, findings)
    if node is None or findings.items:
        raise RuleError(f"{name} cannot be read as a rule", findings.items)
    return plain, node


def _version(node: Node, name: str) -> Scalar:
    version = node.get("version")
    if not isinstance(version, Scalar) or not version.value.strip().isdecimal():
        raise RuleError(f"{name} has no whole number as version")
    return version


def _edited(text: str, edits: list[Edit]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    places = _places(text)
    for edit in sorted(edits, key=lambda e: e.start, reverse=True):
        text = text[: places[edit.start]] + edit.new.replace("\n", newline) + text[places[edit.end] :]
    return text


def _places(text: str) -> list[int]:
    """Where each character of the text without mark and carriage returns stands in the text as it is."""
    here = int(text.startswith(_BOM))
    found = []
    while here < len(text):
        here += text.startswith("\r\n", here)
        found.append(here)
        here += 1
    # what stands before a line end stands before the carriage return too
    return [p - 1 if text[p] == "\n" and p and text[p - 1] == "\r" else p for p in found] + [len(text)]


def _default(node: Node, name: str, parameter: str, value: float) -> Edit:
    parameters = node.get("parameters")
    one = parameters.get(parameter) if isinstance(parameters, Node) else None
    default = one.get("default") if isinstance(one, Node) else None
    if not isinstance(default, Scalar):
        raise RuleError(f"{name} gives no default for '{parameter}'")
    return Edit(default.span.start, default.span.end, number_text(value))


def _log(node: Node, text: str, version: Scalar, line: str) -> Edit:
    """The changelog's new line: behind the last one, or as a new key behind ``version``."""
    log = node.get(_KEY)
    if log is None or (isinstance(log, Scalar) and log.empty):
        key = node.key(_KEY)
        if key is not None and log is not None:
            return Edit(key.span.end, max(log.span.end, key.span.end + 1), f": [{line}]")
        end = text.find("\n", version.span.end)
        end = len(text) if end < 0 else end
        return Edit(end, end, f"\n{_KEY}: [{line}]")
    if not isinstance(log, Sequence):
        raise RuleError(f"'{_KEY}' is not a list")
    flow = text[log.span.start] == "["
    if not log.items:
        return Edit(log.span.start, log.span.end, f"[{line}]")
    last = log.items[-1].span
    if flow:
        return Edit(last.end, last.end, f", {line}")
    first = log.items[0].span.start
    dash = text.rfind("-", log.span.start, first)
    indent = " " * (dash - (text.rfind("\n", 0, dash) + 1))
    if text[last.end - 1] == "\n":  # a block of lines ends with its line
        return Edit(last.end, last.end, f"{indent}- {line}\n")
    end = text.find("\n", last.end)
    end = len(text) if end < 0 else end
    return Edit(end, end, f"\n{indent}- {line}")


def write_version(
    rule: Rule, values: Mapping[str, float], *, by: str, on: date, data: str = "", to: Path | None = None
) -> Written:
    """Write the next version of a rule; the file is replaced whole or not at all.

    Parameters
    ----------
    values: new defaults, in each parameter's own unit.
    data: what the rule was tuned on, in words.
    to: another folder of packs: the new version goes to ``to/<pack>/``, with ``pack.yaml`` and the
        rule's cases if they are not there yet. Needed for rules that come with fintel.

    Raises
    ------
    RuleError: the rule comes with fintel and ``to`` is not given, nothing changes, nobody is named,
        a value is outside its parameter's range, the file has changed since it was read, or cannot be written.
    """
    for name, value in values.items():
        require_in_range(rule.parameters[name], value)
    line = changelog_line(rule, values, by=by, on=on, data=data)
    changed = {n: v for n, v in values.items() if rule.parameters[n].default != v}

    def change(text: str, source: Path) -> str:
        new = rewrite(text, str(source), changed, line)
        _verify(rule, source, text, new, changed, line)
        return new

    return _write(rule, change, rule.version + 1, line, to, "--to")


def write_status(
    rule: Rule, status: str, version: int, line: str, *, to: Path | None = None, option: str = "--to"
) -> Written:
    """Write another status and a changelog line into a rule's file; as ``write_version``, which also tells ``to``.

    ``option``: what ``to`` is called on the command line, for hints.

    Raises
    ------
    RuleError: as ``write_version``.
    """

    def change(text: str, source: Path) -> str:
        new = rewrite_status(text, str(source), status, version, line)
        before, after = (_tree(t, str(source)) for t in (text, new))
        if before.get("version") != str(rule.version) or before.get("status") != rule.status:
            raise RuleError(f"{source.name} was changed since it was read", hint="run it again")
        _require_same({**before, "status": status, "version": str(version)}, after, line, source)
        return new

    return _write(rule, change, version, line, to, option)


def _write(
    rule: Rule, change: Callable[[str, Path], str], version: int, line: str, to: Path | None, option: str
) -> Written:
    source = Path(rule.location.file)
    if to is None and source.resolve().is_relative_to(packs_folder().resolve()):
        raise RuleError(
            f"{rule.id} comes with fintel, and the next update would overwrite a change",
            hint=f"{option} FOLDER writes the new version into a folder of your own packs",
        )
    try:
        data_bytes = source.read_bytes()
        if len(data_bytes) > MAX_BYTES:
            raise RuleError(f"{source.name} is larger than {MAX_BYTES:,} bytes")
        new = change(data_bytes.decode("utf-8"), source)
        target = source if to is None else to / rule.pack / source.name
        copied = _copy_beside(rule, source, target) if to is not None else ()
        _replace(target, new.encode("utf-8"), like=source)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RuleError(f"the new version of {rule.id} cannot be written: {why}", hint=f"{option} FOLDER") from error
    return Written(target, version, line, copied)


def _verify(rule: Rule, source: Path, old: str, new: str, values: Mapping[str, float], line: str) -> None:
    """The new text reads as the old one with these values and nothing else changed."""
    before, after = (_tree(t, str(source)) for t in (old, new))
    try:
        if int(before["version"]) != rule.version:
            raise RuleError(f"{source.name} was changed since it was read", hint="run it again")
        for name, value in values.items():
            if float(before["parameters"][name]["default"]) != rule.parameters[name].default:
                raise RuleError(f"{source.name} was changed since it was read", hint="run it again")
            before["parameters"][name]["default"] = number_text(value)
    except (KeyError, ValueError, TypeError) as error:
        raise RuleError(f"{source.name} does not hold {rule.id} any more") from error
    status = "experimental" if before.get("status") in _PROVEN else before.get("status")
    _require_same({**before, "version": str(rule.version + 1), "status": status}, after, line, source)


def _require_same(wanted: dict[str, Any], after: dict[str, Any], line: str, source: Path) -> None:
    """The new tree is the one that is wanted, with one more changelog line."""
    log = wanted.get(_KEY)
    if {**wanted, _KEY: [*(log if isinstance(log, list) else []), line]} != after:
        raise RuleError(f"{source.name} is laid out in a way that cannot be edited safely", hint="edit it by hand")


def _tree(text: str, name: str) -> dict[str, Any]:
    node = parse(text.removeprefix(_BOM).replace("\r\n", "\n"), name, Findings())
    if node is None:
        raise RuleError(f"{name} cannot be read as a rule")
    found = _plain(node)
    assert isinstance(found, dict)
    return found


def _plain(node: object) -> object:
    if isinstance(node, Node):
        return {key.value: _plain(value) for key, value in node}
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


def _copy_beside(rule: Rule, source: Path, target: Path) -> tuple[Path, ...]:
    target.parent.mkdir(parents=True, exist_ok=True)
    copied = []
    for relative in (Path(PACK_FILE), Path(CASES) / source.name):
        here, there = source.parent / relative, target.parent / relative
        if here.is_file() and not here.is_symlink() and not there.exists():
            there.parent.mkdir(exist_ok=True)
            shutil.copyfile(here, there)
            copied.append(there)
    return tuple(copied)


def _replace(target: Path, data: bytes, *, like: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(like, name)
        os.replace(name, target)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
