"""A feed: one file read with one mapping. What names it, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedInfo:
    """What names a feed.

    ``feed_id`` are the first 16 hex digits of the SHA-256 of file and mapping, ``sha256`` is that of
    the file alone, ``bytes`` its size.
    """

    feed_id: str
    source: str
    mapping: str
    source_file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What one feed added to one table: ``read = accepted + duplicates + rejected + skipped``.

    ``repeated``: the feed had filled this table before, so nothing was read and every count is 0.
    """

    feed_id: str
    target: str
    read: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    skipped: int = 0
    repeated: bool = False
