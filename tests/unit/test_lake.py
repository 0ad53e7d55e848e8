"""The lake: reconciliation, duplicates, replacement, runs, damage, locks; and SQL that can only read."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest

import fintel.store.blocks as blocks
from fintel.domain.feed import Commit, FeedInfo
from fintel.domain.schema import (
    ACCOUNTS,
    ALERTS,
    CANONICAL,
    EPISODES,
    IDENTIFIERS,
    QUARANTINE,
    RUN_TABLES,
    TABLES,
    TRANSACTIONS,
)
from fintel.errors import StoreError
from fintel.frames import empty, fit, polars_schema
from fintel.store.catalogue import EARLIER, FILE_NAME, Catalogue, schema_fingerprint
from fintel.store.lake import Lake
from fintel.store.sql import connect

DAY = datetime(2024, 3, 1, tzinfo=UTC)
NONE = empty(QUARANTINE)
#: Table functions of DuckDB 2.0 that change what a database reaches.
RESOURCES = ("register_external_resource", "register_external_resource_type", "create_external_resource",
             "deregister_external_resource", "destroy_external_resource")  # fmt: skip


def feed(feed_id: str) -> FeedInfo:
    return FeedInfo(feed_id, "bank", "own", f"{feed_id}.csv", "0" * 64, 10)


def payments(feed_id: str, ids, **columns) -> pl.DataFrame:
    ids = list(ids)
    base = {"booked_at": DAY, "amount": 5, "currency": "USD", "status": "booked", "source": "bank",
            "feed_id": feed_id, "source_file": f"{feed_id}.csv", **columns}  # fmt: skip
    frame = pl.DataFrame({"transaction_id": [f"bank:{i}" for i in ids], "source_row": range(2, len(ids) + 2)},
                         schema={"transaction_id": pl.String, "source_row": pl.Int64})  # fmt: skip
    return fit(frame.with_columns(**{k: pl.lit(v) for k, v in base.items()}), TRANSACTIONS)


def refused(feed_id: str, rows, code="F001") -> pl.DataFrame:
    frame = pl.DataFrame({"source_row": list(rows)}).with_columns(
        feed_id=pl.lit(feed_id), source=pl.lit("bank"), target=pl.lit("transactions"),
        source_file=pl.lit(f"{feed_id}.csv"), code=pl.lit(code), message=pl.lit("no"))  # fmt: skip
    return fit(frame, QUARANTINE)


def alerts(run_id: str, scores) -> pl.DataFrame:
    frame = pl.DataFrame({"score": list(scores)}, schema={"score": pl.Float64})
    return fit(frame.with_columns(run_id=pl.lit(run_id)), ALERTS)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "lake [a]* o'clock"


@pytest.fixture
def lake(path):
    with Lake.create_or_open(path) as opened:
        yield opened


@pytest.fixture
def filled(path) -> Path:
    """A lake with two feeds, a quarantined row and two runs."""
    with Lake.create_or_open(path, clock=lambda: DAY) as lake:
        lake.append(TRANSACTIONS, feed("a"), [(payments("a", [1, 2, 3]), refused("a", [9]), 4, 0)])
        lake.append(TRANSACTIONS, feed("b"), [(payments("b", [3, 4]), NONE, 2, 0)])
        lake.commit_run("r1", DAY, {"n": 1}, {"alerts": alerts("r1", [2.5, 1.5])})
        lake.commit_run("r2", DAY, {"n": 2}, {"alerts": alerts("r2", [3.5])})
    return path


def ids(lake: Lake) -> list[str]:
    return lake.scan("transactions").select("transaction_id").collect().to_series().sort().to_list()


class TestAppend:
    def test_counts_reconcile_and_stand_in_feeds(self, lake):
        refusals = pl.concat([refused("a", [5, 6]), refused("a", [5], code="F002")])
        commit = lake.append(
            TRANSACTIONS,
            feed("a"),
            [(payments("a", [1, 2, 2]), refusals, 6, 1), (payments("a", [3, 1]), NONE, 4, 2)],
        )
        assert commit == Commit("a", "transactions", read=10, accepted=3, duplicates=2, rejected=2, skipped=3)
        row = lake.scan("feeds").collect().row(0, named=True)
        assert [row[f"rows_{k}"] for k in ("read", "accepted", "duplicate", "rejected", "skipped")] == [10, 3, 2, 2, 3]
        assert lake.scan("quarantine").collect().height == 3

    def test_the_same_feed_again_is_not_even_read(self, lake):
        lake.append(TRANSACTIONS, feed("a"), [(payments("a", [1]), NONE, 1, 0)])

        def unread():
            raise AssertionError("read")
            yield

        commit = lake.append(TRANSACTIONS, feed("a"), unread())
        assert commit == Commit("a", "transactions", repeated=True)
        assert lake.append(ACCOUNTS, feed("a"), []).repeated is False  # another table of the same feed

    def test_first_row_of_a_key_wins(self, lake):
        def account(feed_id, name):
            return fit(pl.DataFrame({"account_id": ["x"], "name": [name], "feed_id": [feed_id]}), ACCOUNTS)

        for feed_id, name in (("a", None), ("b", "later")):
            lake.append(ACCOUNTS, feed(feed_id), [(account(feed_id, name), NONE, 1, 0)])
        assert lake.scan("accounts").collect()["name"].to_list() == [None]
        assert lake.feed("b", "accounts").rows_duplicate == 1

    def test_key_of_several_columns(self, lake):
        rows = pl.DataFrame({"party_id": ["p", "p", "q"], "type": ["phone", "email", "phone"], "value": ["1"] * 3})
        for feed_id in ("a", "b"):
            frame = fit(rows.with_columns(feed_id=pl.lit(feed_id)), IDENTIFIERS)
            lake.append(IDENTIFIERS, feed(feed_id), [(frame, NONE, 3, 0)])
        assert lake.count("identifiers") == 3

    def test_equal_hashes_drop_no_row(self, lake, monkeypatch):
        import fintel.store.keys as keys

        monkeypatch.setattr(keys, "_hashes", lambda frame: pl.Series([7] * frame.height, dtype=pl.UInt64).to_numpy())
        monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)
        lake.append(TRANSACTIONS, feed("a"), [(payments("a", [1, 2, 1, 3, 2, 4]), NONE, 6, 0)])
        lake.append(TRANSACTIONS, feed("b"), [(payments("b", [4, 5]), NONE, 2, 0)])
        assert ids(lake) == [f"bank:{i}" for i in (1, 2, 3, 4, 5)]

    def test_batch_sizes_do_not_change_the_bytes(self, tmp_path, monkeypatch):
        monkeypatch.setattr(blocks, "BLOCK_ROWS", 100)
        rows = payments("a", range(250))
        made = []
        for size in (250, 100, 33, 1):
            with Lake.create_or_open(tmp_path / str(size)) as lake:
                parts = [(part, NONE, part.height, 0) for part in rows.iter_slices(size)]
                lake.append(TRANSACTIONS, feed("a"), parts)
                made.append([f.read_bytes() for f in lake.files("transactions")])
        assert [len(m) for m in made] == [3] * 4
        assert all(m == made[0] for m in made)

    def test_files_are_in_natural_order(self, lake):
        times = [datetime(2024, 1, d, tzinfo=UTC) for d in (3, 1, 2)]
        frame = payments("a", [1, 2, 3]).with_columns(booked_at=pl.Series(times, dtype=pl.Datetime("us", "UTC")))
        lake.append(TRANSACTIONS, feed("a"), [(frame, NONE, 3, 0)])
        assert lake.scan("transactions").collect()["transaction_id"].to_list() == ["bank:2", "bank:3", "bank:1"]

    def test_a_failing_reader_leaves_nothing(self, lake, path, monkeypatch):
        monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)

        def broken():
            yield payments("a", [1, 2, 3]), refused("a", [7, 8]), 5, 0
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            lake.append(TRANSACTIONS, feed("a"), broken())
        assert not list(path.rglob("*.parquet*"))
        assert lake.feed("a", "transactions") is None
        assert lake.append(TRANSACTIONS, feed("a"), [(payments("a", [1]), NONE, 1, 0)]).accepted == 1

    def test_a_failing_commit_leaves_nothing_visible(self, lake, path, monkeypatch):
        rows = [(payments("a", [1]), NONE, 1, 0)]
        with monkeypatch.context() as patch:
            patch.setattr(Catalogue, "add_feed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                lake.append(TRANSACTIONS, feed("a"), rows)
        assert lake.count("transactions") == lake.scan("transactions").collect().height == 0
        assert lake.append(TRANSACTIONS, feed("a"), rows).accepted == 1
        lake.close()
        with Lake.open(path) as reader:
            assert ids(reader) == ["bank:1"]

    @pytest.mark.parametrize(
        ("batch", "words"),
        [
            ((payments("a", [1]), NONE, 2, 0), "does not add up"),
            ((payments("b", [1]), NONE, 1, 0), "another feed"),
            ((payments("a", [1]).drop("uetr"), NONE, 1, 0), "columns uetr"),
            ((payments("a", [1]).with_columns(amount=pl.lit(1.0)), NONE, 1, 0), "columns amount"),
        ],
    )
    def test_wrong_batches_are_refused(self, lake, batch, words):
        with pytest.raises(StoreError, match=words):
            lake.append(TRANSACTIONS, feed("a"), [batch])
        assert lake.count("transactions") == lake.count("feeds") == 0

    @pytest.mark.parametrize("bad", ["", "../x", "a/b", "a.b", "x" * 65, "a\n"])
    def test_hostile_feed_ids(self, lake, bad):
        with pytest.raises(StoreError, match="not a feed id"):
            lake.append(TRANSACTIONS, feed(bad), [])

    def test_an_empty_feed_is_a_feed(self, lake):
        assert lake.append(TRANSACTIONS, feed("a"), []).read == 0
        assert lake.count("feeds") == 1
        assert lake.scan("transactions").collect().schema == polars_schema(TRANSACTIONS)


class TestReplace:
    def test_all_rows_at_once_and_old_files_go(self, filled):
        with Lake.create_or_open(filled) as lake:
            old = lake.files("transactions")
            filled_in = (f.with_columns(amount_base=pl.col("amount") * 2) for f in lake.frames("transactions"))
            lake.replace("transactions", (f.cast(polars_schema(TRANSACTIONS)) for f in filled_in))
            assert lake.scan("transactions").collect()["amount_base"].cast(pl.Float64).to_list() == [10.0] * 4
            assert not [f for f in old if f.exists()]
            assert lake.append(TRANSACTIONS, feed("c"), [(payments("c", [4, 5]), NONE, 2, 0)]).accepted == 1
            lake.replace("transactions", lake.frames("transactions"))
        with Lake.open(filled) as lake:
            assert len(ids(lake)) == 5

    def test_losing_a_row_is_refused(self, filled):
        with Lake.create_or_open(filled) as lake:
            before = lake.files("transactions")
            with pytest.raises(StoreError, match="keep its 4 rows"):
                lake.replace("transactions", [f.head(1) for f in lake.frames("transactions")])
            assert lake.files("transactions") == before
            assert sorted((filled / "data/transactions").iterdir()) == sorted(before)

    def test_a_reader_keeps_what_it_saw(self, filled):
        with Lake.open(filled) as reader:
            with Lake.create_or_open(filled) as writer:
                writer.replace(
                    "transactions", (f.with_columns(amount_base="amount") for f in writer.frames("transactions"))
                )
                assert writer.scan("transactions").collect()["amount_base"].null_count() == 0
            assert reader.scan("transactions").collect()["amount_base"].null_count() == 4
        with Lake.create_or_open(filled) as writer:
            left = {f for f in filled.rglob("*.parquet") if f.parent.name == "transactions"}
            assert left == set(writer.files("transactions"))


class TestRuns:
    def test_tables_of_one_run_and_of_all(self, filled):
        with Lake.open(filled) as lake:
            assert [(r.run_id, r.manifest) for r in lake.runs()] == [("r1", {"n": 1}), ("r2", {"n": 2})]
            assert lake.latest_run().run_id == "r2"
            assert lake.run_table("r1", "alerts").collect()["score"].to_list() == [2.5, 1.5]
            assert lake.scan("alerts").collect()["score"].to_list() == [2.5, 1.5, 3.5]
            assert lake.run_table("r1", "episodes").collect().schema == polars_schema(EPISODES)
            with pytest.raises(StoreError, match="no run 'r3'"):
                lake.run_table("r3", "alerts")

    def test_the_same_run_again_changes_only_which_is_latest(self, filled):
        before = {f: f.read_bytes() for f in filled.rglob("*.parquet")}
        with Lake.create_or_open(filled) as lake:
            first = lake.runs()[0]
            again = lake.commit_run("r1", DAY, {"n": 1}, {"alerts": alerts("r1", [2.5, 1.5])})
            assert again == first
            assert lake.latest_run() == first
        assert {f: f.read_bytes() for f in filled.rglob("*.parquet")} == before

    def test_another_result_takes_its_place(self, filled):
        with Lake.create_or_open(filled) as lake:
            for scores in ([9.0], [8.0]):
                lake.commit_run("r1", DAY, {"n": 1}, {"alerts": alerts("r1", scores)})
                assert lake.run_table("r1", "alerts").collect()["score"].to_list() == scores
            assert len(lake.runs()) == 2
            assert {f for f in filled.rglob("*.parquet") if "runs" in f.parts} == set(lake.files("alerts"))

    def test_equal_content_equal_bytes_from_frames_and_files(self, tmp_path):
        frame = alerts("r", range(1000))
        for part, rows in enumerate(frame.iter_slices(300)):
            rows.write_parquet(tmp_path / f"{part}.parquet")
        made = []
        for n, rows in enumerate((frame, frame.lazy(), [tmp_path / f"{p}.parquet" for p in range(4)])):
            with Lake.create_or_open(tmp_path / f"lake{n}") as lake:
                lake.commit_run("r", DAY, {}, {"alerts": rows})
                made.append((tmp_path / f"lake{n}/runs/r/alerts.parquet").read_bytes())
        assert made[0] == made[1] == made[2]

    def test_a_failing_table_leaves_nothing(self, filled):
        before = sorted(filled.rglob("*"))
        with Lake.create_or_open(filled) as lake:
            for tables, words in (
                ({"alerts": alerts("r9", [1]), "episodes": alerts("r9", [1])}, "shape"),
                ({"alerts": alerts("r9", [1]), "epsodes": empty(EPISODES)}, "no table"),
                ({"alerts": alerts("other", [1])}, "another run"),
            ):
                with pytest.raises(StoreError, match=words):
                    lake.commit_run("r9", DAY, {}, tables)
            with pytest.raises(StoreError, match="not a run id"):
                lake.commit_run("../r9", DAY, {}, {})
        assert sorted(filled.rglob("*")) == before


class TestOpening:
    def test_what_nobody_names_is_removed_and_nothing_else(self, filled, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "x-00001.parquet").write_text("keep")
        keep = [
            filled / "data/transactions/notes.txt",
            filled / "data/x-00001.parquet",
            filled / "runs/r1/my-own.parquet",
        ]
        go = [filled / "data/transactions/z-00001.parquet", filled / "data/transactions/z-00002.parquet.part",
              filled / "runs/dead/alerts.parquet", filled / "runs/r1.1/alerts.parquet.part", filled / "spill/duckdb_temp_storage-0.tmp"]  # fmt: skip
        for file in (*keep, *go):
            file.parent.mkdir(exist_ok=True)
            file.write_text("x")
        (filled / "data/links").symlink_to(outside)
        (filled / "data/transactions/l-00001.parquet").symlink_to(outside / "x-00001.parquet")
        with Lake.open(filled) as lake:
            rows = ids(lake)
        assert all(f.exists() for f in go)  # a reader removes nothing
        with Lake.create_or_open(filled) as lake:
            assert ids(lake) == rows
        assert not [f for f in go if f.exists()]
        assert all(f.exists() for f in keep)
        assert not (filled / "runs/dead").exists()
        assert (outside / "x-00001.parquet").read_text() == "keep"

    @pytest.mark.parametrize("content", [b"", b"not a database" * 999])
    def test_a_foreign_catalogue(self, path, content):
        path.mkdir()
        (path / FILE_NAME).write_bytes(content)
        for way in (Lake.open, Lake.create_or_open):
            with pytest.raises(StoreError, match="not a catalogue") as caught:
                way(path)
            assert caught.value.hint

    def test_another_database_and_another_version(self, path):
        path.mkdir()
        with duckdb.connect(path / FILE_NAME) as connection:
            connection.execute("CREATE TABLE t (a INT)")
        with pytest.raises(StoreError, match="not the catalogue of a lake"):
            Lake.open(path)
        (path / FILE_NAME).unlink()
        Lake.create_or_open(path).close()
        for key, words in (("version", "lake of version 99"), ("schema", "other columns")):
            with duckdb.connect(path / FILE_NAME) as connection:
                connection.execute("UPDATE meta SET value = '99' WHERE key = ?", [key])
            with pytest.raises(StoreError, match=words):
                Lake.open(path)
            with duckdb.connect(path / FILE_NAME) as connection:
                connection.execute("UPDATE meta SET value = '1' WHERE key = 'version'")

    def test_a_lake_of_before_there_were_coordinates(self, filled):
        """Its files lack columns; they read as empty, and the lake goes on as one of today."""
        later = ("place_latitude", "place_longitude", "ip_country", "relationship")
        with Lake.open(filled) as lake:
            now, sql = lake.scan("transactions").collect(), connect(lake).query("SELECT * FROM transactions")
        with duckdb.connect(filled / FILE_NAME) as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", [EARLIER[0]])
            for (name,) in connection.execute("SELECT path FROM files WHERE table_name = 'transactions'").fetchall():
                file = filled / name
                pl.read_parquet(file, glob=False).drop(later).write_parquet(file)
                connection.execute("UPDATE files SET bytes = ? WHERE path = ?", [file.stat().st_size, name])
        for way in (Lake.open, Lake.create_or_open, Lake.open):
            with way(filled) as lake:
                assert lake.scan("transactions").collect().equals(now)
                assert lake.scan("transactions").select(later).collect().equals(now.select(later))
                assert pl.concat(lake.frames("transactions")).schema == polars_schema(TRANSACTIONS)
                found = connect(lake).query("SELECT * FROM transactions")
                assert found.columns == sql.columns and found.equals(sql)
        with duckdb.connect(filled / FILE_NAME) as connection:
            assert connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall() == [
                (schema_fingerprint(),)
            ]
        with Lake.create_or_open(filled) as lake:
            lake.append(TRANSACTIONS, feed("c"), [(payments("c", [9], relationship="aunt"), NONE, 1, 0)])
            assert lake.scan("transactions").collect()["relationship"].drop_nulls().to_list() == ["aunt"]
            assert (
                connect(lake).query("SELECT relationship FROM transactions WHERE relationship IS NOT NULL").height == 1
            )
            lake.replace("transactions", lake.frames("transactions"))
            assert lake.count("transactions") == now.height + 1

    def test_a_catalogue_that_names_foreign_files(self, filled):
        with duckdb.connect(filled / FILE_NAME) as connection:
            connection.execute("UPDATE files SET path = '../../etc/passwd'")
        with pytest.raises(StoreError, match="not the lake's"):
            Lake.open(filled)

    @pytest.mark.parametrize("stored", ["meta", "files", "feeds", "runs"])
    def test_a_view_in_place_of_a_table_is_not_asked(self, filled, tmp_path, stored):
        secret = tmp_path / "secret.txt"
        secret.write_text("hush")
        with duckdb.connect(filled / FILE_NAME) as connection:
            connection.execute(f"ALTER TABLE {stored} RENAME TO kept")
            connection.execute(f"CREATE VIEW {stored} AS SELECT * REPLACE ((SELECT content FROM read_text('{secret}')) AS "
                               f"{'value' if stored == 'meta' else 'feed_id' if stored != 'runs' else 'manifest'}) FROM kept")  # fmt: skip
            if stored == "runs":  # a macro that would vouch for the view
                connection.execute("CREATE MACRO duckdb_tables() AS TABLE SELECT table_name, schema_name, internal "
                                   "FROM duckdb_columns()")  # fmt: skip
        for way in (Lake.open, Lake.create_or_open):
            with pytest.raises(StoreError, match="tampered|not the catalogue") as refused:
                way(filled)
            assert "hush" not in str(refused.value)

    def test_the_catalogue_opens_no_other_file(self, filled, tmp_path):
        (tmp_path / "secret.txt").write_text("hush")
        with Catalogue.reading(filled) as catalogue:
            for sql in (f"FROM read_text('{tmp_path}/secret.txt')", f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
                        f"ATTACH '{tmp_path}/other.duckdb'"):  # fmt: skip
                with pytest.raises(duckdb.PermissionException):
                    catalogue._connection.execute(sql)
            with pytest.raises(duckdb.InvalidInputException, match="locked"):
                catalogue._connection.execute("SET memory_limit = '9GB'")

    def test_a_damaged_lake(self, filled):
        with Lake.open(filled) as lake:
            file = lake.files("transactions")[0]
        kept = file.read_bytes()
        file.write_bytes(kept[:-1])
        with pytest.raises(StoreError, match="bytes instead of"):
            Lake.open(filled)
        file.unlink()
        with pytest.raises(StoreError, match="is missing"):
            Lake.create_or_open(filled)
        file.write_bytes(kept)
        Lake.create_or_open(filled).close()

    def test_a_run_file_of_the_same_size_but_other_bytes(self, filled):
        with Lake.open(filled) as lake:
            (file,) = [f for f in lake.files("alerts") if f.parent.name == "r1"]
            assert lake.run_table("r1", "alerts").collect().height == 2
        kept = file.read_bytes()
        file.write_bytes(kept[:40] + bytes([kept[40] ^ 1]) + kept[41:])
        with Lake.open(filled) as lake:
            assert lake.run_table("r2", "alerts").collect().height == 1
            for _ in range(2):
                with pytest.raises(StoreError, match="not what the run wrote"):
                    lake.run_table("r1", "alerts")

    @pytest.mark.skipif(sys.platform == "win32", reason="no permission bits")
    def test_a_lake_is_its_owners_alone(self, filled):
        folders = [filled, filled / "data", filled / "runs", *(filled / "runs").iterdir(), filled / "data/transactions"]
        assert {f.stat().st_mode & 0o777 for f in folders} == {0o700}
        assert {f.stat().st_mode & 0o777 for f in filled.glob(".*.lock")} == {0o600}

    @pytest.mark.skipif(sys.platform == "win32", reason="no locks of our own")
    @pytest.mark.parametrize("name", [".writer.lock", ".readers.lock"])
    def test_a_lock_that_is_a_link_is_not_followed(self, filled, tmp_path, name):
        (filled / name).unlink(missing_ok=True)
        (filled / name).symlink_to(tmp_path / "elsewhere")
        for way in (Lake.create_or_open, Lake.open)[: 1 if name == ".writer.lock" else 2]:
            with pytest.raises(StoreError, match="not a link"):
                way(filled)
        assert not (tmp_path / "elsewhere").exists()
        (filled / name).unlink()
        Lake.create_or_open(filled).close()  # nothing stayed locked

    def test_no_lake_and_no_lake_in_a_full_folder(self, tmp_path):
        with pytest.raises(StoreError, match="no lake at"):
            Lake.open(tmp_path / "none")
        (tmp_path / "data/transactions").mkdir(parents=True)
        mine = tmp_path / "data/transactions/mine-00001.parquet"
        mine.write_text("x")
        with pytest.raises(StoreError, match="not empty"):
            Lake.create_or_open(tmp_path)
        assert mine.exists()
        with pytest.raises(StoreError, match="cannot write"):
            Lake.create_or_open(mine)

    def test_one_writer(self, filled):
        with Lake.create_or_open(filled):
            for way in (Lake.open, Lake.create_or_open):
                with pytest.raises(StoreError, match="open already in this process"):
                    way(filled)
            code = ("import sys; from pathlib import Path; from fintel.store.lake import Lake\n"
                    "for way in (Lake.open, Lake.create_or_open):\n"
                    "    try: way(Path(sys.argv[1]))\n    except Exception as e: print(type(e).__name__, e, e.hint)")  # fmt: skip
            out = subprocess.run([sys.executable, "-c", code, str(filled)], capture_output=True, text=True).stdout
            assert out.count("StoreError") == 2
            assert out.count("held by process") == 2
        with Lake.open(filled) as reader:
            with pytest.raises(StoreError, match="reading only"):
                reader.append(TRANSACTIONS, feed("z"), [])
            with pytest.raises(StoreError, match="no table 'transaction' here"):
                reader.scan("transaction")


class TestSql:
    def test_every_table_is_a_typed_view(self, filled):
        with connect(filled) as session:
            stored = [t for t in TABLES if t not in ("entries", "entry_graph")]
            assert session.tables() == tuple(sorted(stored))
            for name in stored:
                frame = session.query(f"SELECT * FROM {name}")
                assert frame.schema == polars_schema(TABLES[name]), name
            assert session.query("SELECT count(*) n FROM transactions")["n"].to_list() == [4]
            assert session.query("SELECT run_id, count(*) n FROM alerts GROUP BY 1 ORDER BY 1").rows() == [
                ("r1", 2),
                ("r2", 1),
            ]
            assert session.query("SELECT sum(rows_accepted) FROM feeds").item() == 4
            assert session.query("SELECT max(finished_at) FROM runs").item() == DAY
            assert session.query("SELECT extract(hour FROM booked_at) h FROM transactions LIMIT 1")["h"].item() == 0

    def test_an_empty_lake_has_them_too(self, lake):
        with connect(lake) as session:
            for table in (*CANONICAL, QUARANTINE, *RUN_TABLES):
                assert session.query(f"FROM {table.name}").schema == polars_schema(table)

    def test_own_views_parameters_limits_and_odd_results(self, filled):
        views = {"big": "SELECT * FROM transactions WHERE amount >= 5", "big ids": "SELECT transaction_id FROM big"}
        with connect(filled, views=views, memory_limit="300MB", threads=1) as session:
            found = session.query('SELECT * FROM "big ids" WHERE transaction_id > ? ORDER BY 1 DESC;', ["bank:2"])
            assert found["transaction_id"].to_list() == ["bank:4", "bank:3"]
            assert session.query("FROM range(99) -- über; und", limit=7).height == 7
            assert session.query("SELECT 1 a, 2 a").row(0) == (1, 2)
            assert session.query("SHOW TABLES").height > 10
            assert session.query("EXPLAIN SELECT 1 /* ; */;")["plan"].len() == 1
            assert session.query("explain analyze select ';'").height == 1
            assert session.query("SELECT DATE '2024-01-02' d").item() == date(2024, 1, 2)
            odd = session.query(
                "SELECT INTERVAL 1 DAY i, [1, 2] l, {'a': 1} s, uuid() u, NULL n, 'x'::BLOB b, TIME '10:00' t, 2::HUGEINT ** 1 h"
            )
            assert odd.select("i", "l", "s", "n", "b").row(0) == ("1 day", "[1, 2]", "{'a': 1}", None, b"x")
            assert session.query("SELECT sum(n) s FROM range(3) t(n)").row(0) == (Decimal(3),)
            assert session.query("FROM range(250000) ORDER BY 1 DESC")["range"].to_list() == list(range(249999, -1, -1))
            with pytest.raises(StoreError, match='(?s)transaction_idd.*"transaction_id"'):
                session.query("SELECT transaction_idd FROM transactions")

    def test_it_can_only_read_the_lake(self, filled, tmp_path):
        secret = tmp_path / "secret.csv"
        secret.write_text("a\n1\n")
        (filled / "beside.csv").write_text("a\n1\n")
        with Lake.open(filled) as lake:
            inside = str(lake.files("transactions")[0]).replace("'", "''")
        copy = f"COPY (SELECT 1 AS a) TO '{inside}' (FORMAT parquet, USE_TMP_FILE false)"
        smuggled = f"WITH x AS ({copy}) SELECT * FROM x"
        quoted = smuggled.replace("'", "''")
        serialized = (
            duckdb.execute("SELECT json_serialize_sql(?::VARCHAR)", [smuggled]).fetchall()[0][0].replace("'", "''")
        )
        attacks = [
            f"SELECT * FROM read_csv('{secret}')", "SELECT * FROM read_text('/etc/passwd')",
            "SELECT * FROM '/etc/passwd'", "SELECT * FROM glob('/etc/*')", "SELECT * FROM read_blob('/etc/passwd')",
            "SELECT * FROM sniff_csv('/etc/passwd')", f"SELECT * FROM read_csv('{str(filled).replace(chr(39), chr(39) * 2)}/beside.csv')",
            f"SELECT * FROM read_blob('{inside}')", "SELECT * FROM read_parquet('/etc/passwd')",
            "SELECT * FROM read_csv('https://example.org/x.csv')", "SELECT getenv('HOME')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'", copy, smuggled, f"EXPLAIN ANALYZE {copy}", f"EXPLAIN ANALYZE {smuggled}",
            f"SELECT * FROM query('{quoted}')", f"SELECT * FROM json_execute_serialized_sql('{serialized}')",
            f"SELECT (SELECT max(a) FROM json_execute_serialized_sql('{serialized}') q(a))",
            f"EXPLAIN ANALYZE SELECT * FROM json_execute_serialized_sql('{serialized}')",
            f"SELECT 1) AS a, ({smuggled}", f"SELECT 1 -- \n) AS a; {copy}; SELECT (1",
            "WITH m AS (INSERT INTO feeds_rows SELECT * FROM feeds RETURNING *) SELECT * FROM m",
            "DELETE FROM feeds_rows", "DROP VIEW transactions", "CREATE TABLE t AS SELECT 1", "CREATE MACRO m() AS 1",
            "ATTACH ':memory:' AS y", f"ATTACH '{FILE_NAME}' AS y", f"ATTACH '{str(filled / FILE_NAME).replace(chr(39), chr(39) * 2)}' AS y",
            "INSTALL httpfs", "LOAD httpfs", "LOAD '/tmp/x.so'", "SET enable_external_access = true", "RESET lock_configuration",
            "PRAGMA memory_limit='9GB'", "SET memory_limit='9GB'", "CALL enable_logging()", "SELECT * FROM enable_logging()",
            f"EXPORT DATABASE '{tmp_path}/out'", "IMPORT DATABASE '/etc'", "CREATE SECRET (TYPE s3)", "PREPARE p AS SELECT 1",
            "SELECT 1; SELECT 2", "", ";", "BEGIN", "VACUUM", "CHECKPOINT",
        ]  # fmt: skip
        before = {f: f.read_bytes() for f in filled.rglob("*") if f.is_file()}
        with connect(filled) as session:
            for attack in attacks:
                with pytest.raises(StoreError):
                    session.query(attack)
            for leak in ("secret", "filled", "lake", "self"):  # no Python variable is a table
                with pytest.raises(StoreError, match="does not exist"):
                    session.query(f"SELECT * FROM {leak}")
            assert session.query("SELECT count(*) FROM transactions").item() == 4
        assert {f: f.read_bytes() for f in filled.rglob("*") if f.is_file()} == before
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([filled.name, "secret.csv"])

    def test_each_defence_holds_alone(self, filled):
        with connect(filled) as session:
            for sql in ("SELECT * FROM read_text('/etc/passwd')", "COPY (SELECT 1) TO '/tmp/out.csv'"):
                with pytest.raises(duckdb.PermissionException):  # DuckDB itself refuses, unasked by ours
                    session._connection.execute(sql)
            with pytest.raises(StoreError, match="only queries are run here, not DROP"):
                session.query("DROP VIEW transactions")
            with pytest.raises(StoreError, match="table function read_blob is not allowed"):
                with Lake.open(filled) as lake:
                    session.query("SELECT * FROM read_blob(?)", [str(lake.files("alerts")[0])])

    def test_resources_cannot_be_registered(self, filled):
        with connect(filled) as session:
            known = session.query("SELECT DISTINCT function_name f FROM duckdb_functions() ORDER BY 1")["f"].to_list()
            assert set(RESOURCES) <= set(known), "another DuckDB: look at what replaced them"
            kept = session.query("SELECT * FROM duckdb_external_resources()")
            for call in (
                "register_external_resource_type('t', kind := 'k', create_function := 'upper')",
                "register_external_resource('t', 'n', MAP {'a': 'b'}, deleter_function := 'upper')",
                "create_external_resource('t')", "destroy_external_resource('upper', 'a')", "deregister_external_resource('n')",
            ):  # fmt: skip
                with pytest.raises(StoreError, match="_external_resource.* is not allowed"):
                    session.query(f"FROM {call}")
            assert session.query("SELECT * FROM duckdb_external_resources()").equals(kept)

    def test_more_than_memory_goes_to_a_folder_of_the_lake(self, filled):
        with connect(filled, memory_limit="100MB", threads=1) as session:
            counted = session.query(
                "SELECT count(*) FROM (SELECT DISTINCT (range * 7919)::VARCHAR || 'abcdefghijkl' FROM range(3000000))"
            )
            assert counted.item() == 3_000_000
        assert not [f for f in (filled / "spill").glob("*") if f.is_file()]

    def test_wrong_views_and_closed_lakes(self, filled):
        with pytest.raises(StoreError, match="nothing"):
            connect(filled, views={"v": "SELECT * FROM nothing"})
        with connect(filled):
            Lake.create_or_open(filled).close()  # a session keeps nobody from writing


def test_without_pyarrow_pandas_and_pytz(tmp_path):
    """The base install has none of them."""
    code = """
import sys
for name in ("pyarrow", "pandas", "pytz"):
    sys.modules[name] = None
from test_lake import *
path = Path(sys.argv[1])
with Lake.create_or_open(path) as lake:
    lake.append(TRANSACTIONS, feed("a"), [(payments("a", [1, 2, 2]), refused("a", [4]), 4, 0)])
    lake.append(TRANSACTIONS, feed("b"), [(payments("b", [2, 3]), NONE, 2, 0)])
    lake.commit_run("r", DAY, {}, {"alerts": alerts("r", [1])})
    lake.replace("transactions", lake.frames("transactions"))
with connect(path) as session:
    print(session.query("SELECT count(*), max(booked_at), sum(amount) FROM transactions").row(0))
    print(session.query("SELECT max(read_at) > '2024-01-01' FROM feeds").item())
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lake")],
        capture_output=True, text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert "(3, datetime.datetime(2024, 3, 1" in run.stdout, run.stderr
    assert "True" in run.stdout
    assert run.stderr == ""
