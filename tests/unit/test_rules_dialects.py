"""Whatever the language accepts means the same to polars and to DuckDB: random expressions, both engines."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_rules_expression import entry, frame

from fintel.domain.schema import SEEN_ENTRIES, Type
from fintel.errors import RuleError
from fintel.frames import POLARS
from fintel.rules.checks import read_expressions
from fintel.rules.expression import mention_column
from fintel.rules.list_types import ValueList
from fintel.rules.loader import load

NUMBERS = ("amount amount_base party_age local_hour :max :share :low 0 1 3 0.1 50 2.5".split()) + [
    "extract(hour from booked_at)",
    "extract(dow from local_date)",
    "length(party_city)",
    "length(remittance_information)",
]
TEXTS = ["party_city", "counterparty_country", "remittance_information", "'PH'", "'a%'", "'it''s'", "''"]
NUMBER_FORMS = [
    "N",
    "N",
    "N",
    "(N + N)",
    "(N - N)",
    "(N * N)",
    "(N / N)",
    "(N % 1)",
    "(N % 3)",
    "(N % :max)",
    "abs(N)",
    "round(N)",
    "floor(N)",
    "ceil(N)",
    "(- N)",
    "least(N, N)",
    "greatest(N, N)",
    "coalesce(amount / N, amount_base, N)",
    "case when B then N else N end",
]
TEXT_FORMS = [
    "T",
    "T",
    "T",
    "coalesce(party_city, T)",
    "coalesce(lower(party_city), counterparty_country, T)",
    "lower(T)",
    "upper(T)",
    "case when B then T end",
]
TRUTH_FORMS = [
    *(f"(N {sign} N)" for sign in ("=", "<>", "!=", "<", "<=", ">", ">=")), "(T = T)", "(T <> T)", "(T < T)",
    "(N between N and N)", "(N not between N and N)", "(T like 'a%')", "(T not like '%50%')", "(T like 'a_c')", "(N is null)",
    "(T is not null)", "(T in @risk)", "(T not in @risk)", "(T in @none)", "(T not in @none)", "(N in (1, 17, :max))",
    "(N not in (0, 50))", "starts_with(T, T)", "ends_with(T, T)", "mentions(@kw)", "(local_date > date '2025-03-04')",
    "true", "false", "(B and B)", "(B or B)", "(not B)", "(B = B)", "case when B then B else B end", "coalesce(amount > N, B)",
    "(B is null)",
]  # fmt: skip


@st.composite
def truths(draw):
    """A random condition: forms are filled in from the left until only leaves are left."""

    def fill(kind, depth):
        leaves = {"N": NUMBERS, "T": TEXTS, "B": ["(amount > 1)", "(channel = 'wire')", "true"]}[kind]
        if depth == 0:
            return draw(st.sampled_from(leaves))
        form = draw(st.sampled_from({"N": NUMBER_FORMS, "T": TEXT_FORMS, "B": TRUTH_FORMS}[kind]))
        if form in ("N", "T"):
            return draw(st.sampled_from(leaves))
        return "".join(
            fill(part, depth - 1) if part in ("N", "T", "B") else part for part in re.split(r"\b([NTB])\b", form)
        )

    return fill("B", draw(st.integers(1, 4)))


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        opened.register("data", frame())
        opened.execute("set timezone = 'UTC'")
        opened.execute("create table entries as select * from data")
        yield opened


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(expression=truths())
def test_random_expressions_agree(connection, expression):
    try:
        parsed = entry(expression)
    except RuleError as refused:
        # conditions that name no column, and divisors that come to zero, are refused on purpose
        known = {d.code == "R033" or "division by zero" in d.message for d in refused.diagnostics}
        assume(known != {True})
        raise
    data = frame()
    ours = data.with_columns(parsed.polars.alias("found"))["found"].to_list()
    try:
        found = connection.sql(f"select {parsed.text} from entries").fetchall()
    except duckdb.InvalidInputException as error:
        # DuckDB 2.0 stumbles over 'case' with equal constants in both branches; the oracle has no answer
        assume("BindBuiltinScalarFunction" not in str(error))
        raise
    theirs = [row[0] for row in found]
    assert ours == theirs


def random_entries(library, rows: int) -> pl.DataFrame:
    """Entries with every column filled from what rules compare it with, and with nulls."""
    pool = random.Random(7)
    listed = sorted({v for found in library.lists.values() if isinstance(found, ValueList) for v in found.values})
    numbers = [0.01, 9.99, 50.0, 99.99, 100.0, 150.0, 200.0, 950.0, 1000.0, 3000.0, 9500.0, 9999.99, 10000.0, 250000.0]

    def value(column):
        if pool.random() < 0.15:
            return None
        if column.values:
            return pool.choice(column.values)
        if column.type in (Type.MONEY, Type.FLOAT):
            return pool.choice(numbers)
        if column.type is Type.BOOL:
            return pool.choice([True, False])
        if column.type is Type.INT:
            return pool.choice([0, 1, 5, 6, 16, 17, 18, 20, 21, 22, 23, 25, 30, 60, 90, 179, 180, 365, 4000])
        if column.type is Type.TIMESTAMP:
            return datetime(2025, pool.randint(1, 12), pool.randint(1, 28), pool.randint(0, 23), tzinfo=UTC)
        if column.type is Type.DATE:
            return date(2025, pool.randint(1, 12), pool.randint(1, 28))
        return pool.choice([*listed, "student", "a", "b", "", "Ünïcode it's"])

    schema = {c.name: pl.Float64 if c.type is Type.MONEY else POLARS[c.type] for c in SEEN_ENTRIES.columns}
    return pl.DataFrame({c.name: [value(c) for _ in range(rows)] for c in SEEN_ENTRIES.columns}, schema=schema)


def test_every_expression_of_the_packs_means_the_same_in_both_engines():
    library, _ = load()
    expressions = {}
    for rule in library.rules:
        reading = read_expressions(rule, library)
        for expression in (reading.anchor, *reading.wheres.values(), *reading.steps.values()):
            if expression is None or not expression.columns:
                continue
            expressions.setdefault(expression.text, expression)
    mentions = sorted({mention_column(*m) for e in expressions.values() for m in e.mentions})
    data = random_entries(library, 3000).with_columns(
        pl.Series(name, random.Random(name).choices([True, False, None], k=3000), dtype=pl.Boolean) for name in mentions
    )
    with duckdb.connect() as opened:
        opened.execute("set timezone = 'UTC'")
        opened.register("entries", data)
        for text, expression in expressions.items():
            ours = data.select(expression.polars.alias("x").sum(), n=expression.polars.is_null().sum()).row(0)
            theirs = opened.sql(
                f"select count(*) filter (where {text}), count(*) filter (where ({text}) is null) from entries"
            )
            assert ours == theirs.fetchall()[0], text
    assert len(expressions) > 20
