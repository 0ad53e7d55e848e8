"""Promotion of rules: every gate shuts for its own reason, and evidence is of one logic only."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from fintel.bench.backtest_told import rests_on
from fintel.bench.promotion import (
    Evidence,
    Gate,
    evidence_of,
    gates,
    promoted_version,
    promotion_line,
    read_record,
    shadow,
)
from fintel.bench.rewriting import rewrite_status, write_status
from fintel.cli.main import app
from fintel.config import Settings
from fintel.errors import ConfigError, RuleError
from fintel.feeds import mapping_loader
from fintel.pipeline import detect, ingest
from fintel.rules.exclusions import read_exclusions
from fintel.rules.loader import load, packs_folder
from fintel.rules.model import Library, Rule
from fintel.rules.runner import detect_tables
from fintel.rules.source import Findings
from fintel.store.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = """\
indicators:
  MINE-01: {typology: ML-GENERAL, issuer: Us, document: A list, date: "2026-01", locator: "1", grade: V1, text: "Many payers"}
"""
PACK = "name: mine\ntitle: Mine\ndescription: For tests.\n"
LIST = "name: mine_channels\nkind: values\ncolumn: instrument\nvalues: [credit_transfer, card]\n"
RULE = """\
# kept: a comment at the top
id: mine/many-payers
title: Many payers within a week
version: 3
status: experimental   # kept: beside the status
level: low
typology: ML-GENERAL
indicators: [MINE-01]
description: Many payers within a week.
budget: 100
per: [account_id]
parameters:
  min_payers: {default: 9, unit: count, range: [2, 12], basis: engineering}
anchor: direction = 'in' and instrument in @mine_channels
measures:
  payers: {distinct: counterparty_id, timespan: 7d}
when: payers >= :min_payers
reason: "{payers} payers"
falsepositives: [A shop]
"""
CASES = """\
defaults: {account: us, direction: in, instrument: credit_transfer}
cases:
  - name: nine payers
    entries: [{at: 2025-03-01T10:00, amount: 20, counterparty: "p{n}", repeat: {times: 9, every: 1h}}]
    expect: {hit: us, observed: {payers: 9}}
  - name: eight payers
    near_miss: true
    entries: [{at: 2025-03-01T10:00, amount: 20, counterparty: "p{n}", repeat: {times: 8, every: 1h}}]
    expect: {hit: none}
  - name: no instrument known
    entries: [{at: 2025-03-01T10:00, amount: 20, counterparty: "p{n}", instrument: ~, repeat: {times: 9, every: 1h}}]
    expect: {outcome: cannot_tell}
"""
PEOPLE = {"by": "A. Analyst", "second": "B. Reviewer"}


def write_pack(folder: Path, rule: str = RULE, cases: str = CASES) -> Path:
    for name, text in {
        "indicators.yaml": CATALOGUE, "lists/mine_channels.yaml": LIST, "mine/pack.yaml": PACK,
        "mine/many-payers.yaml": rule, "mine/cases/many-payers.yaml": cases,
    }.items():  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def read_pack(folder: Path) -> tuple[Library, Rule]:
    library, diagnostics = load([folder])
    assert not diagnostics
    return library, library["mine/many-payers"]


def evidence(rule: Rule, library: Library, **changes: object) -> Evidence:
    given: dict[str, object] = {
        "rests_on": rests_on(library, rule.id), "outcome": "evaluated", "days": 90.0, "own_accounts": 10_000,
        "rate": 3.0, "source": "a record",
    }  # fmt: skip
    return Evidence(**(given | changes))  # type: ignore[arg-type]


def judged(folder: Path, status: str, *, with_evidence: bool = True, **changes: object) -> dict[str, Gate]:
    library, diagnostics = load([folder])
    rule = library["mine/many-payers"]
    people = {k: str(changes.pop(k, v)) for k, v in PEOPLE.items()}
    shown = evidence(rule, library, **changes) if with_evidence else None
    found = gates(rule, library, status, detect=detect_tables, loading=diagnostics, evidence=shown, **people)
    return {g.name: g for g in found}


def shut(found: dict[str, Gate]) -> set[str]:
    return {name for name, gate in found.items() if not gate.open}


def test_a_sound_rule_passes_every_gate_to_test(tmp_path: Path) -> None:
    found = judged(write_pack(tmp_path), "test")
    assert shut(found) == set()
    assert list(found) == ["lifecycle", "two people", "check", "cases", "logic unchanged", "false-positive budget"]


@pytest.mark.parametrize(
    ("change", "gate", "said"),
    [
        ({"by": " "}, "two people", "each name a person"),
        ({"by": "b.  REVIEWER"}, "two people", "a second person"),
        ({"second": "x" * 81}, "two people", "80 letters"),
        ({"second": "a\u202eb"}, "two people", "each name"),
        ({"rate": 100.01}, "false-positive budget", "100.01 false alarms"),
        ({"own_accounts": 90}, "false-positive budget", "it takes 100"),
        ({"outcome": "cannot_tell", "rate": None}, "false-positive budget", "nothing is known"),
        ({"rests_on": {}}, "logic unchanged", "@mine_channels"),
        ({"rests_on": {"mine/many-payers": "0"}}, "logic unchanged", "mine/many-payers"),
    ],
)
def test_each_gate_shuts_for_its_own_reason(tmp_path: Path, change: dict[str, object], gate: str, said: str) -> None:
    found = judged(write_pack(tmp_path), "test", **change)
    assert shut(found) == {gate}
    assert said in found[gate].said


@pytest.mark.parametrize(
    ("rule", "cases", "gate", "said"),
    [
        (RULE, CASES.replace("    near_miss: true\n", ""), {"cases", "check"}, "a near miss"),
        (RULE, CASES.split("  - name: no instrument")[0], {"cases", "check"}, "cannot tell"),
        (RULE, CASES.replace("times: 9", "times: 8", 1), {"cases"}, "nine payers"),
        (RULE.replace("parameters:\n", "parameters:\n  idle: {default: 1, unit: count, basis: engineering}\n"), CASES,
         {"check", "logic unchanged"}, "R040"),
        (RULE.replace("budget: 100\n", ""), CASES, {"check", "false-positive budget"}, "no budget"),
        (RULE.replace("direction = 'in' and", "direction = 'in' and amount > 0 and"), CASES, {"logic unchanged"}, "changed"),
        (RULE.replace("experimental", "stable"), CASES, {"lifecycle"}, "the next is deprecated"),
        (RULE.replace("experimental", "deprecated"), CASES, {"lifecycle"}, "nothing comes after"),
    ],
)  # fmt: skip
def test_a_rule_that_is_not_sound_is_refused(tmp_path: Path, rule: str, cases: str, gate: set[str], said: str) -> None:
    before = read_pack(write_pack(tmp_path / "before"))
    folder = write_pack(tmp_path / "now", rule, cases)
    library, diagnostics = load([folder])
    shown = evidence(before[1], before[0])
    found = {
        g.name: g
        for g in gates(library["mine/many-payers"], library, "test", detect=detect_tables, loading=diagnostics,
                       evidence=shown, **PEOPLE)
    }  # fmt: skip
    assert shut(found) == gate
    assert said in " ".join(found[name].said for name in gate)


def test_a_rule_is_checked_as_what_it_is_to_become(tmp_path: Path) -> None:
    folder = write_pack(tmp_path, RULE.replace("experimental", "test").replace("falsepositives: [A shop]\n", ""))
    library, rule = read_pack(folder)
    options = {"detect": detect_tables, "evidence": evidence(rule, library), **PEOPLE}
    found = {g.name: g for g in gates(rule, library, "stable", **options)}
    assert shut(found) == {"check", "30 shadow days"}
    assert "R067 stable without false positives" in found["check"].said
    (tmp_path / "rules.exclude.yaml").write_text(
        "exclude: [{rule: mine/*, code: R067, reason: nobody innocent does it}]\n"
    )
    findings = Findings()
    known = read_exclusions(tmp_path / "rules.exclude.yaml", findings)
    assert not findings.items
    found = {g.name: g for g in gates(rule, library, "stable", exclusions=known, **options)}
    assert shut(found) == {"30 shadow days"}
    assert "1 excluded with a reason" in found["check"].said


def test_without_a_backtest_nothing_is_shown(tmp_path: Path) -> None:
    found = judged(write_pack(tmp_path), "test", with_evidence=False)
    assert shut(found) == {"logic unchanged", "false-positive budget"}
    assert shut(judged(tmp_path, "stable", with_evidence=False)) >= {"lifecycle", "30 shadow days"}


def test_ones_own_newer_version_may_replace_the_shipped_rule(tmp_path: Path) -> None:
    """What only informs shuts no gate: else no rule that came with fintel could be tuned and promoted."""
    write_pack(tmp_path / "shipped")
    write_pack(tmp_path / "own", RULE.replace("version: 3", "version: 4"))
    library, diagnostics = load([tmp_path / "shipped", tmp_path / "own"])
    rule = library["mine/many-payers"]
    assert rule.version == 4 and [d.code for d in diagnostics] == ["R015"]
    shown = evidence(rule, library)
    found = gates(rule, library, "test", detect=detect_tables, loading=diagnostics, evidence=shown, **PEOPLE)
    assert shut({g.name: g for g in found}) == set()


def test_a_rule_that_others_rest_on_is_not_deprecated(tmp_path: Path) -> None:
    folder = write_pack(tmp_path)
    assert shut(judged(folder, "deprecated", with_evidence=False)) == set()
    other = RULE.split("per:")[0].replace("mine/many-payers", "mine/together")
    (folder / "mine" / "together.yaml").write_text(
        other + "correlation: {timespan: 30d, all: [mine/many-payers]}\nreason: '{all}'\n"
    )
    found = judged(folder, "deprecated", with_evidence=False)
    assert shut(found) == {"nothing rests on it"}
    assert "mine/together" in found["nothing rests on it"].said


def run_at(lake: Path, library: Library, moment: datetime) -> None:
    with Lake.create_or_open(lake) as store:
        detect(store, Settings(lake=lake), library.only(["mine/many-payers"]), as_of=moment)


def test_shadow_days_are_those_of_this_logic_in_status_test(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, lake: Path
) -> None:
    folder = write_pack(tmp_path, RULE.replace("experimental", "test"))
    library, rule = read_pack(folder)

    def gate(of: tuple[Library, Rule] = (library, rule)) -> Gate:
        with Lake.open(lake) as store:
            return shadow(of[1], of[0], store)

    assert not gate().open
    experimental = read_pack(write_pack(tmp_path_factory.mktemp("e")))
    run_at(lake, experimental[0], datetime(2025, 1, 5, tzinfo=UTC))
    run_at(lake, library, datetime(2025, 3, 1, tzinfo=UTC))
    assert "1 runs of this logic in status test (beside 1 of another" in gate().said
    run_at(lake, library, datetime(2025, 3, 30, 23, tzinfo=UTC))
    assert not gate().open
    assert "29.9 days" in gate().said
    run_at(lake, library, datetime(2025, 3, 31, tzinfo=UTC))
    assert gate().open
    # no payments were seen between two runs that both lie after the last payment
    far = read_pack(write_pack(tmp_path_factory.mktemp("f"), RULE.replace("experimental", "test").replace("7d", "8d")))
    run_at(lake, far[0], datetime(2025, 6, 1, tzinfo=UTC))
    run_at(lake, far[0], datetime(2026, 6, 1, tzinfo=UTC))
    assert not gate(far).open
    assert "0.0 days" in gate(far).said
    # neither another number nor another list is this logic
    (tmp_path / "lists" / "mine_channels.yaml").write_text(LIST.replace(", card", ""))
    assert not gate(read_pack(folder)).open
    write_pack(tmp_path, RULE.replace("experimental", "test").replace("default: 9", "default: 10"))
    assert not gate(read_pack(folder)).open


def test_a_blind_run_is_no_shadow_day(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    feed = tmp_path / "feed"
    feed.mkdir()
    payments = pl.read_parquet(ROOT / "data" / "synthetic" / "transactions.parquet").head(3000)
    payments.with_columns(instrument=pl.lit(None, dtype=pl.String)).write_parquet(feed / "transactions.parquet")
    home = tmp_path / "lake"
    with Lake.create_or_open(home) as store:
        ingest(store, feed, mapping_loader.load("fintel"), Settings(lake=home))
    library, rule = read_pack(write_pack(tmp_path_factory.mktemp("p"), RULE.replace("experimental", "test")))
    for day in (2, 3):
        run_at(home, library, datetime(2025, 1, day, tzinfo=UTC))
    with Lake.open(home) as store:
        found = shadow(rule, library, store)
    assert not found.open
    assert "2 that cannot tell" in found.said


# -- what is written


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_status_changes_and_nothing_else(newline: str) -> None:
    text = "\ufeff" + RULE.replace("\n", newline)
    line = '3: experimental → test (on 2026-11-24, by A. "B" Analyst and C)'
    new = rewrite_status(text, "rule.yaml", "test", 3, line)
    log = f"changelog: [{json.dumps(line, ensure_ascii=False)}]{newline}"
    assert new.count(log) == 1
    assert new.replace(log, "").replace("status: test ", "status: experimental ") == text


def test_the_changelog_names_both_people_and_what_was_measured(tmp_path: Path) -> None:
    library, rule = read_pack(write_pack(tmp_path))
    line = promotion_line(rule, "test", 3, " A.\n Analyst", "B", date(2026, 11, 24), evidence(rule, library))
    assert line == (
        "3: experimental → test (on 2026-11-24, 3.00 false alarms per 10,000 accounts and 30 days, by A. Analyst and B)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "[1]", "{}", "[" * 100_000, '{"kind": "backtest"}', '{"kind": "backtest", "rules": 3}',
        '{"kind": "backtest", "rules": [{"rule": "mine/many-payers"}], "days": 3, "own_accounts": 4}',
        '{"kind": "backtest", "rules": [{"rule": "mine/many-payers", "rests_on": [], "outcome": "evaluated"}], "days": 3, "own_accounts": 4}',
        *('{"kind": "backtest", "rules": [{"rule": "mine/many-payers", "rests_on": {}, "outcome": "evaluated", '
          f'"false_alarms_per_10000_and_30_days": {rate}}}], "days": {days}, "own_accounts": {own}}}'
          for rate, days, own in (("NaN", 3, 4), ("1", "Infinity", 4), ("-1", 3, 4), ("1", 3, "1e999"), ("1", 0, 4), ("1", 3, -4))),
    ],
)  # fmt: skip
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="no JSON|no record"):
        evidence_of(read_record(file), "mine/many-payers", file.name)


# -- as a user types it


@pytest.fixture
def typed(tmp_path: Path, lake: Path) -> Callable[..., tuple[int, str]]:
    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["rules", *words, "--lake", str(lake), "--folder", str(tmp_path)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, result.stdout if "--json" in words else " ".join(result.output.split())

    return run


def test_a_rule_goes_from_experimental_to_stable(
    tmp_path: Path, lake: Path, typed: Callable[..., tuple[int, str]]
) -> None:
    folder, people = write_pack(tmp_path, RULE.replace("7d", "6d")), ["--by", "A. Analyst", "--second", "B. Reviewer"]
    file = folder / "mine" / "many-payers.yaml"
    before = file.read_bytes()
    code, said = typed("promote", "mine/many-payers", "--to", "test", *people, "--dry-run")
    assert code == 0, said
    assert file.read_bytes() == before
    code, said = typed("promote", "mine/many-payers", "--to", "test")
    assert code == 1
    assert "each name a person" in said
    assert file.read_bytes() == before
    record = tmp_path / "record.json"
    assert typed("backtest", "mine", "--alone", "--record", str(record))[0] == 0
    code, said = typed("promote", "mine/many-payers", "--to", "test", *people, "--record", str(record), "--json")
    told = json.loads(said)
    assert code == 0
    assert told["open"]
    assert "experimental → test" in told["written"]["changelog"]
    library, rule = read_pack(folder)
    assert (rule.status, rule.version, rule.changelog) == ("test", 3, (told["written"]["changelog"],))
    assert "# kept: beside the status" in file.read_text()
    code, said = typed("promote", "mine/many-payers", "--to", "stable", *people, "--record", str(record), "--json")
    assert code == 1
    assert [g["gate"] for g in json.loads(said)["gates"] if not g["open"]] == ["30 shadow days"]
    for day in (datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)):
        run_at(lake, library, day)
    assert typed("promote", "mine/many-payers", "--to", "stable", *people)[0] == 0
    assert read_pack(folder)[1].status == "stable"
    assert typed("promote", "mine/many-payers", "--to", "deprecated", *people)[0] == 0
    assert [line.split(" (")[0] for line in read_pack(folder)[1].changelog] == [
        "3: experimental → test", "3: test → stable", "3: stable → deprecated",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine/many-payer", "--to", "test"], "did you mean 'mine/many-payers'"),
        (["mine", "--to", "test"], "is a pack"),
        (["mine/many-payers", "--to", "experimental"], "no status"),
        (["mine/many-payers", "--to", "test", "--record", "nothing.json"], "cannot be read"),
    ],
)
def test_usage_is_explained(tmp_path: Path, typed: Callable[..., tuple[int, str]], words: list[str], said: str) -> None:
    write_pack(tmp_path)
    code, told = typed("promote", *words)
    assert code == 2
    assert said in told


def test_a_shipped_rule_is_promoted_into_a_folder_of_ones_own(tmp_path: Path) -> None:
    rule = load()[0]["ml-general/fan-in"]
    file = Path(rule.location.file)
    assert file.is_relative_to(packs_folder())
    before = file.read_bytes()
    with pytest.raises(RuleError, match="comes with fintel") as refused:
        write_status(rule, "stable", rule.version, "x", option="--into")
    assert "--into" in str(refused.value.hint)
    assert promoted_version(rule, packs_folder()) == promoted_version(rule, None) == rule.version
    version = promoted_version(rule, tmp_path)
    written = write_status(rule, "stable", version, f"{version}: x", to=tmp_path)
    assert file.read_bytes() == before
    assert "status: stable" in written.file.read_text()
    library, _ = load([packs_folder(), tmp_path])
    taken = library["ml-general/fan-in"]
    assert (taken.status, taken.version, taken.fingerprint) == ("stable", rule.version + 1, rule.fingerprint)
