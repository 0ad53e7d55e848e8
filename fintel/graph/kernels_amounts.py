"""When an amount counts as passed on: shared by the motifs that follow money."""

from __future__ import annotations

import numba

#: Microseconds in a second.
MICROSECONDS = 1_000_000


@numba.njit(nogil=True, cache=True)
def kept(before: int, after: int, low: float, high: float) -> bool:
    """Whether ``after`` is between ``low`` and ``high`` times ``before`` (units of 1e-5; -1, unknown, never is)."""
    return before > 0 and after >= 0 and before * low <= after <= before * high
