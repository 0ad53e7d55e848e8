"""The network of payments: a directed multigraph in arrays, edges in time order, parallel payments kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt
import polars as pl

from fintel.domain.schema import ACCOUNTS, MONEY_SCALE, MONEY_UNITS
from fintel.features.entries import Tables, booked
from fintel.frames import MONEY, TIMESTAMP, empty

_jit = numba.njit(nogil=True, cache=True)
_ROW = "row"


@dataclass(frozen=True)
class Adjacency:
    """Edge numbers by node, in time order. Edges out of v are ``out_edge[out_start[v]:out_start[v + 1]]``; likewise in.

    Starts: int64 (n + 1,); edges: int32 (m,). Self-transfers stand in both.
    """

    out_start: npt.NDArray[np.int64]
    out_edge: npt.NDArray[np.int32]
    in_start: npt.NDArray[np.int64]
    in_edge: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Network:
    """Payments between nodes, ordered by (time, transaction id): m edges, n nodes.

    ``source, target``: int32 (m,), node numbers. ``time``: int64 (m,) µs UTC. ``amount``: int64 (m,), units of 1e-5 of
    the base currency, -1 where it is unknown. ``row``: uint32 (m,), the payment's row in the transactions table.
    ``nodes``: String (n,), the id by node number: numbers are given in the order in which nodes first pay or are
    paid, so that later payments change none.
    """

    source: npt.NDArray[np.int32]
    target: npt.NDArray[np.int32]
    time: npt.NDArray[np.int64]
    amount: npt.NDArray[np.int64]
    row: npt.NDArray[np.uint32]
    nodes: pl.Series

    def __len__(self) -> int:
        """Edges."""
        return int(self.time.size)

    def csr(self) -> Adjacency:
        """Edges by their source and by their target; made when first asked for."""
        return self._csr

    @cached_property
    def _csr(self) -> Adjacency:
        size = len(self.nodes)
        return Adjacency(*_grouped(self.source, size), *_grouped(self.target, size))

    def numbers(self, ids: pl.Series) -> npt.NDArray[np.int64]:
        """The node number of each id: int64, -1 where no payment names it."""
        known = pl.DataFrame({"id": self.nodes}).with_row_index("number")
        found = ids.cast(pl.String).alias("id").to_frame().join(known, on="id", how="left", maintain_order="left")
        return found["number"].cast(pl.Int64).fill_null(-1).to_numpy()

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The edges in words: ``edge, row, source, target, booked_at, amount_base``."""
        return pl.DataFrame(
            {
                "edge": pl.Series(range(len(self)), dtype=pl.UInt32),
                "row": self.row,
                "source": self.nodes.gather(self.source),
                "target": self.nodes.gather(self.target),
                "booked_at": pl.Series(self.time).cast(TIMESTAMP),
                "units": self.amount,
            }
        ).select(
            "edge", "row", "source", "target", "booked_at",
            amount_base=pl.when(pl.col("units") >= 0).then(_money("units")),
        )  # fmt: skip


def network(tables: Tables, *, as_of: datetime | None = None, by: Literal["account", "party"] = "account") -> Network:
    """The network of the payments that stand as of a moment and have both sides.

    Parameters
    ----------
    tables: canonical tables by name, lazy; ``transactions`` needed, ``accounts`` only for ``by="party"``.
    as_of: nothing booked later is seen.
    by: ``account``: nodes are accounts, or ``name:<name>`` where a payment gives no more of a side;
        ``party``: the holder of the account where it is known, else as before.
    """
    numbered = tables["transactions"].with_row_index(_ROW)
    if by == "party":
        holders = (
            tables.get("accounts", empty(ACCOUNTS).lazy())
            .select("account_id", "party_id")
            .unique("account_id", keep="first")
        )
        for side in ("debtor", "creditor"):
            numbered = numbered.join(
                holders.rename({"account_id": f"{side}_account_id", "party_id": f"{side}_party_id"}),
                on=f"{side}_account_id", how="left", maintain_order="left",
            )  # fmt: skip
    edges = (
        booked(numbered, as_of)
        .select(
            _ROW, "transaction_id", "booked_at", "amount_base", source=_side("debtor", by), target=_side("creditor", by)
        )
        .filter(pl.col("source").is_not_null(), pl.col("target").is_not_null())
        .sort("booked_at", "transaction_id")
        .drop("transaction_id")
        .collect()
    )
    codes, nodes = _numbered(edges["source"], edges["target"])
    return Network(
        source=np.ascontiguousarray(codes[0::2]),
        target=np.ascontiguousarray(codes[1::2]),
        time=edges["booked_at"].to_physical().to_numpy(),
        amount=edges["amount_base"].to_physical().cast(pl.Int64).clip(lower_bound=-1).fill_null(-1).to_numpy(),
        row=edges[_ROW].cast(pl.UInt32).to_numpy(),
        nodes=nodes,
    )


def _money(units: str) -> pl.Expr:
    exact: pl.Expr = (pl.col(units).cast(pl.Decimal(38, MONEY_SCALE)) / MONEY_UNITS).cast(MONEY)
    return exact


def _side(side: str, by: str) -> pl.Expr:
    known = [pl.col(f"{side}_party_id")] if by == "party" else []
    return pl.coalesce(*known, pl.col(f"{side}_account_id"), pl.format("name:{}", f"{side}_name"))


def _numbered(source: pl.Series, target: pl.Series) -> tuple[npt.NDArray[np.int32], pl.Series]:
    """Codes of source and target in turn, int32 (2 m,), and the text of each code, by first appearance."""
    text = pl.DataFrame({"source": source, "target": target}).select(
        pl.concat_list("source", "target").explode(empty_as_null=False).alias("id")
    )["id"]
    nodes = text.unique(maintain_order=True)
    known = pl.DataFrame({"id": nodes}).with_row_index("code")
    codes = text.to_frame().join(known, on="id", how="left", maintain_order="left")["code"]
    return codes.cast(pl.Int32).to_numpy(), nodes.alias("node")


@_jit
def _grouped(end: Any, nodes: int) -> Any:
    """Edge numbers by one of their ends, in order: a counting sort. Returns starts int64 (n + 1,), edges int32 (m,)."""
    start = np.zeros(nodes + 1, np.int64)
    for e in range(end.size):
        start[end[e] + 1] += 1
    for v in range(nodes):
        start[v + 1] += start[v]
    place = start[:nodes].copy()
    edge = np.empty(end.size, np.int32)
    for e in range(end.size):
        edge[place[end[e]]] = e
        place[end[e]] += 1
    return start, edge
