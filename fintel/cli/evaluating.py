"""``fintel evaluate | drift``: is a model good, for whom, and is it still?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import errors_explained, print_json, print_table, progress, say, tell, write_private
from fintel.cli.modelling import CHAMPION, find_model, models_folder
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of

if TYPE_CHECKING:
    from fintel.bench.model_evaluation import Evaluated
    from fintel.config import Settings
    from fintel.models.drift import Drift, FeatureDrift
    from fintel.models.saved import Model

ModelId = Annotated[str, typer.Argument(metavar="[MODEL]", help="A model's id, or 'champion'.")]
Days = Annotated[int, typer.Option("--every", min=1, max=366, help="Days between two readings of the queue: a month.")]
#: Multiples of the budget at which a queue is told.
_MULTIPLES = (1, 2, 5)
_FEATURES_SHOWN = 15


def evaluate(
    model: ModelId = CHAMPION,
    as_of: AsOf = None,
    budget: Annotated[
        int | None, typer.Option("--budget", "-n", min=1, help="Accounts read a month. Default: the settings'.")
    ] = None,
    step: Annotated[
        int | None, typer.Option("--step", min=1, help="Accounts that one more analyst reads. Default: a fifth of it.")
    ] = None,
    every: Days = 30,
    seeds: Annotated[
        int, typer.Option("--seeds", min=0, max=20, help="Train again with this many other seeds: how stable is it?")
    ] = 0,
    reviewed: Annotated[
        str | None,
        typer.Option("--reviewed", help="Source of the labels that a random sample got: shows what is below the line."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="The line, in bits. Default: the last account in the budget.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write a page with pictures, and the JSON, here.")] = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Judge a model beside the rules alone and the champion, on months that it has not learned from.

    Precision, recall and money at a budget a month; the next analyst; recall by typology; days and
    money to the first alert; calibration; error rates by age band, country and kind of customer.
    Where no later month has labels, the training is made again in folds, and the output says so.

    [dim]fintel evaluate --budget 20 --out evaluation/[/]     [dim]fintel evaluate 5e02c96ab7e9313b --seeds 5[/]
    """
    with errors_explained():
        from fintel.bench.model_evaluation import Options, measure, over_seeds
        from fintel.bench.model_months import judge
        from fintel.errors import ConfigError
        from fintel.pipeline import canonical_tables, last_moment, load_library, require_current_amounts
        from fintel.store.lake import Lake

        if threshold is not None and reviewed is None:
            raise ConfigError("--threshold says where the line is; what is below it needs --reviewed SOURCE")
        if out is not None and out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file", hint="--out names a folder")
        settings = settings_of(config, lake)
        chosen = find_model(settings, model)
        library, _ = load_library(settings)
        first = budget or settings.ranking.budget
        options = Options(tuple(first * m for m in _MULTIPLES), step or max(1, first // 5), threshold, reviewed)
        with Lake.open(settings.lake) as store, progress() as show:
            require_current_amounts(store, settings)
            tables = canonical_tables(store)
            at = moment(as_of) or last_moment(store)
            judged = judge(
                tables, chosen, library, settings, as_of=at, days=every,
                champion=_other_champion(settings, chosen), progress=show,
            )  # fmt: skip
            found = measure(judged, tables, chosen, options, as_of=at, seed=settings.seed)
            if seeds:
                spread = over_seeds(tables, chosen, library, settings, seeds, progress=show)
                found = found.model_copy(update={"seeds": spread})
        if out is not None:
            _write(found, out)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            _show(found)


def _other_champion(settings: Settings, model: Model) -> Model | None:
    """The champion, where there is one and it is another."""
    from fintel.models.decisions import champion_of

    if champion_of(models_folder(settings)) is None:
        return None
    champion = find_model(settings, CHAMPION)
    return None if champion.model_id == model.model_id else champion


def _write(found: Evaluated, folder: Path) -> None:
    from fintel.bench.evaluation_page import evaluation_page

    folder.mkdir(parents=True, exist_ok=True)
    page, data = folder / "evaluation.html", folder / "evaluation.json"
    write_private(page, evaluation_page(found))
    write_private(data, found.model_dump_json(indent=1) + "\n")
    say(f"wrote {page} and {data}")


def _show(found: Evaluated) -> None:
    from fintel.bench.evaluation_told import TABLES, facts

    for fact in facts(found):
        tell(fact)
    for table in TABLES:
        title, columns, rows = table(found)
        if rows:
            print_table(title, columns, rows)


def drift(
    model: ModelId = CHAMPION,
    as_of: AsOf = None,
    every: Annotated[
        int | None,
        typer.Option("--every", min=1, max=366, help="Days that a label looks back. Default: as in training."),
    ] = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Has the world moved away from what a model was trained on?

    Population stability (PSI) of each feature, of each family and of the score against the training
    distribution in the model's card: 0.1 watch, 0.25 act. Missing values, skewness, and performance where
    labels have had time to come. Exit code 1 if the score, a family or the performance says 'act'.

    [dim]fintel drift[/]     [dim]fintel drift --as-of 2025-06-30 --json[/]
    """
    with errors_explained():
        from fintel.bench.model_drift import watch
        from fintel.pipeline import canonical_tables, current_rules, last_moment, load_library, require_current_amounts
        from fintel.store.lake import Lake

        settings = settings_of(config, lake)
        chosen = find_model(settings, model)
        library = current_rules(load_library(settings)[0])
        with Lake.open(settings.lake) as store, progress() as show:
            require_current_amounts(store, settings)
            at = moment(as_of) or last_moment(store)
            found = watch(canonical_tables(store), chosen, library, settings, as_of=at, days=every, progress=show)
        if as_json:
            print_json({**found.model_dump(mode="json"), "verdict": found.verdict})
        else:
            _show_drift(found)
    if found.verdict == "act":
        raise typer.Exit(1)


def _show_drift(found: Drift) -> None:
    rows: list[tuple[Any, ...]] = [
        (f.family, f.features, _number(f.psi), _number(f.by_chance), f"{f.missing:+.3f}",
         f"{f.worst} {_number(f.worst_psi)}", f.verdict)
        for f in found.families
    ]  # fmt: skip
    if found.score is not None:
        s = found.score
        rows.insert(0, ("score", 1, _number(s.psi), _number(s.by_chance), "+0.000", "–", s.verdict))
    title = (
        f"model {found.model_id}, trained as of {found.trained_as_of:%Y-%m-%d}, beside {found.accounts:,} accounts "
        f"as of {found.as_of:%Y-%m-%d}: {found.verdict}"
    )
    columns = ("family", "features", "PSI", "by chance up to", "known share", "moved most", "verdict")
    print_table(title, columns, rows, right=("features", "PSI", "by chance up to"))
    moved = [f for f in found.features if f.verdict != "steady"]
    if moved:
        moved.sort(key=lambda f: (-(f.psi or 0.0), f.name))
        heading = f"{len(moved)} of {len(found.features)} features moved"
        shown = [_feature_row(f) for f in moved[:_FEATURES_SHOWN]]
        print_table(heading, ("feature", "PSI", "by chance up to", "known", "skewness", "verdict"), shown)
    if found.performance is not None:
        p = found.performance
        tell(
            f"average precision {p.average_precision}, {p.lift:.1f} times chance ({p.positives:,} suspicious of "
            f"{p.accounts:,} accounts); when trained {p.expected}, {p.expected_lift:.1f} times: {p.verdict}"
        )
    for note in found.notes:
        tell(f"note: {note}")


def _feature_row(f: FeatureDrift) -> tuple[Any, ...]:
    known = f"{f.known_then:.2f} → {f.known_now:.2f}"
    skew = f"{_number(f.skew_then)} → {_number(f.skew_now)}"
    return (f.name, _number(f.psi), _number(f.by_chance), known, skew, f.verdict)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (evaluate, drift):
        app.command()(command)
