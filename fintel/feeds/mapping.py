"""A mapping says how files of one source become canonical tables. These are its parts.

A mapping is a YAML file; ``mapping_loader`` reads and checks it. In short::

    mapping: my_bank
    source: my_bank
    files:
      payments:
        match: "*.csv"
        fill:
          - table: transactions
            columns:
              booked_at: {column: Booked, format: "%d/%m/%Y %H:%M"}
              amount: {column: Amount, negative: reverse_sides}
              currency: {constant: EUR}
              creditor_account_id: Account
              debtor_account_id: Counterparty
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

#: Encodings that a mapping may state. ``auto`` is UTF-8 unless the file begins with a UTF-16 mark.
ENCODINGS = (
    "auto", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "iso-8859-2", "iso-8859-7",
    "iso-8859-9", "iso-8859-15", "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1256", "cp874",
    "koi8-r", "shift_jis", "big5", "gb18030", "euc-kr",
)  # fmt: skip

#: Written as the constant of a currency: the installation's base currency. For files that name none.
BASE_CURRENCY = "@base"


def _text(value: Any) -> Any:
    """Scalars of a mapping are text: ``in: [0, true]`` means the words '0' and 'true'."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


def _several(value: Any) -> Any:
    """One value or a list of them."""
    return value if isinstance(value, list | tuple) else (value,)


Text = Annotated[str, BeforeValidator(_text)]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_several)]
#: A source column: its name, or its position counted from 0.
Name = int | str
#: Names to try in order; the first that the file has is taken.
Names = Annotated[tuple[Name, ...], BeforeValidator(_several)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Part):
    """Holds for a row whose column is one of ``in``, none of ``not_in``, or empty.

    Words are compared without regard to case. Exactly one of the three must stand.
    """

    column: Names
    is_in: Texts | None = Field(default=None, alias="in")
    not_in: Texts | None = None
    empty: bool | None = None

    @model_validator(mode="after")
    def _one(self) -> Condition:
        if sum(x is not None for x in (self.is_in, self.not_in, self.empty)) != 1:
            raise ValueError("give exactly one of 'in', 'not_in' and 'empty'")
        return self


class Step(_Part):
    """Times counted in whole steps from a start (simulators): ``{unit: hour, start: 2017-01-01}``."""

    unit: Literal["second", "minute", "hour", "day", "week"]
    start: Text = Field(pattern=r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}(:\d{2})?)?$")


class Flag(_Part):
    """A debit/credit mark: rows marked ``reverse`` have their two sides exchanged."""

    column: Names
    as_is: Texts
    reverse: Texts


class ColumnSpec(_Part):
    """How one canonical column is filled. Which keys may stand depends on the column's type."""

    column: Names | None = None
    join: tuple[Names, ...] | None = None
    separator: Text = " "
    before: Text = ""
    constant: Text | None = None
    optional: bool = False
    null_values: Texts = ()
    values: dict[Text, Text | None] | None = None
    unmapped: Literal["quarantine", "null", "keep"] = "quarantine"
    unreadable: Literal["quarantine", "null"] = "quarantine"
    format: Texts = ()
    step: Step | None = None
    delay: Text | None = Field(default=None, pattern=r"^\d{1,5}[mhd]$")
    time_zone: Text | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Literal[",", ".", " ", "'", "_"] | None = None
    decimals: Literal["quarantine", "round"] = "quarantine"
    negative: Literal["quarantine", "reverse_sides", "absolute"] = "quarantine"
    debit: Names | None = None
    credit: Names | None = None
    flag: Flag | None = None
    agent: Names | None = None
    prefix: Literal["source", "none"] = "source"

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"column": value}

    @model_validator(mode="after")
    def _one_origin(self) -> ColumnSpec:
        origins = [self.column, self.join, self.constant, self.debit or self.credit]
        if sum(x is not None for x in origins) != 1:
            raise ValueError("say where it comes from: one of 'column', 'join', 'constant', 'debit' + 'credit'")
        if (self.debit is None) != (self.credit is None):
            raise ValueError("'debit' and 'credit' go together")
        return self

    def sources(self) -> tuple[Names, ...]:
        """Every source column that this reads, as lists of names to try."""
        found: list[Names] = []
        if self.column is not None:
            found.append(self.column)
        found += self.join or ()
        found += [n for n in (self.debit, self.credit, self.agent) if n is not None]
        if self.flag is not None:
            found.append(self.flag.column)
        return tuple(found)


class Fill(_Part):
    """One canonical table filled from the rows of a file.

    ``columns: canonical`` in the file stands for: every column of the table by its own name. It is
    None here.
    """

    table: str
    columns: dict[str, ColumnSpec] | None
    skip_where: tuple[Condition, ...] = ()
    id_columns: tuple[Names, ...] | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _canonical(cls, value: Any) -> Any:
        if value == "canonical":
            return None
        if not isinstance(value, dict):
            raise ValueError("a list of columns, or the word 'canonical'")
        return value


class FileSpec(_Part):
    """One kind of file of a source: how to know it, how to read it, which tables it fills."""

    match: Texts = ("*",)
    requires: tuple[Text, ...] = ()
    format: Literal["auto", "csv", "parquet", "jsonl"] = "auto"
    encoding: Literal[ENCODINGS] = "auto"  # type: ignore[valid-type]
    delimiter: str = ","
    quote: Literal['"', "'", "none"] = '"'
    header_row: int = Field(default=1, ge=0, le=1000)
    skip_rows: int = Field(default=0, ge=0, le=1000)
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'", "_"] | None = None
    null_values: Texts = ()
    time_zone: Text = "UTC"
    clock: Literal["system", "customer"] = "system"
    fill: tuple[Fill, ...]

    @model_validator(mode="after")
    def _separators(self) -> FileSpec:
        if self.delimiter == "tab":
            object.__setattr__(self, "delimiter", "\t")
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '\n\r"\0':
            raise ValueError("'delimiter' is one ASCII character, or 'tab'")
        if self.decimal == self.thousands:
            raise ValueError("'decimal' and 'thousands' cannot be the same sign")
        return self


class Mapping(_Part):
    """A whole mapping. ``text`` is the YAML it was read from; feed ids depend on it."""

    mapping: Text = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")
    description: Text = ""
    notes: Text = ""
    source: Text = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$")
    files: dict[str, FileSpec] = Field(min_length=1)
    text: str = Field(default="", repr=False)
