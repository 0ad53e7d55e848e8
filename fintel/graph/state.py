"""The engine: payments in, columns out, one at a time or millions at once, to the same bit.

``GraphState`` keeps the payments and the state of every part; ``edge_features`` runs the same kernels over a whole
network and keeps nothing. Large batches run their parts in threads (kernels hold no interpreter lock); each
part still sees the payments one after another, so nothing depends on how they were cut.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.errors import FintelError
from fintel.graph import columns, kernels_pairs, together
from fintel.graph.layout import EDGE, Part, Settings, enlarged
from fintel.graph.network import Network

Array = npt.NDArray[Any]

_jit = numba.njit(nogil=True, cache=True)

#: From so many payments in one call on, parts run in threads.
_THREADED = 20_000
#: About how many µs a part takes for a payment, by family and windows in days (measured on an even network).
_COSTS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "cycles": lambda days: 0.3 * sum(days),
    "meetings": lambda days: 0.4 + 0.1 * sum(days),
    "statistics": lambda days: 0.1 + 0.2 * len(days),
}
#: Rows of outputs are this much longer than the batch, so that columns do not compete for the same place of the cache.
_PADDING = 24
#: Node and payment numbers are 32 bits.
_MOST = 2**31 - 2
#: Of the form of a snapshot.
_FORM = 3
#: Of a payment, what is taken; all else follows.
_TAKEN = ("source", "target", "time", "amount")
#: A snapshot may name so many nodes, however few its payments.
_NODES = 2**20
#: What may be wrong with payments, or missing.
_FINE, _FALLS, _EARLY, _NODE, _ROOM = range(5)
#: Where a column stands.
_COUNT, _REAL, _FLAG = range(3)
_WHY = {
    _FALLS: "payments are not in order of time: {last} stands before {now} (µs UTC)",
    _EARLY: "a payment is older than one that was taken already: {now} after {last} (µs UTC)",
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
        self._groups = together.grouped(self.parts)
        self._first_rows = np.array(
            [(0, 0), *[(counts.stop, others.stop) for counts, others in self._places]], np.int64
        )
        self._stops = np.zeros(len(self.parts) + 1, np.int64)
        self._together: tuple[Any, Any] | None = None

    def __len__(self) -> int:
        """Payments taken so far."""
        return self._size

    def update(self, source: Any, target: Any, time: Any, amount: Any) -> Mapping[str, Array]:
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
        integers, reals, truncated = _outputs(self._places, end - begin)
        if end - begin >= _THREADED:
            self._links = _linked(self._edges, begin, end, self._links)
            _spread(lambda p: self._run(p, begin, begin, end, integers, reals, truncated), self.parts)
        elif self._groups is not None:
            self._advance(begin, end, integers, reals, truncated)
        else:
            self._links = _linked(self._edges, begin, end, self._links)
            for p in range(len(self.parts)):
                self._run(p, begin, begin, end, integers, reals, truncated)
        return Told(self._columns, integers, reals, truncated)

    def _advance(self, begin: int, end: int, integers: Array, reals: Array, truncated: Array) -> None:
        """All parts in one call; then singly those that ran out of room."""
        at = begin
        while True:
            settings, states = self._in_groups()
            early = together.advance(
                self._edges, begin, at, end, self._links, settings, states,
                self._first_rows, integers, reals, truncated, self._stops,
            )  # fmt: skip
            at = self._stops[-1]
            if at == end:
                break
            self._links = kernels_pairs.more(self._links)
        if early:
            for p, stop in enumerate(self._stops[:-1].tolist()):
                if stop < end:
                    self._run(p, begin, stop, end, integers, reals, truncated)

    def _in_groups(self) -> tuple[Any, Any]:
        """Settings and states by kernel."""
        if self._together is None:
            groups = self._groups or ()
            self._together = (
                tuple(tuple(self.parts[p].settings for p in group) for group in groups),
                tuple(tuple(self._states[p] for p in group) for group in groups),
            )
        return self._together

    def _run(self, p: int, first: int, begin: int, end: int, integers: Array, reals: Array, truncated: Array) -> None:
        counts, others = self._places[p]
        rows = integers[counts], reals[others], truncated[p]
        self._states[p] = _run(self.parts[p], self._states[p], self._edges, first, begin, end, *rows)
        self._together = None

    def _take(self, source: Array, target: Array, time: Array, amount: Array) -> int:
        """Check payments and append them; the number of payments there are now."""
        if not (source.ndim == 1 and source.shape == target.shape == time.shape == amount.shape):
            raise ValueError("source, target, time and amount must be one-dimensional and of one length")
        end = self._size + source.size
        if end > _MOST:
            raise FintelError("more payments than 32 bits can number", hint="let go of old ones with forget()")
        why, at, nodes = _append(self._edges, self._size, self._nodes, source, target, time, amount)
        if why == _ROOM:
            self._grow(nodes, end)
            why, at, nodes = _append(self._edges, self._size, self._nodes, source, target, time, amount)
        if why != _FINE:
            last = time[at - 1] if why == _FALLS else self._edges[self._size - 1]["time"] if self._size else None
            hint = "feed payments in order of (time, transaction id); a late one needs a state from before it"
            raise FintelError(_WHY[why].format(now=time[at], last=last), hint=None if why == _NODE else hint)
        self._size = end
        return end

    def _grow(self, nodes: int, edges: int) -> None:
        if nodes > self._nodes:
            self._nodes = max(nodes, 2 * self._nodes)
        room = len(self._edges) if edges <= len(self._edges) else max(edges, 2 * len(self._edges))
        self._edges = enlarged(self._edges, room)
        self._links = kernels_pairs.grown(self._links, self._nodes)
        self._states = [
            part.grown(state, self._nodes, room) for part, state in zip(self.parts, self._states, strict=True)
        ]
        self._together = None

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
        """The payments taken, from which ``restore`` makes the state, as plain arrays by name (for ``numpy.savez``;
        nothing needs pickle): ``form`` uint8, ``edges`` of ``layout.EDGE``."""
        edges = np.zeros(self._size, EDGE)
        for name in _TAKEN:
            edges[name] = self._edges[name][: self._size]
        return {"form": np.frombuffer(self._form().encode(), np.uint8), "edges": edges}

    @classmethod
    def restore(
        cls,
        arrays: Mapping[str, Array],
        settings: Settings | None = None,
        *,
        families: Iterable[str] | None = None,
        nodes: int | None = None,
    ) -> GraphState:
        """The state of a snapshot, which must have been made with the same settings and families.

        The payments are taken anew, all at once: nothing else in the arrays is read, so a snapshot that somebody has
        altered gives the state of other payments, and never one that its kernels cannot stand.

        ``nodes``: node numbers are below it, as room is made for so many (some 800 bytes each); by default two for each
        payment, or 1,048,576 if that is more. Raises ``FintelError`` where an array is missing or of another type, the
        form is another, payments are not in order of time, or a node is out of range.
        """
        state = cls(settings, families=families)
        form, edges = arrays.get("form"), arrays.get("edges")
        if form is None or form.tobytes().decode(errors="replace") != state._form():
            raise FintelError("the snapshot was made with other settings, other families, or another version")
        if edges is None or edges.dtype != EDGE or edges.ndim != 1:
            raise FintelError("the snapshot has no array 'edges' of the right type")
        room = max(_NODES, 2 * len(edges)) if nodes is None else nodes
        largest = max(int(edges[end].max(initial=-1)) for end in ("source", "target"))
        if largest >= room:
            raise FintelError(
                f"the snapshot names node {largest:,}, and there are {room:,}", hint="restore(…, nodes=…) for more"
            )
        state.update(*(edges[name] for name in _TAKEN))
        return state

    def _form(self) -> str:
        settings = {k: str(v) for k, v in asdict(self.settings).items()}
        return json.dumps({"form": _FORM, "families": self.families, "settings": settings}, sort_keys=True)


class Told(Mapping[str, Array]):
    """Columns by name; each is cut out of what the kernels wrote when it is asked for."""

    __slots__ = ("_integers", "_places", "_reals", "_truncated")

    def __init__(self, places: Mapping[str, tuple[int, int]], integers: Array, reals: Array, truncated: Array) -> None:
        self._places, self._integers, self._reals, self._truncated = places, integers, reals, truncated

    def __getitem__(self, name: str) -> Array:
        kind, row = self._places[name]
        if kind == _FLAG:
            return np.asarray(self._truncated.max(axis=0, initial=0))
        return (self._integers if kind == _COUNT else self._reals)[row, : self._truncated.shape[1]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


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
    why, *_ = _append(edges, 0, nodes, network.source, network.target, network.time, network.amount)
    if why != _FINE:
        raise FintelError("the network's payments are not in order of time, or name nodes that it has not")
    _linked(edges, 0, size, kernels_pairs.empty(nodes, size))
    places = _places(found)
    integers, reals, truncated = _outputs(places, size)

    def run(p: int) -> None:
        part = found[p]
        counts, others = places[p]
        _run(part, part.empty(nodes, size), edges, 0, 0, size, integers[counts], reals[others], truncated[p])

    _spread(run, found)
    return pl.DataFrame(dict(Told(_columns(found), integers, reals, truncated)))


def _spread(run: Callable[[int], None], parts: Sequence[Part]) -> None:
    """Run parts by number on all cores. What takes longest begins first, so that no core waits for another's end."""

    def cost(p: int) -> float:
        windows = {c.window for c in parts[p].columns if c.window is not None}
        known = _COSTS.get(parts[p].columns[0].family)
        return known(sorted(window / timedelta(days=1) for window in windows)) if known else 0.0

    with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="fintel-graph") as pool:
        for done in [pool.submit(run, p) for p in sorted(range(len(parts)), key=cost, reverse=True)]:
            done.result()


def _run(
    part: Part, state: Any, edges: Array, first: int, begin: int, end: int, integers: Array, reals: Array, cut: Array
) -> Any:
    """Take payments ``begin`` … ``end - 1`` through one part, with more room whenever it asks; the state then."""
    while True:
        begin = part.advance(edges, begin, end, first, part.settings, state, integers, reals, cut)
        if begin == end:
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


def _columns(parts: Sequence[Part]) -> dict[str, tuple[int, int]]:
    """Kind and row of each column, in the order of the catalogue."""
    found = {}
    for part, (counts, others) in zip(parts, _places(parts), strict=True):
        for at, column in enumerate(part.columns):
            count = at < part.integers
            found[column.name] = (_COUNT, counts.start + at) if count else (_REAL, others.start + at - part.integers)
    return found | {columns.TRUNCATED.name: (_FLAG, 0)}


def _outputs(places: Sequence[tuple[slice, slice]], size: int) -> tuple[Array, Array, Array]:
    rows = size if size < _THREADED else size + _PADDING
    counts, others = (places[-1][0].stop, places[-1][1].stop) if places else (0, 0)
    return (
        np.zeros((counts, rows), np.int32),
        np.zeros((others, rows), np.float32),
        np.zeros((len(places), size), np.uint8),
    )


@_jit
def _append(
    edges: Array, size: int, room: int, source: Array, target: Array, time: Array, amount: Array
) -> tuple[int, int, int]:
    """Check payments and write them behind the first ``size``; ``room``: how many nodes there are.

    Returns what is wrong (``_FINE``: nothing; else none is written), at which, and how many nodes there must be.
    """
    nodes = 0
    last = edges[size - 1].time if size else time[0] if time.size else 0
    for i in range(time.size):
        if time[i] < last:
            return (_FALLS if i else _EARLY), i, nodes
        last = time[i]
        u, v = source[i], target[i]
        if u < 0 or v < 0 or u > _MOST or v > _MOST:
            return _NODE, i, nodes
        nodes = max(nodes, u + 1, v + 1)
    if nodes > room or size + time.size > edges.size:
        return _ROOM, 0, nodes
    for i in range(time.size):
        edges[size + i].source = source[i]
        edges[size + i].target = target[i]
        edges[size + i].time = time[i]
        edges[size + i].amount = max(amount[i], -1)
    return _FINE, 0, nodes
