"""A rule in plain words: everything that it says is said, numbers are the rule's, and no name comes out."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import polars as pl
import pytest
from typer.testing import CliRunner

from fintel.bench.explain import explain, from_cases
from fintel.bench.explain_page import blocks, rule_markdown
from fintel.bench.sentences import Sentences, span_in_words
from fintel.cli.main import app
from fintel.rules.cases import load_cases
from fintel.rules.loader import load
from fintel.rules.wording import number_in_words


@pytest.fixture(scope="module")
def library():
    return load()[0]


@pytest.fixture(scope="module")
def explained(library):
    return {rule.id: explain(rule, library) for rule in library.rules}


def test_every_part_of_every_rule_is_said(library, explained):
    for rule in library.rules:
        found = explained[rule.id]
        said = json.dumps([found.looks_at, found.words, found.steps, found.measures, found.clauses, found.correlation])
        for name, parameter in rule.parameters.items():
            assert f"(`{name}`)" in said, f"{rule.id}: {name} is in no sentence"
            (number,) = [n for n in found.numbers if n.name == name]
            assert (number.value, number.basis) == (parameter.default, parameter.basis)
        assert [name for name, _ in found.measures] == list(rule.measures)
        for measure, (_, words) in zip(rule.measures.values(), found.measures, strict=True):
            assert span_in_words(measure.timespan) in words or "at that very moment" in words, (rule.id, words)
        for component in rule.correlation.components if rule.correlation else ():
            assert f"`{component}`" in said
        for observable in rule.measures:
            if re.search(rf"\b{observable}\b", rule.when):
                assert any(f"`{observable}`" in clause for clause in found.clauses), (rule.id, observable)
        assert [s.id for s in found.sources] == list(rule.indicators) and all(s.citation for s in found.sources)
        assert found.example and found.cases and found.hits and found.near_misses


def test_sentences_are_free_of_code(explained):
    """Code spans name measures, parameters, lists and rules; what is left over is no SQL."""
    for found in explained.values():
        for words in (found.looks_at, *(w for _, w in (*found.words, *found.measures, *found.steps)), *found.clauses):
            left = re.sub(r"`[^`]*`|'[^']*'", "", words)
            assert not re.search(r"[<>=@]|:\w|\bcoalesce\b|_\w|\bnull\b|\bcase when\b", left), f"{found.id}: {words}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("direction = 'out'", "money goes out"),
        ("amount_base <= :line", "amount is at most CAD 200 (`line`)"),
        ("200 < amount_base", "amount is more than 200"),
        ("not coalesce(counterparty_is_own, false)", "the accounts are not known to have one holder"),
        ("coalesce(instrument, 'other') not in ('card', 'cash')", "instrument is not 'card' or 'cash' (or is not known)"),
        ("coalesce(instrument, 'cash') in ('card', 'cash')", "instrument is 'card' or 'cash' (or is not known)"),
        ("coalesce(instrument, 'other') = 'cash'", "instrument is 'cash'"),
        ("counterparty_country in @osec_receiving", "country of the other side is in list `osec_receiving`"),
        ("mentions(merchant_name, @wages)", "merchant name mentions a word of list `wages`"),
        ("amount % 50 = 0", "amount in its own currency is a multiple of 50"),
        ("local_hour between 22 and 23 or local_hour < 6", "local hour is from 22 to 23 or local hour is less than 6"),
        ("device_id is not null and (amount > 1 or amount < 0)",
         "device is known and (amount in its own currency is more than 1 or amount in its own currency is less than 0)"),
        ("party_industry not like '%shop%'", "line of business of the holder does not contain 'shop'"),
        ("extract(dow from booked_at) = 0", "dow of time is 0"),
        ("coalesce(party_age, 18) >= 18", "age of the holder (18 where empty) is at least 18"),
        ("not (direction = 'in' and cash)", "not (money comes in and “cash”)"),
    ],
)  # fmt: skip
def test_conditions_in_words(library, text, words):
    rule = library["osec/low-value-sends-few-recipients"]
    line = replace(rule.parameters["max_amount"], name="line")
    rule = replace(rule, parameters={"line": line}, conditions={"cash": "instrument = 'cash'"})
    assert Sentences(rule, library).condition(text) == words


def test_a_page_has_the_numbers_of_the_rule_and_its_case(library, explained):
    found = explained["osec/low-value-sends-few-recipients"]
    page = rule_markdown(found)
    assert page.startswith("# Frequent low-value sends")
    rule = library[found.id]
    for parameter in rule.parameters.values():
        line = f"| `{parameter.name}` | {number_in_words(parameter.default)} | {parameter.unit} |"
        assert line in page
    for name in rule.indicators:
        assert f"`{name}`" in page and library.indicators[name].url in page
    case = next(c for c in load_cases(rule)[0] if c.expect.hit)
    assert case.name in page
    example = from_cases([case])
    assert example.of == case.tables["transactions"].height
    assert {b.heading for b in blocks(found)} >= {"What it looks at", "Numbers", "Published by", "How it is computed"}


def test_a_table_survives_what_stands_in_it(library):
    rule = library["osec/low-value-sends-few-recipients"]
    wild = replace(rule, title="a|b *c* <script>", falsepositives=("[x](javascript:y) | `code|d`",))
    page = rule_markdown(explain(wild, library))
    assert "<script>" not in page and "\\*c\\*" in page and "\\[x\\](javascript:y)" in page


@pytest.mark.slow
def test_a_run_gives_the_example_and_no_name(tmp_path, monkeypatch, library):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    for arguments in (["init"], ["synth", "feed", "--accounts", "600", "--days", "90", "--seed", "5"],
                      ["run", "feed", "--budget", "5", "--drafts", "0"]):  # fmt: skip
        done = runner.invoke(app, arguments)
        assert done.exit_code == 0, done.output
    names = pl.read_parquet(tmp_path / "feed" / "parties.parquet")["name"].drop_nulls().unique().to_list()
    of_data = 0
    for rule_id in ("ml-general/fan-in", "osec/low-value-sends-few-recipients", "ml-general/pass-through",
                    "remittance/many-senders-one-payee"):  # fmt: skip
        done = runner.invoke(app, ["rules", "explain", rule_id, "--format", "json"])
        assert done.exit_code == 0, done.output
        example = json.loads(done.stdout)["example"]
        if "strongest episode" in example["origin"]:
            of_data += 1
            assert example["reason"] and example["observed"] and 0 < len(example["payments"]) <= example["of"]
            assert example["account"] in {v for row in example["payments"] for v in row}
            assert not [n for n in names if n in json.dumps(example, ensure_ascii=False)]
    assert of_data, "no rule of these hit"
    text = runner.invoke(app, ["rules", "explain", "ml-general/fan-in"]).stdout
    assert "Published by" in text and "How it is computed" in text


def test_a_pack_is_no_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["rules", "explain", "osec"])
    assert done.exit_code == 2 and "is a pack" in done.output


def test_no_text_of_a_pack_is_markup() -> None:
    from fintel.bench.explain_page import _plain

    for text in ("odd ` <script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a `b` c ` <b>", "`<b>` <i>"):
        shown = _plain(text)
        outside = "".join(shown.split("`")[::2])
        assert "<" not in outside, shown
