"""Tokens of the expression language, each with its offset."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_LENGTH = 20_000


class Kind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    STRING = "string"
    NAME = "name"
    KEYWORD = "keyword"
    PARAMETER = "parameter"
    LIST = "list"
    OPERATOR = "operator"
    END = "end"


#: Words with a meaning of their own; written in any case, never a column or measure name.
KEYWORDS = frozenset(
    re.findall(r"\w+", "and or not in between like is null true false case when then else end date from")
)
#: Words of SQL that the language leaves out, so that the message can say so.
FORBIDDEN = frozenset(
    re.findall(
        r"\w+",
        "select union with over exists cast try_cast join where group order having limit insert update "
        "delete drop attach copy pragma set ilike similar regexp any all interval timestamp collate",
    )
)

_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
  | (?P<comment>--|/\*|\#)
  | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<cast>::)
  | (?P<parameter>:[A-Za-z_][A-Za-z0-9_]*)
  | (?P<list>@[A-Za-z_][A-Za-z0-9_]*)
  | (?P<operator><>|!=|<=|>=|[=<>+\-*/%(),])
    """,
    re.VERBOSE,
)

_WHY_NOT = {
    ";": "one expression only: ';' is not allowed",
    '"': "text stands in single quotes: 'like this'; names stand without quotes",
    "`": "names stand without quotes",
    "'": "the text that starts here has no closing quote",
    ":": "a parameter is written ':name'",
    "@": "a list is written '@name'",
    ".": "names have no '.': columns are those of the entries table",
    "|": "joining texts with '||' is not part of the language",
    "!": "write 'not', or '<>' for 'differs from'",
}


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` is the word as meant: keywords in small letters, names without ``:`` and ``@``,
    strings without quotes."""

    kind: Kind
    text: str
    start: int
    end: int


class ExpressionError(Exception):
    """One finding in an expression, at an offset of its text. Caught by ``expression.parse``."""

    def __init__(self, code: str, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.offset = offset
        self.hint = hint


def tokenise(text: str) -> list[Token]:
    """Split an expression.

    Raises
    ------
    ExpressionError: too long, a comment, an unclosed quote, or a sign that the language lacks.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError("R021", f"expression longer than {MAX_LENGTH:,} characters", 0)
    tokens: list[Token] = []
    here = 0
    while here < len(text):
        match = _TOKEN.match(text, here)
        if match is None:
            sign = text[here]
            raise ExpressionError("R021", _WHY_NOT.get(sign, f"'{sign}' has no meaning here"), here)
        group, value, here = str(match.lastgroup), match.group(), match.end()
        if group == "comment":
            raise ExpressionError("R021", "comments are not allowed in an expression", match.start())
        if group == "cast":
            raise ExpressionError("R021", "casts ('::') are not part of the language", match.start())
        if group == "blank":
            continue
        tokens.append(_token(group, value, match.start(), here))
        _refuse_run_on(text, here, tokens[-1])
    tokens.append(Token(Kind.END, "", len(text), len(text)))
    return tokens


def _refuse_run_on(text: str, here: int, token: Token) -> None:
    # '1_000' reads as 1 in one SQL dialect and 1000 in another; '5x' in none
    if token.kind is Kind.NUMBER and here < len(text) and (text[here].isalnum() or text[here] in "_."):
        raise ExpressionError("R020", "a number runs into a letter", token.start, "write 1000, not 1_000")


def _token(group: str, value: str, start: int, end: int) -> Token:
    kind = Kind(group)
    if kind is Kind.STRING:
        value = value[1:-1].replace("''", "'")
    elif kind in (Kind.PARAMETER, Kind.LIST):
        value = value[1:]
    elif kind is Kind.NAME and value.lower() in KEYWORDS:
        kind, value = Kind.KEYWORD, value.lower()
    elif kind is Kind.NAME and value.lower() in FORBIDDEN:
        what = "no subqueries or statements" if value.lower() in ("select", "union") else "not in this language"
        raise ExpressionError("R021", f"'{value}' is not allowed: {what}", start)
    elif value == "!=":
        value = "<>"
    return Token(kind, value, start, end)


def canonical(text: str) -> str:
    """The expression with one blank between tokens: equal for texts that differ in layout only."""
    try:
        tokens = tokenise(text)
    except ExpressionError:
        return " ".join(text.split())
    marks = {Kind.PARAMETER: ":", Kind.LIST: "@"}
    return " ".join(
        "'" + t.text.replace("'", "''") + "'" if t.kind is Kind.STRING else marks.get(t.kind, "") + t.text
        for t in tokens[:-1]
    )
