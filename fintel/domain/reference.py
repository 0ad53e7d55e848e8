"""The reference page of the tables, made from the schema."""

from __future__ import annotations

from fintel.domain.schema import (
    BOOKKEEPING,
    CANONICAL,
    ENTRIES,
    ENTRY_GRAPH,
    PROVENANCE,
    RUN_TABLES,
    RUNS,
    Column,
    Sensitivity,
    Table,
)

_GROUPS: tuple[tuple[str, str, tuple[Table, ...]], ...] = (
    ("Canonical tables", "What feeds are conformed to, and the lake keeps.", CANONICAL),
    (
        "Entries",
        "What windows and rules look at, computed and never stored. A run as of a moment sees payments, returns, "
        "identifiers (`first_seen`) and intelligence (`received_on`) up to then only. `fintel sql` has both as tables; "
        "`entry_graph` is computed when a query names it.",
        (ENTRIES, ENTRY_GRAPH),
    ),
    ("Runs", "What one detection writes, frozen with its manifest.", (*RUN_TABLES, RUNS)),
    ("Bookkeeping", "What was read, and what was refused.", BOOKKEEPING),
)
_ENTRIES_NOTES = """
How entries are worked out:

- *Identifiers* of a holder are those of `identifiers` and `phone`, `email`, `address` (with `city`) and `tax_id` (a
  document) of `parties`. They are compared in one spelling: a phone by its digits without a leading 00 (under five
  digits it is none), an e-mail or handle in lower case without spaces and a leading @, everything else by letters
  and digits, in lower case, without accents. A national and an international phone number stay two.
- `shared_*` counts parties as known at the moment of the run, the most shared value of a holder with several; a
  value of more than 50 parties (an office, a hostel) counts as none.
- `account_intel` and `counterparty_intel`: the account's number (or wallet) stands in `intel`, or a phone, e-mail,
  address, device, wallet, handle or document of its holder does. Keywords and IP addresses are not looked at here.
- Coordinates outside the globe, or both zero, are none. Where a payment or party has none, the city's are taken if
  the gazetteer (`fintel/features/cities.csv`, capitals and large cities) has the name, without case and accents, in
  that country; a city without its country is not guessed. Distances are great circles.
- `counterparty_is_own` is empty where the holder of either account is not known.
"""
_GRAPH_NOTES = """
How they are worked out (`docs/adr/0003-graph.md` says why so):

- Rules name them like columns of `entries`; they are computed only if a rule that runs names one, and only the
  families that it needs (`fintel/graph/entry_columns.py`; windows and tolerances: `fintel/graph/layout.py`).
- A payment has two ends: of an entry that goes out the account is the payer, of one that comes in the payee. *Own*
  is the account, *the other side* the counterparty. An end without an account goes by its name.
- Every column is empty where a payment has no other side (cash), or goes from an account to itself: a rule that reads
  one then says that it cannot tell. Columns that compare amounts are empty without an amount in the base currency.
- All look back from the entry, at payments before it in order of time and at itself. `ring_*` and `same_ring` look at
  identifiers as known at the moment of the run, as `shared_*` does, and not at addresses, which households share.
- At hubs and in dense places searches are bounded (512 latest neighbours, 2,000 steps for cycles): there a number may
  be lower than the truth, never higher.
- Risk from seeds is no column: what is known of an account today was not known at an entry of last year.
"""
_NOTES = {ENTRIES.name: _ENTRIES_NOTES, ENTRY_GRAPH.name: _GRAPH_NOTES}


def tables_page() -> str:
    """All tables and columns, Markdown."""
    provenance = ", ".join(f"`{c.name}`" for c in PROVENANCE)
    lines = [
        "# Tables",
        "",
        "Made from `fintel/domain/schema.py`, the one place where tables are written down. Every canonical table",
        f"ends with where a row came from: {provenance}.",
        "**Filled** columns are never empty. *Personal* columns are personal data; *protected* ones are shown to an",
        "investigator, and no rule or model may use them.",
    ]
    for title, what, tables in _GROUPS:
        lines += ["", f"## {title}", "", what]
        for table in tables:
            keys = ", ".join(f"`{k}`" for k in table.key)
            lines += ["", f"### {table.name}", "", f"{table.doc} No two rows have the same {keys}.", ""]
            lines += ["| column | type | what | |", "|---|---|---|---|"]
            lines += [_line(c) for c in table.columns if c not in PROVENANCE]
            lines += _NOTES.get(table.name, "").rstrip().splitlines()
    return "\n".join(lines) + "\n"


def _line(column: Column) -> str:
    kind = f"{column.type}, {column.unit}" if column.unit else str(column.type)
    what = column.doc.replace("|", "\\|")
    if column.values:
        what += ": " + ", ".join(f"`{v}`" for v in column.values)
    if column.path:
        what += f" (`{column.path}`)"
    marks = ["**filled**"] if column.required else []
    marks += [str(column.sensitivity)] if column.sensitivity is not Sensitivity.PLAIN else []
    return f"| `{column.name}` | {kind} | {what} | {', '.join(marks)} |"
