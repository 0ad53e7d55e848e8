"""Exceptions for what cannot go on, and diagnostics for what a person wrote or sent."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """How much a diagnostic matters: an error stops the thing it speaks of, a warning does not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Location:
    """Where something stands: a file, and if known the line and column (both counted from 1)."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a rule file, a mapping or a row.

    ``code`` is a letter and three digits: ``R`` rule packs, ``M`` mappings, ``F`` feed rows,
    ``C`` configuration, ``S`` report drafts.
    """

    code: str
    message: str
    location: Location | None = None
    hint: str | None = None
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.severity} {self.code}: {self.message}{hint}"

    def as_dict(self) -> dict[str, str | int | None]:
        """Plain values for ``--json``."""
        place = self.location
        return {
            "code": self.code,
            "severity": str(self.severity),
            "message": self.message,
            "hint": self.hint,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
        }


class FintelError(Exception):
    """Something that cannot go on. Carries a hint and, where known, a place."""

    def __init__(self, message: str, *, hint: str | None = None, location: Location | Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.location = Location(str(location)) if isinstance(location, Path) else location

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        return f"{where}{self.message}"


class ConfigError(FintelError):
    """``fintel.toml``, an environment variable or an option is wrong."""


class FeedError(FintelError):
    """A feed as a whole cannot be read (one bad row never raises; it goes to quarantine)."""


class StoreError(FintelError):
    """The lake or its catalogue cannot be opened, or is held by another process."""


class RuleError(FintelError):
    """A rule pack cannot be loaded. ``diagnostics`` holds every finding, not only the first."""

    def __init__(self, message: str, diagnostics: Iterable[Diagnostic] = (), *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = tuple(diagnostics)


class ModelError(FintelError):
    """A model cannot be trained, loaded or used."""


class ReportError(FintelError):
    """A draft cannot be made."""


class MissingExtraError(FintelError):
    """An optional part is not installed."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs an optional part", hint=f"pip install 'fintel[{extra}]'")


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like ``name``, or None when nothing is close."""
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str, valid: Iterable[str]) -> str | None:
    """A hint 'did you mean …?' or None."""
    close = nearest(name, valid)
    return f"did you mean '{close}'?" if close else None
