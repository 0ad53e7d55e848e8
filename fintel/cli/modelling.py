"""``fintel train | score``: the learned scorer beside the rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import errors_explained, print_json, print_table, progress, say, tell
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of

if TYPE_CHECKING:
    import polars as pl

    from fintel.config import Settings
    from fintel.models.learned import Learned
    from fintel.models.saved import Model
    from fintel.models.training import Trained
    from fintel.store.lake import Lake

    Part = Callable[[dict[str, pl.LazyFrame], datetime, pl.DataFrame], tuple[str, Learned]]

#: Names the model that detection uses, in the folder of models.
CHAMPION = "champion"
#: Names no model, but rarity and distance from peers beside the rules.
COLD_START = "cold-start"
_REASONS_SHOWN = 3


def models_folder(settings: Settings) -> Path:
    """Where models are kept: beside the lake's tables."""
    return settings.lake / "models"


def find_model(settings: Settings, wanted: str) -> Model:
    """A saved model by id, or the champion.

    Raises
    ------
    ModelError: no such model, or its files are damaged.
    """
    from fintel.errors import ModelError
    from fintel.models.saved import restore

    folder = models_folder(settings)
    if wanted == CHAMPION:
        pointer = folder / CHAMPION
        if not pointer.is_file():
            raise ModelError("there is no champion yet", hint="fintel train")
        wanted = pointer.read_text(encoding="ascii", errors="replace").strip()
    if not (wanted.isascii() and wanted.isalnum()):
        raise ModelError(f"not a model id: '{wanted}'", hint="fintel train prints it")
    return restore(folder / wanted, threads=settings.threads)


def learned_part(store: Lake, settings: Settings, wanted: str | None) -> Part | None:
    """What ``pipeline.detect`` calls for a model's part; None where rules stand alone."""
    del store
    if wanted == "none" or (wanted is None and not (models_folder(settings) / CHAMPION).is_file()):
        return None
    if wanted == COLD_START:
        return _cold_start(settings)
    model = find_model(settings, wanted or CHAMPION)

    def part(tables: dict[str, pl.LazyFrame], at: datetime, episodes: pl.DataFrame) -> tuple[str, Learned]:
        from fintel.models.training import score as contributions

        hit = episodes["account_id"].unique().sort()
        return model.model_id, contributions(tables, model, at, accounts=hit, threads=settings.threads)

    return part


def _cold_start(settings: Settings) -> Part:
    def part(tables: dict[str, pl.LazyFrame], at: datetime, episodes: pl.DataFrame) -> tuple[str, Learned]:
        from fintel.models.coldstart_scoring import cold_start
        from fintel.ranking import prior_bits

        found = cold_start(
            tables, at, base=prior_bits(settings.ranking.prior), base_currency=settings.base_currency,
            accounts=episodes["account_id"].unique().sort(), seed=settings.seed, threads=settings.threads,
        )  # fmt: skip
        return COLD_START, found

    return part


def train(
    as_of: AsOf = None,
    known_by: Annotated[
        str | None,
        typer.Option("--known-by", help="Use labels known by this day. Default: the moment of --as-of."),
    ] = None,
    champion: Annotated[
        bool, typer.Option("--champion", help="Let detection use it at once, whatever it replaces.")
    ] = False,
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Do not track or register it.")] = False,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Train the account scorer on the lake's labels; print how it ranks beside the rules alone.

    The first model that gains on rules alone becomes the champion, which detection uses; any other
    only with --champion.
    With the extra fintel\\[mlflow] it is tracked and registered (SQLite in the lake by default).

    [dim]fintel train[/]     [dim]fintel train --as-of 2025-03-31 --known-by 2025-06-30 --champion[/]
    """
    with errors_explained():
        import polars as pl

        from fintel.models.dataset import Sampling
        from fintel.models.saved import save
        from fintel.models.training import train as fit
        from fintel.pipeline import canonical_tables, last_moment, load_library
        from fintel.ranking import rank
        from fintel.rules.runner import detect_tables
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        library, _ = load_library(settings)
        with Lake.open(settings.lake) as store, progress() as show:
            tables = canonical_tables(store)
            at = moment(as_of) or last_moment(store)
            found = detect_tables(
                tables, library, base_currency=settings.base_currency, as_of=at,
                threads=settings.threads, progress=show,
            )  # fmt: skip
            accounts = store.scan("accounts").select("account_id", "party_id", "holding").collect()
            ranked = rank(found.episodes, accounts, run_id="", prior=settings.ranking.prior)
            feeds = store.scan("feeds").select("feed_id").unique().sort("feed_id").collect()["feed_id"].to_list()
            until = moment(known_by) or at
            late = store.scan("labels").filter(pl.col("suspicious") & (pl.col("known_at") > until))
            unknown = late.select(pl.len()).collect().item()
            show("training", 0, 0)
            bits = ranked.alerts.select("account_id", score=pl.col("score") - pl.col("prior"))
            trained = fit(
                tables, settings=settings, as_of=moment(as_of), rule_scores=bits,
                sampling=Sampling(known_by=moment(known_by)),
                fingerprints={"library": library.fingerprint, "feeds": " ".join(feeds)[:400]},
            )  # fmt: skip
        if unknown:
            say(f"{unknown:,} suspicious labels became known after {until:%Y-%m-%d} and were not used (--known-by)")
        folder = save(trained.model, models_folder(settings))
        pointer = models_folder(settings) / CHAMPION
        gain = trained.evaluation.gains.get("both")
        chosen = champion or (not pointer.is_file() and gain is not None and gain.value > 0)
        if chosen:
            pointer.write_text(trained.model.model_id + "\n", encoding="ascii")
        registered = None if no_mlflow else _register(trained.model, folder, settings, chosen)
        _tell(trained, folder, chosen, registered, as_json)


def _register(model: Model, folder: Path, settings: Settings, chosen: bool) -> Any:
    from fintel.errors import MissingExtraError
    from fintel.models.tracking import record

    try:
        alias = "champion" if chosen else "challenger"
        return record(model, folder, lake=settings.lake, uri=settings.mlflow_uri, alias=alias)  # type: ignore[arg-type]
    except MissingExtraError as error:
        say(f"not registered: {error} ({error.hint})")
        return None


def _tell(trained: Trained, folder: Path, chosen: bool, registered: Any, as_json: bool) -> None:
    evaluation = trained.evaluation
    if as_json:
        print_json(
            {
                "model_id": trained.model.model_id,
                "folder": str(folder),
                "champion": chosen,
                "registered": registered and {"version": registered.version, "uri": registered.uri},
                "evaluation": evaluation.model_dump(mode="json"),
                "calibration": trained.model.card.model_dump(mode="json")["calibration"],
            }
        )
        return
    rows: list[tuple[Any, ...]] = []
    for name, way in evaluation.rankings.items():
        at = way.budgets[0]
        rows.append((name, str(way.average_precision), at.budget, str(at.precision), str(at.recall)))
    columns = ("ranking", "average precision", "budget", "precision at budget", "recall at budget")
    title = (
        f"{evaluation.accounts:,} accounts, {evaluation.positives:,} suspicious: a random order reaches "
        f"{evaluation.base_rate:.4f}; judged by {evaluation.plan}"
    )
    print_table(title, columns, rows, right=("budget",))
    for name, gain in evaluation.gains.items():
        tell(f"{name} less rules, average precision: {gain}")
    for name, card in (trained.model.card.calibration or {}).items():
        judged = card.reliability
        tell(
            f"probability of {name} ({card.calibration.method}): Brier {judged.brier:.4f} (base rate alone "
            f"{judged.brier_of_base_rate:.4f}), calibration error {judged.error:.4f}, in the top 5 % "
            f"{judged.error_top:.4f} (by chance {judged.chance_top:.4f})"
        )
    for note in evaluation.notes:
        tell(f"note: {note}")
    role = "champion: detection uses it" if chosen else "challenger: --champion makes detection use it"
    tell(f"model {trained.model.model_id} ({role})  {folder}")
    if registered is not None:
        where = f"{registered.name} version {registered.version} in {registered.uri}"
        tell(f"registered as {where}")


def score(
    model: Annotated[str, typer.Option("--model", help="A model's id, or 'champion'.")] = CHAMPION,
    budget: Annotated[int, typer.Option("--budget", "-n", min=1, help="Accounts to show.")] = 20,
    as_of: AsOf = None,
    base_rate: Annotated[
        float | None,
        typer.Option("--base-rate", min=0, max=1, help="Share of suspicious accounts, if it moved since training."),
    ] = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Accounts in the order of a model alone, with what speaks for and against each.

    The order is that of the bits. The probability beside them is calibrated on held-out accounts;
    --base-rate shifts it where suspicion has become rarer or more frequent since.

    [bold]fintel detect[/] joins the champion's contributions to the rules' reasons.

    [dim]fintel score --budget 10[/]
    """
    with errors_explained():
        from fintel.models.training import score as contributions
        from fintel.pipeline import canonical_tables, last_moment
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        chosen = find_model(settings, model)
        with Lake.open(settings.lake) as store, progress() as show:
            show("scoring", 0, 0)
            at = moment(as_of) or last_moment(store)
            part = contributions(
                canonical_tables(store), chosen, at, top=budget, threads=settings.threads, base_rate=base_rate
            )
        rows = _ordered(part).head(budget)
        if as_json:
            print_json({"model_id": chosen.model_id, "as_of": at, "accounts": rows.to_dicts()})
        else:
            title = f"model {chosen.model_id} as of {at:%Y-%m-%d %H:%M} (log2 odds)"
            shown = rows if rows["probability"].count() else rows.drop("probability")
            print_table(title, shown.columns, shown.iter_rows(), right=("bits", "probability"))
            if shown.width < rows.width:
                say("the model was made before there were calibrated probabilities: fintel train makes one with them")


def _ordered(part: Learned) -> pl.DataFrame:
    import polars as pl

    strongest = part.contributions.sort("account_id", pl.col("bits").abs(), descending=[False, True])
    return (
        strongest.group_by("account_id", maintain_order=True)
        .agg(
            bits=part.base + pl.col("bits").sum(),
            why=pl.col("text").filter(pl.col("bits") > 0).head(_REASONS_SHOWN).str.join("; "),
        )
        .join(part.probabilities, on="account_id", how="left", maintain_order="left")
        .select("account_id", "bits", "probability", "why")
        .sort("bits", "account_id", descending=[True, False])
    )


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (train, score):
        app.command()(command)
