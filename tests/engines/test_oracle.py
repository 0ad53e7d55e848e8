"""The engine against the oracle: a rule restated as SQL from its definition gives the same values at every
anchor entry and the same hits, on payments near the rule's thresholds; and so do rules made at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle import Oracle, differences, engine_anchors
from perturbed import Population, populations, spread
from random_rules import any_payments, any_rule

from fintel.rules import loader
from fintel.rules.cases import Case, load_cases
from fintel.rules.model import Library, Rule
from fintel.rules.prepared import latest_rates
from fintel.rules.restated_correlation import components_of
from fintel.rules.restated_rule import restate
from fintel.rules.restatement import mentions_of, sql_of
from fintel.rules.runner import detect_tables


def calm(examples: int, *, shrink: bool = False) -> settings:
    """So many examples, the same in every run unless many are asked for and it is not CI. A seed is not worth
    shrinking."""
    phases = [Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])]
    checks = list(HealthCheck)
    fixed = examples < 100 or settings.get_current_profile_name() == "ci"
    return settings(
        max_examples=examples, derandomize=fixed, deadline=None, phases=phases, suppress_health_check=checks
    )


SEEDS = st.integers(0, 2**32 - 1)


@cache
def library() -> Library:
    return loader.load()[0]


@cache
def cases_of(rule_id: str) -> tuple[Case, ...]:
    return load_cases(library()[rule_id])[0]


RULES = [rule.id for rule in library().rules if rule.correlation is None]
CORRELATIONS = [rule.id for rule in library().rules if rule.correlation is not None]


@dataclass(frozen=True)
class Compared:
    differences: list[str]
    anchors: int
    hits: int


def compare(rule: Rule, population: Population, *, form: str = "joins") -> Compared:
    """The engine beside the SQL of one form."""
    tables, base = population.tables, population.base
    ours, _ = engine_anchors(tables, rule, library(), base)
    rates = latest_rates({name: table.lazy() for name, table in tables.items()}, base, None)
    restated = restate(rule, library(), base_currency=base, rates=rates)
    oracle = Oracle(tables, library(), sorted(restated.mentions), restated.columns)
    theirs = oracle.anchors(restated) if form == "joins" else oracle.window_anchors(restated)
    return Compared(differences(rule, ours, theirs), ours.height, int(ours["hit"].sum()))


def smallest(rule: Rule, population: Population, form: str, steps: int = 150) -> pl.DataFrame:
    """Few payments that still give a difference: leave out what can be left out."""
    payments = population.tables["transactions"]
    size = payments.height // 2
    while size and steps:
        for start in range(0, payments.height, size):
            fewer = pl.concat([payments[:start], payments[start + size :]])
            tables = {**population.tables, "transactions": fewer}
            steps -= 1
            if fewer.height and compare(rule, replace(population, tables=tables), form=form).differences:
                payments = fewer
                break
            if not steps:
                break
        else:
            size //= 2
    return payments.select(c for c in payments.columns if payments[c].null_count() < payments.height)


def check(rule: Rule, population: Population, form: str = "joins") -> int:
    if form == "windows" and not {"account_id", "counterparty_id"} & {*rule.per}:
        return 0  # both sides of a payment are in one partition, at one instant
    compared = compare(rule, population, form=form)
    if compared.differences:
        few = smallest(rule, population, form)
        told = "\n".join(compared.differences)
        pytest.fail(f"{rule.id} in {population.base}:\n{told}\nfew payments that show it:\n{few.to_dicts()}")
    return compared.hits


@pytest.mark.parametrize("rule_id", RULES)
@calm(1)
@given(seed=SEEDS)
def test_a_rule_equals_its_sql(rule_id: str, seed: int) -> None:
    rule = library()[rule_id]
    telling = sorted(cases_of(rule_id), key=lambda case: not case.expect.hit)[:5]
    hits = sum(check(rule, p) for p in populations(rule, telling, seed, copies=4))
    assert hits, "the rule never hit: nothing is shown"


def check_correlation(rule: Rule, seed: int, copies: int) -> int:
    """Moments at which a correlation holds, from SQL; joined, they are the run's episodes."""
    hits = 0
    for population in populations(rule, cases_of(rule.id), seed, copies):
        tables, base = population.tables, population.base
        found = detect_tables(tables, library().with_components((rule.id,)), base_currency=base, threads=1)
        (result,) = found.rule_results.filter(pl.col("rule_id") == rule.id).to_dicts()
        if result["outcome"] != "evaluated":
            continue
        rates = latest_rates({name: table.lazy() for name, table in tables.items()}, base, None)
        mentions = sorted(mentions_of(rule, library(), base_currency=base, rates=rates))
        restated = components_of(rule, library(), base_currency=base, rates=rates)
        oracle = Oracle(tables, library(), mentions, {c for r in restated.values() for c in r.columns})
        held = oracle.query(sql_of(rule, library(), base_currency=base, rates=rates))
        assert result["hits"] == held.height
        span = rule.correlation.timespan
        fresh = (pl.col("moment") - pl.col("moment").shift(1).over("account_id") > span).fill_null(value=True)
        joined = held.sort("account_id", "moment").group_by("account_id", fresh.cum_sum().alias("n")).agg(
            pl.col("moment").max(), pl.len()
        )  # fmt: skip
        episodes = found.episodes.filter(pl.col("rule_id") == rule.id)
        ended = episodes["ended_at"].dt.replace_time_zone(None)
        assert sorted(joined.select("account_id", "moment", "len").rows()) == sorted(
            zip(episodes["account_id"], ended, episodes["hits"], strict=True)
        )
        hits += held.height
    return hits


@pytest.mark.parametrize("rule_id", CORRELATIONS)
@calm(1)
@given(seed=SEEDS)
def test_a_correlation_equals_its_sql(rule_id: str, seed: int) -> None:
    assert check_correlation(library()[rule_id], seed, copies=6), "it never held: nothing is shown"


@pytest.mark.long
@pytest.mark.parametrize("rule_id", RULES)
@calm(6)
@given(seed=SEEDS)
def test_a_rule_equals_its_sql_again_and_again(rule_id: str, seed: int) -> None:
    rule = library()[rule_id]
    for population in populations(rule, cases_of(rule_id), seed, copies=12):
        check(rule, population)
        check(rule, spread(population), "windows")


@calm(8, shrink=True)
@given(rule=any_rule(), seed=SEEDS)
def test_any_rule_equals_its_sql(rule: Rule, seed: int) -> None:
    population = Population("USD", any_payments(seed))
    check(rule, population)
    check(rule, spread(population), "windows")


@pytest.mark.long
@calm(400, shrink=True)
@given(rule=any_rule(), seed=SEEDS)
def test_any_rule_equals_its_sql_again_and_again(rule: Rule, seed: int) -> None:
    population = Population("USD", any_payments(seed))
    check(rule, population)
    check(rule, spread(population), "windows")
