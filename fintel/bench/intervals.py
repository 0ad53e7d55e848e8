"""Shares with 95 % intervals, and what small groups fall back to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fintel.domain.share import Share

__all__ = ["SMALL", "Group", "Share", "by_group"]

#: Below this many, a group's own share says too little: the whole's is shown.
SMALL = 30


@dataclass(frozen=True)
class Group:
    """A part of the whole and its share; ``fallback`` says so where the whole's share stands in."""

    name: str
    share: Share
    shown: Share
    fallback: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values for ``--json``."""
        own = {"group": self.name, "hits": self.share.hits, "of": self.share.of}
        return {**own, "yield": self.shown.as_dict(), "fallback": self.fallback or None}


def by_group(rows: Iterable[tuple[str, int, int]]) -> list[Group]:
    """Shares of groups ``(name, hits, of)``, the largest first; small ones show the whole's."""
    found = sorted(rows, key=lambda r: (-r[2], r[0]))
    whole = Share(sum(r[1] for r in found), sum(r[2] for r in found))
    groups = []
    for name, hits, of in found:
        own = Share(hits, of)
        if of < SMALL:
            groups.append(Group(name, own, whole, f"whole (only {of} here, fewer than {SMALL})"))
        else:
            groups.append(Group(name, own, own))
    return groups
