"""Local filters and suppressions: they narrow and mark, never score; what is wrong or over has no effect."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from fintel.cli.main import app
from fintel.config import Settings
from fintel.domain.schema import ALERTS, REASONS
from fintel.errors import Diagnostic
from fintel.feeds import mapping_loader
from fintel.models.learned import Learned
from fintel.pipeline import current_rules, detect, ingest
from fintel.ranking import mark_suppressed, rank, unsuppressed
from fintel.rules.loader import load
from fintel.rules.local_filters import LONGEST, LocalFilters, Suppression, read_local_filters
from fintel.rules.model import Library
from fintel.rules.runner import Detection, detect_tables
from fintel.rules.suppressed import suppressed_episodes
from fintel.store.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 24)
WHO = "reason: looked into, by: A. Analyst, until: 2027-03-31"
RULES = ("osec/low-value-sends-few-recipients", "osec/several-sends-in-a-day", "ml-general/pass-through")


@pytest.fixture(scope="module")
def library() -> Library:
    return load()[0]


@pytest.fixture(scope="module")
def found(tables: dict[str, pl.LazyFrame], library: Library) -> Detection:
    return detect_tables(tables, library.only(RULES))


@pytest.fixture
def read(tmp_path: Path, library: Library) -> Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]]:
    def reading(text: str, today: date = TODAY, of: Library = library) -> tuple[LocalFilters, tuple[Diagnostic, ...]]:
        folder = tmp_path / "filters.local"
        folder.mkdir(exist_ok=True)
        (folder / "ours.yaml").write_text(text)
        return read_local_filters(folder, of, today)

    return reading


def test_no_folder_is_no_filter(tmp_path: Path, library: Library) -> None:
    assert read_local_filters(tmp_path / "nothing", library, TODAY) == (LocalFilters(), ())
    assert LocalFilters().filtered(library).rules == library.rules


# -- filters


def test_a_filter_is_joined_to_where_the_rule_looks(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]],
    tables: dict[str, pl.LazyFrame],
    library: Library,
    found: Detection,
) -> None:
    name = RULES[0]
    text = f"""
filter:
  - {{rule: {name}, where: "counterparty_country <> 'PH' or amount_base > :max_amount * 0.5", {WHO}}}
  - {{rule: osec/*, where: "extract(hour from booked_at) > 2", {WHO}}}
"""
    local, wrong = read(text)
    assert wrong == ()
    assert len(local.wheres[name]) == 2
    assert len(local.narrowed) == sum(r.pack == "osec" and r.correlation is None for r in library.rules)
    narrowed = local.filtered(library)
    assert narrowed[RULES[2]] is library[RULES[2]]
    assert narrowed[name].fingerprint != library[name].fingerprint
    rule = library[name]
    by_hand = replace(
        rule,
        anchor=f"({rule.anchor}) and counterparty_country is not null and (counterparty_country <> 'PH' or amount_base > :max_amount * 0.5)"
        " and extract(hour from booked_at) in (3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23)",
    )
    columns = ["account_id", "started_at", "peak_at", "hits", "strength", "share"]
    ours = detect_tables(tables, narrowed.only([name])).episodes.select(columns)
    theirs = detect_tables(tables, replace(library, rules=(by_hand,))).episodes.select(columns)
    assert ours.equals(theirs)
    before = found.episodes.filter(pl.col("rule_id") == name)
    assert 0 < ours["account_id"].n_unique() < before["account_id"].n_unique()


def test_a_filter_on_a_chain_narrows_its_last_step(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], library: Library
) -> None:
    rule = next(r for r in library.rules if r.anchor.strip() in r.steps)
    local, wrong = read(f'filter: [{{rule: {rule.id}, where: "amount_base > 1", {WHO}}}]')
    assert wrong == ()
    step = rule.steps[rule.anchor.strip()]
    narrowed = local.narrowed[rule.id]
    assert narrowed.anchor == rule.anchor
    assert narrowed.steps[step.name].where == f"({step.where}) and (amount_base > 1)"
    assert {n: s for n, s in narrowed.steps.items() if n != step.name} == {
        n: s for n, s in rule.steps.items() if n != step.name
    }


def test_a_filter_may_use_shared_conditions(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], library: Library
) -> None:
    rule = library[RULES[2]]
    name = next(n for n in library.conditions if n not in rule.conditions)
    local, wrong = read(f"filter: [{{rule: {rule.id}, where: not {name}, {WHO}}}]")
    assert wrong == ()
    assert local.narrowed[rule.id].conditions[name] == library.conditions[name].text


@pytest.mark.parametrize(
    ("where", "code", "column"),
    [
        ("amount_bse > 1", "R022", 0),
        ("amount_base", "R028", 0),
        ("true) or (true", "R020", 4),
        ("amount_base > 1 -- and", "R020|R021", 16),
        ("amount_base > :nothing", "R024", 14),
        ("sex = 'f'", "R023", 0),
        ("amount_base > (select 1)", "R021", 15),
        ("direction = 'sideways'", "R032", 12),
        (" and ".join(["amount_base > 1"] * 101), "R021", None),
    ],
)
def test_a_wrong_condition_has_no_effect_and_is_told_at_its_place(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], where: str, code: str, column: int | None
) -> None:
    line = f'  - {{rule: {RULES[2]}, where: "{where}", {WHO}}}'
    local, wrong = read(f"filter:\n{line}\n")
    assert not local.narrowed
    assert re.match(code, wrong[0].code)
    place = wrong[0].location
    assert place is not None
    assert (Path(place.file).name, place.line) == ("ours.yaml", 2)
    if column is not None:
        assert place.column == line.index(where) + 1 + column


def test_a_correlation_cannot_be_filtered(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], library: Library
) -> None:
    rule = next(r for r in library.rules if r.correlation is not None)
    local, wrong = read(f'filter: [{{rule: {rule.id}, where: "true", {WHO}}}]')
    assert not local.narrowed
    assert [d.code for d in wrong] == ["R104"]
    assert rule.correlation is not None
    assert rule.correlation.components[0] in str(wrong[0].hint)


# -- what is wrong, and what is over


@pytest.mark.parametrize(
    ("until", "codes", "effect"),
    [
        (TODAY, [], True),
        (TODAY - timedelta(days=1), ["R102"], False),
        (TODAY + LONGEST, [], True),
        (TODAY + LONGEST + timedelta(days=1), ["R101"], False),
        ("soon", ["R101"], False),
        ("~", ["R006"], False),
    ],
)
def test_an_entry_lasts_until_its_day_and_a_year_at_most(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], until: object, codes: list[str], effect: bool
) -> None:
    said = f"reason: r, by: b, until: {until}"
    local, wrong = read(
        f"suppress: [{{rule: osec/*, account: x, {said}}}]\nfilter: [{{rule: {RULES[0]}, where: 'true', {said}}}]\n"
    )
    assert [d.code for d in wrong] == codes * 2
    assert bool(local.suppressions) is effect
    assert bool(local.narrowed) is effect
    assert set(local.files) == {"ours.yaml"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"suppress: [{{rule: osec/nothing, account: x, {WHO}}}]", "R100"),
        (f"suppress: [{{rule: nothing/*, account: x, {WHO}}}]", "R100"),
        (f"suppress: [{{rule: '*', account: x, {WHO}}}]", "R100"),
        (f"suppress: [{{rule: osec/*, {WHO}}}]", "R103"),
        (f"suppress: [{{rule: osec/*, account: x, party: y, {WHO}}}]", "R103"),
        (f"suppress: [{{rule: osec/*, acount: x, {WHO}}}]", "R005"),
        ("suppress: [{rule: osec/*, account: x, by: b, until: 2027-01-01}]", "R006"),
        ("suppress: [{rule: osec/*, account: x, reason: r, by: '', until: 2027-01-01}]", "R00"),
        ('suppress: [{rule: osec/*, account: x, reason: "a\\u202eb", by: b, until: 2027-01-01}]', "R007"),
        (f"suppress: [{{rule: osec/*, account: x, reason: {'r' * 301}, by: b, until: 2027-01-01}}]", "R007"),
        ("suppress: {rule: osec/*}", "R007"),
        ("suppress: [x]", "R007"),
        ("hide: []", "R005"),
        ("suppress: &a [*a]", "R003"),
        ("[1]", "R002"),
        ("suppress: [" + " " * 1_000_001 + "]", "R001"),
    ],
)
def test_what_cannot_be_read_has_no_effect(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], text: str, code: str
) -> None:
    local, wrong = read(text)
    assert wrong
    assert wrong[0].code.startswith(code)
    assert not local.suppressions
    assert not local.narrowed


# -- suppressions


def suppression(library: Library, rule: str, subject: str, value: str) -> Suppression:
    rules = frozenset(r.id for r in library.rules if r.id == rule or f"{r.pack}/*" == rule)
    return Suppression(rule, rules, subject, value, "looked into", "A", date(2027, 1, 1), "ours.yaml")


def marked(found: Detection, tables: dict[str, pl.LazyFrame], some: list[Suppression]) -> pl.DataFrame:
    accounts = tables["accounts"].collect()
    return suppressed_episodes(
        found.episodes, found.clauses, found.evidence, accounts, tables["transactions"], some
    )  # fmt: skip


def test_an_account_is_suppressed_when_every_rule_that_found_it_is(
    found: Detection, tables: dict[str, pl.LazyFrame], library: Library
) -> None:
    accounts = tables["accounts"].collect()
    plain = rank(found.episodes, accounts, run_id="r", prior=0.001)
    twice = (
        found.episodes.group_by("account_id").agg(pl.col("rule_id").unique()).filter(pl.col("rule_id").list.len() > 1)
    )
    account, rules = twice.sort("account_id").row(0)
    one = mark_suppressed(
        plain, found.episodes, marked(found, tables, [suppression(library, rules[0], "account", account)])
    )
    assert one.reasons.filter(pl.col("suppressed").is_not_null()).select("account_id", "name").rows() == [
        (account, rules[0])
    ]
    assert one.alerts["suppressed"].null_count() == one.alerts.height
    wanted = [suppression(library, f"{r.split('/')[0]}/*", "account", account) for r in rules]
    both = mark_suppressed(plain, found.episodes, marked(found, tables, wanted))
    (row,) = both.alerts.filter(pl.col("suppressed").is_not_null()).to_dicts()
    assert row["account_id"] == account
    assert row["suppressed"] == "looked into (by A, until 2027-01-01, ours.yaml)"
    assert unsuppressed(both.alerts).height == plain.alerts.height - 1
    # scored and ranked as if nothing were
    assert both.alerts.drop("suppressed").equals(plain.alerts.drop("suppressed"))
    assert both.reasons.drop("suppressed").equals(plain.reasons.drop("suppressed"))
    assert both.alerts.columns == list(ALERTS.names)
    assert both.reasons.columns == list(REASONS.names)


def test_a_holder_is_suppressed_with_every_account(
    found: Detection, tables: dict[str, pl.LazyFrame], library: Library
) -> None:
    hit = tables["accounts"].filter(pl.col("account_id").is_in(found.episodes["account_id"].implode())).collect()
    party = hit["party_id"].drop_nulls().mode().sort()[0]
    theirs = set(hit.filter(pl.col("party_id") == party)["account_id"])
    some = [suppression(library, p, "party", party) for p in ("osec/*", "ml-general/*")]
    episodes = found.episodes.join(marked(found, tables, some), on="episode_id", how="semi")
    assert set(episodes["account_id"]) == theirs
    assert episodes.height == found.episodes.filter(pl.col("account_id").is_in(list(theirs))).height


def test_a_counterparty_is_suppressed_where_nobody_else_is_in_the_evidence(
    found: Detection, tables: dict[str, pl.LazyFrame], library: Library
) -> None:
    sides = tables["transactions"].select("transaction_id", "debtor_account_id", "creditor_account_id").collect()
    seen = (
        found.evidence.join(sides, on="transaction_id")
        .join(found.episodes.select("episode_id", "rule_id", "account_id"), on="episode_id")
        .filter(pl.col("rule_id").str.starts_with("osec/"))
        .with_columns(
            other=pl.when(pl.col("debtor_account_id") == pl.col("account_id")).then("creditor_account_id").otherwise("debtor_account_id")
        )
        .group_by("episode_id")
        .agg(pl.col("other").unique())
    )  # fmt: skip
    single = seen.filter(pl.col("other").list.len() == 1).sort("episode_id")
    several = seen.filter(pl.col("other").list.len() > 1)
    assert single.height > 2
    assert several.height > 2
    payee = single["other"].list.first().drop_nulls()[0]
    expected = set(single.filter(pl.col("other").list.first() == payee)["episode_id"])
    some = [suppression(library, "osec/*", "counterparty", payee)]
    assert set(marked(found, tables, some)["episode_id"]) == expected
    # where not all of the evidence was kept, somebody else may be in the rest
    cut = found.clauses.with_columns(
        evidence_truncated=pl.col("evidence_truncated") | pl.col("episode_id").is_in(list(expected))
    )
    assert marked(replace(found, clauses=cut), tables, some).is_empty()


def test_a_model_that_speaks_against_an_account_keeps_it_in_the_queue(
    found: Detection, tables: dict[str, pl.LazyFrame], library: Library
) -> None:
    accounts = tables["accounts"].collect()
    one, other = found.episodes["account_id"].unique().sort()[:2]
    says = pl.DataFrame(
        {
            "account_id": [one, one, other, other],
            "name": ["f", "g"] * 2,
            "bits": [3.0, -1.0, -3.0, 1.0],
            "text": ["t"] * 4,
        }
    )
    ranking = rank(
        found.episodes,
        accounts,
        run_id="r",
        prior=0.001,
        learned=Learned(contributions=says, base=-9.0, rule_weight=1.0),
    )
    some = [suppression(library, p, "account", a) for p in ("osec/*", "ml-general/*") for a in (one, other)]
    alerts = mark_suppressed(ranking, found.episodes, marked(found, tables, some)).alerts
    assert alerts.filter(pl.col("suppressed").is_not_null())["account_id"].to_list() == [other]


# -- in a run


def test_a_run_records_what_was_in_effect(
    read: Callable[..., tuple[LocalFilters, tuple[Diagnostic, ...]]], lake: Path, library: Library
) -> None:
    some = library.only(RULES)
    as_of = datetime(2025, 4, 1, tzinfo=UTC)

    def run(text: str | None, today: date = TODAY) -> tuple[str, dict[str, object], pl.DataFrame]:
        local = None if text is None else read(text, today)[0]
        with Lake.create_or_open(lake) as store:
            summary = detect(store, Settings(lake=lake), some, as_of=as_of, local=local)
            return summary.run_id, dict(summary.manifest["local"]), store.run_table(summary.run_id, "alerts").collect()

    bare, record, alerts = run(None)
    assert record["files"] == {}
    account = alerts["account_id"][0]
    text = "suppress:\n" + "".join(
        f'  - {{rule: {p}/*, account: "{account}", {WHO}}}\n' for p in ("osec", "ml-general")
    )
    with_it, record, after = run(text)
    assert with_it != bare
    assert set(record["files"]) == {"ours.yaml"}  # type: ignore[call-overload]
    assert after.filter(pl.col("suppressed").is_not_null())["account_id"].to_list() == [account]
    assert after["score"].to_list() == alerts["score"].to_list()
    assert run(text)[0] == with_it
    # the same file has no effect after its day, and that is another run
    later, record_later, ended = run(text, date(2027, 4, 1))
    assert later not in (bare, with_it)
    assert record_later["files"] == record["files"]
    assert ended["suppressed"].null_count() == ended.height
    narrowed, _, _ = run(f'filter: [{{rule: {RULES[0]}, where: "amount_base > 5", {WHO}}}]')
    with Lake.open(lake) as store:
        facts = {r.run_id: r.manifest["rules"][RULES[0]][1] for r in store.runs()}
    assert facts[narrowed] != facts[bare]


def test_deprecated_rules_are_run_when_they_are_named_only(lake: Path, library: Library) -> None:
    old = replace(library[RULES[0]], status="deprecated")
    some = replace(library, rules=(old, library[RULES[2]]))
    assert [r.id for r in current_rules(some).rules] == [RULES[2]]
    with Lake.create_or_open(lake) as store:
        summary = detect(store, Settings(lake=lake), some, as_of=datetime(2025, 3, 1, tzinfo=UTC))
    assert summary.rule_results["rule_id"].to_list() == [RULES[2]]
    assert list(summary.manifest["rules"]) == [RULES[2]]


# -- as a user types it


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "fintel.toml").write_text("")
    feed = folder / "feed"
    feed.mkdir()
    pl.read_parquet(ROOT / "data" / "synthetic" / "transactions.parquet").head(20_000).write_parquet(
        feed / "transactions.parquet"
    )
    for name in ("accounts", "parties", "rates"):
        (feed / f"{name}.parquet").write_bytes((ROOT / "data" / "synthetic" / f"{name}.parquet").read_bytes())
    with Lake.create_or_open(folder / "lake") as store:
        ingest(store, feed, mapping_loader.load("fintel"), Settings(lake=folder / "lake"))
    return folder


@pytest.mark.slow
def test_a_suppressed_account_is_shown_on_request(home: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*words, "--config", str(home / "fintel.toml")])
        assert result.exit_code == code, result.output
        return result.stdout if "--json" in words else " ".join(result.output.split())

    run("detect")
    queue = json.loads(run("rank", "--json"))
    first, second = queue[0]["account_id"], queue[1]["account_id"]
    until = datetime.now(UTC).date() + timedelta(days=90)
    said = f"reason: known client, by: A. Analyst, until: {until}"
    packs = ("crypto", "ht-sexual", "labour", "ml-general", "osec", "remittance", "scam-compound", "sextortion")
    folder = home / "filters.local"
    folder.mkdir(exist_ok=True)
    entries = "".join(f'  - {{rule: {p}/*, account: "{first}", {said}}}\n' for p in packs)
    (folder / "clients.yaml").write_text(f"suppress:\n{entries}")
    told = json.loads(run("rules", "filters", "--json"))
    assert len(told["suppressions"]) == len(packs)
    assert told["findings"] == []
    run("detect")
    after = json.loads(run("rank", "--json"))
    assert after[0]["account_id"] == second
    assert first not in {r["account_id"] for r in after}
    assert "1 suppressed (--suppressed)" in run("rank", "-n", "2")
    shown = json.loads(run("rank", "--suppressed", "--json"))
    assert (shown[0]["account_id"], shown[0]["rank"], shown[0]["score"]) == (first, 1, queue[0]["score"])
    assert "known client" in shown[0]["suppressed"]
    assert "known client" in run("rank", "-n", "1", "--suppressed")
    assert "left out of the queue: known client (by A. Analyst" in run("explain", first)
    (folder / "clients.yaml").write_text(f"suppress:\n{entries}  - {{rule: osec/x, account: y, {said}}}\n")
    assert "no rule 'osec/x'" in run("rules", "filters", code=1)
