"""Bytes of a file, unpacked (gzip, Zstandard) and turned into UTF-8, block by block."""

from __future__ import annotations

import codecs
import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from fintel.errors import FeedError

BLOCK = 4 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: A packed file that unpacks to more than this and by more than that factor is refused.
BOMB_BYTES, BOMB_RATIO = 1 << 30, 500


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file opened for reading, unpacked by what its first bytes say."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise FeedError(f"cannot read {path.name}: {error.strerror}", location=path) from error
    with raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic.startswith(_GZIP):
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast("IO[bytes]", unpacked)
        elif magic == _ZSTD:
            try:
                import zstandard
            except ImportError as error:
                hint = "pip install zstandard, or unpack the file"
                raise FeedError(f"{path.name} is Zstandard-packed", hint=hint) from error
            with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
                raw, read_across_frames=True
            ) as stream:
                yield cast("IO[bytes]", stream)
        else:
            yield raw


def blocks(path: Path, encoding: str, size: int = BLOCK) -> Iterator[bytes]:
    """The file as UTF-8, without a byte order mark. Bytes that ``encoding`` cannot read: UTF-8 is
    passed on as it is (the reader finds bad bytes), from others they become U+FFFD.

    Raises
    ------
    FeedError: unreadable or damaged file, or one that unpacks without end.
    """
    packed = path.stat().st_size if path.is_file() else 0
    total = 0
    decoder: codecs.IncrementalDecoder | None = None
    with opened(path) as stream:
        first = True
        while True:
            block = read_full(stream, size, path)
            total += len(block)
            if total > max(BOMB_BYTES, packed * BOMB_RATIO):
                raise FeedError(f"{path.name} unpacks to far more than it should", location=path)
            if first:
                encoding, block = _mark(encoding, block)
                if encoding != "utf-8":
                    decoder = codecs.getincrementaldecoder(encoding)("replace")
                first = False
            if decoder is not None:
                yield decoder.decode(block, final=not block).removeprefix("\ufeff").encode("utf-8", "replace")
            else:
                yield block
            if not block:
                return


def read_full(stream: IO[bytes], size: int, path: Path) -> bytes:
    """A full block: packed streams hand out less than was asked for.

    Raises
    ------
    FeedError: the file is damaged.
    """
    parts: list[bytes] = []
    while size > 0:
        try:
            part = stream.read(size)
        except _damage() as error:
            raise FeedError(f"{path.name} is damaged: {error}", location=path) from error
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _damage() -> tuple[type[BaseException], ...]:
    """What reading a damaged file may raise; Zstandard is an optional package."""
    errors: tuple[type[BaseException], ...] = (OSError, EOFError, zlib.error)
    zstandard = sys.modules.get("zstandard")
    return (*errors, zstandard.ZstdError) if zstandard is not None else errors


def _mark(encoding: str, block: bytes) -> tuple[str, bytes]:
    """The encoding to use and the block without a byte order mark."""
    if encoding in ("auto", "utf-8"):
        if block.startswith(codecs.BOM_UTF8):
            return "utf-8", block[3:]
        if encoding == "auto" and block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16", block
        return "utf-8", block
    return encoding, block
