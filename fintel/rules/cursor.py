"""Reading tokens one by one, looking names up, and checking that shapes fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from fintel.errors import did_you_mean
from fintel.rules.lexer import ExpressionError, Kind, Token
from fintel.rules.scope import MAX_PIECES, PROTECTED, Scope, Shape
from fintel.rules.source import MAX_FINDINGS
from fintel.rules.tree import Part, number


@dataclass
class Cursor:
    """A place in the tokens. ``findings`` has what is wrong but does not stop the reading."""

    text: str
    scope: Scope
    findings: list[ExpressionError] = field(default_factory=list)
    _tokens: list[Token] = field(default_factory=list)
    _here: int = 0
    _depth: int = 0
    _joins: int = 0
    _pieces: int = 0

    @property
    def _peek(self) -> Token:
        return self._tokens[self._here]

    def _at_end(self) -> bool:
        return self._peek.kind is Kind.END

    def _next(self) -> Token:
        token = self._tokens[self._here]
        self._here = min(self._here + 1, len(self._tokens) - 1)
        return token

    def _accept(self, *words: str) -> Token | None:
        token = self._peek
        if token.kind in (Kind.KEYWORD, Kind.OPERATOR) and token.text in words:
            return self._next()
        return None

    def _expect(self, word: str) -> Token:
        token = self._accept(word)
        if token is None:
            raise self._unexpected(f"'{word}'")
        return token

    def _unexpected(self, wanted: str) -> ExpressionError:
        token = self._peek
        found = "the end" if token.kind is Kind.END else f"'{self.text[token.start : token.end]}'"
        return ExpressionError("R020", f"{found} where {wanted} should stand", token.start)

    def _report(self, code: str, message: str, at: Part | Token, hint: str | None = None) -> None:
        self.findings.append(ExpressionError(code, message, at.start, hint))
        if len(self.findings) == MAX_FINDINGS:
            raise ExpressionError("R021", "too many findings: read no further", at.start)

    def _want(self, part: Part, shape: Shape, where: str) -> None:
        if part.shape not in (shape, Shape.ANY):
            self._report("R027", f"{where} takes {shape}, this is {part.shape}", part)

    def _alike(self, left: Part, right: Part) -> None:
        for part in (left, right):
            if part.shape is Shape.NULL:
                self._report("R027", "nothing equals or exceeds null", part, "write 'is null' or 'is not null'")
                return
        if Shape.ANY not in (left.shape, right.shape) and left.shape is not right.shape:
            self._report("R027", f"{left.shape} is compared with {right.shape}", right)

    def _known(self, left: Part, right: Part) -> None:
        """A column with fixed values compared with another value would be false for ever."""
        for column, other in ((left, right), (right, left)):
            if column.name is not None and isinstance(other.literal, str):
                self._known_value(column.name, other.literal, other)

    def _known_value(self, column: str, value: str, at: Part | Token) -> None:
        values = self.scope.values(column)
        if values and value not in values:
            hint = did_you_mean(value, values) or f"values: {', '.join(values)}"
            self._report("R032", f"'{column}' is never '{value}'", at, hint)

    def _common(self, parts: list[Part]) -> Shape:
        known = [p for p in parts if p.shape not in (Shape.ANY, Shape.NULL)]
        for part in known[1:]:
            if part.shape is not known[0].shape:
                self._report("R027", f"{part.shape} beside {known[0].shape}", part)
        return known[0].shape if known else Shape.ANY

    def _varies(self, *parts: Part) -> None:
        """A condition on constants is the same for every row: a mistake, and no column for polars."""
        if not any(part.names or part.shape is Shape.ANY for part in parts):
            self._report("R033", f"this names no {self.scope.noun}", parts[0])

    @staticmethod
    def _leaf(token: Token, shape: Shape, sql: str, *, literal: str | None = None) -> Part:
        return Part(token.start, token.end, shape, sql, literal=literal)

    def _parameter(self, token: Token) -> Part:
        value = self.scope.parameters.get(token.text)
        if value is None or not math.isfinite(value):
            hint = did_you_mean(token.text, self.scope.parameters)
            self._report("R024", f"no parameter ':{token.text}'", token, hint)
            return self._leaf(token, Shape.ANY, "null")
        value = float(value)
        return Part(token.start, token.end, Shape.NUMBER, number(value), parameter=token.text, value=value)

    def _name(self, token: Token) -> Part:
        shape = self.scope.names.get(token.text)
        if shape is not None:
            return Part(token.start, token.end, shape, f'"{token.text}"', name=token.text)
        if token.text in self.scope.conditions:
            return self._condition(token)
        if token.text in PROTECTED:
            message = f"'{token.text}' is a protected trait: no rule may use it"
            self._report("R023", message, token)
        elif token.text in self.scope.parameters:
            self._report("R024", f"'{token.text}' is a parameter", token, f"write ':{token.text}'")
        else:
            code = "R022" if self.scope.reads_entries else "R029"
            hint = did_you_mean(token.text, (*self.scope.names, *self.scope.conditions))
            self._report(code, f"no {self.scope.noun} '{token.text}'", token, hint)
        return self._leaf(token, Shape.ANY, "null")

    def _condition(self, token: Token) -> Part:
        """What a named condition stands for, as if it were written out here in brackets."""
        part = replace(self.scope.conditions[token.text].placed(token.start, token.end), condition=token.text)
        self._pieces += len(part.walk())
        if self._pieces > MAX_PIECES:
            raise ExpressionError("R021", f"named conditions grow into more than {MAX_PIECES:,} pieces", token.start)
        return part
