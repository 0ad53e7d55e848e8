"""What people can be told by, written one way: phones, e-mails, addresses, devices and the like.

Two spellings of one thing must be equal, and nothing else:

* ``phone``: the digits 0 to 9, without a leading 00; with fewer than five it is none. (A number in
  national form is not completed: it stays another one than its international form.)
* ``email``, ``handle``: lower case, without spaces and a leading @.
* ``address``: of a party, street and number followed by the city. ``address``, ``device``, ``wallet``,
  ``document``, ``ip``: letters and digits, lower case, without accents.

An account is compared without spaces and in lower case.

Everything stands twice, in polars and in SQL (DuckDB); a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property

import polars as pl
from polars.io.plugins import register_io_source

from fintel.domain.schema import ACCOUNTS, IDENTIFIERS, INTEL, PARTIES
from fintel.frames import empty

Tables = Mapping[str, pl.LazyFrame]

#: A value that more parties than this share is an office, a hostel or a switchboard: it says nothing.
MAX_SHARING = 50
#: Kinds of identifiers that are counted (``shared_<kind>`` of entries).
SHARED = ("address", "phone", "email", "device")
#: Kinds that, if a partner names one, tell on the holder.
TELLING = ("phone", "email", "address", "device", "wallet", "handle", "document")
#: What a partner may call an account.
_ACCOUNTS = ("account", "wallet")
#: Columns of parties that hold identifiers, and their kinds.
_OF_PARTY = {"phone": "phone", "email": "email", "address": "address", "tax_id": "document"}
_MIN_DIGITS = 5
#: Every kind of space, for two dialects of regular expressions that disagree on what ``\s`` is.
_SPACES = r"[\t\n\v\f\r\x85\p{Z}]+"


def folded(text: pl.Expr) -> pl.Expr:
    """Letters and digits in lower case, without accents and other marks."""
    plain = text.str.normalize("NFD").str.replace_all(r"\p{M}", "").str.normalize("NFC")
    return _lower(plain).str.replace_all(r"[^\p{L}\p{N}]+", "")


def folded_sql(text: str) -> str:
    """``folded`` in SQL."""
    return rf"regexp_replace({_lower_sql(f'strip_accents({text})')}, '[^\p{{L}}\p{{N}}]+', '', 'g')"


def _lower(text: pl.Expr) -> pl.Expr:
    """Lower case, letter by letter: a final sigma is a sigma, and a Turkish capital I an i, as in DuckDB."""
    return text.str.replace_all("İ", "i", literal=True).str.to_lowercase().str.replace_all("ς", "σ", literal=True)


def _lower_sql(text: str) -> str:
    return f"replace(lower({text}), 'ς', 'σ')"


def _compact(text: pl.Expr) -> pl.Expr:
    return _lower(text).str.replace_all(_SPACES, "")


def _compact_sql(text: str) -> str:
    return f"regexp_replace({_lower_sql(text)}, '{_SPACES}', '', 'g')"


def _addressed(text: pl.Expr) -> pl.Expr:
    return _compact(text).str.replace(r"^@", "")


def _addressed_sql(text: str) -> str:
    return f"regexp_replace({_compact_sql(text)}, '^@', '')"


def _digits(text: pl.Expr) -> pl.Expr:
    digits = text.str.replace_all(r"[^0-9]+", "").str.replace(r"^00", "")
    return pl.when(digits.str.len_bytes() >= _MIN_DIGITS).then(digits)


def _digits_sql(text: str) -> str:
    digits = f"regexp_replace(regexp_replace({text}, '[^0-9]+', '', 'g'), '^00', '')"
    return f"case when length({digits}) >= {_MIN_DIGITS} then {digits} end"


_WRITTEN: dict[str, tuple[Callable[[pl.Expr], pl.Expr], Callable[[str], str]]] = {
    "phone": (_digits, _digits_sql),
    "email": (_addressed, _addressed_sql),
    "handle": (_addressed, _addressed_sql),
}


def normalised(kind: str, text: pl.Expr) -> pl.Expr:
    """An identifier of a kind in its one spelling; null where nothing is left."""
    value = _WRITTEN.get(kind, (folded, folded_sql))[0](text)
    return pl.when(value != "").then(value)


def normalised_sql(kind: str, text: str) -> str:
    """``normalised`` in SQL."""
    return f"nullif({_WRITTEN.get(kind, (folded, folded_sql))[1](text)}, '')"


def of_party(kind: str, column: str) -> pl.Expr:
    """An identifier that stands in a column of parties."""
    if column == "address":
        return normalised(kind, pl.concat_str([pl.col("address"), pl.col("city").fill_null("")], separator=" "))
    return normalised(kind, pl.col(column))


def of_party_sql(kind: str, column: str) -> str:
    """``of_party`` in SQL."""
    return normalised_sql(kind, "address || ' ' || coalesce(city, '')" if column == "address" else column)


def _by_kind(kinds: tuple[str, ...]) -> pl.Expr:
    """The column ``value`` normalised by the column ``type``."""
    value = folded(pl.col("value"))
    for kind in set(kinds) & set(_WRITTEN):
        value = pl.when(pl.col("type") == kind).then(normalised(kind, pl.col("value"))).otherwise(value)
    return pl.when(value != "").then(value).alias("value")


def _by_kind_sql() -> str:
    whens = " ".join(f"when '{kind}' then {normalised_sql(kind, 'value')}" for kind in _WRITTEN)
    return f"case type {whens} else {normalised_sql('', 'value')} end"


def known_identifiers(tables: Tables, as_of: datetime | None, kinds: tuple[str, ...]) -> pl.LazyFrame:
    """``party_id, type, value`` of parties as far as known at a moment, each once, values normalised."""
    parties = tables.get("parties", empty(PARTIES).lazy())
    identifiers = tables.get("identifiers", empty(IDENTIFIERS).lazy()).filter(pl.col("type").is_in(kinds))
    if as_of is not None:
        identifiers = identifiers.filter(pl.col("first_seen").is_null() | (pl.col("first_seen") <= as_of))
    parts = [
        parties.select("party_id", pl.lit(kind).alias("type"), of_party(kind, column).alias("value"))
        for column, kind in _OF_PARTY.items()
        if kind in kinds
    ]
    parts.append(identifiers.select("party_id", "type", _by_kind(kinds)))
    return pl.concat(parts).filter(pl.col("value").is_not_null()).unique()


def shared_identifiers(tables: Tables, as_of: datetime | None) -> pl.LazyFrame:
    """``party_id`` and ``shared_<kind>``: how many parties have the party's address (phone, …).

    The holder counts too, so 1 is a value of one's own. Of several values the most shared one counts;
    null for a party without one, and for values of more than ``MAX_SHARING`` parties. Nothing is read
    for columns that nobody asks for.
    """
    counts = {f"shared_{kind}": pl.Int64 for kind in SHARED}

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, batch: int | None
    ) -> Iterator[pl.DataFrame]:
        del batch
        kinds = tuple(kind for kind in SHARED if columns is None or f"shared_{kind}" in columns)
        frame = _shared(tables, as_of, kinds)
        frame = frame if predicate is None else frame.filter(predicate)
        yield frame.select(columns or frame.columns).head(rows or frame.height)

    return register_io_source(read, schema={"party_id": pl.String, **counts})


def _shared(tables: Tables, as_of: datetime | None, kinds: tuple[str, ...]) -> pl.DataFrame:
    if not kinds:
        return pl.DataFrame(schema={"party_id": pl.String})
    known = known_identifiers(tables, as_of, kinds).with_columns(n=pl.len().over("type", "value").cast(pl.Int64))
    most = [pl.col("n").filter(pl.col("type") == kind).max().alias(f"shared_{kind}") for kind in kinds]
    return known.filter(pl.col("n") <= MAX_SHARING).group_by("party_id").agg(most).collect(engine="in-memory")


class Intelligence:
    """What partners told by a moment, asked of accounts. Nothing is read before somebody asks."""

    def __init__(self, tables: Tables, as_of: datetime | None) -> None:
        self._tables = tables
        self._as_of = as_of

    def names(self, account_id: pl.Expr) -> pl.Expr:
        """Whether partners named the account, or an identifier of its holder; null for no account, and
        for all where they told nothing."""
        return account_id.map_batches(self._named, return_dtype=pl.Boolean, is_elementwise=True)

    def _named(self, ids: pl.Series) -> pl.Series:
        if self._told.is_empty():
            return pl.Series(ids.name, [None], dtype=pl.Boolean).new_from_index(0, len(ids))
        by_number = _compact(pl.col("id")).is_in(self._numbers.implode())
        by_holder = pl.col("id").is_in(self._of_known_holders.implode())
        return ids.rename("id").to_frame().select((by_number | by_holder).alias(ids.name))[ids.name]

    @cached_property
    def _told(self) -> pl.DataFrame:
        told = self._tables.get("intel", empty(INTEL).lazy())
        if self._as_of is not None:
            told = told.filter(pl.col("received_on").is_null() | (pl.col("received_on") <= self._as_of.date()))
        return told.select("type", "value").collect(engine="in-memory")

    @cached_property
    def _numbers(self) -> pl.Series:
        of_accounts = self._told.filter(pl.col("type").is_in(_ACCOUNTS))
        return of_accounts.select(_compact(pl.col("value")).alias("id"))["id"].unique()

    @cached_property
    def _of_known_holders(self) -> pl.Series:
        told = self._told.lazy().filter(pl.col("type").is_in(TELLING)).select("type", _by_kind(TELLING)).unique()
        holders = known_identifiers(self._tables, self._as_of, TELLING).join(told, on=["type", "value"], how="semi")
        accounts = self._tables.get("accounts", empty(ACCOUNTS).lazy())
        return (
            accounts.join(holders, on="party_id", how="semi")
            .select("account_id")
            .collect(engine="in-memory")["account_id"]
        )


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


#: Tables for ``with``: ``known`` (as ``known_identifiers``), ``shared`` (as ``shared_identifiers``),
#: ``told_accounts`` and ``told_holders``: accounts and parties that partners named.
CLAUSES_SQL = f"""
known as (
  select distinct party_id, type, value from (
    {
    " union all ".join(
        f"select party_id, '{kind}' as type, {of_party_sql(kind, column)} as value from parties"
        for column, kind in _OF_PARTY.items()
    )
}
    union all select party_id, type, {_by_kind_sql()} as value from identifiers)
  where value is not null),
shared as (
  select party_id, {", ".join(f"max(n) filter (where type = '{kind}') as shared_{kind}" for kind in SHARED)}
  from known join (select type, value, count(*) as n from known group by type, value) using (type, value)
  where n <= {MAX_SHARING} and type in ({_listed(SHARED)}) group by party_id),
told_accounts as (select distinct {_compact_sql("value")} as id from intel where type in ({_listed(_ACCOUNTS)})),
told_holders as (
  select distinct party_id from known
    join (select type, {_by_kind_sql()} as value from intel where type in ({_listed(TELLING)})) using (type, value))
"""


def named_sql(account_id: str, party_id: str) -> str:
    """Whether partners named an account or its holder, in SQL over ``CLAUSES_SQL``."""
    return (
        f"case when {account_id} is not null and exists (select 1 from intel) then "
        f"coalesce({_compact_sql(account_id)} in (select id from told_accounts), false) or "
        f"coalesce({party_id} in (select party_id from told_holders), false) end"
    )
