"""Entries as arrays: masks packed as bits, in batches, in order; and the bounds of windows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_windows import HOUR, MASKS, payments

from fintel.engine import arrays, order
from fintel.engine import partition as partitions
from fintel.engine.arrays import Entries, as_seen_by_masks, load, order_by_time
from fintel.engine.conditions import Atom, Conditions, Flag, Flags, Formula, Junction
from fintel.engine.partition import Measure, partition
from fintel.features.entries import entries

CODES = ("account_id", "counterparty_id", "channel", "local_date")


def many_masks(number: int) -> list[pl.Expr]:
    """More masks than a word holds; some never true, some sometimes null, some without a column."""
    made = [pl.col("amount_base") >= 500 * i for i in range(number - 4)]
    return [*made, pl.col("channel") == "atm", pl.col("channel") == "nowhere", pl.lit(value=True), pl.lit(value=False)]


def read(frame: pl.DataFrame, masks: list[pl.Expr] | Conditions) -> Entries:
    rows = frame.lazy().with_row_index("row")
    return load(
        entries({"transactions": rows}, row="row"), order_by_time(rows, "row"),
        masks=masks, values=["amount_base"], codes=CODES,
    )  # fmt: skip


def seen(frame: pl.DataFrame) -> pl.DataFrame:
    return as_seen_by_masks(entries({"transactions": frame.lazy().with_row_index("row")}, row="row")).collect()


@pytest.mark.parametrize("batch", [37, 500_000])
def test_masks_are_what_polars_says_whatever_the_batches(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BATCH_ROWS", batch)
    frame, masks = payments(5, 400), many_masks(150)
    data = read(frame, masks)
    told = seen(frame).with_columns(m.alias(f"m{i}") for i, m in enumerate(masks))
    place = {key: i for i, key in enumerate(zip(data.row.tolist(), data.side.tolist(), strict=True))}
    keys = zip(told["row"].to_list(), (told["direction"] == "out").cast(pl.Int8).to_list(), strict=True)
    at = np.array([place[key] for key in keys])
    assert len(data) == told.height == len(place)
    for number in range(len(masks)):
        expected = told[f"m{number}"]
        assert np.array_equal(data.mask(number)[at], expected.fill_null(value=False).cast(pl.UInt8).to_numpy()), number
        assert data.selected[number] == expected.sum()
        assert data.undecided[number] == expected.null_count()
    assert sum(data.undecided) > 0 and data.selected[-2] == len(data)


ATOMS = {
    "atm": (pl.col("channel") == "atm", "channel"),
    "branch": (pl.col("channel").is_in(["branch", "agent"]), "channel"),
    "no channel": (pl.col("channel").is_null(), "channel"),
    "in": (pl.col("direction") == "in", "direction"),
    "big": (pl.col("amount_base") >= 20000, "amount_base"),
    "round": (pl.col("amount_base") % 2 == 0, "amount_base"),
    "always": (pl.lit(value=True), None),
}
FORMULAS = st.recursive(
    st.sampled_from(sorted(ATOMS)),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner, inner)
    ),
    max_leaves=12,
)


def formula_of(tree: object) -> Formula:
    if isinstance(tree, str):
        expression, column = ATOMS[tree]
        return Atom(tree, expression, frozenset([column] if column else []))
    operator, *parts = tree
    return Junction(operator, tuple(formula_of(p) for p in parts))


def polars_of(tree: object) -> pl.Expr:
    if isinstance(tree, str):
        return ATOMS[tree][0]
    operator, *parts = tree
    first, *others = [polars_of(p) for p in parts]
    for other in others:
        first = first & other if operator == "and" else first | other
    return ~first if operator == "not" else first


@settings(max_examples=40, deadline=None)
@given(trees=st.lists(FORMULAS, min_size=1, max_size=70), rows=st.integers(1, 150), seed=st.integers(0, 1000))
def test_formulas_mean_what_polars_says(trees: list[object], rows: int, seed: int) -> None:
    frame = payments(seed, rows)
    formulas = [formula_of(tree) for tree in trees]
    conditions = Conditions(formulas)
    data = read(frame, conditions)
    told = seen(frame).with_columns(pl.lit(value=True).alias("one"))
    place = {key: i for i, key in enumerate(zip(data.row.tolist(), data.side.tolist(), strict=True))}
    keys = zip(told["row"].to_list(), (told["direction"] == "out").cast(pl.Int8).to_list(), strict=True)
    at = np.array([place[key] for key in keys])
    for tree, formula in zip(trees, formulas, strict=True):
        number = conditions.add(formula)
        expected = told.select("one", polars_of(tree).alias("x"))["x"]
        assert np.array_equal(data.mask(number)[at], expected.fill_null(value=False).cast(pl.UInt8).to_numpy()), tree
        assert (data.selected[number], data.undecided[number]) == (expected.sum(), expected.null_count()), tree


def test_a_column_of_few_values_is_read_by_its_values() -> None:
    frame = payments(3, 4000)
    trees = ["atm", "branch", "no channel", ("not", "atm"), "big"]
    program = Conditions([formula_of(t) for t in trees]).compiled()
    batch = seen(frame)
    (table,) = program._by_value(batch)
    assert [program.atoms[i].text for i in table.atoms] == ["atm", "branch", "no channel"]
    assert table.values[0].len() == 3  # atm, branch and none at all


def test_flags_of_a_text_are_false_where_it_is_unknown_and_undecided_where_there_is_none() -> None:
    frame = payments(4, 200)
    rows = frame.lazy().with_row_index("row")
    known = pl.DataFrame({"channel": ["atm"], "words": [True], "others": [False]})
    flags = {"t": Flags("channel", "place", known)}
    seen_ = entries({"transactions": rows}, row="row").join(
        known.lazy().select("channel").with_row_index("place"), on="channel", how="left", maintain_order="left"
    )
    words, others = Flag("t", "words", "w"), Flag("t", "others", "o")
    inside = Atom("w or null", pl.col("w").fill_null(value=True), frozenset(), frozenset((words,)))
    conditions = Conditions([words, others, Junction("not", (words,)), inside])
    data = load(seen_, order_by_time(rows, "row"), masks=conditions, flags=flags)
    channel = seen(frame)["channel"]
    atm, empty = int((channel == "atm").sum()), channel.null_count()
    assert data.selected == (atm, 0, len(data) - atm - empty, atm + empty)
    assert data.undecided == (empty, empty, empty, 0)


def test_a_mask_that_does_not_fit_is_polars_own_error() -> None:
    frame = payments(1, 5)
    for mask in (pl.col("nowhere") > 1, pl.col("channel") > 1, pl.col("channel").dt.hour() > 1):
        with pytest.raises(pl.exceptions.PolarsError):
            read(frame, [mask])


def test_no_entries_at_all() -> None:
    data = read(payments(1, 1).clear(), many_masks(70))
    assert len(data) == 0 and data.order.size == 0 and sum(data.selected) == 0
    assert data.row.dtype == np.uint32 and data.codes["channel"].dtype == np.int32
    assert list(partition(data, ["account_id"])) == []


def test_entries_of_payments_that_are_not_in_order_are_refused() -> None:
    rows = payments(1, 10).lazy().with_row_index("row")
    few = order_by_time(rows.head(3), "row")
    with pytest.raises(ValueError, match="not in order"):
        load(entries({"transactions": rows}, row="row"), few, masks=[pl.lit(value=True)])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 80))
def test_order_is_time_then_credits_then_id(seed: int, rows: int) -> None:
    frame = payments(seed, rows, hours=8)
    data = read(frame, [pl.lit(value=True)])
    expected = (
        seen(frame)
        .with_columns(side=(pl.col("direction") == "out").cast(pl.Int8))
        .sort("booked_at", "side", "transaction_id")
        .select("row", "side")
    )
    ours = list(zip(data.row[data.order].tolist(), data.side[data.order].tolist(), strict=True))
    assert ours == expected.rows()


def test_codes_stand_for_their_values() -> None:
    frame = payments(9, 200)
    data = read(frame, [pl.lit(value=True)])
    told = {(r["row"], r["direction"] == "out"): r for r in seen(frame).iter_rows(named=True)}
    for name in ("account_id", "counterparty_id", "channel"):
        for i in range(len(data)):
            code, value = int(data.codes[name][i]), told[int(data.row[i]), bool(data.side[i])][name]
            assert (None if code < 0 else data.dictionary[name][code]) == value


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 120),
    span=st.integers(1, 30),
    offset=st.sampled_from([0, 0, 2, 7]),
    share=st.floats(0.0, 1.0),
)
def test_ranks_of_windows(seed: int, rows: int, span: int, offset: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    begins = np.sort(rng.choice(rows, min(rows, 4), replace=False))
    begins[0] = 0
    starts = begins[np.searchsorted(begins, np.arange(rows), side="right") - 1].astype(np.int32)
    time = np.concatenate([np.sort(rng.integers(0, 60, int((starts == b).sum()))) for b in begins]).astype(np.int64)
    anchors = np.flatnonzero(rng.random(rows) < 0.5).astype(np.int32)
    chosen = np.flatnonzero(rng.random(rows) < share).astype(np.int32)
    rank_lo, rank_hi = order.window_ranks(chosen, time[chosen], time, starts, anchors, span, offset, 0)
    others_lo, others_hi = order.window_ranks(chosen, time[chosen], time, starts, anchors, span, offset, 1)
    for k, anchor in enumerate(anchors):
        inside = [
            row
            for row in range(starts[anchor], anchor + 1)
            if time[anchor] - offset - span < time[row] <= time[anchor] - offset
        ]
        inside = [row for row in inside if row in set(chosen.tolist())]
        assert chosen[rank_lo[k] : rank_hi[k]].tolist() == inside
        assert chosen[others_lo[k] : others_hi[k]].tolist() == [row for row in inside if row != anchor]
    assert (np.diff(rank_lo) >= 0).all() and (np.diff(rank_hi) >= 0).all()


def test_slices_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = payments(12, 600, accounts=40)
    data = read(frame, [pl.sql_expr(m) if m != "true" else pl.lit(value=True) for m in MASKS.values()])
    measures = [
        Measure("count", "*", 1, 9 * HOUR),
        Measure("distinct", "counterparty_id", 2, 20 * HOUR, 3 * HOUR),
        Measure("sum", "amount_base", 4, 30 * HOUR),
        Measure("last", "booked_at", 3, 30 * HOUR),
        Measure("first", "amount_base", 4, 30 * HOUR, HOUR),
    ]

    def values(size: int) -> tuple[int, dict[int, list[float]]]:
        monkeypatch.setattr(partitions, "SLICE_ROWS", size)
        found: dict[int, list[float]] = {}
        pieces = list(partition(data, ["account_id"]))
        for piece in pieces:
            columns = [piece.measure(m, 0) for m in measures]
            for position, entry in enumerate(piece.rows[piece.anchors(0)]):
                found[int(entry)] = [float(c[position]) for c in columns]
        return len(pieces), found

    (many, small), (one, large) = values(25), values(1_000_000)
    assert many > 10 and one == 1 and small.keys() == large.keys()
    assert all(np.array_equal(small[k], large[k], equal_nan=True) for k in small)
