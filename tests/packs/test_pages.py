"""The reference pages say what the rules say: made anew, they are the committed ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fintel.bench.explain_page import pages
from fintel.rules.loader import load
from fintel.rules.model import Library

AGAIN = "fintel rules docs docs/reference"


@pytest.fixture(scope="module")
def library() -> Library:
    return load()[0]


@pytest.fixture(scope="module")
def made(library: Library) -> dict[str, str]:
    return pages(library)


def test_the_committed_pages_are_those_that_the_rules_make(made: dict[str, str], root: Path) -> None:
    folder = root / "docs" / "reference"
    stale = [name for name, text in made.items() if not _same(folder / name, text)]
    assert stale == [], f"run {AGAIN}"
    there = {f"rules/{p.name}" for p in (folder / "rules").glob("*")}
    assert there == {name for name in made if name.startswith("rules/")}, "a page of no pack"


def _same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def test_pages_are_the_same_wherever_they_are_made(made: dict[str, str], library: Library, root: Path) -> None:
    assert pages(library) == made
    for name, text in made.items():
        assert str(root) not in text, name
        assert not re.search(r"/(home|root|tmp|work|Users)/|[A-Z]:\\", text), name


def test_every_rule_has_a_section_and_every_indicator_a_line(made: dict[str, str], library: Library) -> None:
    lines = made["packs.md"].split("\n")
    for rule in library.rules:
        assert f"\n`{rule.id}`\n" in made[f"rules/{rule.pack}.md"]
        (row,) = [line for line in lines if line.startswith(f"| `{rule.id}` |")]
        assert all(name in row for name in rule.indicators) and f"| {rule.level} |" in row
    for indicator in library.indicators.values():
        (row,) = [line for line in lines if line.startswith(f"| `{indicator.id}` |")]
        citing = {rule.id for rule in library.rules if indicator.id in rule.indicators}
        assert set(re.findall(r"`([a-z0-9-]+/[a-z0-9-]+)`", row)) == citing
        assert citing or "needs data" in row or "not machine-observable" in row or "unaccounted" in row


def test_tables_have_as_many_cells_as_columns(made: dict[str, str]) -> None:
    for name, text in made.items():
        for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
            rows = block.strip().split("\n")
            assert len({row.count("|") for row in rows}) == 1, f"{name}: {rows[0]}"
