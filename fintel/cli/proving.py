"""``fintel rules check | test | mutate``: whether rules are sound, whether their cases hold, and how closely."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, out, print_diagnostics, print_json, print_table, progress, say, tell
from fintel.cli.options import AsJson, ConfigFile
from fintel.cli.rules import Chosen, Folder, choose, library_of
from fintel.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fintel.bench.case_runs import Timed
    from fintel.bench.mutation import Fate
    from fintel.errors import Diagnostic
    from fintel.rules.exclusions import Exclusion, Reviewed
    from fintel.rules.testing import CaseResult

FORMATS = ("text", "json", "sarif")


def check(
    chosen: Chosen = None,
    form: Annotated[str, typer.Option("--format", help="text, json or sarif (SARIF 2.1.0).")] = "text",
    exclusions: Annotated[
        Path | None,
        typer.Option("--exclusions", help="Findings that may stand; default: rules.exclude.yaml beside fintel.toml."),
    ] = None,
    folder: Folder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Find what is wrong with rules: each finding with file, line, column and the nearest valid name.

    Exit code 1 when a finding is open. A warning that may stand is excluded with a reason; an error cannot be.
    """
    with errors_explained():
        from fintel.errors import RuleError, did_you_mean
        from fintel.rules.checks import check as find
        from fintel.rules.checks import duplicate_logic
        from fintel.rules.checks_logic import logic_findings
        from fintel.rules.exclusions import review

        form = "json" if as_json else form
        if form not in FORMATS:
            raise RuleError(f"no format '{form}'", hint=did_you_mean(form, FORMATS) or f"one of: {', '.join(FORMATS)}")
        library, loading = library_of(config, folder)
        sound = [name for name in chosen or () if not _is_faulty(name, loading)]
        rules = choose(library, sound) if sound or not chosen else ()
        looked_at = library.with_components(rules)
        files = {r.location.file for r in looked_at.rules}
        # a selection narrows what is told, not what it is compared with
        alike = [d for d in duplicate_logic(library.rules) if d.location is not None and d.location.file in files]
        found = list(dict.fromkeys([*loading, *find(looked_at), *alike, *logic_findings(library, looked_at.rules)]))
        faults, known = known_exclusions(exclusions, folder, config)
        reviewed = review(found, known, today=date.today(), whole=rules if chosen else None)
        opened = (*faults, *reviewed.open)
        if form == "text":
            print_diagnostics(opened, to=out())
        elif form == "json":
            print_json([{**d.as_dict(), "excluded": why} for d, why in _told(opened, reviewed)])
        else:
            from fintel.bench.sarif import log

            print_json(log(opened, reviewed.excluded, root=Path.cwd()))
        errors = sum(d.severity is Severity.ERROR for d in opened)
        warnings = sum(d.severity is Severity.WARNING for d in opened)
        say(f"{len(library.rules)} rules, {errors} errors, {warnings} warnings, {len(reviewed.excluded)} excluded")
        if errors or warnings:
            raise typer.Exit(1)


def _is_faulty(name: str, loading: Sequence[Diagnostic]) -> bool:
    """A rule's id or file with errors: it is in no library, and what is wrong with it is to be told."""
    files = [Path(d.location.file) for d in loading if d.location is not None and d.severity is Severity.ERROR]
    return any(name in (f"{f.parent.name}/{f.stem}", f.stem, f.name) for f in files)


def _told(opened: Sequence[Diagnostic], reviewed: Reviewed) -> Iterator[tuple[Diagnostic, str | None]]:
    yield from ((d, None) for d in opened)
    yield from ((d, exclusion.reason) for d, exclusion in reviewed.excluded)


def known_exclusions(
    file: Path | None, folder: Path | None, config: Path | None
) -> tuple[tuple[Diagnostic, ...], tuple[Exclusion, ...]]:
    """What may stand, by the shipped packs, a folder of packs and the user; and what is wrong with these files.

    Raises
    ------
    RuleError: the file that was asked for is not there.
    """
    from fintel.config import find
    from fintel.errors import RuleError
    from fintel.rules.exclusions import FILE_NAME, read_exclusions
    from fintel.rules.loader import packs_folder
    from fintel.rules.source import Findings

    if file is not None and not file.is_file():
        raise RuleError(f"there is no {file}", hint="exclude: [{rule: pack/*, code: R056, reason: …}]")
    settings = config or find()
    own = file or (settings.parent / FILE_NAME if settings is not None else Path(FILE_NAME))
    files = [packs_folder() / FILE_NAME, *([folder / FILE_NAME] if folder is not None else []), own]
    findings = Findings()
    known = [
        e
        for path in dict.fromkeys(p.resolve() for p in files)
        if path.is_file()
        for e in read_exclusions(path, findings)
    ]
    return tuple(findings.items), tuple(known)


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
