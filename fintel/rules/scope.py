"""What an expression may name, and the shapes of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fintel.domain.schema import ENTRIES, TABLES, Sensitivity, Type
from fintel.rules.list_types import AnyList

if TYPE_CHECKING:
    from fintel.rules.tree import Part


class Shape(StrEnum):
    """Kinds of values that can be compared with each other. ``ANY`` stands for one that is
    already reported as wrong, so that one mistake gives one finding."""

    NUMBER = "a number"
    TEXT = "text"
    TRUTH = "true or false"
    DATE = "a date"
    TIME = "a point in time"
    NULL = "null"
    ANY = "anything"


SHAPES: dict[Type, Shape] = {
    Type.STRING: Shape.TEXT,
    Type.INT: Shape.NUMBER,
    Type.FLOAT: Shape.NUMBER,
    Type.MONEY: Shape.NUMBER,
    Type.RATE: Shape.NUMBER,
    Type.BOOL: Shape.TRUTH,
    Type.DATE: Shape.DATE,
    Type.TIMESTAMP: Shape.TIME,
}

#: Traits that no rule may name, wherever in the schema they stand.
PROTECTED = frozenset(
    c.name for table in TABLES.values() for c in table.columns if c.sensitivity is Sensitivity.PROTECTED
)


def entry_columns() -> dict[str, Type]:
    """Columns of the entries table that a rule may name."""
    return {c.name: c.type for c in ENTRIES.columns if c.sensitivity is not Sensitivity.PROTECTED}


@dataclass(frozen=True)
class Function:
    """Number of arguments, their shape (None: any, but all alike) and the result (None: theirs)."""

    least: int
    most: int
    takes: Shape | None
    gives: Shape | None


FUNCTIONS: dict[str, Function] = {
    "abs": Function(1, 1, Shape.NUMBER, Shape.NUMBER),
    "least": Function(2, 20, Shape.NUMBER, Shape.NUMBER),
    "greatest": Function(2, 20, Shape.NUMBER, Shape.NUMBER),
    "coalesce": Function(2, 20, None, None),
    "lower": Function(1, 1, Shape.TEXT, Shape.TEXT),
    "upper": Function(1, 1, Shape.TEXT, Shape.TEXT),
    "length": Function(1, 1, Shape.TEXT, Shape.NUMBER),
    "starts_with": Function(2, 2, Shape.TEXT, Shape.TRUTH),
    "ends_with": Function(2, 2, Shape.TEXT, Shape.TRUTH),
    "round": Function(1, 1, Shape.NUMBER, Shape.NUMBER),
    "floor": Function(1, 1, Shape.NUMBER, Shape.NUMBER),
    "ceil": Function(1, 1, Shape.NUMBER, Shape.NUMBER),
}
#: Functions of ``when``, which sees measures and no entries.
WHEN_FUNCTIONS = ("abs", "coalesce", "least", "greatest")
#: ``extract(<field> from <column>)``; ``dow``: 0 is Sunday, 6 Saturday.
EXTRACTS = ("hour", "dow", "day", "month")
#: Texts that ``mentions(…)`` reads: those that the payment itself carries.
MENTION_COLUMNS = ("remittance_information", "merchant_name", "counterparty_name")
#: Pieces of an expression, named conditions written out: a bound on what few words can grow into.
MAX_PIECES = 5_000


@dataclass(frozen=True)
class Scope:
    """Names that an expression may use."""

    names: Mapping[str, Shape]
    parameters: Mapping[str, float]
    lists: Mapping[str, AnyList] = field(default_factory=dict)
    #: conditions that a bare name stands for, read already
    conditions: Mapping[str, Part] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=lambda: FUNCTIONS)
    #: the word for a name in messages
    noun: str = "column"
    reads_entries: bool = True

    def values(self, name: str) -> tuple[str, ...]:
        """The only values that a column can hold, where the schema says so."""
        return ENTRIES[name].values if self.reads_entries and name in ENTRIES else ()
