"""The grammar of expressions: text to a checked tree that knows its SQL.

A small grammar of its own decides what the language is. Only what it accepts is written out again,
as SQL that polars and DuckDB read alike; where the two differ (division by zero, rounding of
halves, small integers that overflow, ``1_000``) the spelling is one that both agree on, or the
construct is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from fintel.errors import did_you_mean
from fintel.rules.lexer import ExpressionError, Kind, Token, tokenise
from fintel.rules.lookups import Lookups
from fintel.rules.scope import EXTRACTS, Shape
from fintel.rules.tree import Part, call_sql, constant, is_day, number, quote, quotient_sql

#: polars reads nested 'not' in time that doubles with each, and joins conditions in time cubic in them;
#: the deepest rule shipped nests 4 deep.
MAX_DEPTH = 15
MAX_PARTS = 100
MAX_SQL = 4_000_000
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")


class Parser(Lookups):
    """Reads one expression by the grammar."""

    def parse(self) -> Part:
        """The whole expression.

        Raises
        ------
        ExpressionError: syntax that cannot be read on.
        """
        self._tokens = tokenise(self.text)
        if self._at_end():
            raise ExpressionError("R020", "the expression is empty", 0)
        part = self._or()
        if not self._at_end():
            raise self._unexpected("the end, 'and' or 'or'")
        return part

    # -- or, and, not

    def _or(self) -> Part:
        self._deeper()
        part = self._joined("or", self._and)
        self._depth -= 1
        if len(part.sql) > MAX_SQL:
            raise ExpressionError("R021", f"longer than {MAX_SQL:,} characters with lists filled in", part.start)
        return part

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError("R021", f"nested deeper than {MAX_DEPTH}", self._peek.start)

    def _and(self) -> Part:
        return self._joined("and", self._not)

    def _joined(self, word: str, below: Callable[[], Part]) -> Part:
        parts = [below()]
        while self._accept(word):
            self._joins += 1
            if self._joins >= MAX_PARTS:  # over the whole expression: chains inside chains cost the same
                hint = "a list '@name' holds many values; a rule of its own, many conditions"
                raise ExpressionError("R021", f"more than {MAX_PARTS} conditions joined", self._peek.start, hint)
            parts.append(below())
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            self._want(part, Shape.TRUTH, f"'{word}'")
        sql = "(" + f" {word} ".join(p.sql for p in parts) + ")"
        return Part(parts[0].start, parts[-1].end, Shape.TRUTH, sql, word, tuple(parts))

    def _not(self) -> Part:
        token = self._accept("not")
        if token is None:
            return self._comparison()
        self._deeper()
        if self._peek.kind is Kind.KEYWORD and self._peek.text == "not":
            raise ExpressionError("R021", "two 'not' in a row", self._peek.start, "leave both out")
        part = self._comparison()
        self._depth -= 1
        self._want(part, Shape.TRUTH, "'not'")
        return Part(token.start, part.end, Shape.TRUTH, f"(not {part.sql})", "not", (part,))

    # -- comparisons

    def _comparison(self) -> Part:
        left = self._sum()
        if token := self._accept(*COMPARISONS):
            right = self._sum()
            if self._peek.text in COMPARISONS and self._peek.kind is Kind.OPERATOR:
                raise ExpressionError("R020", "comparisons do not chain", self._peek.start, "join two with 'and'")
            self._alike(left, right)
            self._known(left, right)
            return self._truth(f"({left.sql} {token.text} {right.sql})", token.text, left, right)
        if self._accept("is"):
            return self._is_null(left)
        negated = "not " if self._accept("not") else ""
        if self._accept("in"):
            return self._in(left, negated)
        if self._accept("between"):
            low = self._sum()
            self._expect("and")
            high = self._sum()
            self._alike(left, low)
            self._alike(left, high)
            sql = f"({left.sql} {negated}between {low.sql} and {high.sql})"
            return self._truth(sql, f"{negated}between", left, low, high)
        if self._accept("like"):
            return self._like(left, negated)
        if negated:
            raise self._unexpected("'in', 'between' or 'like'")
        return left

    def _truth(self, sql: str, operator: str, *parts: Part, lists: frozenset[str] = frozenset()) -> Part:
        end = self._tokens[self._here - 1].end
        self._varies(*parts)
        return Part(parts[0].start, end, Shape.TRUTH, sql, operator, parts, lists=lists)

    def _is_null(self, left: Part) -> Part:
        negated = "not " if self._accept("not") else ""
        if not self._accept("null"):
            raise self._unexpected("'null'")
        return self._truth(f"({left.sql} is {negated}null)", f"is {negated}null", left)

    def _like(self, left: Part, negated: str) -> Part:
        token = self._next()
        if token.kind is not Kind.STRING or "\\" in token.text:
            raise ExpressionError("R020", "'like' takes a text in quotes, with % and _ and no backslash", token.start)
        self._want(left, Shape.TEXT, "'like'")
        return self._truth(f"({left.sql} {negated}like {quote(token.text)})", f"{negated}like", left)

    def _in(self, left: Part, negated: str) -> Part:
        if self._peek.kind is Kind.LIST:
            token = self._next()
            found = self._value_list(token)
            values = self._list_values(left, found, token) if found else ()
            lists = frozenset((token.text,))
        else:
            self._expect("(")
            items = [self._sum()]
            while self._accept(","):
                items.append(self._sum())
            self._expect(")")
            for item in items:
                if item.literal is None and item.parameter is None:
                    self._report("R020", "'in (…)' takes texts and numbers only", item)
                self._alike(left, item)
                self._known(left, item)
            values, lists = tuple(i.sql for i in items), frozenset[str]()
            left = Part(left.start, left.end, left.shape, left.sql, "", (left, *items))
        if values:
            sql = f"({left.sql} {negated}in ({', '.join(values)}))"
        else:  # an empty list holds nothing: false, and null where the value is unknown
            sql = f"({left.sql} {'=' if negated else '<>'} {left.sql})"
        return self._truth(sql, f"{negated}in", left, lists=lists)

    # -- arithmetic

    def _sum(self) -> Part:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> Part:
        return self._arithmetic(("*", "/", "%"), self._signed)

    def _arithmetic(self, operators: tuple[str, ...], below: Callable[[], Part]) -> Part:
        left = below()
        while token := self._accept(*operators):
            right = below()
            self._want(left, Shape.NUMBER, f"'{token.text}'")
            self._want(right, Shape.NUMBER, f"'{token.text}'")
            value = constant(left, token.text, right)
            if token.text == "%":
                self._check_modulus(right)
            if value is not None and math.isfinite(value):
                sql = number(value)
            elif token.text == "/":
                sql = self._quotient(left, right)
            else:
                sql = f"({left.sql} {token.text} {right.sql})"
            parts = (left, right)
            left = Part(left.start, right.end, Shape.NUMBER, sql, token.text, parts, value=value)
        return left

    def _quotient(self, left: Part, right: Part) -> str:
        if right.value == 0 or (right.value is not None and not left.names):
            self._report("R027", "division by zero, or a number too large", right)
            return "null"
        return quotient_sql(left, right)

    def _check_modulus(self, right: Part) -> None:
        value = right.value
        if value is None or value <= 0 or not value.is_integer():
            self._report("R027", "'%' takes a whole number above 0 on its right", right)

    def _signed(self) -> Part:
        signs = []
        while token := self._accept("+", "-"):
            signs.append(token)
        part = self._primary()
        for token in reversed(signs):
            self._want(part, Shape.NUMBER, f"'{token.text}'")
            minus = token.text == "-"
            value = -part.value if minus and part.value is not None else part.value
            sql = number(value) if value is not None else f"(- {part.sql})" if minus else part.sql
            literal = None if part.literal is None else value
            part = Part(token.start, part.end, Shape.NUMBER, sql, token.text, (part,), literal=literal, value=value)
        return part

    # -- names, literals, functions

    def _primary(self) -> Part:
        token = self._next()
        if token.kind is Kind.NUMBER:
            value = float(token.text)
            if not math.isfinite(value):
                raise ExpressionError("R020", "this number is too large", token.start)
            return Part(token.start, token.end, Shape.NUMBER, number(value), literal=value, value=value)
        if token.kind is Kind.STRING:
            return self._leaf(token, Shape.TEXT, quote(token.text), literal=token.text)
        if token.kind is Kind.PARAMETER:
            return self._parameter(token)
        if token.kind is Kind.NAME:
            is_call = self._peek.kind is Kind.OPERATOR and self._peek.text == "("
            return self._call(token) if is_call else self._name(token)
        if token.kind is Kind.OPERATOR and token.text == "(":
            part = self._or()
            return replace(part, start=token.start, end=self._expect(")").end)
        if token.kind is Kind.KEYWORD:
            return self._keyword(token)
        if token.kind is Kind.LIST:
            hint = f"write 'column in @{token.text}' or 'mentions(@{token.text})'"
            raise ExpressionError("R020", "a list stands after 'in' or in mentions(…)", token.start, hint)
        self._here -= token.kind is not Kind.END
        raise self._unexpected(f"a {self.scope.noun}, a number, a text or '('")

    def _keyword(self, token: Token) -> Part:
        if token.text in ("true", "false"):
            return self._leaf(token, Shape.TRUTH, token.text)
        if token.text == "null":
            return self._leaf(token, Shape.NULL, "null")
        if token.text == "case":
            return self._case(token)
        if token.text == "date":
            day = self._next()
            if day.kind is not Kind.STRING or not is_day(day.text):
                raise ExpressionError("R020", "a date is written date '2025-03-01'", token.start)
            return Part(token.start, day.end, Shape.DATE, f"date {quote(day.text)}")
        self._here -= 1
        raise self._unexpected(f"a {self.scope.noun}, a number, a text or '('")

    def _case(self, token: Token) -> Part:
        if not self.scope.reads_entries:
            hint = "put it into a measure's 'where', or write two rules"
            raise ExpressionError("R021", "'case' is for conditions over entries", token.start, hint)
        parts: list[Part] = []
        results: list[Part] = []
        sql = "case"
        while self._accept("when"):
            condition = self._or()
            self._want(condition, Shape.TRUTH, "'when'")
            self._varies(condition)
            self._expect("then")
            result = self._or()
            sql += f" when {condition.sql} then {result.sql}"
            parts += [condition, result]
            results.append(result)
        if not parts:
            raise self._unexpected("'when'")
        if self._accept("else"):
            result = self._or()
            sql += f" else {result.sql}"
            parts.append(result)
            results.append(result)
        end = self._expect("end")
        return Part(token.start, end.end, self._common(results), f"({sql} end)", "case", tuple(parts))

    def _call(self, token: Token) -> Part:
        name = token.text.lower()
        self._expect("(")
        if name == "extract" and self.scope.reads_entries:
            return self._extract(token)
        if name == "mentions" and self.scope.reads_entries:
            return self._mentions(token)
        if name == "lookup" and self.scope.reads_entries:
            return self._lookup(token)
        function = self.scope.functions.get(name)
        if function is None:
            valid = [*self.scope.functions, *(["extract", "lookup", "mentions"] if self.scope.reads_entries else [])]
            hint = did_you_mean(name, valid) or f"functions: {', '.join(sorted(valid))}"
            self._report("R026", f"no function '{token.text}'", token, hint)
        arguments = [] if self._peek.text == ")" else [self._or()]
        while self._accept(","):
            arguments.append(self._or())
        end = self._expect(")")
        if function is None:
            return Part(token.start, end.end, Shape.ANY, "null", name, tuple(arguments))
        if not function.least <= len(arguments) <= function.most:
            wanted = f"{function.least}" if function.least == function.most else f"{function.least} or more"
            self._report("R027", f"'{name}' takes {wanted} argument(s), not {len(arguments)}", token)
        for argument in arguments:
            if function.takes is not None:
                self._want(argument, function.takes, f"'{name}'")
        if name == "coalesce":
            for argument in arguments[:-1]:
                if not argument.names and argument.shape is not Shape.ANY:
                    self._report("R027", "what stands behind a constant in 'coalesce' is never used", argument)
        shape = function.gives or self._common(arguments)
        sql = call_sql(name, [a.sql for a in arguments])
        return Part(token.start, end.end, shape, sql, name, tuple(arguments))

    def _extract(self, token: Token) -> Part:
        what = self._next()
        if what.text.lower() not in EXTRACTS:
            hint = f"one of: {', '.join(EXTRACTS)}"
            raise ExpressionError("R026", f"extract has no field '{what.text}'", what.start, hint)
        self._expect("from")
        column = self._sum()
        end = self._expect(")")
        field_name = what.text.lower()
        allowed = (Shape.TIME,) if field_name == "hour" else (Shape.TIME, Shape.DATE)
        if column.shape not in (*allowed, Shape.ANY):
            self._report("R027", f"extract({field_name} …) takes {allowed[0]}, this is {column.shape}", column)
        # an hour is an 8-bit integer in polars: 'hour * 60' would overflow without the cast
        sql = f"cast(extract({field_name} from {column.sql}) as bigint)"
        return Part(token.start, end.end, Shape.NUMBER, sql, "extract", (column,))
