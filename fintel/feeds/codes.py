"""Reason codes of quarantined rows: one table of number, message and hint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row was refused. ``message`` may hold ``{column}``."""

    message: str
    hint: str


MISSING = 1
BAD_NUMBER = 2
ZERO = 3
NEGATIVE = 4
BAD_DATE = 5
DATE_RANGE = 6
CURRENCY = 7
COUNTRY = 8
VALUE = 9
SCIENTIFIC = 10
TOO_LARGE = 11
DECIMALS = 12
RAGGED = 13
BAD_BYTES = 14
NUL = 15
TOO_LONG = 16
STRAY_QUOTE = 17
OPEN_QUOTE = 18
BAD_JSON = 19
NO_SIDE = 20
DEBIT_CREDIT = 21
FLAG = 22
NO_SUCH_TIME = 23
BAD_TRUTH = 24
DEGREES = 25

REASONS: dict[int, Reason] = {
    MISSING: Reason("{column} is required and empty", "map another column or a constant, or have the source fill it"),
    BAD_NUMBER: Reason(
        "{column} is not a number", "state 'decimal' and 'thousands' in the mapping if the source writes 1.234,56"
    ),
    ZERO: Reason(
        "{column} is zero", "a payment moves value; skip such rows in the mapping if they mean something else"
    ),
    NEGATIVE: Reason(
        "{column} is negative", "say 'negative: reverse_sides' in the mapping if the sign shows the direction"
    ),
    BAD_DATE: Reason(
        "{column} is not a date in a stated format",
        "add the source's format to 'format'; a bare number may be a spreadsheet's serial date: export it as text",
    ),
    DATE_RANGE: Reason(
        "{column} is outside 1900 to 2100 (birth dates: from 1850)", "check the format, above all two-digit years"
    ),
    CURRENCY: Reason(
        "{column} is not a known currency", "use ISO 4217 codes, or map the source's names under 'values'"
    ),
    COUNTRY: Reason("{column} is not a known country", "use ISO 3166 codes, or map the source's names under 'values'"),
    VALUE: Reason(
        "{column} has a value that the mapping does not know", "add it under 'values', or say 'unmapped: null'"
    ),
    SCIENTIFIC: Reason(
        "{column} is an account or reference number in scientific notation: digits are lost",
        "export the column as text; a spreadsheet has rounded it",
    ),
    TOO_LARGE: Reason(
        "{column} has more than 13 digits before the point (a rate: 8), "
        "or is above 100,000,000,000 in the base currency",
        "check the unit, the decimal sign and the rate; sums of larger amounts would not be exact",
    ),
    DECIMALS: Reason(
        "{column} has more than 5 digits behind the point", "say 'decimals: round' in the mapping to round half to even"
    ),
    RAGGED: Reason("the row has another number of fields than the header", "a delimiter inside a field must be quoted"),
    BAD_BYTES: Reason(
        "the row has bytes that are not valid in the stated encoding", "state the right 'encoding' in the mapping"
    ),
    NUL: Reason("the row holds a NUL character", "the file is damaged, or it is UTF-16: state 'encoding'"),
    TOO_LONG: Reason(
        "the row, or one of its values, is longer than 262,144 bytes", "the file is damaged, or a quote is never closed"
    ),
    STRAY_QUOTE: Reason(
        "a quote stands inside a field that is not quoted, or text follows a closing quote",
        "say 'quote: none' in the mapping if the source does not quote",
    ),
    OPEN_QUOTE: Reason(
        "a quote is opened here and never closed", "say 'quote: none' in the mapping if the source does not quote"
    ),
    BAD_JSON: Reason("the line is not a JSON object", "JSON Lines: one object a line"),
    NO_SIDE: Reason("neither a debtor nor a creditor is named", "map an account or a name of at least one side"),
    DEBIT_CREDIT: Reason(
        "{column}: debit and credit are both filled, or both empty", "exactly one of the two columns holds the amount"
    ),
    FLAG: Reason("{column}: the debit/credit mark is not one that the mapping knows", "add it under 'flag'"),
    NO_SUCH_TIME: Reason(
        "{column} does not exist on the clock of the stated time zone (clocks went forward)", "check 'time_zone'"
    ),
    BAD_TRUTH: Reason("{column} is not yes or no", "map the source's words to true and false under 'values'"),
    DEGREES: Reason(
        "{column} is no place on earth: latitudes go to 90, longitudes to 180 degrees",
        "check that latitude and longitude are not exchanged and are decimal degrees; or say 'unreadable: null'",
    ),
}


def code_text(code: int) -> str:
    """``F001`` for 1."""
    return f"F{code:03d}"


def message(code: int, column: str | None) -> str:
    """The reason in words."""
    return REASONS[code].message.format(column=column or "a column")
