"""``fintel compare | promote``: champion beside challenger, and who decides which one is used."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fintel.cli.console import errors_explained, print_json, print_table, progress, say, tell
from fintel.cli.modelling import CHAMPION, find_model, models_folder
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of

if TYPE_CHECKING:
    from fintel.bench.model_comparison import Beside
    from fintel.bench.promotion import Gate
    from fintel.config import Settings
    from fintel.models.comparison import Comparison, GroupChange
    from fintel.models.decisions import Decision, Register
    from fintel.models.evaluation import Estimate
    from fintel.models.saved import Model

_CHALLENGER = "challenger"
_RULES_ALONE = "none"
Challenger = Annotated[
    str, typer.Argument(metavar="[MODEL]", help="A model's id, 'challenger', or mlflow:ALIAS. Default: the challenger.")
]
Days = Annotated[int, typer.Option("--days", min=1, max=366, help="Judge by the last days, if both are older.")]
Budget = Annotated[
    int | None, typer.Option("--budget", "-n", min=1, help="Accounts that are read. Default: the settings'.")
]


def compare(
    challenger: Challenger = _CHALLENGER,
    champion: Annotated[
        str, typer.Option("--champion", help="What to compare with: a model, or 'none' for rules alone.")
    ] = CHAMPION,
    as_of: AsOf = None,
    budget: Budget = None,
    days: Days = 30,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Champion beside challenger: the same accounts, which neither has learned from, at the same budget.

    Average precision, precision and recall at the budget, each with the difference in pairs and its 95 %
    interval; who would be worse off, by age band, country and kind of customer; drift of what both see.
    Where there is no champion, the challenger stands beside the rules alone.

    [dim]fintel compare[/]     [dim]fintel compare 5e02c96ab7e9313b --champion none --as-of 2025-06-30[/]
    """
    with errors_explained():
        settings = _with_budget(settings_of(config, lake), budget)
        model = find_model(settings, challenger)
        beside = _beside(settings, model, _opponent(settings, champion, model), as_of, days)
        if as_json:
            print_json(_plain(beside))
        else:
            _show(beside)


def promote(
    model: Challenger = _CHALLENGER,
    made_by: Annotated[str, typer.Option("--made-by", help="Who trained or proposes it.")] = "",
    approve: Annotated[str, typer.Option("--approve", help="Who has looked at it too: another person.")] = "",
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Back to the champion before this one; [MODEL] is not needed.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Check the record of decisions and show it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which gates are open; decide nothing.")] = False,
    as_of: AsOf = None,
    budget: Budget = None,
    days: Days = 30,
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Do not move the registry's aliases.")] = False,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a model the champion, which detection uses: if every gate is open and two people say so.

    Gates: two people, a finished card, a leakage audit that passed, the lake's base currency, features that
    are known here, an improvement outside the interval, no group of people worse off. Exit code 1, with every gate
    that is shut, where one is. Each decision is a line of models/decisions.jsonl, which only grows.

    [dim]fintel promote --made-by "A. Scientist" --approve "B. Reviewer" --dry-run[/]
    """
    with errors_explained():
        from fintel.errors import ConfigError

        if history and (rollback or dry_run):
            raise ConfigError("--history only shows; give it alone")
        settings = _with_budget(settings_of(config, lake), budget)
        if history:
            _show_history(settings, as_json)
        elif rollback:
            _roll_back(settings, made_by, approve, dry_run, no_mlflow, as_json)
        else:
            _promote(settings, model, made_by, approve, as_of, days, dry_run, no_mlflow, as_json)


def _with_budget(settings: Settings, budget: int | None) -> Settings:
    if budget is None:
        return settings
    return settings.model_copy(update={"ranking": settings.ranking.model_copy(update={"budget": budget})})


def _opponent(settings: Settings, wanted: str, model: Model) -> Model | None:
    """The champion, or whom --champion names; None is rules alone."""
    from fintel.errors import ConfigError
    from fintel.models.decisions import champion_of

    if wanted == _RULES_ALONE or (wanted == CHAMPION and champion_of(models_folder(settings)) is None):
        return None
    found = find_model(settings, wanted)
    if found.model_id == model.model_id:
        raise ConfigError(
            f"{model.model_id} is both champion and challenger", hint="--champion none compares it with rules alone"
        )
    return found


def _beside(settings: Settings, model: Model, champion: Model | None, as_of: str | None, days: int) -> Beside:
    from fintel.bench.model_comparison import compare_models
    from fintel.pipeline import (
        canonical_tables,
        current_rules,
        last_moment,
        load_library,
        require_current_amounts,
    )
    from fintel.store.lake import Lake

    library, _ = load_library(settings)
    with Lake.open(settings.lake) as store, progress() as show:
        require_current_amounts(store, settings)
        at = moment(as_of) or last_moment(store)
        return compare_models(
            canonical_tables(store), model, champion, current_rules(library), settings,
            as_of=at, progress=show, days=days,
        )  # fmt: skip


def _promote(
    settings: Settings, wanted: str, made_by: str, approve: str, as_of: str | None, days: int, dry_run: bool,
    no_mlflow: bool, as_json: bool,
) -> None:  # fmt: skip
    from fintel.bench.model_promotion import evidence, fingerprints, model_gates
    from fintel.models.decisions import Register, person

    model = find_model(settings, wanted)
    # held from the comparison to the decision: nobody changes the champion in between
    with Register.open(models_folder(settings)) as register:
        champion = register.champion
        same = champion is None or champion == model.model_id
        beside = _beside(settings, model, None if same else find_model(settings, str(champion)), as_of, days)
        gates = model_gates(
            model.card, beside, made_by=made_by, approved_by=approve, base_currency=settings.base_currency,
            champion=champion,
        )  # fmt: skip
        decision = None
        if all(g.open for g in gates) and not dry_run:
            decision = register.decide(
                "promote", model.model_id, at=datetime.now(UTC), made_by=person(made_by), approved_by=person(approve),
                fingerprints=fingerprints(model.card), evidence=evidence(gates, beside),
            )  # fmt: skip
        _conclude(register, settings, gates, decision, model.model_id, no_mlflow, as_json)


def _roll_back(settings: Settings, made_by: str, approve: str, dry_run: bool, no_mlflow: bool, as_json: bool) -> None:
    from fintel.bench.model_promotion import evidence, fingerprints, two_people
    from fintel.models.decisions import Register, former, person

    with Register.open(models_folder(settings)) as register:
        to = former(register.decisions)
        gates = (two_people(made_by, approve),)
        # a model that cannot be read is no champion
        marks = {} if to is None else fingerprints(find_model(settings, to).card)
        decision = None
        if all(g.open for g in gates) and not dry_run:
            decision = register.decide(
                "rollback", to, at=datetime.now(UTC), made_by=person(made_by), approved_by=person(approve),
                fingerprints=marks, evidence=evidence(gates, None),
            )  # fmt: skip
        _conclude(register, settings, gates, decision, to, no_mlflow, as_json)


def _conclude(
    register: Register, settings: Settings, gates: tuple[Gate, ...], decision: Decision | None, to: str | None,
    no_mlflow: bool, as_json: bool,
) -> None:  # fmt: skip
    """Tell the gates and the decision; exit code 1 where a gate is shut."""
    shut = [g for g in gates if not g.open]
    if decision is not None and not no_mlflow:
        _move_aliases(settings, decision, register.head)
    name = to or "rules alone"
    if as_json:
        print_json(
            {
                "model_id": to, "champion": register.champion, "open": not shut,
                "gates": [{"gate": g.name, "open": g.open, "said": g.said} for g in gates],
                "decision": None if decision is None else decision.model_dump(mode="json"),
            }
        )  # fmt: skip
    else:
        rows = [("open" if g.open else "SHUT", g.name, g.said) for g in gates]
        print_table(f"champion: {register_before(register, decision)} → {name}", ("", "gate", "what was found"), rows)
        if decision is not None:
            tell(f"decision {decision.number}: {name} is the champion; the record ends with {register.head}")
    if shut:
        say(f"the champion stays {register.champion or 'rules alone'}: {len(shut)} of {len(gates)} gates are shut")
        raise typer.Exit(1)
    if decision is None:
        say(f"all {len(gates)} gates are open; nothing was decided")


def register_before(register: Register, decision: Decision | None) -> str:
    """What was in use before the decision, or is, where there was none."""
    return (register.champion if decision is None else decision.came_from) or "rules alone"


def _move_aliases(settings: Settings, decision: Decision, head: str) -> None:
    """The registry follows; where it cannot, the decision stands all the same."""
    from fintel.errors import FintelError, MissingExtraError
    from fintel.models.tracking import follow

    try:
        follow(
            decision.to, models_folder(settings), lake=settings.lake, uri=settings.mlflow_uri, head=head,
            threads=settings.threads,
        )  # fmt: skip
    except MissingExtraError as error:
        say(f"no registry: {error} ({error.hint}); the folder of models knows the champion")
    except FintelError as error:
        say(f"the registry's aliases did not move: {error}; the folder of models knows the champion")


def _show_history(settings: Settings, as_json: bool) -> None:
    from fintel.models.decisions import read_decisions

    found = read_decisions(models_folder(settings))
    if as_json:
        print_json([d.model_dump(mode="json") for d in found])
        return
    rows = [
        (d.number, d.at, d.action, d.came_from or "rules alone", d.to or "rules alone", d.made_by, d.approved_by)
        for d in found
    ]
    columns = ("", "when", "what", "from", "to", "made by", "approved by")
    print_table(f"{len(found)} decisions, the chain is whole", columns, rows)
    if found:
        tell(f"the record ends with {found[-1].hash}")


def _plain(beside: Beside) -> dict[str, Any]:
    then = beside.champion_drift
    return {
        "as_of": beside.as_of,
        "better": list(beside.comparison.better),
        "worse": list(beside.comparison.worse),
        "harms": list(beside.comparison.harms),
        "comparison": beside.comparison.model_dump(mode="json"),
        "drift": {
            "challenger": beside.drift.model_dump(mode="json"),
            "champion": None if then is None else then.model_dump(mode="json"),
        },
    }


def _show(beside: Beside) -> None:
    found = beside.comparison
    title = (
        f"{found.accounts:,} accounts, {found.positives:,} suspicious in {found.groups} groups, as of "
        f"{beside.as_of:%Y-%m-%d}; {found.budget:,} are read; a random order reaches {found.base_rate:.4f}"
    )
    contenders = {"rules alone": found.rules}
    if found.champion.model_id is not None:
        contenders[f"champion {found.champion.model_id}"] = found.champion
    contenders[f"challenger {found.challenger.model_id}"] = found.challenger
    rows = [
        (name, *(str(c.measures[name]) for c in contenders.values()), _signed(difference))
        for name, difference in found.differences.items()
    ]
    print_table(title, ("", *contenders, "difference"), rows)
    tell(f"better outside the interval: {', '.join(found.better) or 'nothing'}")
    tell(f"worse outside the interval: {', '.join(found.worse) or 'nothing'}")
    _show_groups(found)
    for who, drift in (("challenger", beside.drift), ("champion", beside.champion_drift)):
        if drift is not None:
            moved = [f"{f.family} {f.psi:.3f}" for f in drift.families if f.verdict != "steady"]
            tell(
                f"what the {who} sees, beside its training: {drift.verdict}"
                + (f" ({', '.join(moved)})" if moved else "")
            )
    for note in found.notes:
        tell(f"note: {note}")


def _show_groups(found: Comparison) -> None:
    columns = ("group", "accounts", "false alerts, change", "times others'", "recall, change", "")
    rows = [_group_row(g) for g in found.subgroups]
    hidden = f"; {found.suppressed} groups are too small to tell" if found.suppressed else ""
    print_table(f"who would be worse off{hidden}", columns, rows, right=("accounts",))


def _group_row(g: GroupChange) -> tuple[Any, ...]:
    ratio = "–" if g.ratio is None else f"{g.ratio:.2f}"
    before = "–" if g.ratio_before is None else f"{g.ratio_before:.2f}"
    mark = "HARM" if g.harm else ""
    return (
        f"{g.attribute} {g.group}",
        g.accounts,
        _signed(g.false_alerts),
        f"{before} → {ratio}",
        _signed(g.recall),
        mark,
    )


def _signed(e: Estimate | None) -> str:
    return "–" if e is None else f"{e.value:+.3f} [{e.low:+.3f}, {e.high:+.3f}]"


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (compare, promote):
        app.command()(command)
