"""What a search for motifs looks at and what it hands back, and how payments are linked and flagged for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from fintel.graph import kernels_pairs
from fintel.graph.layout import EDGE, Part
from fintel.graph.network import Network

Array = npt.NDArray[Any]

_jit = numba.njit(nogil=True, cache=True)

#: More than the length of any way.
_FAR = 10_000


class Band(NamedTuple):
    """An amount is passed on if the next one is from ``low`` to ``high`` times this one; (0, inf): no rule."""

    low: float
    high: float

    @property
    def open(self) -> bool:
        """Whether any amount will do."""
        return self.low <= 0 and self.high == np.inf


@dataclass(frozen=True)
class Search:
    """What to look for. ``within`` in µs; the rest as in ``motifs.find``. ``places``: of a network of placed payments,
    the code of the place in (where the payee was paid) and out, int32 (m,) each, -1 where none is known. ``members``:
    numbers of the accounts that were asked for, if not for all."""

    network: Network
    edges: Array
    within: int
    band: Band
    at_least: int
    hops: int
    cap: int
    budget: int
    places: tuple[Array, Array] | None = None
    members: Array | None = None

    def distance(self, most: int) -> Array:
        """Payments between each account and the nearest that was asked for, either way: int32 (n,), 0 for all if all
        were; of accounts farther than ``most``, some number that is more than any way."""
        size = max(len(self.network.nodes), 1)
        if self.members is None:
            return np.zeros(size, np.int32)
        near = np.full(size, _FAR, np.int32)
        near[self.members] = 0
        for _ in range(most):
            one, other = near[self.network.source], near[self.network.target]
            np.minimum.at(near, self.network.source, other + 1)
            np.minimum.at(near, self.network.target, one + 1)
        return near


@dataclass
class Found:
    """Instances, one after another, edges of each by hop and time.

    ``anchor`` (i,): node of each. ``start`` (i + 1,): where its edges begin. ``edge, hop`` (k,). ``retention`` (i,):
    what was passed on, NaN where nothing tells. ``score`` (i,): what the strongest have most of. ``skipped``: payments
    by reason and node.
    """

    anchor: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    start: Array = field(default_factory=lambda: np.zeros(1, np.int64))
    edge: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    hop: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    retention: Array = field(default_factory=lambda: np.zeros(0))
    score: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    skipped: list[tuple[str, Array]] = field(default_factory=list)

    def __len__(self) -> int:
        return int(self.anchor.size)

    def kept(self, chosen: Array) -> Found:
        """Only those instances (numbers, in this order)."""
        sizes = np.diff(self.start)[chosen]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        at = np.repeat(self.start[chosen] - start[:-1], sizes) + np.arange(start[-1])
        return Found(
            self.anchor[chosen], start, self.edge[at], self.hop[at], self.retention[chosen], self.score[chosen],
            self.skipped,
        )  # fmt: skip


def joined(found: list[Found]) -> Found:
    """Several as one."""
    if not found:
        return Found()
    shifts = np.cumsum([0, *[f.edge.size for f in found[:-1]]])
    return Found(
        np.concatenate([f.anchor for f in found]),
        np.concatenate([[0], *[f.start[1:] + shift for f, shift in zip(found, shifts, strict=True)]]).astype(np.int64),
        np.concatenate([f.edge for f in found]),
        np.concatenate([f.hop for f in found]),
        np.concatenate([f.retention for f in found]),
        np.concatenate([f.score for f in found]),
        [s for f in found for s in f.skipped],
    )


def linked(network: Network) -> Array:
    """The payments as linked records (``layout.EDGE``)."""
    edges = np.zeros(len(network), EDGE)
    for name in ("source", "target", "time", "amount"):
        edges[name] = getattr(network, name)
    links = kernels_pairs.empty(max(len(network.nodes), 1), len(network))
    begin = 0
    while (begin := kernels_pairs.link(edges, begin, len(edges), links)) < len(edges):
        links = kernels_pairs.more(links)
    return edges


def columns_of(part: Part, edges: Array, nodes: int) -> tuple[dict[str, Array], Array]:
    """The columns of one part over all payments, by name, and where a bound cut it short (uint8)."""
    size = len(edges)
    integers = np.zeros((part.integers, size), np.int32)
    reals = np.zeros((len(part.columns) - part.integers, size), np.float32)
    truncated = np.zeros(size, np.uint8)
    state = part.empty(max(nodes, 1), max(size, 1))
    at = 0
    while (at := part.advance(edges, at, size, 0, part.settings, state, integers, reals, truncated)) < size:
        state = part.more(state)
    names = [c.name for c in part.columns]
    return dict(zip(names, [*integers, *reals], strict=True)), truncated


def column_of(search: Search, part: Part, name: str) -> tuple[Array, Array]:
    """One column of a part, by how its name begins, and where it was cut short."""
    found, truncated = columns_of(part, search.edges, len(search.network.nodes))
    return next(values for title, values in found.items() if title.startswith(name)), truncated


def cut_at(reason: str, nodes: Array) -> list[tuple[str, Array]]:
    """An entry of ``Found.skipped``: nodes, one for each payment at which something was left out; none if empty."""
    return [(reason, nodes.astype(np.int64))] if nodes.size else []


@_jit
def pushed(store: Array, size: int, value: int) -> Array:
    """``store`` with ``value`` at ``size``, in a larger array if it was full."""
    if size == store.size:
        wider = np.empty(2 * size + 16, store.dtype)
        wider[:size] = store
        store = wider
    store[size] = value
    return store
