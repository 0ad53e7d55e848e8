"""All parts in one call: what makes a single payment cheap.

Calling a kernel costs two or three microseconds before it does anything. For a million payments that is nothing;
for one it would be most of the time. The one call is compiled anew in each process (two seconds at the first
payment): what numba keeps on disk would not notice that a kernel in another module has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba

from fintel.graph import (
    kernels_chains,
    kernels_cycles,
    kernels_flows,
    kernels_meetings,
    kernels_pairs,
    kernels_passing,
    kernels_statistics,
)
from fintel.graph.layout import Part

Array = Any

#: Kernels in the order in which ``advance`` calls them; the parts of one kernel stand together.
_KERNELS = (
    kernels_statistics.advance,
    kernels_meetings.advance,
    kernels_cycles.advance,
    kernels_chains.advance,
    kernels_passing.advance,
    kernels_flows._gather,
    kernels_flows._tie,
)
_jit = numba.njit(nogil=True)


def grouped(parts: Sequence[Part]) -> tuple[tuple[int, ...], ...] | None:
    """Which parts each kernel has, if the parts are those of all families in their order; else None."""
    groups = tuple(tuple(p for p, part in enumerate(parts) if part.advance is kernel) for kernel in _KERNELS)
    flat = tuple(p for group in groups for p in group)
    return groups if all(groups) and flat == tuple(range(len(parts))) else None


@_jit
def advance(
    edges: Array,
    first: int,
    begin: int,
    end: int,
    links: Any,
    settings: Any,
    states: Any,
    places: Array,
    integers: Array,
    reals: Array,
    truncated: Array,
    stops: Array,
) -> Any:
    """Link payments ``begin`` … ``end - 1``; once all to ``end`` are, take those from ``first`` on through all parts.

    settings, states: by kernel, by part. places: int64 (parts + 1, 2): the first row of ``integers`` and of
    ``reals`` of each. stops: int64 (parts + 1,): gets where each part stopped, and the links. Returns how many
    stopped early; where the links did, no part has begun.
    """
    stops[:] = first
    stops[-1] = kernels_pairs.link(edges, begin, end, links)
    if stops[-1] < end:
        return stops.size
    p = 0
    for k in range(len(states[0])):
        stops[p] = kernels_statistics.advance(
            edges, first, end, first, settings[0][k], states[0][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    for k in range(len(states[1])):
        stops[p] = kernels_meetings.advance(
            edges, first, end, first, settings[1][k], states[1][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    for k in range(len(states[2])):
        stops[p] = kernels_cycles.advance(
            edges, first, end, first, settings[2][k], states[2][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    for k in range(len(states[3])):
        stops[p] = kernels_chains.advance(
            edges, first, end, first, settings[3][k], states[3][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    for k in range(len(states[4])):
        stops[p] = kernels_passing.advance(
            edges, first, end, first, settings[4][k], states[4][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    for k in range(len(states[5])):
        stops[p] = kernels_flows._gather(
            edges, first, end, first, settings[5][k], states[5][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    for k in range(len(states[6])):
        stops[p] = kernels_flows._tie(
            edges, first, end, first, settings[6][k], states[6][k],
            integers[places[p, 0] : places[p + 1, 0]], reals[places[p, 1] : places[p + 1, 1]], truncated[p],
        )  # fmt: skip
        p += 1
    early = 0
    for p in range(stops.size):
        early += stops[p] < end
    return early
