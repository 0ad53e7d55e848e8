"""YAML with a place for every key and value.

A rule file is a stranger's text. It is read as events of a safe YAML parser and built into plain
nodes here, so that every later finding can name file, line and column, and so that what a rule
never needs is refused: aliases, anchors, tags, duplicate keys, deep nesting, large files.
A scalar stays the text that was written: ``NO`` is Norway, not false.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from fintel.errors import Diagnostic, Location, Severity

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
#: What a person is told of one file, and how long a message may be: both may quote a stranger.
MAX_FINDINGS = 100
MAX_MESSAGE = 200
MAX_HINT = 1000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Source:
    """A file's name and text; turns an offset into a place."""

    file: str
    text: str = field(repr=False)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(i + 1 for i, char in enumerate(self.text) if char == "\n")]

    @cached_property
    def _yaml_starts(self) -> list[int]:
        # YAML 1.1 counts these as line breaks too; people and their editors do not
        return [0, *(i + 1 for i, char in enumerate(self.text) if char in "\n\r\x85\u2028\u2029")]

    def at(self, offset: int) -> Location:
        """Line and column (from 1) of a character."""
        line = bisect_right(self._starts, offset)
        return Location(self.file, line, offset - self._starts[line - 1] + 1)

    def offset(self, mark: yaml.Mark) -> int:
        """Offset of a place as the YAML parser counts it."""
        starts = self._yaml_starts
        return min(starts[min(mark.line, len(starts) - 1)] + mark.column, len(self.text))


@dataclass(frozen=True)
class Span:
    """Where a value stands in its file, and how it is written there."""

    source: Source
    start: int
    end: int
    style: str | None = None
    value: str = ""

    @property
    def location(self) -> Location:
        """The first character."""
        return self.source.at(self.start)

    def locate(self, offset: int) -> Location:
        """Place of the ``offset``-th character of the value, through quotes, folds and escapes."""
        return self.source.at(self._offsets[min(offset, len(self._offsets) - 1)])

    @cached_property
    def _offsets(self) -> list[int]:
        # Every visible character of the value stands in the file in the same order; only blanks
        # are folded and only quotes are doubled or escaped. So walk both side by side.
        text, here = self.source.text, self.start
        if self.style in ("|", ">"):
            newline = text.find("\n", here, self.end)
            here = newline + 1 if newline >= 0 else here
        elif self.style in ("'", '"'):
            here += 1
        found = []
        for char in self.value:
            if not char.isspace():
                while here < self.end and text[here] != char:
                    here += 1
            found.append(min(here, self.end))
            if char.isspace():
                here += here < self.end and text[here].isspace()
            else:
                here += 2 if self.style == "'" and char == "'" else 1
        return [*found, min(here, self.end)]


@dataclass(frozen=True)
class Scalar:
    """A single value, as written. ``plain`` is false for quoted and block text."""

    value: str
    span: Span

    @property
    def plain(self) -> bool:
        """Written without quotes."""
        return self.span.style is None

    @property
    def empty(self) -> bool:
        """Nothing was written, or ``null`` or ``~``."""
        return self.plain and self.value in ("", "~", "null")


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True)
class Mapping:
    """Keys and values in the order written."""

    pairs: tuple[tuple[Scalar, Node], ...]
    span: Span

    def __iter__(self) -> Iterator[tuple[Scalar, Node]]:
        return iter(self.pairs)

    def get(self, name: str) -> Node | None:
        """Value of a key, or None."""
        return next((node for key, node in self.pairs if key.value == name), None)

    def key(self, name: str) -> Scalar | None:
        """The key itself, for its place."""
        return next((key for key, _ in self.pairs if key.value == name), None)


Node = Scalar | Sequence | Mapping


@dataclass
class Findings:
    """Diagnostics as they are found."""

    items: list[Diagnostic] = field(default_factory=list)

    def add(
        self,
        code: str,
        message: str,
        place: Span | Location | None,
        hint: str | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Note one."""
        location = place.location if isinstance(place, Span) else place
        self.items.append(Diagnostic(code, message, location, hint, severity))


def shorten(text: str, limit: int = MAX_MESSAGE) -> str:
    """The text, cut where it is longer than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def bounded(found: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The findings, messages cut; of each file the first ``MAX_FINDINGS`` and how many more there are."""
    shown: list[Diagnostic] = []
    seen: Counter[str] = Counter()
    worst: dict[str, Severity] = {}
    for item in found:
        file = item.location.file if item.location else ""
        seen[file] += 1
        if seen[file] > MAX_FINDINGS:
            is_error = Severity.ERROR in (item.severity, worst.get(file))
            worst[file] = Severity.ERROR if is_error else Severity.WARNING
            continue
        hint = None if item.hint is None else shorten(item.hint, MAX_HINT)
        shown.append(replace(item, message=shorten(item.message), hint=hint))
    for file, severity in worst.items():
        message = f"{seen[file] - MAX_FINDINGS:,} more findings that are not shown"
        shown.append(Diagnostic("R001", message, Location(file) if file else None, severity=severity))
    return tuple(shown)


class _RefusedError(Exception):
    """Stops the reading of one file."""

    def __init__(self, code: str, message: str, location: Location, hint: str | None = None) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(code, message, location, hint)


def read(path: Path, findings: Findings) -> Mapping | None:
    """Read a YAML file whose top is a mapping; None when it cannot be used (findings say why)."""
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            findings.add("R001", f"larger than {MAX_BYTES:,} bytes", Location(name), "split the file")
            return None
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        findings.add("R001", f"cannot be read: {error.strerror}", Location(name))
        return None
    except UnicodeDecodeError as error:
        findings.add("R001", f"not UTF-8 at byte {error.start}", Location(name))
        return None
    return parse(text, name, findings)


def parse(text: str, name: str, findings: Findings) -> Mapping | None:
    """As ``read``, from text."""
    source = Source(name, text)
    try:
        node = _build(source)
    except _RefusedError as refused:
        findings.items.append(refused.diagnostic)
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = source.at(source.offset(mark)) if mark else Location(name)
        hint = "put quotes round a text that holds ': ', ' #', or, inside braces, a comma"
        findings.add("R002", f"not valid YAML: {error.problem or error.context}", place, hint)
        return None
    except yaml.YAMLError as error:
        findings.add("R002", f"not valid YAML: {str(error).splitlines()[0]}", Location(name))
        return None
    if not isinstance(node, Mapping):
        findings.add("R002", "empty, or not 'key: value' at the top", Location(name, 1, 1))
        return None
    return node


def _build(source: Source) -> Node | None:
    """Turn events into nodes with an explicit stack: depth is bounded and nothing is resolved."""
    stack: list[tuple[Any, list[Node], Span]] = []
    root: Node | None = None
    documents = 0
    for event in yaml.parse(source.text, Loader=_LOADER):
        span = _span(source, event)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _RefusedError("R002", "more than one document in the file", span.location)
        if not isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            continue
        if isinstance(event, yaml.NodeEvent):
            _refuse_tricks(event, span)
        if isinstance(event, yaml.CollectionStartEvent):
            if len(stack) >= MAX_DEPTH:
                raise _RefusedError("R003", f"nested deeper than {MAX_DEPTH}", span.location)
            stack.append((event, [], span))
            continue
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value, span)
        else:
            start, items, opened = stack.pop()
            whole = Span(source, opened.start, span.end)
            is_mapping = isinstance(start, yaml.MappingStartEvent)
            node = _mapping(items, whole) if is_mapping else Sequence(tuple(items), whole)
        if stack:
            stack[-1][1].append(node)
        else:
            root = node
    return root


def _span(source: Source, event: Any) -> Span:
    start, end = source.offset(event.start_mark), source.offset(event.end_mark)
    if not isinstance(event, yaml.ScalarEvent):
        return Span(source, start, end)
    return Span(source, start, end, None if event.implicit[0] else event.style, event.value)


def _refuse_tricks(event: Any, span: Span) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise _RefusedError("R003", "anchors and aliases (& and *) are not allowed", span.location, "write it out")
    # '!' alone is what the parser reports for quoted text without a tag
    if event.tag not in (None, "!"):
        raise _RefusedError("R003", f"tags ({event.tag}) are not allowed", span.location, "write a plain value")


def _mapping(items: list[Node], span: Span) -> Mapping:
    pairs: dict[str, tuple[Scalar, Node]] = {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise _RefusedError("R002", "a key must be a plain name", key.span.location)
        if key.value in pairs:
            raise _RefusedError("R004", f"'{key.value}' is given twice", key.span.location)
        pairs[key.value] = (key, value)
    return Mapping(tuple(pairs.values()), span)
