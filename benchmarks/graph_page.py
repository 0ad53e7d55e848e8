"""The page of ``graph.py``: what was measured, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fintel.bench.explain_page import table

_NAMES = {
    "even": "even",
    "hub": "hub-heavy",
    "dense": "dense",
    "core": "dense with a core",
    "synth": "`fintel synth`",
    "largest": "even, the largest",
}
_WHAT = {
    "families": "fintel, the yardstick's families, one window",
    "full": "fintel, everything, three windows",
    "paper": "yardstick, as its authors describe it, two threads",
    "lean": "yardstick, the same figures only, two threads",
    "paper-1": "yardstick, as its authors describe it, one thread",
    "lean-1": "yardstick, the same figures only, one thread",
}
_LEAST = {"even": 10, "dense": 10, "core": 10, "hub": 35}
_BATCHES = ["network", "contender", "payments", "seconds", "CPU s", "payments a second", "columns", "cut short",
            "peak MB", "load"]  # fmt: skip
_RATIOS = ["network", "seconds, as its authors describe it", "seconds, the same figures only",
           "CPU seconds, as its authors describe it, one thread", "CPU seconds, the same figures only, one thread",
           "to reach"]  # fmt: skip
YARDSTICKS = ("paper", "lean", "paper-1", "lean-1")
_GROWTH = ["payments", "families, seconds", "µs a payment", "everything, seconds", "µs a payment", "peak MB"]
_SINGLES = ["network", "contender", "p50 µs", "p99 µs", "p99.9 µs", "128 at once: p50, p99 ms", "unequal to batch"]
_FLOWS = ["network", "payments", "risk, both directions", "hops and nearest seeds", "split of ten accounts",
          "communities anew", "from the day before"]  # fmt: skip

Found = Mapping[str, Any]


def page(found: Found) -> str:
    """All tables that there are figures for."""
    networks = found["networks"]
    v = found["versions"]
    yardstick = next(
        (o["facts"]["version"] for n in networks.values() for o in n["outcomes"].values() if "version" in o["facts"]),
        None,
    )
    lines = [
        f"Measured on {found['day']}: {found['cores']} cores, Python {v['python']}, numba {v['numba']}, "
        f"numpy {v['numpy']}, polars {v['polars']}, networkit {v['networkit']}"
        + (f"; yardstick snapml {yardstick}, batch 2048." if yardstick else "."),
        "",
        "### Columns of all payments at once",
        "",
        *table(_BATCHES, _batches(networks)),
    ]
    if yardstick:
        lines += ["", "### Beside the yardstick: its seconds a payment by ours", "", *table(_RATIOS, _ratios(networks))]
    sections = [
        ("Growth, even network", _GROWTH, _growth(found["growth"])),
        ("One payment at a time", _SINGLES, _singles(networks)),
        (
            "Where the time goes: everything, part after part on one thread, seconds",
            ["part", *_known(networks, "full-parts")],
            _parts(networks),
        ),
        ("Risk and communities, CPU seconds", _FLOWS, _flows(networks)),
    ]
    for title, head, rows in sections:
        if rows:
            lines += ["", f"### {title}", "", *table(head, rows)]
    lines += ["", "### Targets", "", *table(["target", "measured", ""], list(_targets(found)))]
    return "\n".join(lines) + "\n"


def _known(networks: Found, task: str) -> list[str]:
    return [_NAMES[name] for name, network in networks.items() if task in network["outcomes"]]


def _batches(networks: Found) -> list[list[str]]:
    rows = []
    for name, network in networks.items():
        for task in ("families", "full", *YARDSTICKS):
            outcome = network["outcomes"].get(task)
            if outcome is None:
                continue
            facts = outcome["facts"]
            if outcome["ended"]:
                rows.append([_NAMES[name], _WHAT[task], "", outcome["ended"], "", "", "", "", f"{outcome['peak_mb']:,}",
                             _load(outcome)])  # fmt: skip
                continue
            cut = f"{facts['truncated'] / facts['payments']:.1%}" if "truncated" in facts else ""
            rows.append([
                _NAMES[name], _WHAT[task], f"{facts['payments']:,}", f"{outcome['seconds']['features']:.2f}",
                f"{_used(outcome) * facts['payments']:.2f}",
                f"{_rate(outcome):,.0f}", str(facts["columns"]), cut, f"{facts['peak_mb']:,}", _load(outcome),
            ])  # fmt: skip
    return rows


def _load(outcome: Found) -> str:
    return f"{outcome['load']:.1f}–{outcome.get('load_after', outcome['load']):.1f}"


def _used(outcome: Found) -> float:
    """Processor seconds a payment."""
    used = outcome["facts"]["processor"]
    return float((used["features"] if isinstance(used, dict) else used) / outcome["facts"]["payments"])


def _rate(outcome: Found) -> float:
    return float(outcome["facts"]["payments"] / outcome["seconds"]["features"])


def _ratio(network: Found, kind: str) -> float | None:
    ours, theirs = (network["outcomes"].get(task) for task in ("families", kind))
    if not ours or not theirs or theirs["ended"]:
        return None
    return _used(theirs) / _used(ours) if kind.endswith("-1") else _rate(ours) / _rate(theirs)


def _ratios(networks: Found) -> list[list[str]]:
    def told(ratio: float | None) -> str:
        return "" if ratio is None else f"{ratio:.1f}"

    return [
        [_NAMES[name], *(told(_ratio(network, kind)) for kind in YARDSTICKS), str(_LEAST.get(name, ""))]
        for name, network in networks.items()
    ]


def _growth(growth: Found) -> list[list[str]]:
    rows = []
    for size, outcomes in growth.items():
        if not outcomes:
            continue
        cells = [f"{int(size):,}"]
        for task in ("families", "full"):
            seconds = outcomes[task]["seconds"]["features"] if task in outcomes else 0.0
            cells += [f"{seconds:.2f}", f"{1e6 * seconds / int(size):.2f}"]
        rows.append([*cells, f"{max(o['facts']['peak_mb'] for o in outcomes.values()):,}"])
    return rows


def _singles(networks: Found) -> list[list[str]]:
    rows = []
    for name, network in networks.items():
        ours, theirs = (network["outcomes"].get(task) for task in ("full-singles", "lean-1"))
        if ours:
            f = ours["facts"]
            took, by = f["one_at_a_time_us"], f["by_128_ms"]
            unequal = ", ".join(f["unequal_columns"]) or f"none of {f['columns']}"
            rows.append([_NAMES[name], _WHAT["full"], *(f"{took[q]:.1f}" for q in ("p50", "p99", "p99.9")),
                         f"{by['p50']:.2f}, {by['p99']:.2f}", unequal])  # fmt: skip
        if theirs and "one_at_a_time_us" in theirs["facts"]:
            took = theirs["facts"]["one_at_a_time_us"]
            rows.append([_NAMES[name], _WHAT["lean-1"], f"{took['p50']:.1f}", f"{took['p99']:.1f}", "", "", ""])
    return rows


def _parts(networks: Found) -> list[list[str]]:
    held = [n["outcomes"]["full-parts"]["seconds"] for n in networks.values() if "full-parts" in n["outcomes"]]
    if not held:
        return []
    rows = [[part.replace("_", " "), *(f"{seconds[part]:.2f}" for seconds in held)] for part in held[0]]
    return [*rows, ["all", *(f"{sum(seconds.values()):.2f}" for seconds in held)]]


def _flows(networks: Found) -> list[list[str]]:
    rows = []
    for name, network in networks.items():
        risk, groups = (network["outcomes"].get(task) for task in ("risk", "communities"))
        if risk and groups:
            used = [*risk["facts"]["processor"].values(), *groups["facts"]["processor"].values()]
            rows.append([_NAMES[name], f"{risk['facts']['payments']:,}", *(f"{seconds:.2f}" for seconds in used)])
    return rows


def _targets(found: Found) -> Iterable[Sequence[str]]:
    networks = found["networks"]

    def outcome(name: str, task: str) -> Any:
        return networks.get(name, {}).get("outcomes", {}).get(task)

    def told(what: str, measured: str, met: bool) -> Sequence[str]:
        return [what, measured, "met" if met else "missed"]

    for name in ("even", "hub"):
        if one := outcome(name, "families"):
            yield told(
                f"families, {_NAMES[name]}: 500,000 payments a second", f"{_rate(one):,.0f}", _rate(one) >= 500_000
            )
    for name in ("even", "hub", "dense", "synth"):
        if one := outcome(name, "full"):
            yield told(
                f"everything, {_NAMES[name]}: 150,000 payments a second", f"{_rate(one):,.0f}", _rate(one) >= 150_000
            )
    if one := outcome("largest", "full"):
        seconds, peak = one["seconds"]["features"], one["facts"]["peak_mb"]
        yield told(f"everything, {one['facts']['payments']:,} payments: 45 s", f"{seconds:.1f} s", seconds <= 45)
        yield told("the same in 4 GB", f"{peak:,} MB", peak <= 4_000)
    for name, least in _LEAST.items():
        for kind in YARDSTICKS:
            if name in networks and (ratio := _ratio(networks[name], kind)) is not None:
                yield told(f"{_NAMES[name]}: {least} × the {_WHAT[kind]}", f"{ratio:.1f}", ratio >= least)
    for name in ("even", "hub", "dense", "synth"):
        if one := outcome(name, "full-singles"):
            facts = one["facts"]
            p99 = facts["one_at_a_time_us"]["p99"]
            yield told(f"one at a time, {_NAMES[name]}: p99 100 µs", f"{p99:.1f} µs", p99 <= 100)
            unequal = len(facts["unequal_columns"])
            yield told(
                f"one at a time, {_NAMES[name]}: equal to batch, to the bit", f"{unequal} columns differ", not unequal
            )
    if one := outcome("even", "risk"):
        used = one["facts"]["processor"]["risk, both directions"]
        yield told("risk from seeds, even: 0.3 CPU seconds", f"{used:.2f} (both directions)", used <= 0.3)
    if one := outcome("even", "communities"):
        used = one["facts"]["processor"]["anew"]
        yield told("communities, even: 3 CPU seconds", f"{used:.2f}", used <= 3)
