"""Small files that would be large in memory: refused, or handed on in bounded pieces."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from fintel.errors import FeedError
from fintel.feeds.columnar import JsonLinesReader, ParquetReader
from fintel.feeds.mapping import FileSpec
from fintel.feeds.reading import files_of

SPEC = FileSpec.model_validate({"fill": [{"table": "transactions", "columns": "canonical"}]})
LIMIT = 256 << 20


def repeated(value: str, rows: int, dtype: pl.DataType) -> pl.DataFrame:
    """A column that holds one value as often as wanted and costs its bytes once."""
    return pl.DataFrame({"text": pl.Series([value], dtype=dtype).new_from_index(0, rows)})


@pytest.mark.parametrize("dtype", [pl.Categorical(), pl.Enum(["A" * 200_000])], ids=["categorical", "enum"])
def test_a_parquet_dictionary_bomb_is_refused(tmp_path: Path, dtype: pl.DataType) -> None:
    path = tmp_path / "f.parquet"
    repeated("A" * 200_000, 500_000, dtype).write_parquet(path)
    assert path.stat().st_size < 1 << 20
    rows = 0
    with pytest.raises(FeedError, match="unpacks to far more than it should"):
        for chunk in ParquetReader(path).chunks([0], 500_000):
            assert chunk.frame["c0"].str.len_bytes().sum() < LIMIT + 400_000
            rows += chunk.rows_read
    assert rows < 20_000


def test_more_rows_than_a_file_can_speak_of_are_refused_before_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f.parquet"
    columns = {f"n{i}": pl.Series([1], dtype=pl.Int8).new_from_index(0, 3_000_000) for i in range(4)}
    pl.DataFrame(columns).write_parquet(path)
    assert path.stat().st_size * 500 < 12_000_000
    assert next(ParquetReader(path).chunks(range(4), 1000)).rows_read == 1000
    monkeypatch.setattr("fintel.feeds.columnar.BOMB_BYTES", 1 << 20)
    with pytest.raises(FeedError, match="unpacks to far more than it should"):
        next(ParquetReader(path).chunks(range(4), 1000))


def test_heavy_parquet_rows_come_in_pieces_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    kept = pl.concat([repeated("A" * 250_000, 2_500, pl.Categorical()), repeated("b", 7_000, pl.Categorical())])
    kept.write_parquet(path)
    chunks = list(ParquetReader(path).chunks([0], 5_000))
    assert [c.frame["source_row"][0] for c in chunks] == [1 + sum(c.rows_read for c in chunks[:i]) for i in range(len(chunks))]  # fmt: skip
    assert sum(c.rows_read for c in chunks) == 9_500
    assert all(c.rows_read <= 5_000 and c.frame["c0"].str.len_bytes().sum() < LIMIT + 500_000 for c in chunks)
    assert pl.concat(c.frame["c0"].str.len_bytes() for c in chunks).sum() == 2_500 * 250_000 + 7_000


def test_heavy_json_lines_come_in_pieces_and_none_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl.gz"
    line = (json.dumps({"a": "A" * 260_000}) + "\n").encode()
    path.write_bytes(gzip.compress(line * 1_100, compresslevel=1))
    chunks = list(JsonLinesReader(path, SPEC).chunks([0], 500_000))
    assert len(chunks) == 2
    assert chunks[0].frame["c0"].str.len_bytes().sum() < LIMIT + (16 << 20) + 260_000
    assert pl.concat(c.frame["source_row"] for c in chunks).to_list() == list(range(1, 1_101))


def test_too_many_json_keys_are_refused_at_the_line_that_has_them(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("\n".join(json.dumps({f"k{i}_{j}": 1 for j in range(1_500)}) for i in range(2)) + "\nno object")
    with pytest.raises(FeedError, match="more than 2,000 keys"):
        JsonLinesReader(path, SPEC)


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    feed = tmp_path / "feed"
    feed.mkdir()
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    (feed / "own.csv").write_text("a,b\n1,2\n")
    (feed / "link.csv").symlink_to(tmp_path / "secret.csv")
    assert [f.name for f in files_of(feed)] == ["own.csv"]
