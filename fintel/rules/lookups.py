"""What expressions look up in lists: ``in @values``, ``lookup(@amounts, column)``, ``mentions(@words)``."""

from __future__ import annotations

from fintel.errors import did_you_mean
from fintel.rules.cursor import Cursor
from fintel.rules.lexer import Kind, Token
from fintel.rules.list_types import AmountList, KeywordList, PatternList, ValueList
from fintel.rules.scope import MENTION_COLUMNS, Shape
from fintel.rules.tree import Part, mention_column, number, quote


class Lookups(Cursor):
    """Reads what stands in front of a list's name, and what the list then holds."""

    def _value_list(self, token: Token) -> ValueList | None:
        found = self.scope.lists.get(token.text)
        if isinstance(found, ValueList):
            return found
        if found is None:
            self._report("R025", f"no list '@{token.text}'", token, did_you_mean(token.text, self.scope.lists))
        else:
            hint = f"lookup(@{token.text}, column)" if isinstance(found, AmountList) else f"mentions(@{token.text})"
            self._report("R030", f"'@{token.text}' is no list of values", token, f"write {hint}")
        return None

    def _list_values(self, left: Part, found: ValueList, token: Token) -> tuple[str, ...]:
        if left.shape is Shape.TEXT:
            if left.name is not None:
                for value in found.values:
                    self._known_value(left.name, value, token)
            return tuple(quote(v) for v in found.values)
        if left.shape is Shape.NUMBER:
            try:
                return tuple(number(float(v)) for v in found.values)
            except ValueError:
                self._report("R027", f"'@{token.text}' holds texts, this is a number", left)
        else:
            self._want(left, Shape.TEXT, "'in @list'")
        return ()

    def _mentions(self, token: Token) -> Part:
        column = "remittance_information" if self._peek.kind is Kind.LIST else self._mention_text()
        if self._peek.kind is not Kind.LIST:
            raise self._unexpected("a keyword list '@name'")
        listed = self._next()
        end = self._expect(")")
        found = self.scope.lists.get(listed.text)
        if isinstance(found, ValueList | AmountList):
            message = f"'@{listed.text}' is a list of values"
            self._report("R030", message, listed, f"write 'column in @{listed.text}'")
        elif not isinstance(found, KeywordList | PatternList):
            hint = did_you_mean(listed.text, self.scope.lists)
            self._report("R025", f"no list '@{listed.text}'", listed, hint)
        text = Part(token.start, end.end, Shape.TEXT, f'"{column}"', name=column)
        sql = f'"{mention_column(column, listed.text)}"'
        mention = (column, listed.text)
        lists = frozenset((listed.text,))
        return Part(token.start, end.end, Shape.TRUTH, sql, "mentions", (text,), mention=mention, lists=lists)

    def _lookup(self, token: Token) -> Part:
        """The amount that a list has for the value of a column; null for a value that it lacks."""
        if self._peek.kind is not Kind.LIST:
            raise self._unexpected("a list of amounts '@name'")
        listed = self._next()
        self._expect(",")
        column = self._name(self._next())
        end = self._expect(")")
        self._want(column, Shape.TEXT, "'lookup'")
        found = self.scope.lists.get(listed.text)
        sql = "cast(null as double)"
        if isinstance(found, AmountList):
            lines = [f"when ({column.sql} = {quote(a.key)}) then {number(float(a.amount))}" for a in found.values]
            sql = f"(case {' '.join(lines)} end)" if lines else sql
        elif found is None:
            hint = did_you_mean(listed.text, self.scope.lists)
            self._report("R025", f"no list '@{listed.text}'", listed, hint)
        else:
            self._report("R030", f"'@{listed.text}' is no list of amounts", listed, "kind: amounts")
        lists = frozenset((listed.text,))
        return Part(token.start, end.end, Shape.NUMBER, sql, "case", (column,), lists=lists)

    def _mention_text(self) -> str:
        """The column that a mention reads, and the comma behind it."""
        part = self._name(self._next())
        if part.name is not None and part.name not in MENTION_COLUMNS:
            hint = f"one of: {', '.join(MENTION_COLUMNS)}"
            self._report("R027", f"mentions(…) does not read '{part.name}'", part, hint)
        self._expect(",")
        return part.name or MENTION_COLUMNS[0]
