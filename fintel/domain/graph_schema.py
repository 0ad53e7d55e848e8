"""What the graph says of an entry: the columns beside ``entries`` that rules may name."""

from __future__ import annotations

from fintel.domain.column import Column, Table, Type
from fintel.domain.column import column as _c

_UNKNOWN = "empty without an amount in the base currency"


def _fans(who: str, name: str) -> tuple[Column, ...]:
    return tuple(
        _c(f"{name}_fan_{way}_{days}d", Type.INT, f"Different {whom} of {who} in the last {days} days", unit="accounts")
        for way, whom in (("in", "payers"), ("out", "payees"))
        for days in (7, 30)
    )


# fmt: off
ENTRY_GRAPH = Table(
    "entry_graph",
    "What the network of payments says of an entry, as of the entry: payments before it and itself, never a later one.",
    ("entry_id",),
    (
        _c("entry_id", Type.STRING, "As in entries", required=True),
        _c("cycle_hops", Type.INT, "Fewest payments of a cycle in order of time within 7 days that this payment closes; 0: none, 2: a round trip", unit="payments"),
        _c("cycle_conserved", Type.INT, f"Cycles within 7 days, closed by this payment, in which each payment passes on the one before, less a fee at most; {_UNKNOWN}", unit="cycles"),
        _c("cycle_kept_hops", Type.INT, f"Payments in the cycle that keeps most of its amount, of those of three payments or more; 2: there are round trips only; 0: none; {_UNKNOWN}", unit="payments"),
        _c("cycle_retention", Type.FLOAT, f"Smallest amount divided by the largest in that cycle; 0: none; {_UNKNOWN}", unit="share"),
        _c("cycle_hours", Type.FLOAT, "Time from the first payment to this one in the fastest of these cycles; empty without one", unit="h"),
        _c("triangles", Type.INT, "Cycles over three accounts in order of time within 7 days that this payment closes", unit="cycles"),
        _c("chain_hops", Type.INT, f"Payments in the longest chain that ends in this one, each of which passes on the one before within 48 hours, less a fee at most; 1: it follows none; {_UNKNOWN}", unit="payments"),
        _c("chain_retention", Type.FLOAT, "This amount divided by the first of that chain; empty without one", unit="share"),
        _c("chain_hours", Type.FLOAT, "Time from the first payment of that chain to this one; empty without one", unit="h"),
        _c("chain_dwell_hours", Type.FLOAT, "How long the money lay before this payment passed it on in that chain; empty without one", unit="h"),
        _c("peel_hops", Type.INT, f"Payments in the peel chain that ends in this one: each passes on 50 to 99 % of the largest sum that its payer had just received; 1: it follows none; {_UNKNOWN}", unit="payments"),
        _c("peel_retention", Type.FLOAT, "This amount divided by the first of the peel chain; empty without one", unit="share"),
        _c("funded_share", Type.FLOAT, f"Share of this payment that its payer received in the 48 hours before, first in first out; {_UNKNOWN}", unit="share"),
        _c("funded_hours", Type.FLOAT, "How long that money lay, the mean by amount; empty if there was none", unit="h"),
        _c("scatter_gather_mids", Type.INT, "Within a day: most accounts between one account and this payee, each paid by the one before it paid the other; the payer included", unit="accounts"),
        _c("scatter_gather_conserved", Type.INT, f"The same, counting only accounts that passed the amount on, less a fee at most; {_UNKNOWN}", unit="accounts"),
        _c("stack_width", Type.INT, "Within a day: the largest n for which n accounts each reach this payee over n such accounts", unit="accounts"),
        _c("gather_scatter_width", Type.INT, "Within 7 days: accounts that paid the payer before some moment, or that it paid from then on, whichever are fewer, at the moment where that is most", unit="accounts"),
        _c("gather_scatter_passed", Type.FLOAT, "What the payer paid from that moment on, divided by what it had received until then; 0: there is none", unit="ratio"),
        _c("reciprocal_payments", Type.INT, "Payments from this payee to this payer in the 30 days before", unit="payments"),
        _c("reciprocal_balance", Type.FLOAT, "What the two paid each other in 30 days, the smaller sum divided by the larger; 0: nothing came back", unit="share"),
        _c("new_relation", Type.BOOL, "The payer had not paid this payee in the 90 days before (also where the feed begins later)"),
        _c("cycle_truncated", Type.BOOL, "A bound cut the search for cycles short: their columns may be too low here"),
        _c("flow_truncated", Type.BOOL, "The same of chains, peel chains, gather-scatter and reciprocal payments"),
        _c("meeting_truncated", Type.BOOL, "The same of scatter-gather and stacks"),
        _c("graph_truncated", Type.BOOL, "One of these three"),
        *_fans("the account", "own"),
        *_fans("the other side", "counterparty"),
        _c("own_new_counterparties_1d", Type.INT, "Payments of the account in this direction within a day whose other side it had not met in it for 90 days", unit="payments"),
        _c("counterparty_new_counterparties_1d", Type.INT, "The same of the other side: of its receipts if the account pays, of its payments if the account is paid", unit="payments"),
        _c("own_passed_share_7d", Type.FLOAT, "Share of what the account received in 7 days that it has paid on within 48 hours by now, first in first out; empty if it received nothing", unit="share"),
        _c("counterparty_passed_share_7d", Type.FLOAT, "The same of the other side", unit="share"),
        _c("ring_holders", Type.INT, "Holders tied to the account's by phones, e-mails, devices, wallets, handles and documents, over others too, itself included (`fintel/graph/rings.py`); 1: nobody; empty if none is known, or if too many are tied", unit="parties"),
        _c("counterparty_ring_holders", Type.INT, "The same of the other side", unit="parties"),
        _c("counterparty_ring", Type.STRING, "The ring that the other side is in; empty if in none"),
        _c("same_ring", Type.BOOL, "Both sides are in one ring; empty where ring_holders is empty of either"),
    ),
)
