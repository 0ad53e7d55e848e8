"""``fintel rules check | test | mutate``: whether rules are sound, whether their cases hold, and how closely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, out, print_diagnostics, print_json, print_table, progress, say, tell
from fintel.cli.options import AsJson, ConfigFile
from fintel.cli.rules import Chosen, Folder, choose, library_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fintel.bench.case_runs import Timed
    from fintel.bench.mutation import Fate
    from fintel.rules.testing import CaseResult


def check(chosen: Chosen = None, folder: Folder = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Find what is wrong with rules: each finding with file, line, column and the nearest valid name.

    Exit code 1 when there are errors.
    """
    with errors_explained():
        from fintel.errors import Severity
        from fintel.rules.checks import check as find

        library, loading = library_of(config, folder)
        found = (*loading, *(d for d in find(library.with_components(choose(library, chosen))) if d not in loading))
        if as_json:
            print_json([d.as_dict() for d in found])
        else:
            print_diagnostics(found, to=out())
        errors = sum(d.severity is Severity.ERROR for d in found)
        say(f"{len(library.rules)} rules, {errors} errors, {len(found) - errors} other findings")
        if errors:
            raise typer.Exit(1)


def run_tests(
    chosen: Chosen = None,
    slowest: Annotated[
        int, typer.Option("--slowest", min=0, help="Run each rule by itself and name so many of the slowest.")
    ] = 0,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=0, help="Processes at once; 0: as many as help.")] = 0,
    folder: Folder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Run the cases of rules: each says what it expects and what was found.

    Exit code 1 when a case fails.
    """
    with errors_explained():
        from fintel.bench.case_runs import run_library, time_rules

        library, loading = library_of(config, folder)
        rules = [library[rule_id] for rule_id in choose(library, chosen)]
        timed: Sequence[Timed] = ()
        if slowest:
            result, timed = time_rules(library, rules)
        else:
            result = run_library(library, rules, processes=jobs)
        failed = [r for r in result.results if not r.passed]
        if as_json:
            print_json([_as_dict(r, timed) for r in result.results])
        else:
            print_diagnostics((*loading, *result.diagnostics), to=out())
            for r in failed:
                tell(f"{r.location}: {r.rule_id}: {r.case}")
                for difference in r.differences:
                    tell(f"    {difference}")
            if slowest:
                rows = [(t.rule_id, t.cases, t.seconds) for t in timed[:slowest]]
                print_table("slowest rules", ("rule", "cases", "seconds"), rows, right=("cases", "seconds"))
        say(f"{len(result.results) - len(failed)} passed, {len(failed)} failed")
        if failed or result.diagnostics or loading:
            raise typer.Exit(1)


def _as_dict(result: CaseResult, timed: Sequence[Timed]) -> dict[str, object]:
    seconds = {t.rule_id: t.seconds for t in timed}
    known = {"seconds_of_rule": seconds[result.rule_id]} if result.rule_id in seconds else {}
    return {
        "rule": result.rule_id, "case": result.case, "passed": result.passed,
        "differences": list(result.differences), **known,
    }  # fmt: skip


def mutate(
    chosen: Chosen = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="threshold, comparison, timespan or clause; default: all.")
    ] = None,
    sample: Annotated[int | None, typer.Option("--sample", min=1, help="So many changes alone, drawn by lot.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the lot.")] = 0,
    least: Annotated[
        float, typer.Option("--least", min=0, max=1, help="Share of moved thresholds that cases must notice.")
    ] = 0.9,
    folder: Folder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Change one thing at a time in each rule: do its cases notice?

    Thresholds are moved by a quarter (counts by one at least), `>=` becomes `>`, windows are halved and doubled, and
    conditions are left out. What no case notices is listed: there the cases leave room.

    Exit code 1 when fewer moved thresholds are noticed than `--least`.
    """
    with errors_explained():
        from fintel.bench.mutation import KINDS, rates
        from fintel.bench.mutation import mutate as change
        from fintel.errors import RuleError, did_you_mean

        for name in kind or ():
            if name not in KINDS:
                hint = did_you_mean(name, KINDS) or f"one of: {', '.join(KINDS)}"
                raise RuleError(f"no kind of change '{name}'", hint=hint)
        library, loading = library_of(config, folder)
        print_diagnostics(loading)
        rules = choose(library, chosen)
        found: list[Fate] = []
        with progress() as show:
            for fate in change(library, rule_ids=rules, kinds=kind or KINDS, sample=sample, seed=seed):
                found.append(fate)
                show("changes judged", len(found), 0)
        survivors = [f for f in found if not f.killed]
        table = [(pack, what, r.killed, r.made, r.value) for (pack, what), r in rates(found).items()]
        if as_json:
            print_json(
                {
                    "rates": [
                        dict(zip(("pack", "kind", "noticed", "made", "share"), row, strict=True)) for row in table
                    ],
                    "survivors": [
                        {"rule": f.mutant.rule_id, "kind": f.mutant.kind, "change": f.mutant.what} for f in survivors
                    ],
                }
            )
        else:
            rows = [(f.mutant.rule_id, f.mutant.kind, f.mutant.what) for f in survivors]
            print_table("changes that no case notices", ("rule", "kind", "change"), rows)
            print_table("noticed", ("pack", "kind", "noticed", "of", "share"), table, right=("noticed", "of", "share"))
        moved = [f.killed for f in found if f.mutant.kind == "threshold"]
        say(f"{len(found) - len(survivors)} of {len(found)} changes noticed, {sum(moved)} of {len(moved)} thresholds")
        if moved and sum(moved) < least * len(moved):
            raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands to ``fintel rules``."""
    app.command()(check)
    app.command("test")(run_tests)
    app.command()(mutate)
