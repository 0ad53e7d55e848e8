"""``fintel rules coverage | why-not | diff``: what rules can see, what they missed, what changed."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fintel.cli.console import errors_explained, print_diagnostics, print_json, print_table, progress, say, tell
from fintel.cli.options import AsJson, AsOf, ConfigFile, LakeFolder, moment, settings_of
from fintel.cli.rules import Folder, choose, library_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from fintel.bench.coverage import Sight
    from fintel.bench.why_not import WhyNot
    from fintel.config import Settings
    from fintel.rules.model import Library


@contextmanager
def lake_tables(settings: Settings) -> Iterator[dict[str, pl.LazyFrame]]:
    """Canonical tables of the settings' lake, whose amounts are current."""
    from fintel.pipeline import canonical_tables, require_current_amounts
    from fintel.store.lake import Lake

    with Lake.open(settings.lake) as lake:
        require_current_amounts(lake, settings)
        yield canonical_tables(lake)


def coverage(
    typology: Annotated[str | None, typer.Option("--typology", "-t", help="Only indicators of this typology.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List implemented indicators too, not only the rest.")
    ] = False,
    folder: Folder = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Which published indicators have rules; which rules are blind on this feed, and which field would open their eyes.

    Without a lake only the catalogue is told.
    """
    with errors_explained():
        from fintel.bench.coverage import catalogue, openers, sights

        settings = settings_of(config, lake)
        library, _ = library_of(config, folder)
        covered = [c for c in catalogue(library) if typology in (None, c.indicator.typology)]
        seen: tuple[Sight, ...] = ()
        if settings.lake.is_dir():
            with lake_tables(settings) as tables:
                seen = sights(tables, library, base_currency=settings.base_currency)
        if as_json:
            print_json(
                {
                    "indicators": [
                        {"id": c.indicator.id, "typology": c.indicator.typology, "state": c.state,
                         "rules": list(c.rules), "why": c.why} for c in covered
                    ],
                    "rules": [
                        {"rule": s.rule_id, "outcome": str(s.outcome), "reason": s.reason,
                         "columns": list(s.columns), "anchors": s.anchors} for s in seen
                    ],
                    "columns": [{"column": n, "blind_rules": a, "would_see": o} for n, a, o in openers(seen)],
                }
            )  # fmt: skip
            return
        counts: dict[tuple[str, str], int] = {}
        for c in covered:
            counts[c.indicator.typology, c.state] = counts.get((c.indicator.typology, c.state), 0) + 1
        states = list(dict.fromkeys(c.state for c in covered))
        typologies = list(dict.fromkeys(c.indicator.typology for c in covered))
        rows = [(t, *(counts.get((t, s), 0) for s in states)) for t in typologies]
        print_table("indicators", ("typology", *states), rows, right=states)
        rest = [c for c in covered if everything or c.state != "implemented"]
        print_table(
            None,
            ("indicator", "state", "what is observed", "rules, or why none"),
            [(c.indicator.id, c.state, c.indicator.text, ", ".join(c.rules) or c.why) for c in rest],
        )
        _show_sight(seen, settings.lake)


def _show_sight(seen: Sequence[Sight], lake: Path) -> None:
    from fintel.bench.coverage import openers

    if not seen:
        say(f"no lake at {lake.name}: fintel feed add FILE, and coverage tells which rules that feed blinds")
        return
    blind = [s for s in seen if s.outcome != "evaluated"]
    idle = [s for s in seen if s.outcome == "evaluated" and not s.anchors]
    print_table("rules that are blind on this feed", ("rule", "why"), [(s.rule_id, s.reason) for s in blind])
    columns = ("column of entries", "blind rules that lack it", "that lack nothing else")
    print_table("what would open their eyes", columns, openers(tuple(seen)), right=columns[1:])
    say(
        f"{len(seen) - len(blind)} of {len(seen)} rules can see this feed; {len(idle)} of them found nothing to look at"
    )


def why_not(
    account: Annotated[str, typer.Argument(help="Account id, as in alerts.")],
    chosen: Annotated[list[str] | None, typer.Argument(help="Packs or rules; default: all.")] = None,
    limit: Annotated[int, typer.Option("--top", "-n", min=1, help="Rules to show in full, nearest first.")] = 10,
    as_of: AsOf = None,
    folder: Folder = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """Which condition failed on an account, by how much, and when it came nearest."""
    with errors_explained():
        from fintel.bench.why_not import why_not as look
        from fintel.pipeline import load_local_filters

        settings = settings_of(config, lake)
        library = library_of(config, folder)[0]
        library = load_local_filters(settings, library)[0].filtered(library)
        library = library.only(choose(library, chosen))
        with lake_tables(settings) as tables, progress() as show:
            _require_account(tables, account)
            found = look(
                tables, library, account, base_currency=settings.base_currency,
                as_of=moment(as_of), threads=settings.threads, progress=show,
            )  # fmt: skip
        if as_json:
            print_json([_as_dict(f) for f in found])
        else:
            _show_why_not(found, limit if chosen is None else len(found))


def _require_account(tables: dict[str, pl.LazyFrame], account: str) -> None:
    import polars as pl

    from fintel.errors import StoreError

    sides = (pl.col("debtor_account_id") == account) | (pl.col("creditor_account_id") == account)
    if tables["transactions"].filter(sides).head(1).collect().is_empty():
        raise StoreError(f"no payment of account '{account}' in the lake", hint="ids are as in fintel rank")


def _as_dict(found: WhyNot) -> dict[str, object]:
    return {
        "rule": found.rule_id, "outcome": str(found.outcome), "reason": found.reason, "hit": found.hit,
        "looked_at": found.looked_at, "nearest_at": found.nearest_at,
        "clauses": [
            {"text": c.text, "held": c.held, "observed": c.observed, "operator": c.operator,
             "threshold": c.threshold, "missing": c.missing} for c in found.clauses
        ],
    }  # fmt: skip


def _show_why_not(found: Sequence[WhyNot], limit: int) -> None:
    full = [f for f in found if f.clauses]
    for f in full[:limit]:
        said = "HIT" if f.hit else f"{f.held} of {len(f.clauses)} conditions held"
        tell(f"{f.rule_id}: {said} at {f.nearest_at:%Y-%m-%d %H:%M}, the nearest of {f.looked_at:,} entries looked at")
        if f.reason:
            tell(f"  {f.reason}")
        rows = [
            ("yes" if c.held else "cannot tell" if c.held is None else "no", c.text, c.observed, c.threshold, c.missing)
            for c in f.clauses
        ]
        print_table(
            None,
            ("held", "condition", "observed", "threshold", "missing"),
            rows,
            right=("observed", "threshold", "missing"),
        )
    rest = [(f.rule_id, f.reason or "further away") for f in found if f not in full[:limit]]
    if rest:
        print_table("the others", ("rule", "why not"), rest)


def diff(
    old: Annotated[Path, typer.Argument(help="Folder of packs as it was, or 'shipped'.")],
    new: Annotated[Path | None, typer.Argument(help="Folder of packs as it is; default: the shipped packs.")] = None,
    data: Annotated[bool, typer.Option("--data", help="Run both on the lake: subjects gained and lost.")] = False,
    as_of: AsOf = None,
    config: ConfigFile = None,
    lake: LakeFolder = None,
    as_json: AsJson = False,
) -> None:
    """What changed between two versions of rules: logic, parameters, lists; and on data, who is gained and lost."""
    with errors_explained():
        from fintel.bench.diff import changes, subjects

        libraries = [_layered(folder) for folder in (old, new)]
        changed = [c for c in changes(*libraries) if c.change != "same"]
        moved = None
        if data:
            settings = settings_of(config, lake)
            with lake_tables(settings) as tables, progress() as show:
                moved = subjects(
                    libraries[0], libraries[1], tables, base_currency=settings.base_currency,
                    as_of=moment(as_of), threads=settings.threads, progress=show,
                )  # fmt: skip
        if as_json:
            print_json(
                {
                    "rules": [
                        {"rule": c.rule_id, "change": c.change, "versions": c.versions, "logic": c.fingerprints,
                         "unversioned": c.unversioned,
                         "parts": [{"part": p, "old": a, "new": b} for p, a, b in c.parts]} for c in changed
                    ],
                    "subjects": None if moved is None else moved.to_dicts(),
                }
            )  # fmt: skip
            return
        rows = [
            (c.rule_id, c.change + (", same version" if c.unversioned else ""), part, before, after)
            for c in changed
            for part, before, after in (c.parts or (("", "", ""),))
        ]
        print_table("rules", ("rule", "change", "part", "old", "new"), rows)
        say(f"{len(changed)} of {len(changes(*libraries))} rules differ")
        if moved is not None:
            print_table("subjects", moved.columns, moved.iter_rows(), right=("episodes",))


def _layered(folder: Path | None) -> Library:
    """A folder of packs by itself if it has a catalogue of its own rules, else upon the shipped packs.

    A folder of one's own holds what differs; without the shipped lists and conditions it says nothing.

    Raises
    ------
    RuleError: there is no such folder.
    """
    from fintel.errors import RuleError
    from fintel.rules import loader

    shipped = loader.packs_folder()
    if folder is not None and str(folder) == "shipped" and not folder.exists():
        folder = None
    if folder is not None and not folder.is_dir():
        hint = "OLD and NEW are folders of packs, or 'shipped'; a rule by itself: fintel rules show"
        raise RuleError(f"there is no folder of packs '{folder}'", hint=hint)
    whole = folder is None or folder.resolve() == shipped or (folder / loader.CONDITIONS).is_file()
    library, found = loader.load([folder or shipped] if whole else [shipped, folder])  # type: ignore[list-item]
    print_diagnostics(d for d in found if d.code != "R015")
    return library


def register(app: typer.Typer) -> None:
    """Add the commands to ``fintel rules``."""
    app.command()(coverage)
    app.command("why-not")(why_not)
    app.command()(diff)
