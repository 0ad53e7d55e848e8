"""The page of tables is the schema's own; tables fit together."""

from __future__ import annotations

from pathlib import Path

from fintel.domain.reference import tables_page
from fintel.domain.schema import ENTRIES, PROVENANCE, TABLES, TRANSACTIONS, Sensitivity


def test_the_page_is_made_from_the_schema(root: Path) -> None:
    page = tables_page()
    assert (root / "docs/reference/tables.md").read_text(encoding="utf-8") == page
    for table in TABLES.values():
        part = page.split(f"### {table.name}\n")[1].split("\n#")[0]
        assert all(f"| `{c.name}` |" in part for c in table.columns if c not in PROVENANCE), table.name


def test_tables_fit_together() -> None:
    for table in TABLES.values():
        assert len(set(table.names)) == len(table.names), table.name
        assert set(table.key) <= set(table.names), table.name
        assert all(c.doc for c in table.columns), table.name
    shared = set(ENTRIES.names) & set(TRANSACTIONS.names)
    assert len(shared) >= 20
    for name in shared:
        entry, payment = ENTRIES[name], TRANSACTIONS[name]
        assert (entry.type, entry.sensitivity) == (payment.type, payment.sensitivity), name
    assert not any(c.sensitivity is Sensitivity.PROTECTED for c in ENTRIES.columns)
