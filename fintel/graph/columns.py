"""The catalogue of edge columns, and what they say of an account as of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import polars as pl

from fintel.errors import FintelError, did_you_mean
from fintel.graph import kernels_cycles, kernels_flows, kernels_meetings, kernels_statistics
from fintel.graph.layout import MICROSECOND, GraphColumn, Part, Settings
from fintel.graph.network import Network

#: Families by name: what each says.
FAMILIES: dict[str, str] = {
    "statistics": "how much, how often and with how many both ends pay and are paid",
    "meetings": "money that meets again over two steps: scatter-gather, stacks, triangles",
    "cycles": "money that comes back in time order",
    "flows": "money passed on, what both ends have to do with each other, new counterparties",
}
_PARTS: dict[str, Callable[[Settings], tuple[Part, ...]]] = {
    "statistics": kernels_statistics.parts,
    "meetings": kernels_meetings.parts,
    "cycles": kernels_cycles.parts,
    "flows": kernels_flows.parts,
}
#: A column of every result: 1 where a bound of some family cut the search for this payment short.
TRUNCATED = GraphColumn(
    "truncated", "bounds", "flag", "1 where a bound (neighbours looked at, steps) cut a search short"
)
_ENDS = ("source_", "target_")


def parts(settings: Settings, families: Iterable[str] | None = None) -> tuple[Part, ...]:
    """The parts of some families, of all by default. Raises ``FintelError`` on a family that there is not."""
    chosen = tuple(FAMILIES) if families is None else tuple(dict.fromkeys(families))
    for name in chosen:
        if name not in _PARTS:
            raise FintelError(f"there is no family '{name}' of graph columns", hint=did_you_mean(name, FAMILIES))
    return tuple(part for name in chosen for part in _PARTS[name](settings))


def columns(settings: Settings | None = None, families: Iterable[str] | None = None) -> tuple[GraphColumn, ...]:
    """All edge columns in the order of the result."""
    found = [c for part in parts(settings or Settings(), families) for c in part.columns]
    return (*found, TRUNCATED)


def account_columns(
    network: Network,
    features: pl.DataFrame,
    *,
    as_of: datetime | None = None,
    within: timedelta = timedelta(days=30),
    settings: Settings | None = None,
) -> pl.DataFrame:
    """What edge columns say of each account as of a moment: one row a node, in the network's order.

    Only payments in (as_of - within, as_of] count; ``as_of`` is the last payment's time by default. Nodes without one
    have nulls. A column of one end (``source_…``, ``target_…``) describes the account at each payment that it makes
    or gets; it gives ``<column without the end>_max`` and ``…_last``. Any other describes the payment; it gives
    ``paid_…_max`` (payments that the account made), ``received_…_max`` (that it got), and for counts that are no
    lengths also ``…_sum``. NaN is left out; null is what has nothing left.

    Parameters
    ----------
    network, features: the m edges and their ``edge_features``, row by row.
    settings: what the features were made with.
    """
    last = int(network.time[-1]) if len(network) else 0
    moment = last if as_of is None else (as_of - datetime.fromtimestamp(0, tz=as_of.tzinfo)) // MICROSECOND
    known = {c.name: c for c in columns(settings) if c.name in features.columns}
    inside = (network.time > moment - within // MICROSECOND) & (network.time <= moment)
    rows = features.select(*known).with_columns(source=network.source, target=network.target).filter(pl.Series(inside))
    of_end = list(dict.fromkeys(name.split("_", 1)[1] for name in known if name.startswith(_ENDS)))
    of_payment = [c for name, c in known.items() if not name.startswith(_ENDS)]
    order = pl.DataFrame({"node": pl.Series(range(len(network.nodes)), dtype=pl.Int32)})
    sides = [_by_end(rows, of_end)]
    for end, word in (("source", "paid"), ("target", "received")):
        sides.append(rows.group_by(pl.col(end).alias("node")).agg(_of_payments(of_payment, word)))
    for side in sides:
        order = order.join(side, on="node", how="left", maintain_order="left")
    return order.drop("node").insert_column(0, network.nodes.alias("account_id"))


def _by_end(rows: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """The largest and the latest value of each column of an end, whichever end the account was."""
    ends = [
        rows.with_row_index("at").select(
            "at",
            pl.col(end).alias("node"),
            *[pl.col(f"{end}_{n}").alias(n) for n in names if f"{end}_{n}" in rows.columns],
        )
        for end in ("source", "target")
    ]
    both = pl.concat(ends, how="diagonal").sort("at", maintain_order=True)
    return both.group_by("node").agg(
        *[_plain(both, n).max().alias(f"{n}_max") for n in names],
        *[_plain(both, n).last(ignore_nulls=True).alias(f"{n}_last") for n in names],
    )


def _of_payments(found: list[GraphColumn], word: str) -> list[pl.Expr]:
    largest = [
        (pl.col(c.name).fill_nan(None) if c.kind == "real" else pl.col(c.name)).max().alias(f"{word}_{c.name}_max")
        for c in found
    ]
    # Lengths and flags are of the same kind as counts, but nobody adds lengths.
    added = [c for c in found if c.kind == "count" and c.unit not in ("hops", "payments", "seconds")]
    return largest + [pl.col(c.name).cast(pl.Int64).sum().alias(f"{word}_{c.name}_sum") for c in added]


def _plain(frame: pl.DataFrame, name: str) -> pl.Expr:
    return pl.col(name).fill_nan(None) if frame.schema[name].is_float() else pl.col(name)


def reference() -> str:
    """The reference page, Markdown; columns that differ in their window only share a line."""
    settings = Settings()
    lines = [
        "# Graph columns of a payment",
        "",
        "Names that models and `fintel.graph` use. Rules and `fintel sql` read others, made of these:",
        "[`entry_graph`](tables.md#entry_graph).",
        "",
        "Made from the kernels of `fintel/graph` with their default settings. Every column is as of the payment: all",
        "payments before it in (time, transaction id) order and itself, none after. A window is (t - window, t].",
        "Counts are whole numbers; others are floats of 32 bits, NaN where they are undefined.",
        "*base* is the base currency. Transfers of an account to itself count nowhere.",
    ]
    for family, what in {**FAMILIES, TRUNCATED.family: "where a search was cut short"}.items():
        lines += ["", f"## {family}: {what}", "", "| name | windows | unit | what |", "|---|---|---|---|"]
        shared: dict[tuple[str, str, str], list[str]] = {}
        for column in columns(settings):
            if column.family == family:
                span = settings.label(column.window) if column.window else ""
                windowed = bool(span) and column.name.endswith(f"_{span}")
                stem = column.name.removesuffix(span) + "…" if windowed else column.name
                shared.setdefault((stem, column.unit, column.doc), []).append(span)
        for (name, unit, doc), spans in shared.items():
            lines.append(f"| `{name}` | {', '.join(filter(None, spans)) or '–'} | {unit} | {doc.rstrip('.')} |")
    return "\n".join(lines) + "\n"
