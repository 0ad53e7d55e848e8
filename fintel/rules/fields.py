"""Typed reading of YAML nodes: what is wrong is noted at its place, and None is returned."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from fintel.errors import did_you_mean
from fintel.rules.source import MAX_FINDINGS, Findings, Mapping, Node, Scalar, Sequence, Span

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_SPAN = re.compile(r"(\d{1,9})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_SPAN = timedelta(days=3660)
MAX_TEXT = 4000


def name_kind(node: Node) -> str:
    """What a node is, in words."""
    if isinstance(node, Scalar):
        return "nothing" if node.empty else "a value"
    return "a list" if isinstance(node, Sequence) else "keys and values"


@dataclass(frozen=True)
class Fields:
    """The keys of one mapping, read one by one."""

    node: Mapping
    findings: Findings

    def check(self, allowed: Iterable[str], required: Iterable[str]) -> bool:
        """Note unknown and missing keys; true when there is none."""
        before = len(self.findings.items)
        allowed = tuple(allowed)
        for key, _ in self.node:
            if key.value not in allowed:
                # looking for a likely name takes time; findings past the limit are only counted
                few = len(self.findings.items) - before < MAX_FINDINGS
                hint = (did_you_mean(key.value, allowed) or f"known: {', '.join(allowed)}") if few else None
                self.findings.add("R005", f"unknown key '{key.value}'", key.span, hint)
        for name in required:
            value = self.node.get(name)
            if value is None:
                self.findings.add("R006", f"'{name}' is missing", self.node.span)
            elif isinstance(value, Scalar) and value.empty:
                self.findings.add("R006", f"'{name}' is empty", value.span)
        return len(self.findings.items) == before

    def span(self, name: str) -> Span:
        """Where a value stands, else where the mapping starts."""
        value = self.node.get(name)
        return value.span if value is not None else self.node.span

    def wrong(self, name: str, wanted: str, node: Node) -> None:
        """Note a value of another kind than wanted."""
        self.findings.add("R007", f"'{name}' takes {wanted}, not {name_kind(node)}", node.span)

    def text(self, name: str, default: str = "") -> str:
        """A text; ``default`` when the key is absent or empty."""
        node = self.node.get(name)
        if node is None or (isinstance(node, Scalar) and node.empty):
            return default
        if not isinstance(node, Scalar):
            self.wrong(name, "a text", node)
            return default
        if len(node.value) > MAX_TEXT and name not in ("anchor", "when", "where"):
            self.findings.add("R007", f"'{name}' is longer than {MAX_TEXT} characters", node.span)
            return default
        return node.value.strip()

    def choice(self, name: str, values: Iterable[str], default: str = "") -> str:
        """One of some words."""
        value = self.text(name, default)
        values = tuple(values)
        if value and value not in values:
            hint = did_you_mean(value, values) or f"one of: {', '.join(values)}"
            self.findings.add("R013", f"'{name}' is never '{value}'", self.span(name), hint)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty when absent."""
        return tuple(scalar.value.strip() for scalar in self.scalars(name))

    def scalars(self, name: str) -> tuple[Scalar, ...]:
        """A list of single values, with their places; empty when absent."""
        node = self.node.get(name)
        if node is None or (isinstance(node, Scalar) and node.empty):
            return ()
        if not isinstance(node, Sequence):
            self.wrong(name, "a list: [a, b]", node)
            return ()
        found = []
        for item in node.items:
            if isinstance(item, Scalar) and not item.empty:
                found.append(item)
            else:
                self.wrong(name, "texts or numbers in its list", item)
        return tuple(found)

    def mapping(self, name: str) -> Mapping | None:
        """Keys and values below a key; None when absent."""
        node = self.node.get(name)
        if node is None or (isinstance(node, Scalar) and node.empty):
            return None
        if not isinstance(node, Mapping):
            self.wrong(name, "keys and values", node)
            return None
        return node

    def number(self, name: str) -> float | None:
        """A finite number."""
        node = self.node.get(name)
        if node is None:
            return None
        value = as_number(node)
        if value is None:
            self.wrong(name, "a number", node)
        return value

    def integer(self, name: str, least: int) -> int | None:
        """A whole number of at least ``least``."""
        value = self.number(name)
        if value is None:
            return None
        if not value.is_integer() or value < least:
            self.findings.add("R007", f"'{name}' takes a whole number from {least} on", self.span(name))
            return None
        return int(value)

    def timespan(self, name: str, least: timedelta) -> timedelta | None:
        """A span such as ``30d``, ``12h``, ``5m``, ``10s``."""
        node = self.node.get(name)
        if node is None:
            return None
        match = _SPAN.fullmatch(node.value) if isinstance(node, Scalar) else None
        if match is None:
            self.findings.add("R044", f"'{name}' takes a span like 7d, 12h, 30m or 10s", node.span)
            return None
        span = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        if not least <= span <= MAX_SPAN:
            self.findings.add("R044", f"'{name}' must be above 0 and at most {MAX_SPAN.days}d", node.span)
            return None
        return span


def as_number(node: Node) -> float | None:
    """The number that a plain scalar spells, or None."""
    if not isinstance(node, Scalar) or not node.plain or not _NUMBER.fullmatch(node.value):
        return None
    value = float(node.value)
    return value if math.isfinite(value) else None
