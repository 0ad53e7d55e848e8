"""What a rule's ``when`` asks of each measured point, as a function of its parameters.

``when`` is read as a tree of comparisons joined by *and* and *or* (*not* is pushed inwards). With one
parameter in a comparison, on a path of sums, products and the like, the comparison holds on one side
of some value of the parameter and fails on the other. So of each point it can be said once, for which
values it is a hit; after that no expression is evaluated again, however many settings are tried.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.rules.expression import parse_when
from fintel.rules.lexer import Kind, tokenise
from fintel.rules.scope import Shape
from fintel.rules.tree import Part

Floats = npt.NDArray[np.float64]

_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
#: Operators and functions that keep the order of each of their arguments, or turn it round, as a whole.
_ORDERLY = frozenset({"", "+", "-", "*", "coalesce", "least", "greatest"})


@dataclass(frozen=True)
class Comparison:
    """``left operator right`` over measures and at most one parameter; null fails."""

    text: str
    operator: str
    left: pl.Expr
    right: pl.Expr
    #: parameters named in it, and whether it holds on one side of a single one of them
    parameters: frozenset[str]
    one_sided: bool
    #: columns that it needs
    columns: frozenset[str]
    #: the parameter if it stands alone on the right, and not on the left
    bare: str | None = None


@dataclass(frozen=True)
class Truth:
    """A condition of another kind (``x is null``)."""

    text: str
    expression: pl.Expr
    parameters: frozenset[str]
    columns: frozenset[str]


@dataclass(frozen=True)
class Every:
    """All of these."""

    parts: tuple[Formula, ...]


@dataclass(frozen=True)
class Some:
    """At least one of these."""

    parts: tuple[Formula, ...]


Formula = Comparison | Truth | Every | Some


@dataclass(frozen=True)
class Criterion:
    """``when`` with some parameters left open. ``columns``: the name of each open parameter's column."""

    formula: Formula
    columns: Mapping[str, str]

    def leaves(self) -> list[Comparison | Truth]:
        """Every comparison and other condition, in the order written."""
        found: list[Comparison | Truth] = []
        todo: list[Formula] = [self.formula]
        while todo:
            part = todo.pop()
            if isinstance(part, (Every, Some)):
                todo.extend(reversed(part.parts))
            else:
                found.append(part)
        return found

    def tangled(self) -> dict[str, str]:
        """Open parameters that cannot be swept together with the others, and why."""
        held: dict[str, str] = {}
        for leaf in self.leaves():
            names = [n for n in self.columns if n in leaf.parameters and n not in held]
            if isinstance(leaf, Truth) or (len(names) == 1 and not leaf.one_sided):
                held |= dict.fromkeys(names, f"'{leaf.text}' need not hold on one side of it only")
            for name in names[1:]:
                held.setdefault(name, f"stands beside :{names[0]} in '{leaf.text}'")
        return held


def criterion(text: str, measures: Collection[str], fixed: Mapping[str, float], open_: Collection[str]) -> Criterion:
    """Read ``when``.

    Parameters
    ----------
    measures: names of the rule's measures.
    fixed: values of the parameters that do not vary, money in the base currency.
    open_: names of the parameters that vary.

    Raises
    ------
    RuleError: the text is no condition over these, or an open parameter stands where only a number may.
    """
    prefix = "p_"
    while any(m.startswith(prefix) for m in measures):
        prefix += "_"
    columns = {name: prefix + name for name in open_}
    opened, here = [], 0
    for token in tokenise(text):
        if token.kind is Kind.PARAMETER and token.text in columns:
            opened += [text[here : token.start], columns[token.text]]
            here = token.end
    opened_text = "".join((*opened, text[here:]))
    when = parse_when(opened_text, [*measures, *columns.values()], dict(fixed))
    return Criterion(_Reader(columns, prefix, opened_text).read(when.part, negated=False), columns)


class _Reader:
    def __init__(self, columns: Mapping[str, str], prefix: str, text: str) -> None:
        self.names = {column: name for name, column in columns.items()}
        self.prefix = prefix
        self.text = text

    def read(self, part: Part, *, negated: bool) -> Formula:
        """The formula of a part, or of its negation."""
        if part.operator == "not":
            return self.read(part.parts[0], negated=not negated)
        if part.operator in ("and", "or"):
            kind = Every if (part.operator == "and") is not negated else Some
            return kind(tuple(self.read(p, negated=negated) for p in part.parts))
        numbers = bool(part.parts) and all(p.shape is Shape.NUMBER for p in part.parts)
        if part.operator in ("between", "not between") and numbers:
            value, low, high = part.parts
            if (part.operator == "between") is not negated:
                return Every((self.compare(value, ">=", low), self.compare(value, "<=", high)))
            return Some((self.compare(value, "<", low), self.compare(value, ">", high)))
        if part.operator in ("=", "<>") and numbers:
            left, right = part.parts
            if (part.operator == "=") is not negated:
                return Every((self.compare(left, ">=", right), self.compare(left, "<=", right)))
            return Some((self.compare(left, "<", right), self.compare(left, ">", right)))
        if part.operator in _OPPOSITE and numbers:
            left, right = part.parts
            return self.compare(left, _OPPOSITE[part.operator] if negated else part.operator, right)
        sql = f"(not {part.sql})" if negated else part.sql
        return Truth(
            ("not " if negated else "") + self.shown(part), pl.sql_expr(sql), self.parameters(part), part.names
        )

    def compare(self, left: Part, operator: str, right: Part) -> Comparison:
        """One comparison."""
        in_left, in_right = self.parameters(left), self.parameters(right)
        both = in_left | in_right
        column = next((p.name for side in (left, right) for p in side.walk() if p.name in self.names), None)
        one_sided = (
            column is not None
            and sum(p.name in self.names for side in (left, right) for p in side.walk()) == 1
            and _orderly(left if in_left else right, column)
        )
        return Comparison(
            text=f"{self.shown(left)} {operator} {self.shown(right)}",
            operator=operator,
            left=pl.sql_expr(left.sql),
            right=pl.sql_expr(right.sql),
            parameters=both,
            one_sided=one_sided,
            columns=left.names | right.names,
            bare=self.names.get(right.name or "") if not in_left else None,
        )

    def parameters(self, part: Part) -> frozenset[str]:
        """Open parameters named in a part."""
        return frozenset(self.names[n] for n in part.names if n in self.names)

    def shown(self, part: Part) -> str:
        """As it is written."""
        return re.sub(rf"\b{self.prefix}(?=\w)", ":", self.text[part.start : part.end])


def _orderly(part: Part, column: str) -> bool:
    """The column stands on a path that keeps or turns round order (a divisor could change sign)."""
    if part.name == column:
        return True
    below = [p for p in part.parts if column in p.names]
    if part.operator == "/":
        return len(below) == 1 and below[0] is part.parts[0] and _orderly(below[0], column)
    return part.operator in _ORDERLY and len(below) == 1 and _orderly(below[0], column)


def value_of(expression: pl.Expr, frame: pl.DataFrame) -> Floats:
    """A side of a comparison in every row: float64, NaN for null."""
    found = frame.select(expression.cast(pl.Float64).alias("value")).to_series().fill_null(float("nan")).to_numpy()
    # an expression without columns, or one that polars sees through, gives a single value
    return np.broadcast_to(found, frame.height) if found.size != frame.height else found


def truth_of(leaf: Comparison | Truth, frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Where a condition holds; null does not."""
    if isinstance(leaf, Comparison):
        return compare(leaf.operator, value_of(leaf.left, frame), value_of(leaf.right, frame))
    found = frame.select(leaf.expression.fill_null(value=False).alias("value")).to_series().to_numpy()
    return np.broadcast_to(found, frame.height) if found.size != frame.height else found


def compare(operator: str, left: Floats, right: Floats) -> npt.NDArray[np.bool_]:
    """``left operator right``; NaN on either side fails."""
    with np.errstate(invalid="ignore"):
        if operator == ">=":
            return left >= right
        if operator == "<=":
            return left <= right
        return left > right if operator == ">" else left < right
