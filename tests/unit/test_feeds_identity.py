"""Ids: occurrence numbers across any cut, IBAN check digits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fintel.feeds.identity import Occurrences, account_id, derive


@given(parts=st.lists(st.lists(st.integers(0, 6), max_size=30), max_size=12))
def test_occurrence_numbers_equal_plain_counting(parts: list[list[int]]) -> None:
    seen = Occurrences()
    counted: Counter[int] = Counter()
    for part in parts:
        expected = []
        for value in part:
            expected.append(counted[value])
            counted[value] += 1
        assert seen.number(np.array(part, np.uint64)).tolist() == expected


SIGNS = st.one_of(st.none(), st.text(alphabet="\x1e\x1f-:0123", max_size=5))


@given(rows=st.lists(st.tuples(SIGNS, SIGNS, SIGNS), max_size=30))
def test_unlike_rows_never_share_an_id(rows: list[tuple[str | None, ...]]) -> None:
    """Whatever stands in the fields: separators, lengths, the sign for nothing, repeat numbers."""
    frame = pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.String), orient="row")
    made = derive(frame, ["a", "b", "c"], "salt", Occurrences())
    assert made.n_unique() == len(rows)
    assert made.str.contains("^~[0-9a-f]{32}$").all()
    first = dict(zip(reversed(rows), reversed(made.to_list()), strict=True))
    for row, own in first.items():
        alone = frame.filter([pl.col(n).eq_missing(pl.lit(v)) for n, v in zip("abc", row, strict=True)]).head(1)
        assert derive(alone, ["a", "b", "c"], "salt", Occurrences()).to_list() == [own]


def test_forged_repetitions_and_shifted_fields_stay_apart() -> None:
    """What once gave equal ids: a repeat number written into a field, text moved across its border."""
    rows = [("B", "rent"), ("B", "rent"), ("B", "rent\x1f1"), ("Ann\x1fx", "y"), ("Ann", "x\x1fy"), (None, "x"), ("\x1e", "x")]  # fmt: skip
    frame = pl.DataFrame(rows, schema=["a", "b"], orient="row")
    assert derive(frame, ["a", "b"], "f", Occurrences()).n_unique() == len(rows)
    assert derive(frame, [], "f", Occurrences()).n_unique() == len(rows)


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@given(
    country=st.text(alphabet=LETTERS[:26], min_size=2, max_size=2),
    body=st.text(alphabet=LETTERS, min_size=11, max_size=30),
    wrong=st.integers(1, 96),
)
def test_only_right_check_digits_make_an_iban(country: str, body: str, wrong: int) -> None:
    digits = "".join(str(int(c, 36)) for c in body + country) + "00"
    check = 98 - int(digits) % 97
    other = (check + wrong - 2) % 97 + 2
    frame = pl.DataFrame({"a": [f"{country}{check:02d}{body}".lower(), f"{country}{other:02d}{body}"], "g": ["x", "x"]})
    made = frame.select(account_id(pl.col("a"), pl.col("g"))).to_series().to_list()
    assert made[0] == frame["a"][0].upper()
    if other != check:
        assert made[1] == f"x|{frame['a'][1]}"
