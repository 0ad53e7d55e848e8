"""What fintel computes on one network, alone in a process: see ``graph.py``, which starts it."""

from __future__ import annotations

import argparse
import json
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from graph_populations import loaded

from fintel.graph import columns, kernels_pairs
from fintel.graph.communities import flow_communities
from fintel.graph.layout import EDGE, Settings
from fintel.graph.network import Network
from fintel.graph.risk import risk
from fintel.graph.state import GraphState, edge_features

Array = Any

#: The yardstick's families at its windows; all their columns, also those that it has not.
SAME = Settings(
    windows=(timedelta(days=1),), meeting_windows=(timedelta(hours=6),), cycle_windows=(timedelta(days=1),),
    cycle_hops=10,
)  # fmt: skip
SAME_FAMILIES = ("statistics", "meetings", "cycles")
FULL = Settings()
FULL_FAMILIES = tuple(columns.FAMILIES)
CHOICES = {"families": (SAME, SAME_FAMILIES), "full": (FULL, FULL_FAMILIES)}
_WARM = 3_000
_SINGLES = 20_000
_MICRO = 128
_SEEDS = 200
#: Networks up to this size are computed three times, and the middle one is told.
_REPEATED, _ROUNDS = 2_500_000, 3


class Meter:
    """Seconds and processor seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        begun, used = time.perf_counter(), time.process_time()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 4)
        self.processor[name] = round(time.process_time() - used, 4)


def batch(file: Path, which: str) -> tuple[Meter, dict[str, Any]]:
    """All payments at once, from arrays to a frame of columns."""
    settings, families = CHOICES[which]
    edge_features(loaded(file, _WARM)[0], settings, families=families)
    net, _ = loaded(file)
    rounds: list[Meter] = []
    facts: dict[str, Any] = {"payments": len(net), "accounts": len(net.nodes)}
    for _ in range(_ROUNDS if len(net) <= _REPEATED else 1):
        rounds.append(Meter())
        with rounds[-1].lap("features"):
            found = edge_features(net, settings, families=families)
        # Of the first round: later ones find memory in pieces.
        facts.setdefault("peak_mb", _peak_mb())
        facts |= {"columns": found.width, "truncated": int(found[columns.TRUNCATED.name].cast(pl.Int64).sum())}
        del found
    rounds.sort(key=lambda meter: meter.seconds["features"])
    facts["rounds"] = [meter.seconds["features"] for meter in rounds]
    return rounds[len(rounds) // 2], facts


def parts(file: Path, which: str) -> tuple[Meter, dict[str, Any]]:
    """Each part after the other, on one thread: where the time goes."""
    settings, families = CHOICES[which]
    warm = _run_parts(loaded(file, _WARM)[0], settings, families, Meter())
    net, _ = loaded(file)
    meter = Meter()
    cut = _run_parts(net, settings, families, meter)
    return meter, {"payments": len(net), "truncated_by_part": cut, "parts": len(warm)}


def _run_parts(net: Network, settings: Settings, families: tuple[str, ...], meter: Meter) -> dict[str, int]:
    edges = np.zeros(len(net), EDGE)
    size, nodes, cut = len(net), len(net.nodes), {}
    with meter.lap("links"):
        for name in ("source", "target", "time", "amount"):
            edges[name] = getattr(net, name)
        links, at = kernels_pairs.empty(nodes, size), 0
        while (at := kernels_pairs.link(edges, at, size, links)) < size:
            links = kernels_pairs.more(links)
    for part in columns.parts(settings, families):
        integers = np.zeros((part.integers, size + 24), np.int32)
        reals = np.zeros((len(part.columns) - part.integers, size + 24), np.float32)
        truncated = np.zeros(size, np.uint8)
        with meter.lap(part.name):
            state, at = part.empty(nodes, size), 0
            arguments = (size, 0, part.settings)
            while (at := part.advance(edges, at, *arguments, state, integers, reals, truncated)) < size:
                state = part.more(state)
        cut[part.name] = int(truncated.sum())
    return cut


def singles(file: Path, which: str) -> tuple[Meter, dict[str, Any]]:
    """The last payments one by one (and in portions of 128 before), on a state that holds all before them."""
    settings, families = CHOICES[which]
    warm, _ = loaded(file, _WARM)
    GraphState(settings, families=families).update(*_arrays(warm, 0, _WARM))
    edge_features(warm, settings, families=families)
    net, _ = loaded(file)
    size = len(net)
    ones = min(_SINGLES, size // 4)
    portions = min(100, size // 4 // _MICRO)
    begun = size - ones - portions * _MICRO
    state = GraphState(settings, families=families, nodes=len(net.nodes), edges=size)
    meter = Meter()
    with meter.lap("portion before"):
        told = [state.update(*_arrays(net, 0, begun))]
    micro = _timed(state, [_arrays(net, at, at + _MICRO) for at in range(begun, size - ones, _MICRO)], told)
    one = _timed(state, [_arrays(net, at, at + 1) for at in range(size - ones, size)], told)
    whole = edge_features(net, settings, families=families)
    unequal = [
        name
        for name in whole.columns
        if not np.array_equal(_bits(whole[name].to_numpy()), _bits(np.concatenate([t[name] for t in told])))
    ]
    return meter, {
        "payments": size, "one_by_one": ones, "columns": whole.width,
        "one_at_a_time_us": _quantiles(one), "by_128_ms": {k: round(v / 1000, 3) for k, v in _quantiles(micro).items()},
        "unequal_columns": unequal,
    }  # fmt: skip


def _arrays(net: Network, begin: int, end: int) -> tuple[Array, ...]:
    return tuple(getattr(net, name)[begin:end].astype(np.int64) for name in ("source", "target", "time", "amount"))


def _timed(state: GraphState, calls: list[tuple[Array, ...]], told: list[dict[str, Array]]) -> Array:
    took = np.zeros(len(calls))
    for i, call in enumerate(calls):
        begun = time.perf_counter_ns()
        found = state.update(*call)
        took[i] = (time.perf_counter_ns() - begun) / 1_000
        told.append(found)
    return took


def _quantiles(took: Array) -> dict[str, float]:
    told = {f"p{q}": round(float(np.percentile(took, q)), 1) for q in (50, 90, 99, 99.9)} if took.size else {}
    return told | {"mean": round(float(took.mean()), 1), "max": round(float(took.max()), 1)} if took.size else told


def _bits(column: Array) -> Array:
    return column.view(np.int32) if column.dtype == np.float32 else column


def flows_of_risk(file: Path) -> tuple[Meter, dict[str, Any]]:
    """Risk from 200 seeds, both directions; the frame with hops; the split of ten accounts."""
    _risk(*loaded(file, _WARM), Meter())
    net, planted = loaded(file)
    meter = Meter()
    sweeps = _risk(net, planted, meter)
    return meter, {"payments": len(net), "seeds": sweeps}


def _risk(net: Network, planted: Array, meter: Meter) -> int:
    at = np.flatnonzero(planted)
    known = net.source[at] if at.size else np.random.default_rng(5).permutation(len(net.nodes))
    chosen = net.nodes.gather(list(dict.fromkeys(known.tolist()))[:_SEEDS])
    seeds = pl.DataFrame({"account_id": chosen}).with_columns(
        weight=pl.lit(1.0), origin=pl.lit("label"), reason=pl.lit("found suspicious")
    )
    as_of = datetime.fromtimestamp(int(net.time[-1]) / 1e6, UTC)
    with meter.lap("risk, both directions"):
        found = risk(net, seeds, as_of=as_of)
    with meter.lap("hops and nearest seeds"):
        frame = found.frame
    most = frame.sort("risk_forward", descending=True)["account_id"].head(10).to_list()
    with meter.lap("split of ten accounts"):
        found.split(most)
    return len(chosen)


def groups(file: Path) -> tuple[Meter, dict[str, Any]]:
    """Communities of the flow graph, anew and from those of a day before."""
    warm, _ = loaded(file, _WARM)
    flow_communities(warm, before=flow_communities(warm))
    net, _ = loaded(file)
    meter = Meter()
    day = datetime.fromtimestamp(int(net.time[-1]) / 1e6, UTC) - timedelta(days=1)
    before = flow_communities(net, as_of=day)
    with meter.lap("anew"):
        found = flow_communities(net)
    with meter.lap("from the day before"):
        flow_communities(net, before=before)
    return meter, {
        "payments": len(net), "communities": found["community_id"].n_unique(), "members": found.height,
    }  # fmt: skip


TASKS: dict[str, Callable[[Path], tuple[Meter, dict[str, Any]]]] = {
    "families": lambda file: batch(file, "families"),
    "full": lambda file: batch(file, "full"),
    "families-parts": lambda file: parts(file, "families"),
    "full-parts": lambda file: parts(file, "full"),
    "families-singles": lambda file: singles(file, "families"),
    "full-singles": lambda file: singles(file, "full"),
    "risk": flows_of_risk,
    "communities": groups,
}


def main() -> None:
    """Do one task and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--population", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    meter, facts = TASKS[given.task](given.population)
    facts = {"peak_mb": _peak_mb(), **facts, "processor": meter.processor}
    given.out.write_text(json.dumps({"seconds": meter.seconds, "facts": facts}))


def _peak_mb() -> int:
    """The most memory of this program alone (``ru_maxrss`` would hold that of whoever started it)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return round(int(found[1]) / 1024) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
