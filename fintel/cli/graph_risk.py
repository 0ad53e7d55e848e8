"""``fintel graph risk``: whose money came from accounts that somebody pointed at, and over which payments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import errors_explained, print_json, print_table, progress, say, tell
from fintel.cli.graph_asked import named
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of

if TYPE_CHECKING:
    import polars as pl

    from fintel.config import Settings
    from fintel.graph.suspicion import GraphRisk
    from fintel.store.lake import Lake

_PARTS = 5


def risk(
    account: Annotated[
        list[str] | None,
        typer.Option("--account", "-a", help="Only this account (id, alert id or rank); may be repeated."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", "-n", min=1, max=1_000_000, help="Accounts to show, the riskiest first.")
    ] = 10,
    as_of: AsOf = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Accounts whose money came from seeds: how much from which seed, and the strongest chain of payments.

    Seeds are accounts found suspicious (labels known by then), those that partners named, and those that a rule of
    high level hit in the last run (risk_seeds in \\[ranking] says which). Cleared accounts and victims are none.

    [dim]fintel graph risk --top 5[/]     [dim]fintel graph risk --account ACC-0042 --json[/]
    """
    with errors_explained():
        import polars as pl

        from fintel.graph.suspicion import of_tables
        from fintel.pipeline import canonical_tables, last_moment
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        with Lake.open(settings.lake) as store, progress() as show:
            tables = canonical_tables(store)
            at = moment(as_of) or last_moment(store)
            account = [named(store, name, _payers_and_payees(tables)) for name in account or ()]
            show("risk from seeds", 0, 0)
            origins = settings.ranking.risk_seeds
            found = of_tables(tables, at, origins=origins, episodes=_episodes(store, settings))
            reasons = found.reasons.sort("bits", "account_id", descending=[True, False])
            if account:
                reasons = reasons.filter(pl.col("account_id").is_in(account))
            shown = reasons.filter(
                pl.col("account_id").is_in(reasons["account_id"].unique(maintain_order=True).head(top))
            )
            payments = _payments(tables, shown)
        if as_json:
            print_json({"as_of": at, "seeds": found.seeds.height, "accounts": _nested(found, shown, payments)})
            return
        if found.seeds.is_empty():
            say(
                f"no seeds as of {at:%Y-%m-%d}: no label says suspicious, no partner named an account, and no rule of "
                f"high level hit one by then (kinds that count: {', '.join(origins) or 'none'})"
            )
            say("fintel feed add reads labels and lists of partners; fintel detect runs the rules")
            return
        if shown.is_empty():
            say(f"{found.seeds.height:,} seeds, but their money makes no reason for {_whom(account)}")
            return
        _show(found, shown, payments)
        say(f"{found.reasons['account_id'].n_unique():,} accounts have money from {found.seeds.height:,} seeds")


def _whom(account: list[str] | None) -> str:
    return f"'{', '.join(account)}'" if account else "any account"


def _episodes(store: Lake, settings: Settings) -> pl.DataFrame | None:
    """Of the latest run; none where no rule's hits count, or nothing ran yet."""
    run = store.latest_run()
    if run is None or "rule" not in settings.ranking.risk_seeds:
        return None
    return store.run_table(run.run_id, "episodes").collect()


def _payers_and_payees(tables: dict[str, pl.LazyFrame]) -> pl.Series:
    import polars as pl

    sides = [tables["transactions"].select(node=f"{side}_account_id").drop_nulls() for side in ("debtor", "creditor")]
    return pl.concat(sides).unique().sort("node").collect(engine="streaming")["node"]


def _payments(tables: dict[str, pl.LazyFrame], shown: pl.DataFrame) -> pl.DataFrame:
    """The payments of the paths, in their order: ``account_id, seed_kind, hop`` and what they are."""
    import polars as pl

    steps = shown.select(
        "account_id", "seed_kind", transaction_id="path", hop=pl.int_ranges(1, pl.col("path").list.len() + 1)
    ).explode("transaction_id", "hop", empty_as_null=False, keep_nulls=False)
    columns = ("booked_at", "debtor_account_id", "creditor_account_id", "amount_base")
    paid = (
        tables["transactions"]
        .select("transaction_id", *columns)
        .join(steps.lazy().select("transaction_id").unique(), on="transaction_id", how="semi")
        .collect(engine="streaming")
    )
    return steps.join(paid, on="transaction_id", how="left", maintain_order="left")


def _nested(found: GraphRisk, shown: pl.DataFrame, payments: pl.DataFrame) -> list[dict[str, Any]]:
    import polars as pl

    told = []
    for row in shown.iter_rows(named=True):
        mine = (pl.col("account_id") == row["account_id"]) & (pl.col("seed_kind") == row["seed_kind"])
        split = found.split.filter(mine).drop("account_id", "seed_kind")
        chain = payments.filter(mine).drop("account_id", "seed_kind")
        told.append({**row, "split": split.to_dicts(), "path": chain.to_dicts()})
    return told


def _show(found: GraphRisk, shown: pl.DataFrame, payments: pl.DataFrame) -> None:
    columns = ("account_id", "seed_kind", "seeds", "share", "bits")
    rows = shown.select(columns).iter_rows()
    told = [(a, kind, seeds, f"{share:.1%}", f"{bits:+.2f}") for a, kind, seeds, share, bits in rows]
    print_table("money from seeds (share of what the account received)", columns, told, right=columns[2:])
    for row in _nested(found, shown, payments):
        tell(f"{row['account_id']}: {row['bits']:+.2f} bits from seeds of kind {row['seed_kind']}")
        for part in row["split"][:_PARTS]:
            tell(f"  {part['share']:.1%} from {part['seed_id']}")
        if len(row["split"]) > _PARTS:
            tell(f"  and {len(row['split']) - _PARTS:,} more seeds (--json lists them)")
        for step in row["path"]:
            tell(
                f"  {step['hop']}. {step['booked_at']:%Y-%m-%d %H:%M}  {step['debtor_account_id']} > "
                f"{step['creditor_account_id']}  {step['amount_base']}  {step['transaction_id']}"
            )
