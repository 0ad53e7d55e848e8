"""What ``samples.py`` measured, as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_STAGES = ("read", "rules/entries", "rules/rules", "rules/evidence", "ranking", "commit", "train", "folds")
_MIB = 2**20


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of every set; what a crashed set left is its exit code."""
    whole = {name: one for name, one in found.items() if "crashed" not in one}
    crashed = [
        f"**{name} crashed** with exit code {one['crashed']}." for name, one in found.items() if "crashed" in one
    ]
    parts = [
        *crashed,
        "## Read, evaluated, seconds",
        table(
            "set|payments|no base amount|accounts|with a reason|rules evaluated|cannot tell|failed|line, MiB|all, MiB",
            (_summary(name, one) for name, one in whole.items()),
        ),
        "## Files",
        table(
            "set|table|read|accepted|duplicates|refused|skipped|why refused",
            (r for name, one in whole.items() for r in _files(name, one)),
        ),
        "## Seconds",
        table("|".join(("set", *_STAGES)), (_seconds(name, one) for name, one in whole.items())),
        "## Rules that found something",
        table(
            "set|rule|level|hits|accounts|share of accounts|of them labelled",
            (r for name, one in whole.items() for r in _rules(name, one)),
        ),
        "## First five",
        table("set|rank|account|bits|why", (r for name, one in whole.items() for r in _top(name, one))),
        "## Ranking, judged over all accounts",
        table(
            "set|label source|labelled|base rate = random|ranking|average precision|precision at 1 %|floor",
            (r for name, one in whole.items() for r in _judged(name, one)),
        ),
        "## What `fintel train` says",
        table(
            "set|plan|accounts|labelled|base rate|ranking|average precision|precision at 1 %",
            (r for name, one in whole.items() for r in _train(name, one)),
        ),
        "## Attempts of AMLworld with a payment in the evidence",
        table(
            "typology|attempts|found|by rule",
            (
                (a["typology"], a["attempts"], a["found"], ", ".join(f"{r} {n}" for r, n in a["rules"].items()))
                for one in whole.values()
                for a in one.get("attempts", ())
            ),
        ),
    ]
    return "\n\n".join(parts)


def table(header: str, rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    names = header.split("|")
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_text(c).replace("|", "\\|") for c in cells) + " |" for cells in rows]
    return "\n".join(lines if len(lines) > 2 else ["none"])


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _summary(name: str, one: Mapping[str, Any]) -> tuple[Any, ...]:
    outcomes = one["outcomes"]
    counts = (outcomes.get(o, 0) for o in ("evaluated", "cannot_tell", "failed"))
    memory = (round(one[key] / _MIB) for key in ("peak_rss_line", "peak_rss"))
    return (
        name, one["payments"], one["without_base_amount"], one["accounts"], one["accounts_with_a_reason"],
        *counts, *memory,
    )  # fmt: skip


def _files(name: str, one: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    for f in one["files"]:
        why = [f"{r['rows']} {r['code']} {r['column'] or ''}" for r in one["refused"] if r["target"] == f["table"]]
        reasons = ", ".join(why) if f["rejected"] else ""
        yield name, f["table"], f["read"], f["accepted"], f["duplicates"], f["rejected"], f["skipped"], reasons


def _seconds(name: str, one: Mapping[str, Any]) -> tuple[Any, ...]:
    spent = one["seconds"]
    return (name, *(f"{spent[stage]:.2f}" if stage in spent else "–" for stage in _STAGES))


def _rules(name: str, one: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    for r in one["rules"]:
        labelled = ", ".join(f"{n} {source}" for source, n in r["labelled"].items())
        share = f"{r['share']:.1%}" + (" **too many**" if r["too_many"] else "")
        yield name, r["rule"], r["level"], r["hits"], r["accounts"], share, labelled


def _top(name: str, one: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    for t in one["top"]:
        yield name, t["rank"], t["account_id"], f"{t['score']:.2f}", t["summary"]


def _judged(name: str, one: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    for source, j in one.get("judged", {}).items():
        if j.get("too_few"):
            yield name, source, j["positives"], "too few to judge by", "", "", "", ""
            continue
        for way, m in j["rankings"].items():
            yield name, source, j["positives"], j["base_rate"], way, *_two(m), j["floor"]


def _train(name: str, one: Mapping[str, Any]) -> Iterable[tuple[Any, ...]]:
    told = one.get("train")
    if isinstance(told, str):
        yield name, told, "", "", "", "", "", ""
    elif told:
        for way, m in told["rankings"].items():
            yield name, told["plan"], told["accounts"], told["positives"], told["base_rate"], way, *_two(m)


def _two(measured: Mapping[str, Any]) -> tuple[str, str]:
    return _interval(measured["ap"]), _interval(measured["at_1_percent"])


def _interval(values: Sequence[float]) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*values)
