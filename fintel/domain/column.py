"""What a table is made of: types, sensitivity, columns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Type(StrEnum):
    """Column types. ``MONEY`` is a decimal with 18 digits, 5 of them behind the point: what
    ISO 20022 allows, and still an exact 64-bit integer in storage."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    MONEY = "money"
    RATE = "rate"
    TIMESTAMP = "timestamp"
    DATE = "date"


#: Digits behind the point of ``Type.MONEY``; kernels sum money as integers of 10**-5.
MONEY_SCALE = 5
MONEY_UNITS = 10**MONEY_SCALE


class Sensitivity(StrEnum):
    """How a column may be used and shown.

    ``PROTECTED`` traits (sex, nationality) may stand in a case for an investigator; no rule may
    name them and no model may see them.
    """

    PLAIN = "plain"
    PERSONAL = "personal"
    PROTECTED = "protected"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, type, whether it must be filled, and what it means."""

    name: str
    type: Type
    doc: str
    required: bool = False
    unit: str | None = None
    path: str | None = None
    sensitivity: Sensitivity = Sensitivity.PLAIN
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns in order and the columns that make a row unique."""

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    def __contains__(self, name: object) -> bool:
        return any(c.name == name for c in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)


def column(
    name: str,
    type: Type,
    doc: str,
    *,
    required: bool = False,
    unit: str | None = None,
    path: str | None = None,
    sensitivity: Sensitivity = Sensitivity.PLAIN,
    values: tuple[str, ...] = (),
) -> Column:
    """A column, short enough to stand on one line of a table."""
    return Column(name, type, doc, required, unit, path, sensitivity, values)
