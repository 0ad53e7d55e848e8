"""``fintel graph motifs | around | path | risk``: patterns in the network of payments, with the very payments that make
them."""

from __future__ import annotations

import csv
import html
import io
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fintel.cli.console import (
    errors_explained,
    print_json,
    print_table,
    progress,
    require_writable,
    say,
    visible,
    write_private,
)
from fintel.cli.graph_asked import named, period, require_used, span, tell_if_empty
from fintel.cli.graph_risk import risk
from fintel.cli.options import AsJson, ConfigFile, LakeFolder, RunId, moment, settings_of

if TYPE_CHECKING:
    import polars as pl

    from fintel.graph.motifs import Motifs
    from fintel.graph.surroundings import Surroundings
    from fintel.store.lake import Lake

app = typer.Typer(
    no_args_is_help=True,
    help="The network of payments: motifs, an account's surroundings, ways from one to another, risk from seeds.",
)

#: Numbers that say how many are no larger than this.
_MOST = 1_000_000

Nodes = Annotated[
    Literal["account", "party"],
    typer.Option("--by", help="Who pays and is paid: accounts, or the parties that hold them."),
]
From = Annotated[str | None, typer.Option("--from", help="See nothing earlier than this (ISO date or time, UTC).")]
To = Annotated[str | None, typer.Option("--to", help="See nothing later than this (ISO date or time, UTC).")]


def motifs(
    kind: Annotated[
        list[str] | None, typer.Option("--kind", "-k", help="Kind of motif; may be repeated. Default: every kind.")
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(
            "--account",
            "-a",
            help="Only motifs in which this account (id, alert id or rank) takes part; may be repeated.",
        ),
    ] = None,
    since: From = None,
    until: To = None,
    within: Annotated[
        str | None,
        typer.Option(
            help="Payments of a motif lie no further apart: 36h, 7d. Chains and peel chains: each from the one before; "
            "smurfing: of each scatter-gather. Default: the kind's own."
        ),
    ] = None,
    at_least: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="Payers, payees, mids or payments at least. Default: the kind's own."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, max=0.99, help="Amount rule: shares by which an amount may differ, e.g. 0.05."),
    ] = None,
    fee: Annotated[
        float, typer.Option(min=0, max=0.99, help="Amount rule: share that may stay behind each time.")
    ] = 0.0,
    hops: Annotated[int | None, typer.Option(min=2, max=64, help="Payments of a cycle at most. Default: 10.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="Motifs of a kind to tell, the strongest first.")] = 20,
    cap: Annotated[
        int,
        typer.Option(
            min=2, max=_MOST, help="An account with more payments (fans: counterparties) in a window is a hub: skipped."
        ),
    ] = 512,
    payments: Annotated[bool, typer.Option("--payments", "-p", help="Show the payments of each motif too.")] = False,
    by: Nodes = "account",
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line a payment.")] = False,
) -> None:
    """Motifs in the network of payments, each with the payments that make it.

    Kinds: fan-in, fan-out, gather-scatter, scatter-gather, cycle, chain, stack, funnel, smurfing, peel-chain,
    reciprocal, burst, triangle. Accounts at which a bound or the hub policy cut a search short are named, never
    silently left out.

    [dim]fintel graph motifs --kind cycle --within 7d --tolerance 0.1[/]
    """
    with errors_explained():
        from fintel.errors import ConfigError
        from fintel.graph.motifs import HOPS, KINDS, find
        from fintel.graph.network import network
        from fintel.graph.ways import between
        from fintel.pipeline import canonical_tables
        from fintel.store.lake import Lake

        if as_json and as_csv:
            raise ConfigError("--json and --csv at once", hint="one of them")
        window, (first, last) = span(within), period(since, until)
        kinds = kind or list(KINDS)
        require_used(kind or [], tolerance, fee, hops, at_least)
        with Lake.open(settings_of(config, lake).lake) as store, progress() as show:
            tables = canonical_tables(store)
            show("network", 0, 1)
            net = network(tables, as_of=last, by=by)
            tell_if_empty(between(net, first, last), since, until)
            wanted = [named(store, name, net.nodes, by=by, accounts=tables.get("accounts")) for name in account or ()]
            found = {}
            for done, name in enumerate(kinds):
                show("motifs", done, len(kinds))
                found[name] = find(
                    net, name, accounts=wanted or None, since=first, until=last, within=window, tolerance=tolerance,
                    fee=fee, hops=hops or HOPS, at_least=at_least, limit=limit, cap=cap,
                    tables=tables,
                )  # fmt: skip
        if as_json:
            print_json(
                {
                    name: {part: getattr(m, part).to_dicts() for part in ("instances", "edges", "skipped")}
                    for name, m in found.items()
                }
            )
        elif as_csv:
            sys.stdout.write(_csv(found))
        else:
            for name, m in found.items():
                _show(name, m, payments)


def _show(name: str, found: Motifs, payments: bool) -> None:
    import polars as pl

    from fintel.graph.motifs import KINDS, LIMITED

    if found.instances.is_empty():
        say(f"{name}: none")
    else:
        columns = ["motif_id", "account_id", "begun", "ended", "accounts", "payments", "amount", "retention"]
        kind = KINDS[name]
        print_table(
            f"{name}: {kind.doc} (account: {kind.anchor})",
            columns,
            found.instances.select(columns).iter_rows(),
            right=columns[4:],
        )
        if payments:
            for motif_id, edges in found.edges.group_by("motif_id", maintain_order=True):
                shown = edges.select("hop", "booked_at", "source", "target", "amount_base", "transaction_id")
                print_table(str(motif_id[0]), shown.columns, shown.iter_rows(), right=("hop", "amount_base"))
    limited = pl.col("reason").str.ends_with(LIMITED)
    untold, bounds = (found.skipped.filter(which) for which in (limited, ~limited))
    if not untold.is_empty():
        say(f"{name}: {untold['edges'].sum():,} more are not told, the weaker ones (--limit)")
    for row in bounds.head(5).iter_rows(named=True):
        say(f"{name}: not all seen at {row['account_id']}: {row['reason']} ({row['edges']:,} times)")
    if bounds.height > 5:
        say(f"{name}: not all seen at {bounds.height - 5:,} more accounts (--json lists them)")


def _csv(found: dict[str, Motifs]) -> str:
    from fintel.reports.attachment import safe_cell

    columns = [
        "motif_id", "kind", "account_id", "hop", "source", "target", "booked_at", "amount_base", "transaction_id",
    ]  # fmt: skip
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(columns)
    for m in found.values():
        joined = m.edges.join(
            m.instances.select("motif_id", "kind", "account_id"), on="motif_id", maintain_order="left"
        )
        for row in joined.select(columns).iter_rows():
            writer.writerow(["" if v is None else _cell(v, safe_cell) for v in row])
    return text.getvalue()


def _cell(value: object, safe: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return safe(value)  # type: ignore[operator, no-any-return]
    return str(value)


def around(
    account: Annotated[str, typer.Argument(help="Account id, alert id, or rank; a party's id with --by party.")],
    hops: Annotated[int, typer.Option(min=1, max=6, help="Steps from the account.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="Look at so many days before --to.")] = 30,
    until: To = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", "-p", help="Write a picture here: .svg or .html.")
    ] = None,
    hub: Annotated[
        int, typer.Option(min=1, max=_MOST, help="An account with more counterparties is one node, not looked behind.")
    ] = 100,
    by: Nodes = "account",
    run: RunId = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Who pays an account and whom it pays: sums, days, hits of the last run, seeds of risk.

    In the picture money goes from left to right, colour is time; hubs are one node with a count.

    [dim]fintel graph around 1 --hops 2 --picture around.html[/]
    """
    with errors_explained():
        from fintel.graph.network import network
        from fintel.graph.seeds import seeds
        from fintel.graph.surroundings import around as look
        from fintel.graph.ways import between
        from fintel.pipeline import canonical_tables, last_moment
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        if picture is not None:
            _form(picture)
        with Lake.open(settings.lake) as store, progress() as show:
            tables = canonical_tables(store)
            last = moment(until) or last_moment(store)
            run_id, episodes = _episodes(store, run)
            show("network", 0, 1)
            net = between(network(tables, as_of=last, by=by), _days_before(last, days), last)
            wanted = named(store, account, net.nodes, run=run_id, by=by, accounts=tables.get("accounts"))
            found = look(net, wanted, hops=hops, hub=hub)
            marked = seeds(tables, last, episodes)["account_id"]
        hits = _hits(episodes)
        known = [name for name in found.nodes["account_id"].drop_nulls() if name in set(marked)]
        if picture is not None:
            _draw(picture, found, hits, known, settings.base_currency, days)
            say(f"wrote {picture}")
        if as_json:
            nodes = [
                {**n, "hits": hits.get(n["account_id"], 0), "seed": n["account_id"] in known}
                for n in found.nodes.to_dicts()
            ]
            print_json({"account_id": wanted, "run_id": run_id, "nodes": nodes, "edges": found.edges.to_dicts()})
            return
        marks = {
            node: ("★" if hits.get(account) else "") + ("◆" if account in known else "")
            for node, account in found.nodes.select("node", "account_id").iter_rows()
        }
        columns = ["source", "target", "payments", "amount", "first", "last"]
        rows = [
            (f"{r[0]} {marks[r[0]]}".strip(), f"{r[1]} {marks[r[1]]}".strip(), *r[2:])
            for r in found.edges.sort("amount", "source", "target", descending=[True, False, False])
            .select(columns)
            .iter_rows()
        ]
        print_table(f"around {wanted}, {days} days (★ hit, ◆ seed)", columns, rows, right=("payments", "amount"))
        for n in found.nodes.filter("hub").iter_rows(named=True):
            say(f"{n['node']} is a hub with {n['counterparties']:,} counterparties: not looked behind (--hub)")


def _days_before(last: datetime, days: int) -> datetime:
    """The moment so many days before, or the first that there is."""
    span_there_is = last - datetime.min.replace(tzinfo=last.tzinfo)
    return last - min(timedelta(days=days), span_there_is)


def _episodes(store: Lake, run: str | None) -> tuple[str | None, pl.DataFrame | None]:
    """The run to read, and its episodes; none if there is no run yet."""
    from fintel.alerts import latest_run_id
    from fintel.errors import StoreError

    try:
        run_id = run or latest_run_id(store)
    except StoreError:
        return None, None
    return run_id, store.run_table(run_id, "episodes").collect()


def _hits(episodes: pl.DataFrame | None) -> dict[str, int]:
    """How many rules hit each account."""
    if episodes is None:
        return {}
    return dict(episodes.group_by("account_id").n_unique().select("account_id", "rule_id").iter_rows())


def _form(picture: Path) -> None:
    from fintel.errors import ConfigError

    if picture.suffix not in (".svg", ".html", ".htm"):
        raise ConfigError(f"a picture is .svg or .html, not '{picture.suffix}'")
    require_writable(picture)


def _draw(picture: Path, found: Surroundings, hits: dict[str, int], seeds: list[str], currency: str, days: int) -> None:
    from fintel.reports.surroundings import Line, Node, surroundings

    nodes = [
        Node(n["node"], n["label"], n["step"], n["counterparties"], n["hub"], n["account_id"] is None, n["behind"])
        for n in found.nodes.iter_rows(named=True)
    ]
    lines = [Line(**e) for e in found.edges.iter_rows(named=True)]
    title = f"Around {found.account_id}, {days} days"
    svg = surroundings(nodes, lines, title=title, currency=currency, hits=hits, seeds=seeds)
    if picture.suffix == ".svg":
        write_private(picture, svg)
        return
    heading = html.escape(visible(title))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{heading}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    )
    write_private(picture, f"{head}<body><h1>{heading}</h1>{svg}</body></html>\n")


def path(
    source: Annotated[str, typer.Argument(help="Where the money sets out: account id, alert id, or rank.")],
    target: Annotated[str, typer.Argument(help="Where it arrives: the same.")],
    hops: Annotated[int, typer.Option(min=1, max=32, help="Payments at most.")] = 6,
    since: From = None,
    until: To = None,
    by: Nodes = "account",
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """The best way that money can have gone from one account to another, with its payments.

    Each payment is later than the one before. Best: fewest payments, then the largest sum that got through, then the
    earliest.

    [dim]fintel graph path ACC-0042 ACC-0815[/]
    """
    with errors_explained():
        from fintel.errors import FintelError
        from fintel.graph.network import network
        from fintel.graph.ways import between, way
        from fintel.pipeline import canonical_tables
        from fintel.store.lake import Lake

        first, last = period(since, until)
        with Lake.open(settings_of(config, lake).lake) as store, progress() as show:
            tables = canonical_tables(store)
            show("network", 0, 1)
            net = between(network(tables, as_of=last, by=by), first, last)
            tell_if_empty(net, since, until)
            accounts = tables.get("accounts")
            source, target = (named(store, end, net.nodes, by=by, accounts=accounts) for end in (source, target))
            found = way(net, source, target, hops=hops)
            if found.is_empty():
                raise FintelError(
                    f"no way in time order of at most {hops} payments leads from '{source}' to '{target}'",
                    hint="more --hops, another period, or the other direction",
                )
            rows = tables["transactions"].select("transaction_id").with_row_index("row")
            found = found.join(
                rows.join(found.lazy().select("row"), on="row", how="semi").collect(), on="row", maintain_order="left"
            )
        shown = found.select("hop", "booked_at", "source", "target", "amount_base", "transaction_id")
        if as_json:
            print_json(shown.to_dicts())
            return
        print_table(f"from {source} to {target}", shown.columns, shown.iter_rows(), right=("hop", "amount_base"))


app.command()(motifs)
app.command()(around)
app.command()(path)
app.command()(risk)
