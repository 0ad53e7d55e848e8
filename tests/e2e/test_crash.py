"""A process that writes to a lake is killed (SIGKILL), over and over; the lake must never notice.

The child in ``CHILD`` does one deterministic step after another and says which it finished. After
a kill the lake must hold exactly the finished steps, or those and the one under way.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fintel.store.lake import Lake

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")

# Step k: 0 appends feed k, 1 appends a feed that overlaps it, 2 fills a column of all rows,
# 3 commits run k, 4 commits the run 'current' anew. Small blocks make several files a step.
CHILD = '''
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
import duckdb
import polars as pl
import fintel.store.blocks as blocks
from fintel.domain.feed import FeedInfo
from fintel.domain.schema import ALERTS, EPISODES, QUARANTINE, TRANSACTIONS
from fintel.frames import fit
from fintel.store.catalogue import Catalogue
from fintel.store.lake import Lake

blocks.BLOCK_ROWS = 40
START = datetime(2024, 1, 1, tzinfo=UTC)


def payments(feed, first, rows):
    return fit(pl.DataFrame({"source_row": range(first, first + rows)}).with_columns(
        transaction_id=pl.format("bank:{}", pl.col("source_row")), booked_at=pl.lit(START), amount=pl.lit(1),
        currency=pl.lit("USD"), status=pl.lit("booked"), source=pl.lit("bank"), feed_id=pl.lit(feed),
        source_file=pl.lit("f.csv")), TRANSACTIONS)


def refused(feed, rows):
    return fit(pl.DataFrame({"source_row": range(rows)}).with_columns(feed_id=pl.lit(feed), source=pl.lit("bank"),
        target=pl.lit("transactions"), source_file=pl.lit("f.csv"), code=pl.lit("F001"), message=pl.lit("no")),
        QUARANTINE)


def results(run, rows, value):
    frame = pl.DataFrame({"rank": range(rows)}).with_columns(run_id=pl.lit(run), alert_id=pl.lit(str(value)))
    return {"alerts": fit(frame, ALERTS),
            "episodes": fit(frame.select("run_id", hits=pl.lit(value)), EPISODES)}


def step(lake, k):
    feed, kind = f"f{k:05d}", k % 5
    if kind < 2:
        first = 1000 * (k - kind) + 50 * kind  # kind 1 has 40 rows of kind 0's 90 again
        lake.append(TRANSACTIONS, FeedInfo(feed, "bank", "m", "f.csv", "0" * 64, 1),
                    [(payments(feed, first, 60), refused(feed, 3), 63, 0),
                     (payments(feed, first + 60, 30), refused(feed, 0), 31, 1)])
    elif kind == 2:
        lake.replace("transactions", (f.with_columns(amount_base=pl.lit(k).cast(f.schema["amount_base"]))
                                      for f in lake.frames("transactions")))
    elif kind == 3:
        lake.commit_run(f"run{k}", START, {"k": k}, results(f"run{k}", k % 7 + 1, k))
    else:
        lake.commit_run("current", START, {"k": k}, results("current", k % 7 + 1, k))


def die_at(moment):
    """SIGKILL just before or after the n-th touch of the disk."""
    left = [moment]

    def counted(function):
        def call(*args, **kwargs):
            for before in (True, False):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = function(*args, **kwargs) if before else result
            return result
        return call

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "rename"), (Path, "unlink"), (Path, "mkdir"),
                        (pl.LazyFrame, "sink_parquet"), (Catalogue, "add_files"), (Catalogue, "drop_files"),
                        (Catalogue, "add_feed"), (Catalogue, "add_run"), (Catalogue, "close"),
                        (duckdb.DuckDBPyConnection, "commit")):
        try:
            setattr(owner, name, counted(getattr(owner, name)))
        except TypeError:
            raise SystemExit(f"cannot count {name}")


path = Path(sys.argv[1])
print("ready", flush=True)
first, last, moment = map(int, sys.stdin.readline().split())
if moment:
    die_at(moment)
with Lake.create_or_open(path) as lake:
    print("open", flush=True)
    for k in range(first, last):
        step(lake, k)
        print(k, flush=True)
print("end", flush=True)
'''


class Child:
    """The writing process, started and waiting to be told its steps."""

    def __init__(self, lake: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(lake)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(
        self, first: int, last: int = 10**6, *, kill: tuple[int, float] | None = None, moment: int = 0
    ) -> tuple[list[int], bool]:
        """Let it do steps ``first`` to ``last``.

        ``kill`` it so many seconds after it said so much (lines), or it kills itself at ``moment``.

        Gives the steps it finished and whether it came to its end.
        """
        process = self._process
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        process.stdin.write(f"{first} {last} {moment}\n")
        process.stdin.flush()
        lines: list[str] = []
        if kill:
            lines += [process.stdout.readline().strip() for _ in range(kill[0])]
            time.sleep(kill[1])
            process.send_signal(signal.SIGKILL)
        out, errors = process.communicate()
        lines += out.split()
        assert process.returncode in (0, -signal.SIGKILL), errors
        return [int(line) for line in lines if line.isdigit()], "end" in lines


def expected(steps: int) -> dict[str, object]:
    """What a lake holds after the first ``steps`` steps."""
    feeds, rows, base, runs, current = {}, 0, None, {}, None
    filled = 0
    for k in range(steps):
        kind = k % 5
        if kind < 2:
            new = 90 if kind == 0 else 50
            feeds[f"f{k:05d}"] = (94, new, 90 - new, 3, 1)
            rows += new
        elif kind == 2:
            base, filled = k, rows
        elif kind == 3:
            runs[f"run{k}"] = k
        else:
            current = k
    if current is not None:
        runs["current"] = current
    return {"feeds": feeds, "rows": rows, "base": base, "filled": filled, "runs": runs}


def found(lake: Lake) -> dict[str, object]:
    """What a lake holds, read from its rows."""
    rows = lake.scan("transactions").select("transaction_id", "amount_base", "feed_id").collect()
    assert rows["transaction_id"].n_unique() == rows.height
    feeds = lake.scan("feeds").collect()
    counts = ("rows_read", "rows_accepted", "rows_duplicate", "rows_rejected", "rows_skipped")
    accepted = dict(rows["feed_id"].value_counts().iter_rows())
    rejected = dict(lake.scan("quarantine").collect()["feed_id"].value_counts().iter_rows())
    for row in feeds.iter_rows(named=True):
        assert row["rows_accepted"] == accepted.pop(row["feed_id"])
        assert row["rows_rejected"] == rejected.pop(row["feed_id"])
    assert not accepted
    assert not rejected
    runs = {}
    for run in lake.runs():
        runs[run.run_id] = k = run.manifest["k"]
        alerts = lake.run_table(run.run_id, "alerts").collect()
        assert alerts["alert_id"].to_list() == [str(k)] * (k % 7 + 1)
        assert lake.run_table(run.run_id, "episodes").collect()["hits"].to_list() == [k] * (k % 7 + 1)
    base = rows["amount_base"].drop_nulls()
    assert base.n_unique() <= 1
    return {
        "feeds": {r[0]: r[1:] for r in feeds.select("feed_id", *counts).iter_rows()},
        "rows": rows.height,
        "base": int(base[0]) if base.len() else None,
        "filled": base.len(),
        "runs": runs,
    }


def check(path: Path, finished: int) -> int:
    """The lake holds the finished steps, or one more; the same for reader and writer. Gives how many."""
    wanted = [expected(finished), expected(finished + 1)]
    with Lake.open(path) as lake:
        seen = found(lake)
    assert seen in wanted, f"after {finished} steps"
    with Lake.create_or_open(path) as lake:
        assert found(lake) == seen
        visible = {
            f.relative_to(path).as_posix()
            for t in ("transactions", "quarantine", "alerts", "episodes")
            for f in lake.files(t)
        }
    lying = {f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file()}
    assert lying == visible | {"catalogue.duckdb", ".writer.lock", ".readers.lock"}
    assert not [f for f in (path / "runs").iterdir() if not any(f.iterdir())]
    return finished + wanted.index(seen)


def kill_at_random(path: Path, kills: int, seed: int) -> int:
    dice = random.Random(seed)
    done = 0
    for _ in range(kills):
        # Counted in what it said, not in seconds alone: a busy machine must not keep it from getting on.
        steps, _ = Child(path).run(done, kill=(dice.randrange(4), dice.uniform(0, 0.08)))
        finished = done + len(steps)
        assert steps == list(range(done, finished))
        done = check(path, finished) if (path / "catalogue.duckdb").exists() else 0
    return done


def test_killed_at_random_moments(tmp_path):
    assert kill_at_random(tmp_path / "lake", 40, seed=7) > 20


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments_many_times(tmp_path, seed):
    assert kill_at_random(tmp_path / "lake", 40, seed) > 20


@pytest.mark.slow
def test_killed_at_touches_of_the_disk(tmp_path):
    """Ten steps from nothing, killed before or after a sync, rename, unlink, write or commit.

    Every ninth moment (an odd number, so both 'before' and 'after'), to keep this within a minute.
    """
    moment, ended = 1, False
    while not ended:
        path = tmp_path / f"lake{moment}"
        steps, ended = Child(path).run(0, 10, moment=moment)
        if (path / "catalogue.duckdb").exists():
            done = check(path, len(steps))
            if moment % 8 == 1:  # and it goes on from there to the same end
                Child(path).run(done, 10)
                assert check(path, 10) == 10
        else:
            assert not steps
        moment += 9
    assert moment > 150
