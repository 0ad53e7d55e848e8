"""The engine: payments in, columns out, one at a time or millions at once, to the same bit.

``GraphState`` keeps the payments and the state of every part; ``edge_features`` runs the same kernels over a whole
network and keeps nothing. Large batches run their parts in threads (kernels hold no interpreter lock); each
part still sees the payments one after another, so nothing depends on how they were cut.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.errors import FintelError
from fintel.graph import columns, kernels_pairs
from fintel.graph.layout import EDGE, Part, Settings, enlarged
from fintel.graph.network import Network

Array = npt.NDArray[Any]

_jit = numba.njit(nogil=True, cache=True)

#: From so many payments in one call on, parts run in threads.
_THREADED = 20_000
#: Rows of outputs are this much longer than the batch, so that columns do not compete for the same place of the cache.
_PADDING = 24
#: Node and payment numbers are 32 bits.
_MOST = 2**31 - 2
#: Of the form of a snapshot.
_FORM = 1
_FINE, _FALLS, _EARLY, _NODE = range(4)
_WHY = {
    _FALLS: "payments are not in order of time: {a} stands before {b} (µs UTC)",
    _EARLY: "a payment is older than one that was taken already: {a} after {b} (µs UTC)",
    _NODE: "a payment names a node that is no number from 0 to 2,147,483,646",
}


class GraphState:
    """An incremental engine.

    Parameters
    ----------
    settings: windows and bounds.
    families: which families of columns; all by default.
    nodes, edges: how much room to begin with; it grows.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        families: Iterable[str] | None = None,
        nodes: int = 1024,
        edges: int = 1024,
    ) -> None:
        self.settings = settings or Settings()
        self.families = tuple(columns.FAMILIES) if families is None else tuple(families)
        self.parts = columns.parts(self.settings, self.families)
        self._size = 0
        self._nodes = max(nodes, 1)
        self._edges = np.zeros(max(edges, 1), EDGE)
        self._links = kernels_pairs.empty(self._nodes, len(self._edges))
        self._states = [part.empty(self._nodes, len(self._edges)) for part in self.parts]
        self._places = _places(self.parts)
        self._columns = _columns(self.parts)

    def __len__(self) -> int:
        """Payments taken so far."""
        return self._size

    def update(self, source: Any, target: Any, time: Any, amount: Any) -> dict[str, Array]:
        """Take payments and tell the columns of each as of itself: all before it and itself, nothing after.

        Parameters
        ----------
        source, target: node numbers from 0, (k,). time: µs UTC (k,), never falling, nor before what was taken.
        amount: units of 1e-5 of the base currency (k,), negative: unknown.

        Returns the columns of ``columns.columns`` by name: int32 or float32 (k,), ``truncated`` uint8. Raises
        ``FintelError`` on payments out of order or nodes out of range, and then takes none of them.
        """
        begin = self._size
        end = self._take(
            np.ascontiguousarray(source, np.int64),
            np.ascontiguousarray(target, np.int64),
            np.ascontiguousarray(time, np.int64),
            np.ascontiguousarray(amount, np.int64),
        )
        size = end - begin
        integers, reals, truncated = _outputs(self._places, size)
        if size < _THREADED:
            for p in range(len(self.parts)):
                self._advance(p, begin, end, integers, reals, truncated)
        else:
            with _pool() as pool:
                list(
                    pool.map(lambda p: self._advance(p, begin, end, integers, reals, truncated), range(len(self.parts)))
                )
        return _told(self._columns, integers, reals, truncated, size)

    def _advance(self, p: int, begin: int, end: int, integers: Array, reals: Array, truncated: Array) -> None:
        where = self._places[p]
        self._states[p] = _run(
            self.parts[p], self._states[p], self._edges, begin, end, integers[where[0]], reals[where[1]], truncated[p]
        )

    def _take(self, source: Array, target: Array, time: Array, amount: Array) -> int:
        """Check payments, append and link them; the number of payments there are now."""
        begin, size = self._size, source.size
        if not (source.shape == target.shape == time.shape == amount.shape == (size,)):
            raise ValueError("source, target, time and amount must be one-dimensional and of one length")
        end = begin + size
        if end > _MOST:
            raise FintelError("more payments than 32 bits can number", hint="let go of old ones with forget()")
        nodes = self._checked(source, target, time)
        if nodes > self._nodes or end > len(self._edges):
            self._grow(nodes, end)
        _write(self._edges, begin, source, target, time, amount)
        self._links = _linked(self._edges, begin, end, self._links)
        self._size = end
        return end

    def _checked(self, source: Array, target: Array, time: Array) -> int:
        last = self._edges[self._size - 1]["time"] if self._size else np.iinfo(np.int64).min
        why, at, nodes = _check(source, target, time, last)
        if why != _FINE:
            before = time[at - 1] if why == _FALLS else last
            a, b = (before, time[at]) if why == _FALLS else (time[at], before)
            raise FintelError(
                _WHY[why].format(a=a, b=b),
                hint=None
                if why == _NODE
                else "feed payments in order of (time, transaction id); a late one needs a state from before it",
            )
        return int(nodes)

    def _grow(self, nodes: int, edges: int) -> None:
        if nodes > self._nodes:
            self._nodes = max(nodes, 2 * self._nodes)
        room = len(self._edges) if edges <= len(self._edges) else max(edges, 2 * len(self._edges))
        self._edges = enlarged(self._edges, room)
        self._links = kernels_pairs.grown(self._links, self._nodes)
        self._states = [
            part.grown(state, self._nodes, room) for part, state in zip(self.parts, self._states, strict=True)
        ]

    def forget(self, before: int) -> GraphState:
        """A state that has taken only the payments from ``before`` (µs UTC) on.

        Columns go on as if nothing had been forgotten where they look back no further than ``before``: for
        windows, if no later payment comes within the longest window after it.
        """
        kept = self._edges[: self._size]
        kept = kept[np.searchsorted(kept["time"], before) :]
        state = GraphState(self.settings, families=self.families, nodes=self._nodes, edges=len(kept))
        state.update(kept["source"], kept["target"], kept["time"], kept["amount"])
        return state

    def snapshot(self) -> dict[str, Array]:
        """All that the state is, as plain arrays by name (for ``numpy.savez``; nothing needs pickle)."""
        told = {"form": np.frombuffer(self._form().encode(), np.uint8), "edges": self._edges[: self._size].copy()}
        for name, state in self._named():
            told |= {f"{name}.{field}": array.copy() for field, array in state._asdict().items()}
        return told

    @classmethod
    def restore(
        cls, arrays: Mapping[str, Array], settings: Settings | None = None, *, families: Iterable[str] | None = None
    ) -> GraphState:
        """The state of a snapshot, which must have been made with the same settings and families.

        Raises ``FintelError`` where it was not, or where an array is missing or of another type. The numbers in
        the arrays are believed: read snapshots only from where you wrote them.
        """
        edges = arrays["edges"] if "edges" in arrays else np.zeros(0, EDGE)
        state = cls(settings, families=families, edges=len(edges))
        if "form" not in arrays or arrays["form"].tobytes().decode(errors="replace") != state._form():
            raise FintelError("the snapshot was made with other settings, other families, or another version")
        restored = []
        for name, mine in state._named():
            found = {field: arrays.get(f"{name}.{field}") for field in mine._fields}
            for field, array in found.items():
                like = getattr(mine, field)
                if array is None or array.dtype != like.dtype or array.ndim != like.ndim:
                    raise FintelError(f"the snapshot has no array '{name}.{field}' of the right type")
            restored.append(type(mine)(**{field: np.array(array) for field, array in found.items()}))
        state._links, *state._states = restored
        state._nodes = len(state._links.nodes)
        state._size = len(edges)
        state._edges[: len(edges)] = edges
        return state

    def _named(self) -> Sequence[tuple[str, Any]]:
        return [("links", self._links), *zip([p.name for p in self.parts], self._states, strict=True)]

    def _form(self) -> str:
        settings = {k: str(v) for k, v in asdict(self.settings).items()}
        return json.dumps({"form": _FORM, "families": self.families, "settings": settings}, sort_keys=True)


def edge_features(
    network: Network, settings: Settings | None = None, *, families: Iterable[str] | None = None
) -> pl.DataFrame:
    """The columns of every payment of a network, as of itself: m rows in its order.

    Counts are int32, other numbers float32 (NaN where undefined), ``truncated`` uint8. The same numbers, to the
    bit, as a ``GraphState`` tells that takes the payments in any portions.
    """
    found = columns.parts(settings or Settings(), families)
    size, nodes = len(network), len(network.nodes)
    edges = np.zeros(size, EDGE)
    _write(edges, 0, network.source, network.target, network.time, network.amount)
    _linked(edges, 0, size, kernels_pairs.empty(nodes, size))
    places = _places(found)
    integers, reals, truncated = _outputs(places, size)

    def run(p: int) -> None:
        part = found[p]
        counts, others = places[p]
        _run(part, part.empty(nodes, size), edges, 0, size, integers[counts], reals[others], truncated[p])

    with _pool() as pool:
        list(pool.map(run, range(len(found))))
    told = _told(_columns(found), integers, reals, truncated, size)
    order = [c.name for part in found for c in part.columns]
    return pl.DataFrame({name: told[name] for name in (*order, columns.TRUNCATED.name)})


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="fintel-graph")


def _run(
    part: Part, state: Any, edges: Array, begin: int, end: int, integers: Array, reals: Array, truncated: Array
) -> Any:
    """Take payments ``begin`` … ``end - 1`` through one part, with more room whenever it asks; the state then."""
    at = begin
    while True:
        at = part.advance(edges, at, end, begin, part.settings, state, integers, reals, truncated)
        if at == end:
            return state
        state = part.more(state)


def _linked(edges: Array, begin: int, end: int, links: kernels_pairs.Links) -> kernels_pairs.Links:
    while (begin := kernels_pairs.link(edges, begin, end, links)) < end:
        links = kernels_pairs.more(links)
    return links


def _places(parts: Sequence[Part]) -> tuple[tuple[slice, slice], ...]:
    """Which rows of the integers, and which of the reals, are whose."""
    places, i, r = [], 0, 0
    for part in parts:
        counts = part.integers
        others = len(part.columns) - counts
        places.append((slice(i, i + counts), slice(r, r + others)))
        i, r = i + counts, r + others
    return tuple(places)


def _columns(parts: Sequence[Part]) -> tuple[str, ...]:
    """Names by row of the integers, then of the reals."""
    return tuple(c.name for kind in ("count", "real") for part in parts for c in part.columns if c.kind == kind)


def _outputs(places: Sequence[tuple[slice, slice]], size: int) -> tuple[Array, Array, Array]:
    rows = size if size < _THREADED else size + _PADDING
    counts, others = (places[-1][0].stop, places[-1][1].stop) if places else (0, 0)
    return (
        np.zeros((counts, rows), np.int32),
        np.zeros((others, rows), np.float32),
        np.zeros((len(places), size), np.uint8),
    )


def _told(names: Sequence[str], integers: Array, reals: Array, truncated: Array, size: int) -> dict[str, Array]:
    if integers.shape[1] != size:
        integers, reals = integers[:, :size], reals[:, :size]
    told = dict(zip(names, [*integers, *reals], strict=True))
    told[columns.TRUNCATED.name] = truncated.max(axis=0, initial=0)
    return told


@_jit
def _check(source: Array, target: Array, time: Array, last: int) -> tuple[int, int, int]:
    """What is wrong (``_FINE``: nothing), where, and how many nodes there must be."""
    nodes = 0
    for i in range(time.size):
        if time[i] < last:
            return (_FALLS if i else _EARLY), i, nodes
        last = time[i]
        u, v = source[i], target[i]
        if u < 0 or v < 0 or u > _MOST or v > _MOST:
            return _NODE, i, nodes
        nodes = max(nodes, u + 1, v + 1)
    return _FINE, 0, nodes


@_jit
def _write(edges: Array, begin: int, source: Array, target: Array, time: Array, amount: Array) -> None:
    for i in range(time.size):
        edges[begin + i].source = source[i]
        edges[begin + i].target = target[i]
        edges[begin + i].time = time[i]
        edges[begin + i].amount = max(amount[i], -1)
