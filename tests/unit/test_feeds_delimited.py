"""Delimited text: hostile input, exact line numbers, nothing swallowed, nothing lost."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fintel.errors import FeedError
from fintel.feeds import codes
from fintel.feeds.base import MAX_RECORD
from fintel.feeds.delimited import DelimitedReader
from fintel.feeds.mapping import FileSpec
from fintel.feeds.sniff import sniff

FILL = [{"table": "transactions", "columns": "canonical"}]


def spec(**keys: object) -> FileSpec:
    return FileSpec.model_validate({"fill": FILL, **keys})


def take(path: Path, rows: int = 1000, **keys: object) -> tuple[list[tuple], list[tuple[int, int]]]:
    """(good rows with their line, (line, code) of bad ones)."""
    reader = DelimitedReader(path, spec(**keys))
    good: list[tuple] = []
    bad: list[tuple[int, int]] = []
    for chunk in reader.chunks(range(len(reader.header)), rows):
        assert chunk.rows_read <= rows
        good += chunk.frame.rows()
        bad += [(b.source_row, b.code) for b in chunk.bad]
    return good, bad


def test_a_header_field_too_long_says_so(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b"a," + b"x" * 140_000 + b"\n1,2\n")
    with pytest.raises(FeedError, match="line 1 is no header: field larger"):
        take(path)
    assert any("no header" in doubt for doubt in sniff(path).doubts)


def test_a_damaged_packed_file_is_no_crash_when_sniffed(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(b"2024-01-01,%d,EUR,a,b\n" % i for i in range(20_000)))
    path = tmp_path / "f.csv.gz"
    path.write_bytes(packed[:1000] + b"\xff" * 50 + packed[1050:])
    assert "f.csv.gz is damaged" in sniff_error(path)


def sniff_error(path: Path) -> str:
    with pytest.raises(FeedError) as caught:
        sniff(path)
    return caught.value.message


HOSTILE = (
    b'a,b,c\r\n'
    b'1,"x,\ny",3\r\n'  # lines 2 and 3
    b'\r\n'
    b'4,5\r\n'  # 5: ragged
    b'"open,1,2\n'  # 6: never closed
    b'7,8,9\n'
    b'q"q,1,2\n'  # 8: quote inside
    b'"a"b,1,2\n'  # 9: text after a quote
    b'1,\xff,3\n'  # 10: not UTF-8
    b'1,\x00,3\n'  # 11: NUL
    b'"he said ""hi""",2,3\n'
    + b'z' * (MAX_RECORD + 5)  # 13: over-long
    + b'\n"last,1,2'  # 14: never closed, no line end
)  # fmt: skip
GOOD = [("1", "x,\ny", "3", 2), ("7", "8", "9", 7), ('he said "hi"', "2", "3", 12)]
BAD = [
    (5, codes.RAGGED), (6, codes.OPEN_QUOTE), (8, codes.STRAY_QUOTE), (9, codes.STRAY_QUOTE),
    (10, codes.BAD_BYTES), (11, codes.NUL), (13, codes.TOO_LONG), (14, codes.OPEN_QUOTE),
]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("packed", ["", ".gz", ".zst"])
def test_every_line_is_accounted_for(tmp_path: Path, rows: int, packed: str) -> None:
    raw = HOSTILE
    if packed == ".gz":
        raw = gzip.compress(raw)
    elif packed == ".zst":
        raw = pytest.importorskip("zstandard").compress(raw)
    path = tmp_path / f"feed.csv{packed}"
    path.write_bytes(raw)
    assert take(path, rows) == (GOOD, BAD)


def test_an_open_quote_does_not_eat_the_file(tmp_path: Path) -> None:
    lines = [b"a,b", b'"open,1', *(b"%d,x" % i for i in range(200_000))]
    path = tmp_path / "feed.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    good, bad = take(path, 10**6)
    assert bad == [(2, codes.OPEN_QUOTE)]
    assert len(good) == 200_000
    assert good[-1] == ("199999", "x", 200_002)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes('né;b\n1;"Zoë\n2"\n3;ü\n'.encode(encoding))
    stated = {"utf-8-sig": "auto", "utf-16": "auto"}.get(encoding, encoding)
    reader = DelimitedReader(path, spec(delimiter=";", encoding=stated))
    assert reader.header == ("né", "b")
    good, bad = take(path, delimiter=";", encoding=stated)
    assert (good, bad) == ([("1", "Zoë\n2", 2), ("3", "ü", 4)], [])


def test_header_further_down_and_none(tmp_path: Path) -> None:
    path = tmp_path / "feed.txt"
    path.write_text("Bank of X\nprinted today\n\na|b\n1|2\n")
    assert take(path, delimiter="|", header_row=4) == ([("1", "2", 5)], [])
    path.write_text("1\t2\n3\t4\n")
    assert take(path, delimiter="tab", header_row=0) == ([("1", "2", 1), ("3", "4", 2)], [])
    path.write_text('5" nail|1\n"6|2\n')
    assert take(path, delimiter="|", header_row=0, quote="none")[0] == [('5" nail', "1", 1), ('"6', "2", 2)]


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(b"")
    with pytest.raises(FeedError, match="empty"):
        DelimitedReader(path, spec())
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 10_000)[:-20])
    with pytest.raises(FeedError, match="damaged"):
        take(path)
    path.write_bytes(b"," * 5_000 + b"\n")
    with pytest.raises(FeedError, match="columns"):
        DelimitedReader(path, spec())


def test_a_header_alone_gives_one_empty_chunk(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("a,b\n")
    chunks = list(DelimitedReader(path, spec()).chunks([1], 10))
    assert [(c.rows_read, c.frame.columns) for c in chunks] == [(0, ["c1", "source_row"])]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(*[st.text(alphabet='a1,;"\n\r é', max_size=6)] * 3), max_size=12),
    chunk=st.sampled_from([1, 2, 100]),
)
def test_reads_what_the_standard_library_writes(tmp_path: Path, rows: list[tuple[str, ...]], chunk: int) -> None:
    """Whatever is written by RFC 4180 comes back, each row on the line where it stands."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b", "c"])
    expected = []
    for row in rows:
        expected.append((*row, text.getvalue().count("\n") + 1))
        writer.writerow(row)
    path = tmp_path / "feed.csv"
    path.write_bytes(text.getvalue().encode())
    good, bad = take(path, chunk)
    assert bad == []
    assert [tuple(v if v is not None else "" for v in r[:3]) + (r[3],) for r in good] == expected


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200), chunk=st.sampled_from([1, 50]))
def test_any_bytes_give_rows_or_quarantine_and_never_crash(tmp_path: Path, raw: bytes, chunk: int) -> None:
    path = tmp_path / "feed.csv"
    path.write_bytes(b"a,b\n" + raw)
    good, bad = take(path, chunk)
    lines = [r[-1] for r in good] + [b[0] for b in bad]
    physical = raw.count(b"\n") + 2
    assert len(set(lines)) == len(lines)
    assert all(2 <= line <= physical for line in lines)
    assert take(path, 7) == (good, bad)
