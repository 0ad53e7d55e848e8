"""Expressions of a rule: parsed, checked and turned into polars.

``parse`` reads ``anchor`` and ``where`` (over entries), ``parse_when`` reads ``when`` (over
measures). Both raise ``RuleError`` with every finding at its file, line and column.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from fintel.domain.schema import Type
from fintel.errors import Diagnostic, Location, RuleError
from fintel.frames import POLARS
from fintel.rules.lexer import ExpressionError
from fintel.rules.list_types import AnyList
from fintel.rules.scope import FUNCTIONS, SHAPES, WHEN_FUNCTIONS, Scope, Shape
from fintel.rules.source import Span, shorten
from fintel.rules.syntax import COMPARISONS, Parser
from fintel.rules.tree import Part, mention_column

__all__ = ["Clause", "Expression", "When", "mention_column", "parse", "parse_when", "read_conditions"]

_COMPARED: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Expression:
    """A condition over entries.

    ``text``: SQL with parameters and lists filled in, read alike by polars and DuckDB; a mention
    is the boolean column ``mention_column(column, list)``. ``columns``: entry columns that it
    needs, for a mention the text column. A condition that names no column gives one value, not
    one a row. Null means: cannot be decided for this entry.
    """

    text: str
    polars: pl.Expr
    columns: frozenset[str]
    mentions: frozenset[tuple[str, str]]
    parameters: frozenset[str]
    lists: frozenset[str]
    part: Part = field(repr=False, compare=False)


@dataclass(frozen=True)
class Clause:
    """One of the conditions that ``when`` joins with ``and``.

    A comparison has a left side, an operator and a right side, the measured side on the left. A
    condition of another kind (``a or b``, ``x is null``) has ``text`` and ``measures`` only.
    ``measure``: the left side if it is one measure and nothing else. ``parameters``: of the right.
    """

    text: str
    measures: tuple[str, ...]
    measure: str | None = None
    operator: str | None = None
    left_text: str | None = None
    right_text: str | None = None
    left: pl.Expr | None = None
    right: pl.Expr | None = None
    parameters: tuple[str, ...] = ()
    whole: pl.Expr | None = None

    @property
    def held(self) -> pl.Expr:
        """Whether it holds; null where it cannot be decided."""
        if self.operator is None or self.left is None or self.right is None:
            return pl.lit(None, dtype=pl.Boolean) if self.whole is None else self.whole
        return _COMPARED[self.operator](self.left, self.right)


@dataclass(frozen=True)
class When:
    """The condition over measures that makes a hit. Null means no hit."""

    text: str
    polars: pl.Expr
    measures: frozenset[str]
    parameters: frozenset[str]
    clauses: tuple[Clause, ...]
    part: Part = field(repr=False, compare=False)


def parse(
    text: str,
    *,
    columns: Mapping[str, Type],
    parameters: Mapping[str, float] | None = None,
    lists: Mapping[str, AnyList] | None = None,
    conditions: Mapping[str, Part] | None = None,
    location: Span | Location | None = None,
) -> Expression:
    """Read a condition over entries.

    Parameters
    ----------
    columns: names and types that it may use.
    parameters, lists: values of ``:name`` and contents of ``@name``.
    conditions: what bare names stand for, as ``read_conditions`` gives them.
    location: where the text stands, for diagnostics.

    Raises
    ------
    RuleError: with every finding.
    """
    names = {name: SHAPES[type] for name, type in columns.items()}
    scope = Scope(names, parameters or {}, lists or {}, conditions or {})
    part = _read(text, scope, location)
    mentions = frozenset(p.mention for p in part.walk() if p.mention is not None)
    schema: dict[str, pl.DataType | type[pl.DataType]] = {name: _mask_type(columns[name]) for name in part.names}
    schema.update({mention_column(*m): pl.Boolean() for m in mentions})
    return Expression(
        text=part.sql,
        polars=_compile(part, schema, location),
        columns=part.names,
        mentions=mentions,
        parameters=part.parameters,
        lists=frozenset(name for p in part.walk() for name in p.lists),
        part=part,
    )


def read_conditions(
    texts: Iterable[tuple[str, str, Span | Location | None]],
    *,
    columns: Mapping[str, Type],
    parameters: Mapping[str, float] | None = None,
    lists: Mapping[str, AnyList] | None = None,
    conditions: Mapping[str, Part] | None = None,
) -> tuple[dict[str, Part], list[Diagnostic]]:
    """Read named conditions, each of which may use those before it.

    Returns
    -------
    What each name stands for (``conditions`` included), and what is wrong with those left out.
    """
    known = dict(conditions or {})
    found: list[Diagnostic] = []
    for name, text, location in texts:
        try:
            read = parse(text, columns=columns, parameters=parameters, lists=lists, conditions=known, location=location)
        except RuleError as error:
            found.extend(error.diagnostics)
        else:
            known[name] = read.part
    return known, found


def parse_when(
    text: str,
    measures: Iterable[str],
    parameters: Mapping[str, float] | None = None,
    location: Span | Location | None = None,
) -> When:
    """Read a condition over measures (columns of doubles named as the measures).

    Raises
    ------
    RuleError: with every finding.
    """
    names = dict.fromkeys(measures, Shape.NUMBER)
    functions = {name: FUNCTIONS[name] for name in WHEN_FUNCTIONS}
    scope = Scope(names, parameters or {}, {}, {}, functions, noun="measure", reads_entries=False)
    part = _read(text, scope, location)
    schema: dict[str, pl.DataType | type[pl.DataType]] = {name: pl.Float64() for name in names}
    compiled = _compile(part, schema, location)
    clauses = tuple(clause for conjunct in _conjuncts(part) for clause in _clauses(conjunct, text))
    return When(part.sql, compiled, part.names, part.parameters, clauses, part)


def _read(text: str, scope: Scope, location: Span | Location | None) -> Part:
    parser = Parser(text, scope)
    findings = parser.findings
    part: Part | None = None
    try:
        part = parser.parse()
    except ExpressionError as error:
        findings.append(error)
    if part is not None and part.shape not in (Shape.TRUTH, Shape.ANY):
        findings.append(ExpressionError("R028", f"gives {part.shape}, not true or false", part.start))
    if part is None or findings:
        raise _rule_error(findings, location)
    return part


def _rule_error(findings: Iterable[ExpressionError], location: Span | Location | None) -> RuleError:
    diagnostics = [Diagnostic(f.code, shorten(f.message), _place(location, f.offset), f.hint) for f in findings]
    return RuleError(str(diagnostics[0]), diagnostics, hint=diagnostics[0].hint)


def _place(location: Span | Location | None, offset: int) -> Location | None:
    if isinstance(location, Span):
        return location.locate(offset)
    if location is None or location.column is None:
        return location
    return Location(location.file, location.line, location.column + offset)


def _mask_type(type: Type) -> pl.DataType | type[pl.DataType]:
    """Masks see money as doubles (correctly rounded, so order and equality of amounts hold)."""
    return pl.Float64() if type in (Type.MONEY, Type.RATE) else POLARS[type]


def _compile(
    part: Part, schema: Mapping[str, pl.DataType | type[pl.DataType]], location: Span | Location | None
) -> pl.Expr:
    """polars' own reading of the SQL must be Boolean over the schema: a second, independent check."""
    try:
        expression = pl.sql_expr(part.sql)
        frame = pl.LazyFrame(schema={**schema, "": pl.Boolean()})
        found = frame.select(expression.alias("value")).collect_schema()["value"]
    except pl.exceptions.PolarsError as error:
        message = f"cannot be evaluated: {str(error).splitlines()[0]}"
        raise _rule_error([ExpressionError("R034", message, part.start)], location) from error
    if found != pl.Boolean():
        raise _rule_error([ExpressionError("R028", f"gives {found}, not true or false", part.start)], location)
    return condition_expression(part)


def condition_expression(part: Part) -> pl.Expr:
    """A checked condition as polars evaluates it, one value a row."""
    expression = pl.sql_expr(part.sql)
    return expression & _true_in_every_row(part) if _may_shrink(part) else expression


def _may_shrink(part: Part) -> bool:
    """``case`` and the ``nullif`` of a division: where every row takes a constant branch, polars
    gives one value for all rows, and then refuses it as a column."""
    return bool(part.names) and any(piece.operator in ("case", "/") for piece in part.walk())


def _true_in_every_row(part: Part) -> pl.Expr:
    return pl.col(min(part.names)).is_null().is_not_null()


def _conjuncts(part: Part) -> list[Part]:
    if part.operator != "and":
        return [part]
    return [inner for piece in part.parts for inner in _conjuncts(piece)]


def _clauses(part: Part, text: str) -> list[Clause]:
    if part.operator in COMPARISONS:
        left, right, sign = part.parts[0], part.parts[1], part.operator
        if right.names and not left.names:
            left, right, sign = right, left, _MIRRORED[sign]
        return [_comparison(left, sign, right, text)]
    if part.operator == "between":
        value, low, high = part.parts
        return [_comparison(value, ">=", low, text), _comparison(value, "<=", high, text)]
    words = text[part.start : part.end]
    return [Clause(text=words, measures=tuple(sorted(part.names)), whole=pl.sql_expr(part.sql))]


def _comparison(left: Part, sign: str, right: Part, text: str) -> Clause:
    left_text, right_text = text[left.start : left.end], text[right.start : right.end]
    return Clause(
        text=f"{left_text} {sign} {right_text}",
        measures=tuple(sorted(left.names | right.names)),
        measure=left.name,
        operator=sign,
        left_text=left_text,
        right_text=right_text,
        left=_side(left),
        right=_side(right),
        parameters=tuple(sorted(right.parameters)),
    )


def _side(part: Part) -> pl.Expr:
    expression = pl.sql_expr(part.sql)
    if _may_shrink(part):
        return pl.when(_true_in_every_row(part)).then(expression)
    return expression
