"""Shares with 95 % intervals, and what small groups fall back to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

#: Below this many, a group's own share says too little: the whole's is shown.
SMALL = 30
_Z = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """``hits`` of ``of``, and Wilson's 95 % interval (0 to 1). ``value`` is None of nothing."""

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """hits / of."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927, Journal of the American Statistical Association 22, 209)."""
        if not self.of:
            return 0.0, 1.0
        share, square = self.hits / self.of, _Z * _Z
        centre = (share + square / (2 * self.of)) / (1 + square / self.of)
        half = _Z / (1 + square / self.of) * math.sqrt(share * (1 - share) / self.of + square / (4 * self.of**2))
        # at the ends rounding must not cut off the share itself
        return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain values for ``--json``."""
        low, high = self.interval
        return {"hits": self.hits, "of": self.of, "value": self.value, "low": low, "high": high}

    def __str__(self) -> str:
        if self.value is None:
            return "none looked at"
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"


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
