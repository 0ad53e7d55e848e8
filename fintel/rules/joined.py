"""Cases of rules joined into one feed, kept apart so that none changes what another shows.

A run over a few payments is nearly all overhead. Joined, every id of a case carries the case's number,
so that no account, party, device, place, telephone or address of one is that of another; what is left in
common (texts, countries, times) is only ever looked at entry by entry, or within a partition. In the network
of payments a counterparty without an account is its name, which cases share: a case with one is not joined
where a rule reads the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.features.identifiers import of_party
from fintel.graph.entry_columns import GRAPH_COLUMNS
from fintel.rules.cases import Case
from fintel.rules.lexer import Kind, Token, tokenise
from fintel.rules.model import Rule

#: Columns of entries that a joined feed writes otherwise.
KEYS = frozenset(
    {"account_id", "counterparty_id", "party_id", "device_id", "ip_address", "place_id", "entry_id",
     "transaction_id", "party_address", "party_phone", "party_email", "counterparty_ring"}
)  # fmt: skip
#: Of these, columns that no two cases share whatever the feed knows of people.
_APART = KEYS - {"counterparty_id", "entry_id", "transaction_id"}
_PAYMENT_IDS = (
    "transaction_id", "debtor_account_id", "creditor_account_id", "device_id", "ip_address", "place_id",
)  # fmt: skip
_MARK = "/"


@dataclass(frozen=True)
class Feed:
    """Cases as one feed. ``first_row``: where each case's payments begin, and the number of all."""

    cases: tuple[Case, ...]
    tables: dict[str, pl.LazyFrame]
    first_row: npt.NDArray[np.int64]

    def case_of(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The case of each payment, by row number."""
        return np.searchsorted(self.first_row, rows, side="right") - 1

    def name_of(self, account: str) -> str:
        """An account as its case calls it."""
        return account if len(self.cases) == 1 else account.partition(_MARK)[2]


def join(cases: Sequence[Case]) -> Feed:
    """One feed of cases of the same base currency and rates; a single case stays as it is."""
    first_row = np.cumsum([0, *(c.tables["transactions"].height for c in cases)])
    if len(cases) == 1:
        return Feed(tuple(cases), {n: t.lazy() for n, t in cases[0].tables.items()}, first_row)
    numbers = [f"{number:05d}" for number in range(len(cases))]
    tables = {
        name: pl.concat([made(c.tables[name], number) for c, number in zip(cases, numbers, strict=True)])
        for name, made in (("transactions", _payments), ("accounts", _accounts), ("parties", _parties))
    }
    tables["rates"] = cases[0].tables["rates"]
    return Feed(tuple(cases), {n: t.lazy() for n, t in tables.items()}, first_row)


def _marked(number: str, columns: Sequence[str]) -> list[pl.Expr]:
    return [pl.concat_str(pl.lit(number + _MARK), pl.col(c)).alias(c) for c in columns]


def _payments(frame: pl.DataFrame, number: str) -> pl.DataFrame:
    return frame.with_columns(_marked(number, _PAYMENT_IDS))


def _accounts(frame: pl.DataFrame, number: str) -> pl.DataFrame:
    return frame.with_columns(_marked(number, ("account_id", "party_id"))) if frame.height else frame


def _parties(frame: pl.DataFrame, number: str) -> pl.DataFrame:
    """Contacts in their one spelling first, so that what was equal stays so and nothing else becomes so."""
    if not frame.height:
        return frame
    written = {kind: of_party(kind, kind) for kind in ("phone", "email", "address")}
    # a telephone number is read for its digits alone, and a leading 00 left out
    phone = pl.concat_str(pl.lit("1"), written["phone"], pl.lit(number))
    email = pl.concat_str(pl.lit(number), written["email"])
    address = pl.when(written["address"].is_not_null()).then(pl.concat_str(pl.lit(number + "n "), pl.col("address")))
    ids = _marked(number, ("party_id",))
    return frame.with_columns(*ids, phone=phone, email=email, address=address)


def groups(rule: Rule, cases: Sequence[Case]) -> Iterator[tuple[tuple[object, ...], list[int]]]:
    """Places of the cases of a rule that may be joined, with what they have in common; others stand alone.

    Cases with the same key, of other rules too, may share a feed. Alone stay: correlations and
    comparisons with peers (they look across partitions), rules that read ids otherwise than for
    being there, and cases that tell identifiers or intelligence.
    """
    together = rule.correlation is None and all(m.kind != "peers" for m in rule.measures.values())
    together = together and _reads_no_ids(rule)
    found: dict[tuple[object, ...], list[int]] = {}
    for place, case in enumerate(cases):
        rates = case.tables["rates"].select("currency", "rate").sort("currency")
        key: tuple[object, ...] = (case.base, *rates.rows())
        if not together or {"intel", "identifiers"} & case.tables.keys() or not _is_apart(rule, case):
            key = (*key, rule.id, place)
        found.setdefault(key, []).append(place)
    yield from found.items()


def _is_apart(rule: Rule, case: Case) -> bool:
    """No partition of the rule, and no way through the graph that it reads, spans cases: a counterparty without an
    account goes by its name."""
    if set(rule.per) & _APART and not _reads_graph(rule):
        return True
    payments = case.tables["transactions"]
    sides = [pl.col(f"{s}_account_id").is_null() & pl.col(f"{s}_name").is_not_null() for s in ("debtor", "creditor")]
    return payments.filter(pl.any_horizontal(sides)).is_empty()


def _texts(rule: Rule) -> list[str]:
    texts = [rule.anchor, *rule.conditions.values(), *(s.where for s in rule.steps.values())]
    return texts + [m.where for m in rule.measures.values() if m.where is not None]


def _reads_graph(rule: Rule) -> bool:
    named = {token.text for text in _texts(rule) for token in tokenise(text) if token.kind is Kind.NAME}
    named |= {column for m in rule.measures.values() for column in (m.column, m.of)}
    pairs = [*(m.same for m in rule.measures.values()), *(s.same for s in rule.steps.values())]
    named |= {column for same in pairs for pair in same for column in pair}
    return not named.isdisjoint(GRAPH_COLUMNS)


def _reads_no_ids(rule: Rule) -> bool:
    texts = _texts(rule)
    pairs = [pair for m in rule.measures.values() for pair in m.same]
    pairs += [pair for s in rule.steps.values() for pair in s.same]
    return all((a in KEYS) == (b in KEYS) for a, b in pairs) and all(_asks_whether(tokenise(t)) for t in texts)


def _asks_whether(tokens: Sequence[Token]) -> bool:
    """Ids are only asked whether they are there: ``x is null``, ``x <> ''``, ``length(x) > 0``."""
    for place, token in enumerate(tokens):
        if token.kind is not Kind.NAME or token.text not in KEYS:
            continue
        behind = [(t.kind, t.text) for t in tokens[place + 1 : place + 4]]
        before = [(t.kind, t.text) for t in tokens[max(0, place - 2) : place]]
        is_null = behind[:1] == [(Kind.KEYWORD, "is")]
        has_text = behind[:2] == [(Kind.OPERATOR, "<>"), (Kind.STRING, "")]
        has_length = before == [(Kind.NAME, "length"), (Kind.OPERATOR, "(")] and behind == [
            (Kind.OPERATOR, ")"), (Kind.OPERATOR, ">"), (Kind.NUMBER, "0"),
        ]  # fmt: skip
        if not (is_null or has_text or has_length):
            return False
    return True
