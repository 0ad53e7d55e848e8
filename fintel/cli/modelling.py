"""``fintel train``: the learned scorer beside the rules; and where commands find a model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
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
#: Before an alias or a version: the model is fetched from MLflow's registry.
REGISTRY = "mlflow:"
#: Names no model, but rarity and distance from peers beside the rules.
COLD_START = "cold-start"


def models_folder(settings: Settings) -> Path:
    """Where models are kept: beside the lake's tables."""
    return settings.lake / "models"


def find_model(settings: Settings, wanted: str) -> Model:
    """A saved model: 'champion', 'challenger', an id, or 'mlflow:' and an alias or version of the registry.

    Raises
    ------
    ModelError: no such model, its files are damaged, or they are another model's.
    MissingExtraError: 'mlflow:' without MLflow.
    """
    from fintel.errors import ModelError
    from fintel.models.decisions import CHALLENGER, MODEL_ID, champion_of, pointed
    from fintel.models.saved import restore

    folder = models_folder(settings)
    if wanted.startswith(REGISTRY):
        from fintel.models.tracking import fetch

        uri = settings.mlflow_uri
        wanted = fetch(wanted.removeprefix(REGISTRY), folder, lake=settings.lake, uri=uri).name
    elif wanted in (CHAMPION, CHALLENGER):
        found = champion_of(folder) if wanted == CHAMPION else pointed(folder, CHALLENGER)
        if found is None:
            raise ModelError(f"there is no {wanted} yet", hint="fintel train")
        wanted = found
    if not MODEL_ID.fullmatch(wanted):
        raise ModelError(f"not a model id: '{wanted}'", hint="fintel train prints it; or 'champion', 'challenger'")
    model = restore(folder / wanted, threads=settings.threads)
    if model.model_id != wanted:
        raise ModelError(f"the folder holds another model, {model.model_id}", location=folder / wanted)
    return model


def learned_part(store: Lake, settings: Settings, wanted: str | None) -> Part | None:
    """What ``pipeline.detect`` calls for a model's part; None where rules stand alone."""
    del store
    from fintel.models.decisions import champion_of

    if wanted == "none" or (wanted is None and champion_of(models_folder(settings)) is None):
        return None
    if wanted == COLD_START:
        return _cold_start(settings)
    model = find_model(settings, wanted or CHAMPION)

    def part(tables: dict[str, pl.LazyFrame], at: datetime, episodes: pl.DataFrame) -> tuple[str, Learned]:
        from fintel.models.account_rows import Rules
        from fintel.models.training import score as contributions

        hit = episodes["account_id"].unique().sort()
        rules = Rules(episodes=episodes)
        return model.model_id, contributions(tables, model, at, accounts=hit, threads=settings.threads, rules=rules)

    return part


def families_of(text: str | None) -> tuple[str, ...] | None:
    """Families named with commas between.

    Raises
    ------
    ModelError: there is no such family.
    """
    from fintel.errors import ModelError, did_you_mean
    from fintel.features.catalog import FAMILIES

    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if name not in FAMILIES:
            raise ModelError(f"there is no family '{name}' of features", hint=did_you_mean(name, FAMILIES))
    return names or None


def waiver_of(text: str) -> tuple[str, str]:
    """NAME=REASON.

    Raises
    ------
    ModelError: one of them is missing.
    """
    from fintel.errors import ModelError

    name, _, reason = text.partition("=")
    if not name.strip() or not reason.strip():
        raise ModelError(f"not NAME=REASON: '{text}'", hint="--waive out_max_90d='payouts of the product'")
    return name.strip(), reason.strip()


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
    step: Annotated[int, typer.Option("--step", min=1, help="Days between snapshots: 7 weekly, 30 monthly.")] = 30,
    horizon: Annotated[
        int, typer.Option("--horizon", min=0, help="Days that a label looks ahead of its snapshot, beside back.")
    ] = 0,
    features: Annotated[
        str | None,
        typer.Option("--features", help="Families of features to use, with commas between. Default: all."),
    ] = None,
    waive: Annotated[
        list[str] | None,
        typer.Option("--waive", help="NAME=REASON: let a feature tell the label alone; kept in the card."),
    ] = None,
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Do not track or register it.")] = False,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Train the account scorer on the lake's labels; print how it ranks beside the rules alone.

    The first model that gains on rules alone becomes the champion, which detection uses; any other is the
    challenger, which [bold]fintel compare[/] and [bold]fintel promote[/] take up. --champion skips what they ask
    for, and the record of decisions says so.
    With the extra fintel\\[mlflow] it is tracked and registered (SQLite in the lake by default).

    [dim]fintel train[/]     [dim]fintel train --as-of 2025-03-31 --known-by 2025-06-30 --champion[/]
    """
    with errors_explained():
        import polars as pl

        from fintel.graph.suspicion import of_tables
        from fintel.models.account_rows import Rules
        from fintel.models.dataset import Sampling
        from fintel.models.leakage import Waivers
        from fintel.models.saved import save
        from fintel.models.training import train as fit
        from fintel.pipeline import canonical_tables, current_rules, last_moment, load_library
        from fintel.ranking import rank
        from fintel.rules.runner import detect_tables
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        sampling = Sampling(
            step_days=step, horizon_days=horizon, families=families_of(features), known_by=moment(known_by)
        )
        waivers = Waivers(dict(waiver_of(text) for text in waive or ()))
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

            def graph_bits(when: datetime, seeds_by: datetime) -> pl.DataFrame:
                risk = of_tables(
                    tables, when, origins=settings.ranking.risk_seeds, episodes=found.episodes, known_by=seeds_by
                )
                alone = rank(found.episodes.clear(), accounts, run_id="", prior=settings.ranking.prior, risk=risk)
                return alone.alerts.select("account_id", score=pl.col("score") - pl.col("prior"))

            trained = fit(
                tables, settings=settings, as_of=moment(as_of), rule_scores=bits, graph_scores=graph_bits,
                sampling=sampling, waivers=waivers,
                rules=Rules(current_rules(library), settings.base_currency),
                fingerprints={"library": library.fingerprint, "feeds": " ".join(feeds)[:400]},
            )  # fmt: skip
        if unknown:
            say(f"{unknown:,} suspicious labels became known after {until:%Y-%m-%d} and were not used (--known-by)")
        folder = save(trained.model, models_folder(settings))
        chosen = _take(trained, models_folder(settings), champion=champion)
        registered = None if no_mlflow else _register(trained.model, folder, settings, chosen)
        _tell(trained, folder, chosen, registered, as_json)


def _take(trained: Trained, folder: Path, *, champion: bool) -> bool:
    """Point to a fresh model, and tell whether as champion: as asked for, or as the first that gains on rules alone.

    Nobody else has looked at it, and the record of decisions says so.
    """
    from fintel.bench.model_promotion import fingerprints
    from fintel.models.decisions import CHALLENGER, Register, point

    gain = trained.evaluation.gains.get("both")
    gains = {name: e.model_dump(mode="json") for name, e in trained.evaluation.gains.items()}
    with Register.open(folder) as register:
        model_id = trained.model.model_id
        chosen = champion or (register.champion is None and gain is not None and gain.value > 0)
        if chosen and register.champion != model_id:
            register.decide(
                "train", model_id, at=datetime.now(UTC), made_by=None, approved_by=None,
                fingerprints=fingerprints(trained.model.card), evidence={"gains": gains},
            )  # fmt: skip
        elif register.champion != model_id:
            point(folder, CHALLENGER, model_id)
        return register.champion == model_id


def _register(model: Model, folder: Path, settings: Settings, chosen: bool) -> Any:
    from fintel.errors import FintelError, MissingExtraError
    from fintel.models.tracking import record

    try:
        alias = "champion" if chosen else "challenger"
        return record(model, folder, lake=settings.lake, uri=settings.mlflow_uri, alias=alias)  # type: ignore[arg-type]
    except MissingExtraError as error:
        say(f"not registered: {error} ({error.hint})")
    except FintelError as error:
        say(f"not registered: {error}; the model is in {folder}")
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
    role = "champion: detection uses it" if chosen else "challenger: fintel compare, then fintel promote"
    tell(f"model {trained.model.model_id} ({role})  {folder}")
    if registered is not None:
        where = f"{registered.name} version {registered.version} in {registered.uri}"
        tell(f"registered as {where}")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(train)
