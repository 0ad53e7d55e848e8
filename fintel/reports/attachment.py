"""The CSV beside a draft: every payment of the evidence, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from fintel.domain.case import Case, CaseTransaction
from fintel.reports.fincen_checks import MAX_ATTACHMENT
from fintel.reports.text import clean

# What begins a formula, and every sign whose compatibility form (NFKC) begins so: full-width, small, raised, low.
# Some spreadsheets read those as the plain ones.
FORMULA = (
    "=+-@\t\r|%\u207a\u207b\u207c\u208a\u208b\u208c\u2212\u2a75\u2a76\ufb29\ufe62\ufe63\ufe66\ufe6a\ufe6b"
    "\uff05\uff0b\uff0d\uff1d\uff20\uff5c"
)
# Where ';' separates columns (much of Europe), what stands behind one begins a cell, quotes or not.
_BEGINS = re.compile(rf"(^|;)(?=[\s\"]*[{re.escape(FORMULA)}])")


@dataclass(frozen=True, slots=True)
class Attachment:
    """CSV bytes, and how many payments stand in it of how many."""

    data: bytes
    rows: int
    of: int


def safe_cell(text: str | None, limit: int = 200) -> str:
    """A cell that no spreadsheet runs: what begins like a formula gets an apostrophe in front, at the
    start and behind every ';'."""
    return _BEGINS.sub(r"\1'", clean(text, limit))


def attachment(case: Case, limit: int = MAX_ATTACHMENT) -> Attachment:
    """The evidence as CSV (UTF-8, comma, every cell in quotes), in time order, at most ``limit`` bytes.

    After it come the other steps of the money's way (column ``part``: ``activity`` or ``way``), which are not counted.
    The account is left out where its holder is a presumed victim: it stands in the narrative only.
    """
    header = [
        "date", "time_utc", "direction", "instrument", "channel", "amount", "currency",
        f"amount_{clean(case.base_currency, 3).lower()}", "account", "other_party", "other_account",
        "other_bank", "other_country", "text", "place", "payment", "source", "part",
    ]  # fmt: skip
    made = [_line(header)]
    size = len(made[0])
    rows = case.evidence
    hidden = frozenset[str]() if case.holder.role.may_be_subject else _accounts(case)
    ways = [row for row in case.hops if row.counterparty_account not in hidden]
    for row, part in (*((row, "activity") for row in rows), *((row, "way") for row in ways)):
        # of a victim's activity no account stands here, the holder's or a linked one
        secret = row.account_id in hidden or (hidden and part == "activity")
        line = _line([*_cells(row, "" if secret else row.account_id), part])
        if size + len(line) > limit:
            break
        size += len(line)
        made.append(line)
    return Attachment(b"".join(made), min(len(made) - 1, len(rows)), len(rows))


def _accounts(case: Case) -> frozenset[str]:
    return frozenset({case.account_id, *(a.account_id for a in case.holder.accounts)})


def _cells(row: CaseTransaction, account: str) -> list[str]:
    place = ", ".join(p for p in (row.place_id, row.place_city, row.place_country) if p)
    return [
        row.day.isoformat(),
        row.booked_at.strftime("%Y-%m-%d %H:%M:%S"),
        row.direction,
        safe_cell(row.instrument),
        safe_cell(row.channel),
        format(row.amount.normalize(), "f"),
        safe_cell(row.currency, 3),
        "" if row.amount_base is None else format(row.amount_base.normalize(), "f"),
        safe_cell(account),
        safe_cell(row.counterparty_name or row.merchant_name),
        safe_cell(row.counterparty_account),
        safe_cell(row.counterparty_agent),
        safe_cell(row.counterparty_country, 2),
        safe_cell(row.text),
        safe_cell(place),
        safe_cell(row.transaction_id),
        safe_cell(row.origin),
    ]


def _line(cells: list[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)
    return out.getvalue().encode("utf-8")
