"""Pieces of a checked expression, and how they are written as SQL."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date

from fintel.rules.scope import Shape

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
}


@dataclass(frozen=True)
class Part:
    """A piece of an expression: where it stands, what it gives, its SQL, and what it names."""

    start: int
    end: int
    shape: Shape
    sql: str
    operator: str = ""
    parts: tuple[Part, ...] = ()
    #: the one column, measure, parameter or literal that this is, if it is just that
    name: str | None = None
    parameter: str | None = None
    literal: str | float | None = None
    #: what a number without names comes to
    value: float | None = None
    mention: tuple[str, str] | None = None
    lists: frozenset[str] = frozenset()
    #: the named condition that this stands for
    condition: str | None = None

    def own(self) -> list[Part]:
        """This part and all below it that is written here: named conditions are not looked into."""
        found, todo = [], [self]
        while todo:
            part = todo.pop()
            found.append(part)
            todo.extend(() if part.condition else part.parts)
        return found

    def walk(self) -> list[Part]:
        """This part and all below it."""
        found, todo = [], [self]
        while todo:
            part = todo.pop()
            found.append(part)
            todo.extend(part.parts)
        return found

    def placed(self, start: int, end: int) -> Part:
        """The same, said to stand elsewhere, with all its parts."""
        return replace(self, start=start, end=end, parts=tuple(p.placed(start, end) for p in self.parts))

    @property
    def names(self) -> frozenset[str]:
        """Columns or measures named anywhere in it."""
        return frozenset(p.name for p in self.walk() if p.name is not None)

    @property
    def parameters(self) -> frozenset[str]:
        """Parameters named anywhere in it."""
        return frozenset(p.parameter for p in self.walk() if p.parameter is not None)


def mention_column(column: str, keyword_list: str) -> str:
    """Name of the boolean column that stands for ``mentions(column, @keyword_list)``."""
    return f"{column}__mentions__{keyword_list}"


def number(value: float) -> str:
    """A number as both engines read it: always a double, never a decimal or a small integer."""
    text = repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    text = text if "e" in text else f"{text}e0"
    return f"({text})" if value < 0 else text


def quote(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def is_day(text: str) -> bool:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def call_sql(name: str, arguments: list[str]) -> str:
    joined = ", ".join(arguments)
    if name == "length":  # unsigned in polars: 'length(x) - 5' would wrap round
        return f"cast(length({joined}) as bigint)"
    if name == "round":  # halves go up; the two engines disagree about them
        return f"floor({joined} + 0.5e0)"
    return f"{name}({joined})"


def quotient_sql(left: Part, right: Part) -> str:
    """Division as both engines round it.

    x/0 is null, as in standard SQL: infinity and NaN would pass for large numbers. polars divides a
    column by a constant by multiplying with the reciprocal (49/49 = 0.9999999999999999), so a
    constant divisor is given the length of a column by adding a zero to it.
    """
    if right.value is None:
        return f"({left.sql} / nullif({right.sql}, 0e0))"
    column = min(left.names)
    return f'({left.sql} / ({right.sql} + cast(("{column}" is null) as bigint) * 0e0))'


def constant(left: Part, sign: str, right: Part) -> float | None:
    """What two constants come to; None when one is not constant, or on division by zero."""
    a, b = left.value, right.value
    if a is None or b is None or (b == 0 and sign in "/%"):
        return None
    return _ARITHMETIC[sign](a, b)
