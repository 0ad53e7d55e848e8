"""Ids: occurrence numbers across any cut, IBAN check digits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from fintel.feeds.identity import Occurrences, account_id


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
