"""Words and numbers in reports: cleaning of hostile text, amounts, days, plurals.

Names and remittance texts come from strangers. Whatever goes into a report passes ``clean`` first.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

from fintel.reports.fincen_codes import FILLER

# Controls, bidirectional marks, zero-width characters, surrogates, private use, unassigned.
_UNWANTED = ("Cc", "Cf", "Cs", "Co", "Cn")


def clean(text: str | None, limit: int | None = None) -> str:
    """One line of visible text: NFC, no control or direction characters, single spaces, no space at
    either end, at most ``limit`` characters."""
    if not text:
        return ""
    spaced = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    shown = "".join(c for c in spaced if unicodedata.category(c) not in _UNWANTED)
    single = re.sub(r" +", " ", shown).strip()
    return single if limit is None else single[:limit].rstrip()


def known(text: str | None, limit: int | None = None) -> str | None:
    """``clean`` text, or None where it says nothing ("N/A", "unknown", empty)."""
    found = clean(text, limit)
    return None if not found or found.upper() in FILLER else found


def digits(text: str | None) -> str:
    """ASCII digits only."""
    return "".join(c for c in text or "" if c in "0123456789")


def whole_dollars(amount: Decimal) -> str:
    """Whole dollars, rounded up to the next one, digits only."""
    return str(int(amount.to_integral_value(rounding=ROUND_CEILING)))


def money(amount: Decimal, currency: str) -> str:
    """``1,234.50 USD``: two decimals, more only where the amount has them."""
    plain = format(amount.normalize(), "f")
    decimals = max(2, len(plain.partition(".")[2]))
    return f"{amount:,.{decimals}f} {clean(currency, 3)}"


def cents(amount: Decimal) -> Decimal:
    """A converted amount to two decimals, half up: what a rate adds behind them says nothing."""
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def day(value: date) -> str:
    """``2025-03-01``: read the same everywhere."""
    return value.isoformat()


def number(value: float) -> str:
    """A count or a median, without needless decimals."""
    if not math.isfinite(value):
        return "not a number"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}".rstrip("0").rstrip(".")


def count(n: int, noun: str, plural: str | None = None) -> str:
    """``1 payment``, ``2 payments``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def ascii_file_name(identifier: str, digest: str) -> str:
    """A file name for any id: letters, digits, ``-`` and ``_``; an id that is changed by this gets a
    part of its own hash, so that two ids never share a file."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", identifier)[:60].strip("_")
    return safe if safe and safe == identifier else f"{safe or 'case'}_{digest[:12]}"
