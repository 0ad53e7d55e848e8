"""What words on the command line of ``fintel graph`` mean: a node of the network, a period, a length of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from fintel.cli.console import say
from fintel.cli.options import moment

if TYPE_CHECKING:
    import polars as pl

    from fintel.graph.network import Network
    from fintel.store.lake import Lake

#: So many ids are compared with one that nobody has.
_COMPARED = 1_000
_SPAN = re.compile(r"(\d{1,6})([dhm])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}


def named(
    store: Lake,
    wanted: str,
    nodes: pl.Series,
    *,
    run: str | None = None,
    by: str = "account",
    accounts: pl.LazyFrame | None = None,
) -> str:
    """The node that a node's id, an account's id, an alert's id or a rank of a run means; a node's id first.

    Parameters
    ----------
    nodes: ids of the network's nodes (`nodes`, text).
    run: the run whose ranks and alerts are meant; the latest by default.
    by: ``party``: an account means its holder, if ``accounts`` (``account_id, party_id``) knows one.

    Raises
    ------
    FintelError: no payment names it; the hint has the nearest id that one names.
    StoreError: a number that is both a rank and an account.
    """
    from fintel.alerts import find_alert
    from fintel.errors import StoreError

    if (nodes == wanted).any():
        return wanted
    meant = _holder(wanted, accounts) if by == "party" else wanted
    if (nodes == meant).any():
        return meant
    try:
        meant = str(find_alert(store, wanted, run).alert["account_id"])
    except StoreError as missing:
        if (missing.hint or "").startswith("write '#"):
            raise
        raise _unnamed(wanted, nodes, by) from missing
    meant = _holder(meant, accounts) if by == "party" else meant
    if not (nodes == meant).any():
        raise _unnamed(meant, nodes, by)
    return meant


def _holder(account: str, accounts: pl.LazyFrame | None) -> str:
    import polars as pl

    if accounts is None:
        return account
    found = accounts.filter(pl.col("account_id") == account).select("party_id").drop_nulls().head(1).collect()
    return account if found.is_empty() else str(found.item())


def _unnamed(wanted: str, nodes: pl.Series, by: str) -> Exception:
    from fintel.errors import FintelError, did_you_mean

    alike = nodes.str.contains(wanted, literal=True)
    if len(wanted) > 4:
        alike |= nodes.str.starts_with(wanted[:-2]) | nodes.str.ends_with(wanted[2:])
    near = did_you_mean(wanted, nodes.filter(alike.fill_null(value=False)).head(_COMPARED).to_list())
    columns = "account_id" if by == "account" else "party_id, account_id"
    ask = f"{'an account id' if by == 'account' else 'a party or an account'}, an alert id, or a rank of the last run"
    return FintelError(
        f"no payment names the {by} '{wanted}'", hint=near or f"{ask}; fintel sql 'select {columns} from accounts'"
    )


def period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The two ends of ``--from`` and ``--to``, in UTC; dates are whole days, both included.

    Raises
    ------
    ConfigError: one is not ISO 8601, or the first is later than the last.
    """
    from fintel.errors import ConfigError

    first, last = moment(since), moment(until)
    if first is not None and since is not None and len(since) == 10:
        first = datetime.combine(first.date(), time.min, UTC)
    if first is not None and last is not None and first > last:
        raise ConfigError(f"--from {since} is later than --to {until}", hint="the earlier one is --from")
    return first, last


def tell_if_empty(net: Network, since: str | None, until: str | None) -> None:
    """Say so where a period holds no payments: that nothing is found means nothing then."""
    if not len(net):
        ends = " ".join(f"{word} {text}" for word, text in (("from", since), ("to", until)) if text)
        say(f"no payments {ends} have two sides: nothing to look at" if ends else "no payments have two sides")


def span(text: str | None) -> timedelta | None:
    """An option's length of time: ``36h``, ``7d``, ``90m``.

    Raises
    ------
    ConfigError: something else.
    """
    from fintel.errors import ConfigError

    if text is None:
        return None
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"'{text}' is not a length of time", hint="a number and d, h or m: 7d, 36h, 90m")
    return int(found[1]) * _UNITS[found[2]]


def require_used(kinds: list[str], tolerance: float | None, fee: float, hops: int | None, at_least: int | None) -> None:
    """Refuse what the kinds that were asked for would pass over in silence."""
    from fintel.errors import ConfigError
    from fintel.graph.motifs import HOPS, KINDS

    asked = {name: KINDS[name] for name in kinds if name in KINDS}
    if (tolerance is not None or fee) and asked and all(kind.amounts == "none" for kind in asked.values()):
        raise ConfigError(f"{', '.join(asked)}: has no amount rule", hint="leave out --tolerance and --fee")
    if hops is not None and asked and "cycle" not in asked:
        raise ConfigError("--hops is for cycles", hint="-k cycle; chains are told at their full length")
    if at_least is not None and asked and not any(kind.of for kind in asked.values()):
        raise ConfigError(f"{', '.join(asked)}: has no --at-least", hint="leave it out")
    least = at_least or KINDS["cycle"].at_least
    if (hops is not None or "cycle" in asked) and least > (hops or HOPS):
        raise ConfigError(
            f"no cycle has at least {least} and at most {hops or HOPS} payments",
            hint="two accounts that pay each other: -k reciprocal"
            if hops == 2
            else "more --hops or a smaller --at-least",
        )
