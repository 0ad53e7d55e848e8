"""``fintel rules tune``: try settings of a rule, look at both sides of the line, write the next version."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import (
    errors_explained,
    print_diagnostics,
    print_json,
    progress,
    write_private,
)
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of
from fintel.cli.tuning_shown import as_dict, show_files, show_tuned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl

    from fintel.bench.review_sheet import Review
    from fintel.bench.rewriting import Written
    from fintel.bench.settings import Wish
    from fintel.bench.swept import Known
    from fintel.bench.tuning import Tuned
    from fintel.rules.model import Library, Rule
    from fintel.store.lake import Lake


def tune(
    rule: Annotated[str, typer.Argument(help="Rule id, for example osec/low-value-sends-few-recipients.")],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary", help="Parameter to sweep: NAME, NAME=LOW:HIGH or NAME=1,2,3. Default: all of ours with a range."
        ),
    ] = None,
    rerun: Annotated[
        list[str] | None,
        typer.Option("--rerun", help="Parameter that changes what is measured: NAME=1,2,3; measured anew for each."),
    ] = None,
    number: Annotated[int, typer.Option("--settings", help="About how many settings to try.")] = 1000,
    method: Annotated[str, typer.Option(help="random or grid.")] = "random",
    seed: Annotated[int, typer.Option(help="Of random settings and of samples.")] = 7,
    budget: Annotated[
        float | None, typer.Option("--budget", min=0, help="Alerts a month at most. Default: as many as now.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", help="Write a review sheet (CSV) of accounts above and below the line.")
    ] = None,
    each: Annotated[int, typer.Option(min=1, max=1000, help="Accounts of every side and band in the sheet.")] = 10,
    reviewed: Annotated[
        list[Path] | None,
        typer.Option("--reviewed", help="A sheet that was filled in; its judgements join the labels."),
    ] = None,
    chart: Annotated[Path | None, typer.Option("--chart", help="Write the picture here (.html).")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the suggested setting as the rule's next version.")
    ] = False,
    chosen: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE: this setting instead of a suggested one.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="With --write: who tuned it, for the changelog.")] = "",
    to: Annotated[Path | None, typer.Option("--to", help="With --write: a folder of packs of your own.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", "-f", help="A folder of packs to look at beside the shipped ones.")
    ] = None,
    as_of: AsOf = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Try settings of a rule on stored payments without running its windows again.

    Alerts a month against recall, where labels or a filled-in review sheet say who is suspicious;
    else [bold]unlabelled[/], never a zero. A suggested setting comes with what it costs.

    [dim]fintel rules tune ml-general/fan-in --sheet near-the-line.csv[/]

    [dim]fintel rules tune ml-general/fan-in --reviewed near-the-line.csv --budget 20 --chart fan-in.html[/]

    [dim]fintel rules tune my/rule --write --by "A. Analyst"[/]
    """
    with errors_explained():
        from fintel.bench.review_sheet import read, yields
        from fintel.bench.tuning import tune as run
        from fintel.bench.tuning import with_setting
        from fintel.errors import ConfigError, RuleError, did_you_mean
        from fintel.pipeline import canonical_tables, last_moment, load_library
        from fintel.store.lake import Lake

        if (by or to) and not write:
            raise ConfigError("--by and --to say how --write writes", hint="add --write")
        _check_targets(chart, sheet)
        if chart is not None:
            from fintel.bench.charts import require_parts, tuning_page

            require_parts()
        reviews = [read(path) for path in reviewed or ()]
        settings = settings_of(config, lake)
        if folder is not None:
            settings = settings.model_copy(update={"packs": (*settings.packs, folder.resolve())})
        library, found = load_library(settings)
        print_diagnostics(found)
        names = {r.id for r in library.rules}
        if rule not in names:
            raise RuleError(f"no rule '{rule}'", hint=did_you_mean(rule, names) or "fintel rules list")
        subject = library[rule]
        wanted = _chosen(subject, chosen)
        wishes, anew = _asked(vary), _asked(rerun)
        if not wishes and not anew:
            wishes, anew = _to_try(subject, wanted)
        with Lake.open(settings.lake) as store, progress() as show:
            last_moment(store)  # a lake without payments says so, instead of a thousand settings that find nothing
            tables = canonical_tables(store)
            own = _own(store)
            known, notes = _known(tables, subject, own, reviews)
            tuned = run(
                tables, library, subject, known, vary=wishes, rerun=anew,
                method=method, number=number, budget=budget, own=own, base_currency=settings.base_currency,
                as_of=moment(as_of), seed=seed, threads=settings.threads, progress=show,
            )  # fmt: skip
        if wanted:
            tuned = with_setting(tuned, wanted)
        bands = [y for review in reviews for y in yields(review)]
        files: dict[str, Any] = {}
        if sheet is not None:
            files["sheet"], files["sheet_accounts"] = str(sheet), _write_sheet(sheet, tuned, library, each, seed, notes)
        if chart is not None:
            write_private(chart, tuning_page(tuned, bands))
            files["chart"] = str(chart)
        written = _write_version(subject, tuned, by, to) if write else None
        if as_json:
            print_json(as_dict(tuned, bands, notes, files, written))
        else:
            show_tuned(tuned, bands, notes)
            show_files(files, written, subject)


def _asked(given: Sequence[str] | None) -> list[Wish]:
    from fintel.bench.settings import parse_wish

    return [parse_wish(text) for text in given or ()]


def _chosen(rule: Rule, given: Sequence[str] | None) -> dict[str, float]:
    """What ``--set`` asks for.

    Raises
    ------
    RuleError: no parameter of the rule, not one value, or one outside the parameter's range.
    """
    from fintel.bench.settings import known_parameter, require_in_range
    from fintel.errors import RuleError

    found = {}
    for wish in _asked(given):
        parameter = known_parameter(rule, wish.name)
        if len(wish.values) != 1:
            raise RuleError(f"--set takes one value of '{wish.name}'", hint=f"--set {wish.name}=3")
        require_in_range(parameter, wish.values[0])
        found[wish.name] = wish.values[0]
    return found


def _to_try(rule: Rule, wanted: Mapping[str, float]) -> tuple[list[Wish], list[Wish]]:
    """``--set`` alone: these values beside the current ones, so that their cost is known; those that change
    what is measured are measured anew."""
    from fintel.bench.measured import measuring_parameters
    from fintel.bench.settings import Wish

    measuring = measuring_parameters(rule)
    wishes = [Wish(name, values=(value,)) for name, value in wanted.items()]
    return [w for w in wishes if w.name not in measuring], [w for w in wishes if w.name in measuring]


def _check_targets(chart: Path | None, sheet: Path | None) -> None:
    from fintel.errors import ConfigError

    for path, suffix in ((chart, ".html"), (sheet, ".csv")):
        if path is not None and path.suffix != suffix:
            raise ConfigError(f"{path.name} must end in {suffix}")
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"there is no folder {path.parent}")


def _own(store: Lake) -> pl.Series | None:
    """Ids of the institution's own accounts; None where no account is described (then all count as own)."""
    import polars as pl

    accounts = store.scan("accounts").select("account_id", "holding").collect()
    if accounts.is_empty():
        return None
    return accounts.filter(pl.col("holding") == "own")["account_id"].unique()


def _known(
    tables: Mapping[str, pl.LazyFrame], rule: Rule, own: pl.Series | None, reviews: Sequence[Review]
) -> tuple[Known, list[str]]:
    """Labels and what people wrote in sheets, of own accounts; where they differ the sheet holds."""
    from fintel.bench.swept import Known
    from fintel.errors import RuleError
    from fintel.models.verdicts import verdicts

    found = verdicts(tables, rule.typology)
    ours = None if own is None else frozenset(own)
    suspicious = found.suspicious if ours is None else found.suspicious & ours
    cleared = found.cleared if ours is None else found.cleared & ours
    notes, sources = [], [found.source] if suspicious or cleared else []
    for review in reviews:
        if review.rule != rule.id:
            raise RuleError(f"the review sheet is of {review.rule}, not of {rule.id}")
        if review.logic != rule.fingerprint:
            notes.append("the review sheet was written for another version of the rule: its bands are of that one")
        names = ours if ours is not None else _all_accounts(tables)
        judged, strangers = review.judged(names)
        if strangers:
            notes.append(f"{strangers:,} reviewed rows are of accounts that are not there")
        turned = len(judged["clean"] & suspicious) + len(judged["suspicious"] & cleared)
        if turned:
            notes.append(f"{turned:,} accounts were judged otherwise than labelled: the review holds")
        suspicious = (suspicious | judged["suspicious"]) - judged["clean"]
        cleared = (cleared | judged["clean"]) - judged["suspicious"]
        looked = sum(len(ids) for ids in judged.values())
        sources.append(f"{looked:,} reviewed accounts")
    return Known(suspicious, cleared, ", ".join(sources)), notes


def _all_accounts(tables: Mapping[str, pl.LazyFrame]) -> Iterable[str]:
    import polars as pl

    sides = [tables["transactions"].select(account_id=f"{side}_account_id") for side in ("debtor", "creditor")]
    return pl.concat(sides).drop_nulls().unique().collect()["account_id"].to_list()


def _write_sheet(path: Path, tuned: Tuned, library: Library, each: int, seed: int, notes: list[str]) -> int:
    from fintel.bench.margins import line
    from fintel.bench.review_sheet import CURRENT, SUGGESTED
    from fintel.bench.review_sheet import write as write_sheet
    from fintel.bench.swept import as_seen

    wanted = [(CURRENT, tuned.current)]
    suggested = tuned.suggested
    if suggested is not None and suggested.parameters != tuned.current.parameters:
        if suggested.variant != tuned.current.variant:
            notes.append("the sheet is of the suggested line alone: the current one measures other entries")
            wanted = []
        wanted.append((SUGGESTED, suggested))
    measured = tuned.swept[wanted[0][1].variant].measured
    lines = [
        line(name, measured, as_seen(tuned.swept[choice.variant], library, choice.setting)) for name, choice in wanted
    ]
    text, accounts = write_sheet(measured, lines, each=each, seed=seed)
    # the mark tells spreadsheets that it is UTF-8
    write_private(path, "\ufeff" + text)
    return accounts


def _write_version(rule: Rule, tuned: Tuned, by: str, to: Path | None) -> Written:
    from fintel.bench.rewriting import write_version
    from fintel.errors import RuleError

    if tuned.suggested is None:
        raise RuleError("there is no suggested setting to write", hint="--set NAME=VALUE writes one of your choice")
    measured = tuned.swept[0].measured
    data = ""
    if measured.first_at is not None and measured.last_at is not None:
        data = f"payments of {measured.first_at:%Y-%m-%d} to {measured.last_at:%Y-%m-%d}"
    values = dict(tuned.suggested.parameters)
    return write_version(rule, values, by=by, on=datetime.now(UTC).date(), data=data, to=to)


def register(app: typer.Typer) -> None:
    """Add the command to ``fintel rules``."""
    app.command()(tune)
