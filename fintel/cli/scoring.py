"""``fintel score``: accounts in the order of a model alone, on the screen or in a file."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import errors_explained, plain, print_json, print_table, progress, say, write_private
from fintel.cli.modelling import CHAMPION, find_model
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of

if TYPE_CHECKING:
    import polars as pl

    from fintel.config import Settings
    from fintel.models.account_rows import Rules
    from fintel.models.learned import Learned
    from fintel.models.saved import Model

_SHOWN = 20
_REASONS_SHOWN = 3
_FORMATS = (".csv", ".parquet", ".jsonl")


def score(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model's id, 'champion', 'challenger' or mlflow:ALIAS.")
    ] = CHAMPION,
    top: Annotated[
        int | None,
        typer.Option("--top", "--budget", "-n", min=1, help="Accounts, from the top. Default: 20, or all with --out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write them to this file: .csv, .parquet or .jsonl.")
    ] = None,
    as_of: AsOf = None,
    base_rate: Annotated[
        float | None,
        typer.Option("--base-rate", min=0, max=1, help="Share of suspicious accounts, if it moved since training."),
    ] = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Accounts in the order of a model alone, with what speaks for each.

    A probability stands beside the score, calibrated on held-out accounts, where the model's card has a calibration;
    --base-rate shifts it where suspicion has become rarer or more frequent since. A CSV is safe to open in a
    spreadsheet: no cell begins a formula. [bold]fintel detect[/] joins the champion's contributions to the rules'
    reasons.

    [dim]fintel score --top 10[/]     [dim]fintel score challenger --as-of 2025-06-30 --out scores.csv[/]
    """
    with errors_explained():
        from fintel.errors import ConfigError
        from fintel.models.training import score as contributions
        from fintel.pipeline import canonical_tables, last_moment, require_current_amounts
        from fintel.store.lake import Lake

        if out is not None and (out.suffix not in _FORMATS or out.is_dir() or not out.parent.is_dir()):
            raise ConfigError(f"cannot write {out}", hint="a file .csv, .parquet or .jsonl in a folder that is there")
        settings = settings_of(config, lake)
        chosen = find_model(settings, model)
        with Lake.open(settings.lake) as store, progress() as show:
            require_current_amounts(store, settings)
            show("scoring", 0, 0)
            at = moment(as_of) or last_moment(store)
            wanted = top if top is not None else _SHOWN if out is None else _ALL
            part = contributions(
                canonical_tables(store), chosen, at, top=wanted, threads=settings.threads,
                rules=_rules_for(chosen, settings), base_rate=base_rate,
            )  # fmt: skip
        rows = _ordered(part).head(wanted)
        if out is not None:
            _write(rows, out, chosen, at)
            say(f"wrote {rows.height:,} accounts to {out}")
        elif not as_json:
            title = f"model {chosen.model_id} as of {at:%Y-%m-%d %H:%M} (bits: log2 odds)"
            print_table(title, rows.columns, map(_shown, rows.iter_rows(named=True)), right=("rank", "bits"))
            if "probability" not in rows.columns:
                say("the model was made before there were calibrated probabilities: fintel train makes one with them")
        if as_json:
            print_json({"model_id": chosen.model_id, "as_of": at, "accounts": rows.to_dicts()})


#: More accounts than any lake has.
_ALL = 2**31 - 1


def _rules_for(model: Model, settings: Settings) -> Rules | None:
    """The library, if the model has features of rules."""
    from fintel.features.catalog import BY_NAME
    from fintel.models.account_rows import Rules
    from fintel.pipeline import current_rules, load_library

    if not any(BY_NAME[name].family == "rules" for name in model.card.names):
        return None
    return Rules(current_rules(load_library(settings)[0]), settings.base_currency)


def _ordered(part: Learned) -> pl.DataFrame:
    """``rank, account_id, bits, why`` and, of a calibrated model, ``probability``; the order is the score's."""
    import polars as pl

    strongest = part.contributions.sort("account_id", pl.col("bits").abs(), "name", descending=[False, True, False])
    rows = (
        strongest.group_by("account_id", maintain_order=True)
        .agg(
            bits=part.base + pl.col("bits").sum(),
            why=pl.col("text").filter(pl.col("bits") > 0).head(_REASONS_SHOWN).str.join("; "),
        )
        .join(part.probabilities, on="account_id", how="left", maintain_order="left")
        .sort("bits", "account_id", descending=[True, False])
    )
    rows = rows.select(pl.int_range(1, pl.len() + 1).alias("rank"), "account_id", "bits", "probability", "why")
    return rows if rows["probability"].count() else rows.drop("probability")


def _shown(row: dict[str, Any]) -> list[Any]:
    return [f"{v:.4f}" if name == "probability" else v for name, v in row.items()]


def _write(rows: pl.DataFrame, path: Path, model: Model, at: datetime) -> None:
    """A file that only its owner can read, whole or not at all."""
    import os
    import tempfile

    import polars as pl

    told = rows.with_columns(model_id=pl.lit(model.model_id), as_of=pl.lit(at))
    if path.suffix == ".parquet":
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        os.close(descriptor)
        try:
            told.write_parquet(name)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    else:
        write_private(path, _csv(told) if path.suffix == ".csv" else _json_lines(told))


def _json_lines(rows: pl.DataFrame) -> str:
    return "".join(json.dumps(plain(row), ensure_ascii=True, allow_nan=False) + "\n" for row in rows.to_dicts())


def _csv(rows: pl.DataFrame) -> str:
    from fintel.reports.attachment import safe_cell

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(rows.columns)
    for row in rows.iter_rows():
        writer.writerow([safe_cell(v, 2_000) if isinstance(v, str) else plain(v) for v in row])
    return out.getvalue()


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(score)
