"""Ids: derived ones that stay the same on every machine and in every cut, and account ids."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import polars as pl

#: Bytes of a derived id's hash.
_DIGEST = 16
#: Sets the hash of a repeated row apart from that of a first one.
_REPEATED = b"repeated"
_IBAN = r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$"
_LETTERS = {chr(65 + i): str(10 + i) for i in range(26)}

Words = np.ndarray[Any, np.dtype[np.uint64]]


class Occurrences:
    """How often each row of a file was seen so far. Needs 12 bytes for each distinct row.

    Kept as a few sorted runs, merged when alike in size, so that a file of any length costs
    n log n and no Python object per row.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Words, np.ndarray[Any, Any]]] = []

    def number(self, hashes: Words) -> np.ndarray[Any, Any]:
        """For each row, how many equal ones came before it (in this and earlier calls)."""
        distinct, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        before = np.zeros(len(distinct), np.int64)
        for keys, seen in self._runs:
            at = np.minimum(np.searchsorted(keys, distinct), len(keys) - 1)
            before += np.where(keys[at] == distinct, seen[at], 0)
        # Rank within this call: position in a stable sort, less the beginning of its group.
        order = np.argsort(inverse, kind="stable")
        rank = np.empty(len(hashes), np.int64)
        rank[order] = np.arange(len(hashes)) - np.repeat(np.cumsum(counts) - counts, counts)
        self._add(distinct, counts.astype(np.uint32))
        return before[inverse] + rank

    def _add(self, keys: Words, counts: np.ndarray[Any, Any]) -> None:
        if not len(keys):
            return
        while self._runs and len(self._runs[-1][0]) <= 2 * len(keys):
            other, seen = self._runs.pop()
            joined = np.concatenate([other, keys])
            order = np.argsort(joined, kind="stable")
            joined, both = joined[order], np.concatenate([seen, counts])[order]
            first = np.flatnonzero(np.concatenate([[True], joined[1:] != joined[:-1]]))
            keys, counts = joined[first], np.add.reduceat(both, first).astype(np.uint32)
        self._runs.append((keys, counts))


def derive(frame: pl.DataFrame, columns: list[str], salt: str, seen: Occurrences) -> pl.Series:
    """``~`` and 32 hex digits for each row: BLAKE2b of the columns' text (and of ``salt``, which
    keeps files of different kinds apart) and, for the second of equal rows and on, its number.

    Only the row's own text and its equals before it count: not the chunk, the file's name or the
    machine. A hash of the standard library, not polars' own, whose stability is not promised.

    Every field stands with its length before it, a missing one as a sign that no length has, and
    the number goes into the hash beside the text: whatever a row holds, it cannot be read as
    another row or as a repetition of one.
    """
    fields = [_measured(pl.lit(salt)), *(_measured(pl.col(c)).fill_null("-") for c in columns)]
    texts: list[bytes] = frame.select(joined=pl.concat_str(fields).cast(pl.Binary))["joined"].to_list()
    if not columns:
        # Nothing of its own: every row is like the others.
        texts = texts[:1] * frame.height
    digests = [hashlib.blake2b(t, digest_size=_DIGEST).digest() for t in texts]
    # Half of the digest tells equal rows. Were two unlike rows to share it, one would have a number
    # that it need not have; their ids would still differ.
    number = seen.number(np.frombuffer(b"".join(digests), ">u8")[:: _DIGEST // 8].astype(np.uint64))
    for i in np.flatnonzero(number):
        person = _REPEATED + int(number[i]).to_bytes(8, "little")
        digests[i] = hashlib.blake2b(texts[i], digest_size=_DIGEST, person=person).digest()
    return pl.Series("derived", ["~" + d.hex() for d in digests], dtype=pl.String)


def _measured(text: pl.Expr) -> pl.Expr:
    """``5:hello``; null stays null."""
    return pl.concat_str([text.str.len_bytes().cast(pl.String), pl.lit(":"), text])


def account_id(account: pl.Expr, agent: pl.Expr | None) -> pl.Expr:
    """IBAN (compact, upper case) where the check digits are right, else ``agent|account`` where an
    agent is given, else the account as it stands."""
    iban = account.map_batches(_ibans, return_dtype=pl.String)
    if agent is None:
        return pl.coalesce(iban, account)
    return pl.coalesce(iban, pl.concat_str([agent, account], separator="|"), account)


def _ibans(accounts: pl.Series) -> pl.Series:
    """The IBANs among some texts, the others null. Checked on distinct values only."""
    frame = accounts.alias("raw").to_frame()
    compact = pl.col("raw").str.replace_all(" ", "", literal=True).str.to_uppercase().alias("iban")
    likely = frame.select("raw", compact).filter(pl.col("iban").str.contains(_IBAN)).unique()
    if not likely.height:
        return pl.Series(accounts.name, [None], dtype=pl.String).new_from_index(0, len(accounts))
    turned = pl.col("iban").str.slice(4) + pl.col("iban").str.slice(0, 4)
    digits = likely.with_columns(d=turned.str.replace_many(_LETTERS))
    rest: pl.Expr = pl.lit(0, dtype=pl.Int64)
    for begin in range(0, 70, 7):
        piece = pl.col("d").str.slice(begin, 7)
        value = piece.cast(pl.Int64, strict=False).fill_null(0)
        rest = (rest * pl.lit(10, pl.Int64).pow(piece.str.len_chars().cast(pl.Int64)) + value) % 97
    right = digits.filter(rest == 1).select("raw", "iban")
    return frame.join(right, on="raw", how="left", maintain_order="left")["iban"].alias(accounts.name)
