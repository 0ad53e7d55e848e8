"""The command as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FINTEL = Path(sys.executable).parent / "fintel"


def fintel(*words: object, folder: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FINTEL_")} | {"NO_COLOR": "1"}
    done = subprocess.run([FINTEL, *map(str, words)], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after init, synth and run."""
    folder = tmp_path_factory.mktemp("home")
    fintel("init", folder=folder)
    fintel("synth", "feed", "--accounts", 600, "--days", 90, "--seed", 5, folder=folder)
    done = fintel("run", "feed", "--budget", 5, "--drafts", 2, folder=folder)
    assert "ranked accounts" in done.stdout and "manifest" in done.stdout
    return folder


def test_help_teaches_by_example(tmp_path: Path) -> None:
    assert "fintel run" in fintel("--help", folder=tmp_path).stdout
    for words in (["run"], ["explain"], ["feed", "add"], ["rules", "test"], ["train"], ["report"], ["sql"]):
        text = fintel(*words, "--help", folder=tmp_path).stdout
        assert "Usage" in text
        assert len(text.splitlines()) > 8


def test_version(tmp_path: Path) -> None:
    assert fintel("--version", folder=tmp_path).stdout.startswith("fintel 0.")


def test_init_writes_once_and_says_where(tmp_path: Path) -> None:
    assert "fintel run" in fintel("init", "x", folder=tmp_path).stderr
    again = fintel("init", "x", folder=tmp_path, code=2)
    assert "there already" in again.stderr and "hint" in again.stderr


def test_run_leaves_drafts_and_manifest(home: Path) -> None:
    drafts = home / "drafts"
    assert len(list(drafts.glob("*.DRAFT.html"))) == len(list(drafts.glob("*.DRAFT.xml"))) == 2
    manifest = json.loads(next(drafts.glob("*.manifest.json")).read_text())
    assert manifest["feeds"] and manifest["rules"] and manifest["seconds"]["rules"] > 0 and manifest["library"]


def test_run_again_reads_nothing_anew_and_gives_the_same_run(home: Path) -> None:
    first = json.loads(fintel("rank", "--json", folder=home).stdout)
    again = json.loads(fintel("run", "feed", "--drafts", 0, "--json", folder=home).stdout)
    assert again["ranked"] == first


def test_rank_in_json_and_as_a_table(home: Path) -> None:
    rows = json.loads(fintel("rank", "--budget", 3, "--json", folder=home).stdout)
    assert [r["account_id"] for r in rows] and len(rows) == 3
    assert all(r["holding"] == "own" for r in rows)
    table = fintel("rank", "-n", 3, folder=home).stdout
    assert all(r["account_id"] in table for r in rows)
    both = json.loads(fintel("rank", "--external", "-n", 500, "--json", folder=home).stdout)
    assert {"own", "external"} >= {r["holding"] for r in both} and len(both) > 3


def test_explain_adds_up_and_draws(home: Path) -> None:
    told = json.loads(fintel("explain", 1, "--json", folder=home).stdout)
    assert told["alert"]["prior"] + sum(r["bits"] for r in told["reasons"]) == told["alert"]["score"]
    assert told["clauses"]
    for name in ("why.svg", "why.html"):
        fintel("explain", told["alert"]["account_id"], "--picture", name, folder=home)
        assert "<svg" in (home / name).read_text()
    text = fintel("explain", 1, folder=home).stdout
    assert told["alert"]["account_id"] in text and "what was observed" in text
    assert "svg or .html" in fintel("explain", 1, "-p", "why.png", folder=home, code=2).stderr


def test_explain_of_nobody_says_so(home: Path) -> None:
    assert "no alert for" in fintel("explain", "nobody", folder=home, code=2).stderr


def test_report_names_what_is_missing_and_exits_with_findings(home: Path) -> None:
    done = json.loads(fintel("report", 1, "--json", folder=home, code=1).stdout)
    assert not done["complete"] and any("filer" in m["setting"] for m in done["missing"])
    assert Path(done["html"]).is_file()


def test_sql_reads_every_table_and_nothing_else(home: Path) -> None:
    names = {r["name"] for r in json.loads(fintel("sql", "show tables", "--json", folder=home).stdout)}
    assert {
        "transactions",
        "accounts",
        "parties",
        "entries",
        "alerts",
        "evidence",
        "quarantine",
        "feeds",
        "runs",
    } <= names
    counted = json.loads(fintel("sql", "select count(*) n from entries", "--json", folder=home).stdout)
    assert counted[0]["n"] > 10_000
    for attack in (
        "select * from read_csv('/etc/passwd')",
        "create table x as select 1",
        "copy accounts to 'x.csv'",
        "drop view accounts",
    ):
        assert "error" in fintel("sql", attack, folder=home, code=2).stderr


def test_rules_list_show_check_test(home: Path) -> None:
    rules = json.loads(fintel("rules", "list", "--json", folder=home).stdout)
    assert len(rules) >= 25
    shown = fintel("rules", "show", rules[0]["rule"], folder=home).stdout
    assert "anchor:" in shown and rules[0]["indicators"].split(", ")[0] in shown
    fintel("rules", "check", folder=home)
    assert "passed, 0 failed" in fintel("rules", "test", "scam-compound", folder=home).stderr
    assert "did you mean" in fintel("rules", "show", rules[0]["rule"][:-1], folder=home, code=2).stderr


def test_rules_check_points_at_the_place(home: Path, tmp_path: Path) -> None:
    pack = tmp_path / "mine" / "own"
    pack.mkdir(parents=True)
    (pack / "pack.yaml").write_text("name: own\ntitle: t\ndescription: d\n")
    (pack / "one.yaml").write_text(
        "id: own/one\ntitle: t\nversion: 1\nstatus: test\nlevel: high\ntypology: OSEC\nindicators: [FINTRAC-SHADOW-02]\n"
        "techniques: []\ndescription: d\nsubject: account\nper: [account_id]\nparameters: {}\n"
        "anchor: direction = 'out' and amont_base > 5\nmeasures:\n  sends: {count: '*', timespan: 7d}\n"
        "when: sends >= 3\nreason: '{sends}'\nfalsepositives: [x]\n"
    )
    done = fintel("rules", "check", "--folder", tmp_path / "mine", folder=home, code=1)
    assert "one.yaml:13:" in done.stdout and "amount_base" in done.stdout


def test_a_rule_from_scaffold_to_sarif(home: Path, tmp_path: Path) -> None:
    """new, check (text, JSON, SARIF, exclusions), test, mutate: what an analyst does who writes a rule."""
    mine = tmp_path / "mine"
    made = json.loads(fintel("rules", "new", "own/first", "--form", "shared", "-f", mine, "--json", folder=home).stdout)
    assert str(mine / "own/first.yaml") in made
    assert "there already" in fintel("rules", "new", "own/first", "-f", mine, folder=home, code=2).stderr
    assert "5 passed, 0 failed" in fintel("rules", "test", "own", "-f", mine, "--slowest", 1, folder=home).stderr
    told = json.loads(fintel("rules", "mutate", "own", "-f", mine, "--kind", "threshold", "--json", folder=home).stdout)
    assert told["rates"] == [{"pack": "own", "kind": "threshold", "noticed": 2, "made": 2, "share": 1.0}]
    fintel("rules", "check", "own", "-f", mine, folder=home)
    again = fintel("rules", "new", "twin/second", "--form", "shared", "-f", mine, folder=home)
    assert "twin/second begins with the very logic of own/first: check says R012" in " ".join(again.stderr.split())
    rule = mine / "own/first.yaml"
    rule.write_text(rule.read_text().replace("range: [2, 20], ", ""))
    found = fintel("rules", "check", "own", "-f", mine, folder=home, code=1)
    assert "R038" in found.stdout
    assert "1 warnings, 0 excluded" in found.stderr
    excluding = tmp_path / "let-stand.yaml"
    excluding.write_text("exclude: [{rule: own/*, code: R038, reason: to be measured, until: 2999-01-01}]\n")
    log = fintel("rules", "check", "own", "-f", mine, "--exclusions", excluding, "--format", "sarif", folder=home)
    (result,) = json.loads(log.stdout)["runs"][0]["results"]
    assert result["suppressions"][0]["justification"] == "to be measured"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == rule.as_uri()
    excluding.write_text("exclude: [{rule: own/*, code: R038, reason: to be measured, until: 2020-01-01}]\n")
    ended = fintel("rules", "check", "own", "-f", mine, "--exclusions", excluding, "--json", folder=home, code=1)
    assert sorted(d["code"] for d in json.loads(ended.stdout)) == ["R038", "R091"]
    assert "did you mean 'sarif'" in fintel("rules", "check", "--format", "sarf", folder=home, code=2).stderr
    schema = json.loads(fintel("rules", "schema", "rule", folder=home).stdout)
    assert schema["properties"]["status"]["enum"][0] == "experimental"


def test_feed_commands(home: Path) -> None:
    listed = fintel("feed", "mappings", folder=home)
    assert "amlworld" in listed.stdout and "template" in listed.stderr
    assert "mapping:" in fintel("feed", "mapping", "template", folder=home).stdout
    told = json.loads(fintel("feed", "report", "--json", folder=home).stdout)
    for feed in told["feeds"]:
        parts = ("rows_accepted", "rows_duplicate", "rows_rejected", "rows_skipped")
        assert feed["rows_read"] == sum(feed[p] for p in parts)


def test_sniff_then_run_on_a_file_nobody_knows(tmp_path: Path) -> None:
    rows = [
        f"{d:02d}.03.2024 1{d % 10}:15;DE{d:02d}500105175407324931;IT60X0542811101000000123456;1.{d:03d},50;EUR;rent {d}"
        for d in range(14, 29)
    ]
    (tmp_path / "bank.csv").write_text(
        "Buchungstag;Auftraggeber IBAN;Empfänger IBAN;Betrag;Währung;Verwendungszweck\n" + "\n".join(rows) + "\n"
    )
    fintel("feed", "sniff", "bank.csv", "-o", "bank.yaml", folder=tmp_path)
    done = fintel("run", "bank.csv", "--mapping", "bank.yaml", "--drafts", 0, folder=tmp_path)
    assert f"{len(rows):,} rows read" in done.stderr and "accepted" in done.stderr
    amounts = json.loads(
        fintel(
            "sql", "select min(amount)::double a, max(currency) c from transactions", "--json", folder=tmp_path
        ).stdout
    )
    assert amounts == [{"a": 1014.5, "c": "EUR"}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "absent.csv"], "no absent.csv"),
        (["rank"], "no lake"),
        (["detect", "--as-of", "yesterday"], "ISO"),
        (["score"], "champion"),
        (["train", "--features", "volume,motivs"], "no family 'motivs'"),
        (["train", "--waive", "out_max_90d"], "not NAME=REASON"),
        (["feed", "add", "x.bin"], "no x.bin"),
        (["rules", "test", "nothing"], "no pack, rule or indicator"),
    ],
)
def test_errors_are_clear_and_exit_with_2(tmp_path: Path, words: list[str], told: str) -> None:
    done = fintel(*words, folder=tmp_path, code=2)
    assert told in done.stderr and "error" in done.stderr
    assert not list(tmp_path.glob("drafts/*"))


def test_an_unknown_option_is_usage(tmp_path: Path) -> None:
    assert "No such option" in fintel("rank", "--budgt", 3, folder=tmp_path, code=2).stderr


def test_completion_is_offered(tmp_path: Path) -> None:
    assert "--install-completion" in fintel("--help", folder=tmp_path).stdout


@pytest.mark.long
def test_train_score_and_detect_with_the_model(tmp_path: Path) -> None:
    fintel("synth", "feed", "--accounts", 4000, "--days", 150, "--seed", 9, folder=tmp_path)
    fintel("feed", "add", "feed", folder=tmp_path)
    told = json.loads(
        fintel("train", "--known-by", "2026-06-01", "--champion", "--no-mlflow", "--json", folder=tmp_path).stdout
    )
    ways = told["evaluation"]["rankings"]
    assert told["champion"] and {"rules", "model", "both"} <= set(ways)
    scored = json.loads(fintel("score", "-n", 5, "--json", folder=tmp_path).stdout)
    assert scored["model_id"] == told["model_id"] and len(scored["accounts"]) == 5
    done = json.loads(fintel("run", "feed", "--drafts", 0, "--json", folder=tmp_path).stdout)
    assert done["model"] == told["model_id"]
    reasons = json.loads(fintel("explain", 1, "--json", folder=tmp_path).stdout)
    assert {"model"} <= {r["origin"] for r in reasons["reasons"]}
    assert reasons["alert"]["prior"] + sum(r["bits"] for r in reasons["reasons"]) == reasons["alert"]["score"]


def test_control_signs_in_a_feed_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(
        "at,from,to,amount,currency\n"
        + "".join(f"2024-03-0{d} 10:00:00,\x1b]0;owned\x1b\\eve\u202e,b,50,USD\n" for d in (1, 2, 3))
        + "2024-03-04 10:00:00,eve,b,\x1b[2Jx,USD\n",
        encoding="utf-8",
    )
    (tmp_path / "m.yaml").write_text(
        "mapping: m\nsource: m\ndescription: d\nfiles:\n  p:\n    match: '*.csv'\n    fill:\n      - table: transactions\n        columns:\n"
        "          booked_at: {column: at, format: '%Y-%m-%d %H:%M:%S'}\n          amount: amount\n          currency: currency\n"
        "          debtor_account_id: from\n          creditor_account_id: to\n"
    )
    told = [
        fintel("feed", "add", "x.csv", "-m", "m.yaml", folder=tmp_path),
        fintel("feed", "report", folder=tmp_path),
        fintel("feed", "report", "--json", folder=tmp_path),
        fintel("sql", "select debtor_account_id from transactions", folder=tmp_path),
    ]
    for done in told:
        assert not {"\x1b", "\u202e", "\x9b"} & set(done.stdout + done.stderr)
    assert "\\u001b" in told[1].stdout


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners of files are asked on POSIX only")
def test_settings_that_anybody_may_change_are_not_obeyed(tmp_path: Path) -> None:
    planted = tmp_path / "fintel.toml"
    planted.write_text("drafts = 'stolen'\n")
    planted.chmod(0o666)
    (tmp_path / "work").mkdir()
    assert "anybody may change" in fintel("rank", folder=tmp_path / "work", code=2).stderr


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_what_names_people_is_for_its_owner_only(home: Path) -> None:
    for path in [home / "fintel.toml", *(home / "drafts").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0, path
    for folder in (home / "lake", home / "drafts"):
        assert folder.stat().st_mode & 0o077 == 0, folder
