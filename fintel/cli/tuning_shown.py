"""What ``fintel rules tune`` found, as tables and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fintel.cli.console import print_table, say, short_path, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from fintel.bench.intervals import Group
    from fintel.bench.review_sheet import BandYield
    from fintel.bench.rewriting import Written
    from fintel.bench.tuning import Choice, Tuned
    from fintel.rules.model import Rule

_SHOWN = 15


def _recall(choice: Choice) -> str:
    from fintel.bench.tuning import UNLABELLED

    return UNLABELLED if choice.recall is None else str(choice.recall)


def show_tuned(tuned: Tuned, bands: Sequence[BandYield], notes: Sequence[str]) -> None:
    """The frontier, the current and the suggested setting, yields, and how it was chosen."""
    from fintel.bench.tuning import UNLABELLED

    names = list(tuned.current.parameters)
    labelled = bool(tuned.known.suspicious)
    tell(
        f"{tuned.table.height:,} settings of {', '.join(names)}; "
        + (f"{len(tuned.known.suspicious):,} accounts known to be suspicious ({tuned.known.source})" if labelled
           else UNLABELLED)
    )  # fmt: skip
    for name, why in tuned.held.items():
        tell(f"held: {name} {why}")
    if labelled:
        _table("frontier: no other setting finds more with as few alerts", tuned.frontier, names)
    else:
        _table(f"settings by alerts ({UNLABELLED})", tuned.table.sort("alerts_month", "setting"), names)
    rows: list[tuple[Any, ...]] = []
    for label, choice in (("current", tuned.current), ("suggested", tuned.suggested)):
        if choice is not None:
            values = ", ".join(f"{n} {v:g}" for n, v in choice.parameters.items())
            rows.append((label, values, choice.alerts_month, choice.accounts, _recall(choice)))
    columns = ("setting", "parameters", "alerts a month", "accounts", "recall")
    print_table(None, columns, rows, right=columns[2:4])
    if tuned.suggested is not None:
        _tell_cost(tuned.suggested)
    chosen = tuned.suggested or tuned.current
    _groups("segment", chosen.segments)
    _groups("jurisdiction", chosen.jurisdictions)
    if bands:
        shown = [
            (b.line, b.side, b.band, b.population, b.share.of, str(b.share),
             f"{(b.share.value or 0) * b.population:,.1f}") for b in bands
        ]  # fmt: skip
        columns_of = ("line", "side", "distance", "accounts", "judged", "yield", "expected suspicious")
        print_table("reviewed accounts by distance from the line", columns_of, shown, right=columns_of[3:])
    tell(f"chosen by: {tuned.chosen_by}")
    for note in (*tuned.notes, *notes):
        tell(f"note: {note}")


def _tell_cost(choice: Choice) -> None:
    cost = choice.cost
    if cost is None:
        return
    text = (
        f"suggested against current: {cost.alerts_month:+.1f} alerts a month, "
        f"{cost.accounts_gained:,} accounts gained and {cost.accounts_lost:,} lost"
    )
    if cost.positives_gained is not None:
        text += f", of the suspicious ones {cost.positives_gained:,} gained and {cost.positives_lost:,} lost"
    tell(text)
    if choice.held_out is not None:
        tell(f"recall where the accounts judged had no say in choosing: {choice.held_out}")


def _table(title: str, table: pl.DataFrame, names: Sequence[str]) -> None:
    columns = ("setting", *names, "alerts_month", "accounts", "positives", "recall")
    shown = table.select(columns)
    if shown.height > _SHOWN:
        # evenly over the whole, both ends included
        rows = [round(i * (shown.height - 1) / (_SHOWN - 1)) for i in range(_SHOWN)]
        shown, title = shown[rows], f"{title} ({_SHOWN} of {shown.height:,}; --json has all)"
    if shown["recall"].null_count():
        shown = shown.drop("positives", "recall")
    print_table(title, shown.columns, shown.iter_rows(), right=shown.columns)


def _groups(title: str, groups: Sequence[Group]) -> None:
    if groups:
        rows = [(g.name, g.share.of, g.share.hits, str(g.shown), g.fallback) for g in groups]
        columns = (title, "accounts", "suspicious", "yield", "falls back to")
        print_table(f"yield by {title}", columns, rows, right=("accounts", "suspicious"))


def show_files(files: Mapping[str, Any], written: Written | None, rule: Rule) -> None:
    """Which files were written, and what to do with them."""
    if "sheet" in files:
        say(
            f"{files['sheet_accounts']:,} accounts to review in {short_path(Path(files['sheet']))}; fill in disposition"
        )
    if "chart" in files:
        say(f"wrote {short_path(Path(files['chart']))}")
    if written is not None:
        tell(f"wrote {short_path(written.file)}: {written.line}")
        folder = short_path(written.file.parent.parent)
        say(f"its cases may expect the old numbers: fintel rules test {rule.id} --folder {folder}")
        say(f"to use it: packs = [\"{folder}\"] in fintel.toml; with other numbers it begins as 'experimental'")


def as_dict(
    tuned: Tuned, bands: Sequence[BandYield], notes: Sequence[str], files: Mapping[str, Any], written: Written | None
) -> dict[str, Any]:
    """Everything as plain values; ``unlabelled`` where nobody is known to be suspicious."""
    from fintel.bench.tuning import UNLABELLED

    measured = tuned.swept[0].measured
    labelled = bool(tuned.known.suspicious)
    table = tuned.table if labelled else tuned.table.drop("positives", "recall", "frontier")
    return {
        "rule": measured.rule.id,
        "version": measured.rule.version,
        "logic": measured.rule.fingerprint,
        "from": measured.first_at,
        "to": measured.last_at,
        "months": measured.months,
        "labels": {"suspicious": len(tuned.known.suspicious), "cleared": len(tuned.known.cleared),
                   "source": tuned.known.source} if labelled else UNLABELLED,
        "held": dict(tuned.held),
        "settings": table.to_dicts(),
        "frontier": tuned.frontier["setting"].to_list() if labelled else UNLABELLED,
        "current": _choice_dict(tuned.current),
        "suggested": None if tuned.suggested is None else _choice_dict(tuned.suggested),
        "chosen_by": tuned.chosen_by,
        "reviewed": [b.as_dict() for b in bands],
        "notes": [*tuned.notes, *notes],
        "files": dict(files),
        "written": None if written is None else {
            "file": str(written.file), "version": written.version, "changelog": written.line,
            "copied": [str(p) for p in written.copied],
        },
    }  # fmt: skip


def _choice_dict(choice: Choice) -> dict[str, Any]:
    from fintel.bench.tuning import UNLABELLED

    cost = choice.cost
    return {
        "parameters": dict(choice.parameters),
        "accounts": choice.accounts,
        "alerts_month": choice.alerts_month,
        "recall": UNLABELLED if choice.recall is None else choice.recall.as_dict(),
        "held_out_recall": None if choice.held_out is None else choice.held_out.as_dict(),
        "segments": [g.as_dict() for g in choice.segments] if choice.recall else UNLABELLED,
        "jurisdictions": [g.as_dict() for g in choice.jurisdictions] if choice.recall else UNLABELLED,
        "cost": None if cost is None else {
            "alerts_month": cost.alerts_month, "accounts_gained": cost.accounts_gained,
            "accounts_lost": cost.accounts_lost,
            "positives_gained": UNLABELLED if cost.positives_gained is None else cost.positives_gained,
            "positives_lost": UNLABELLED if cost.positives_lost is None else cost.positives_lost,
        },
    }  # fmt: skip
