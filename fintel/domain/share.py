"""A share of a number with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959963984540054


def wilson(hits: float, of: float) -> tuple[float, float]:
    """Wilson's 95 % score interval of ``hits`` of ``of``; 0 to 1 of nothing.

    Source: Wilson 1927, Journal of the American Statistical Association 22, 209. Hits may be expected
    numbers, as where rows of equal score share a place.
    """
    if of <= 0:
        return 0.0, 1.0
    share, square = hits / of, _Z * _Z
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = _Z / (1 + square / of) * math.sqrt(max(0.0, share * (1 - share)) / of + square / (4 * of**2))
    # at the ends rounding must not cut off the share itself
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


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
        """Wilson's score interval."""
        return wilson(self.hits, self.of)

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain values for ``--json``."""
        low, high = self.interval
        return {"hits": self.hits, "of": self.of, "value": self.value, "low": low, "high": high}

    def __str__(self) -> str:
        if self.value is None:
            return "none looked at"
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}]"
