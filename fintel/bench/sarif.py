"""Findings about rules as SARIF 2.1.0 (OASIS, 2020): code hosts and editors show them at their lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fintel
from fintel.errors import Diagnostic, Severity
from fintel.rules.codes import CODES, PAGE, short
from fintel.rules.exclusions import Exclusion

VERSION = "2.1.0"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: What file names are relative to.
ROOT = "SRCROOT"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def log(
    opened: Iterable[Diagnostic], excluded: Iterable[tuple[Diagnostic, Exclusion]], *, root: Path
) -> dict[str, Any]:
    """One run as plain values for JSON.

    Parameters
    ----------
    excluded: findings that stand, with why: shown as suppressed.
    root: file names below it are written relative to it.
    """
    told = [*((d, None) for d in opened), *excluded]
    codes = sorted({d.code for d, _ in told})
    return {
        "$schema": SCHEMA,
        "version": VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "fintel rules check",
                        "version": fintel.__version__,
                        "rules": [_descriptor(code) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(d, exclusion, codes, root.resolve()) for d, exclusion in told],
            }
        ],
    }


def _descriptor(code: str) -> dict[str, Any]:
    return {
        "id": code,
        "shortDescription": {"text": short(code)},
        "help": {"text": f"{short(code)}. See {PAGE}", "markdown": f"{short(code)}. See [{code}]({PAGE})"},
        "defaultConfiguration": {
            "level": {"W": "warning", "info": "note"}.get(CODES[code].partition(": ")[0], "error")
        },
    }


def _result(found: Diagnostic, exclusion: Exclusion | None, codes: Sequence[str], root: Path) -> dict[str, Any]:
    hint = f" ({found.hint})" if found.hint else ""
    result: dict[str, Any] = {
        "ruleId": found.code,
        "ruleIndex": codes.index(found.code),
        "level": _LEVELS[found.severity],
        "message": {"text": f"{found.message}{hint}"},
        "locations": [] if found.location is None else [_location(found, root)],
        # said of every result, so that a reader knows that suppressions were looked for
        "suppressions": [],
    }
    if exclusion is not None:
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": exclusion.reason}]
    return result


def _location(found: Diagnostic, root: Path) -> dict[str, Any]:
    place = found.location
    assert place is not None  # the caller's choice
    path = Path(place.file).resolve()
    inside = path.is_relative_to(root)
    # a quoted path: names may hold blanks and signs that mean something in an address
    uri = (
        path.as_uri() if not inside else (root / path.relative_to(root)).as_uri()[len(root.as_uri().rstrip("/")) + 1 :]
    )
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri, "uriBaseId": ROOT} if inside else {"uri": uri}}
    if place.line is not None:
        physical["region"] = {"startLine": place.line}
        if place.column is not None:
            physical["region"]["startColumn"] = place.column
    return {"physicalLocation": physical}
