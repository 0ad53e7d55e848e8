"""``fintel rules sql``: what it prints, and that it can be asked of a lake."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fintel.cli.restating import sql
from fintel.domain.schema import TRANSACTIONS
from fintel.features.entries import ENTRIES_SQL
from fintel.frames import empty
from fintel.graph.entry_columns import entry_graph
from fintel.rules import loader
from fintel.rules.expression import mention_column
from fintel.rules.model import Library
from fintel.rules.restatement import mentions_of, sql_of, windows_sql_of
from fintel.store.lake import Lake
from fintel.store.sql import connect


@pytest.fixture(scope="module")
def library() -> Library:
    return loader.load()[0]


def run(*words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.chdir(folder)
    app = typer.Typer()
    app.command("sql")(sql)
    done = CliRunner().invoke(app, list(words))
    return done.exit_code, done.output


def test_the_query_is_printed_as_it_is(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for rule_id in ("ml-general/fan-in", "osec/purpose-amount-mismatch"):
        rule = library[rule_id]
        code, text = run(rule_id, folder=tmp_path, monkeypatch=monkeypatch)
        assert code == 0
        assert text.startswith(sql_of(rule, library, base_currency="USD").rstrip())
        for column, name in mentions_of(rule, library, base_currency="USD"):
            assert f"-- {mention_column(column, name)}: " in text
        _, text = run(rule_id, "--form", "windows", folder=tmp_path, monkeypatch=monkeypatch)
        assert text.startswith(windows_sql_of(rule, library, base_currency="USD").rstrip())


def test_wrong_words_get_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = run("ml-general/fan-im", folder=tmp_path, monkeypatch=monkeypatch)
    assert code != 0
    assert "did you mean 'ml-general/fan-in'?" in text
    code, text = run("ml-general/fan-in", "--form", "cubes", folder=tmp_path, monkeypatch=monkeypatch)
    assert code != 0
    assert "joins, windows" in text


def test_the_queries_may_be_asked_of_a_lake(library: Library, tmp_path: Path) -> None:
    """``fintel sql`` allows it, and the view has every column that it reads."""
    with Lake.create_or_open(tmp_path / "lake"):
        pass
    wanted = {m for rule in library.rules for m in mentions_of(rule, library, base_currency="USD")}
    flags = ", ".join(f'null::boolean as "{mention_column(*m)}"' for m in sorted(wanted))
    frames = {"entry_graph": entry_graph({"transactions": empty(TRANSACTIONS).lazy()}).collect()}
    views = {"entries": f"select *, {flags} from ({ENTRIES_SQL})"}
    with connect(tmp_path / "lake", views=views, frames=frames) as session:
        plain = [rule for rule in library.rules if rule.correlation is None]
        kinds = {m.kind: rule for rule in plain for m in rule.measures.values()}
        some = {rule.id: rule for rule in (*kinds.values(), *(r for r in library.rules if r.correlation))}
        graph = [library["ml-general/relay-chain"], library["ml-general/tied-accounts-feed-one"]]
        for number, rule in enumerate([*graph, *(some[name] for name in sorted(some))][:12]):
            form = sql_of if number % 3 else windows_sql_of
            assert session.query(form(rule, library, base_currency="USD")).height == 0, rule.id
