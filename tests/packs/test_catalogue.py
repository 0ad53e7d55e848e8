"""The catalogue of published indicators is whole: no row vanishes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from fintel.rules.loader import load
from fintel.rules.model import Indicator

#: Every id of the catalogue, one a line. A row that is taken out is taken out here as well, on purpose.
IDS = Path(__file__).with_name("indicator_ids.txt")
#: A row of a table of indicators: its id, then its typology.
_ROW = re.compile(r"^\| ([A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+) \| (?:OSEC|HT-SEX|HT-LABOUR|SCAM-COMPOUND|ML-GENERAL) \|", re.M)


@cache
def catalogue() -> dict[str, Indicator]:
    return dict(load()[0].indicators)


def differences(found: set[str], wanted: set[str]) -> dict[str, list[str]]:
    return {"lost": sorted(wanted - found), "not listed": sorted(found - wanted)}


def test_no_row_of_the_catalogue_vanishes() -> None:
    listed = IDS.read_text(encoding="utf-8").split()
    assert listed == sorted(set(listed)), "one a line, sorted, none twice"
    assert differences(set(catalogue()), set(listed)) == {"lost": [], "not listed": []}


def test_every_indicator_of_the_reference_is_in_the_catalogue(shared: Path) -> None:
    rows = _ROW.findall((shared / "reference" / "indicators.md").read_text(encoding="utf-8"))
    assert len(rows) == len(set(rows)) > 200, "the tables of the reference were not understood"
    assert differences(set(catalogue()), set(rows))["lost"] == []


def test_what_is_known_of_a_document_stands_in_each_of_its_rows() -> None:
    documents: dict[tuple[str, str, str], list[Indicator]] = {}
    for row in catalogue().values():
        documents.setdefault((row.issuer, row.document, row.reference), []).append(row)
    lacking = [
        f"{row.id} lacks {name}"
        for rows in documents.values()
        for name in ("url", "date")
        if any(getattr(row, name) for row in rows)
        for row in rows
        if not getattr(row, name)
    ]
    assert lacking == []
    torn = [rows[0].document for rows in documents.values() if len({r.date for r in rows}) > 1]
    assert torn == []


def test_addresses_of_the_catalogue_are_those_of_the_reference(shared: Path) -> None:
    text = (shared / "reference" / "indicators.md").read_text(encoding="utf-8")
    given = {row.url for name, row in catalogue().items() if row.url and name in set(_ROW.findall(text))}
    assert sorted(u for u in given if u.removeprefix("https://").rstrip("/") not in text) == []
    assert len(given) > 10
