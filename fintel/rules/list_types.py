"""Lists that conditions look things up in: values, amounts, keywords, patterns."""

from __future__ import annotations

from dataclasses import dataclass

from fintel.rules.scripts import script_of


@dataclass(frozen=True, slots=True)
class ValueList:
    """Values for ``x in @name``. ``column`` says what they are: country, merchant_category_code, …"""

    name: str
    column: str
    values: tuple[str, ...]
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Term:
    """A keyword or phrase, who published it, and how often it is innocent.

    ``script``: ISO 15924 code of what it is written in; that of its letters if none is given.
    """

    term: str
    language: str = ""
    category: str = ""
    source: str = ""
    grade: str = ""
    false_positive_risk: str = ""
    script: str = ""

    def __post_init__(self) -> None:
        if not self.script:
            object.__setattr__(self, "script", script_of(self.term))


@dataclass(frozen=True, slots=True)
class KeywordList:
    """Terms for ``mentions(@name)``."""

    name: str
    terms: tuple[Term, ...]
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Amount:
    """One line of a list of amounts: what ``lookup`` gives for a key."""

    key: str
    amount: float
    unit: str = "number"
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class AmountList:
    """Numbers by key for ``lookup(@name, column)``: a reporting threshold by country, say."""

    name: str
    column: str
    values: tuple[Amount, ...]
    description: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression (Rust's, without look-around) and who published the form."""

    pattern: str
    name: str = ""
    source: str = ""
    grade: str = ""
    false_positive_risk: str = ""


@dataclass(frozen=True, slots=True)
class PatternList:
    """Forms of text for ``mentions(@name)``: a handle, an alias in brackets."""

    name: str
    patterns: tuple[Pattern, ...]
    description: str = ""
    source: str = ""


TextList = KeywordList | PatternList
AnyList = ValueList | AmountList | TextList
