"""The bench on the packs' own cases: why-not agrees with what the cases expect, coverage and diff tell the truth."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from fintel.bench.coverage import STATES, catalogue, openers, sights
from fintel.bench.diff import changes, subjects
from fintel.bench.why_not import why_not
from fintel.domain.detection import Outcome
from fintel.rules import loader
from fintel.rules.cases import load_cases


@pytest.fixture(scope="module")
def library():
    return loader.load()[0]


def quiet(stage, done, of):
    del stage, done, of


def some_cases(library, step):
    """A hit and a near miss of every so many rules."""
    for rule in library.rules[::step]:
        cases, _ = load_cases(rule)
        if rule.correlation is not None:
            continue
        yield from ((rule, c) for c in cases if c.expect.hit and len(c.expect.hit) == 1)
        yield from ((rule, c) for c in cases if c.near_miss)


@pytest.mark.slow
def test_why_not_says_what_the_cases_expect(library):
    told, near = 0, 0
    for rule, case in some_cases(library, 7):
        subject = case.expect.hit[0] if case.expect.hit else None
        accounts = pl.concat(
            [case.tables["transactions"]["debtor_account_id"], case.tables["transactions"]["creditor_account_id"]]
        ).drop_nulls().unique()  # fmt: skip
        for account in accounts.sort() if subject is None else [subject]:
            (found,) = why_not(case.tables, library.only((rule.id,)), account, base_currency=case.base, progress=quiet)
            assert found.outcome is Outcome.EVALUATED, (rule.id, case.name, found.reason)
            assert found.hit == (subject is not None), (rule.id, case.name, account)
            if found.hit:
                assert found.held == len(found.clauses)
                told += 1
            elif found.clauses:
                failed = [c for c in found.clauses if not c.held]
                assert failed, (rule.id, case.name)
                near += any((c.missing or 0) > 0 for c in failed)
    assert told > 20 and near > 40


def test_a_blind_rule_is_told_with_the_column_that_it_lacks(library):
    rule = library["osec/low-value-sends-few-recipients"]
    cases, _ = load_cases(rule)
    (case,) = [c for c in cases if c.expect.cannot_tell][:1]
    (seen,) = sights(case.tables, library.only((rule.id,)), base_currency=case.base)
    assert seen.outcome is Outcome.CANNOT_TELL and seen.columns
    assert {name for name, _, _ in openers((seen,))} == set(seen.columns)
    (told,) = why_not(case.tables, library.only((rule.id,)), "sender", base_currency=case.base, progress=quiet)
    assert told.outcome is Outcome.CANNOT_TELL and told.reason == seen.reason


def test_every_indicator_is_accounted_for(library):
    covered = catalogue(library)
    assert len(covered) == len(library.indicators) >= 268
    assert [c.indicator.id for c in covered if c.state == "unaccounted"] == []
    assert {c.state for c in covered} <= set(STATES)
    for c in covered:
        assert bool(c.rules) == (c.state == "implemented"), c.indicator.id
        assert not (c.indicator.needs and c.indicator.not_observable), c.indicator.id
        assert not (c.rules and (c.indicator.needs or c.indicator.not_observable)), c.indicator.id


def test_diff_tells_logic_from_words(library):
    rule = library["labour/wages-bounced"]
    tuned = rule.tuned({"handed_share": 0.9})
    worded = replace(library["ml-general/fan-in"], title="Another title")

    def with_(*others):
        by_id = {r.id: r for r in others}
        return replace(library, rules=tuple(by_id.get(r.id, r) for r in library.rules))

    found = {c.rule_id: c for c in changes(library, with_(tuned, worded)) if c.change != "same"}
    assert {k: c.change for k, c in found.items()} == {rule.id: "logic", worded.id: "metadata"}
    assert found[rule.id].unversioned
    assert ("parameters.handed_share", "0.7 share", "0.9 share") in found[rule.id].parts
    fewer = library.only([r.id for r in library.rules if r.id != rule.id])
    assert [c.change for c in changes(library, fewer) if c.change != "same"] == ["removed"]
    assert [c.change for c in changes(fewer, library) if c.change != "same"] == ["added"]


def test_diff_on_data_names_who_is_gained_and_lost(library):
    rule = library["ml-general/fan-in"]
    (case,) = [c for c in load_cases(rule)[0] if c.expect.hit][:1]
    (name,) = [p for p in rule.parameters if p == "min_payers"] or [next(iter(rule.parameters))]
    strict = rule.tuned({name: rule.parameters[name].default * 100})
    old, new = (replace(library, rules=(r,)) for r in (rule, strict))
    options = {"base_currency": case.base, "as_of": None, "threads": 1, "progress": quiet}
    lost = subjects(old, new, case.tables, **options)
    assert lost.select("account_id", "change").rows() == [(case.expect.hit[0], "lost")]
    gained = subjects(new, old, case.tables, **options)
    assert gained.select("account_id", "change").rows() == [(case.expect.hit[0], "gained")]
    assert subjects(old, old, case.tables, **options).is_empty()


@pytest.mark.parametrize("name", ["nowhere", "osec/low-value-sends-few-recipients"])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_diff_refuses_what_is_no_folder(name, more):
    from typer.testing import CliRunner

    from fintel.cli.main import app

    for words in (["shipped", name], [name, "shipped"]):
        result = CliRunner().invoke(app, ["rules", "diff", *words, *more])
        assert result.exit_code == 2, result.output
        said = " ".join(result.output.split())
        assert name in said and "folders of packs" in said and "differ" not in said
