"""Two versions of a library: what changed in each rule, and on data, who is gained and lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from fintel.rules.model import Library, Rule
from fintel.rules.runner import Progress, detect_tables

#: What can be told about a rule between two versions.
CHANGES = ("added", "removed", "logic", "metadata", "lists", "same")


@dataclass(frozen=True)
class RuleChange:
    """``change``: one of ``CHANGES``; ``parts``: what differs, with the old and the new text."""

    rule_id: str
    change: str
    versions: tuple[int | None, int | None]
    fingerprints: tuple[str | None, str | None]
    parts: tuple[tuple[str, str, str], ...] = ()
    #: The logic changed and the version did not.
    unversioned: bool = False


def changes(old: Library, new: Library) -> tuple[RuleChange, ...]:
    """Every rule of either library, by id."""
    before, after = ({r.id: r for r in library.rules} for library in (old, new))
    found = []
    for rule_id in sorted(before.keys() | after.keys()):
        was, now = before.get(rule_id), after.get(rule_id)
        versions = (None if was is None else was.version, None if now is None else now.version)
        prints = (None if was is None else was.fingerprint, None if now is None else now.fingerprint)
        if was is None or now is None:
            found.append(RuleChange(rule_id, "added" if was is None else "removed", versions, prints))
            continue
        parts = _parts(was, now) + _lists(was, old, new)
        if was.fingerprint != now.fingerprint:
            change = "logic"
        elif any(name.startswith("@") for name, _, _ in parts):
            change = "lists"
        else:
            change = "metadata" if was.metadata_fingerprint != now.metadata_fingerprint else "same"
        same_version = change == "logic" and was.version == now.version
        found.append(RuleChange(rule_id, change, versions, prints, parts, same_version))
    return tuple(found)


def _parts(was: Rule, now: Rule) -> tuple[tuple[str, str, str], ...]:
    before, after = _told(was), _told(now)
    names = dict.fromkeys((*before, *after))
    return tuple(
        (name, before.get(name, "-"), after.get(name, "-")) for name in names if before.get(name) != after.get(name)
    )


def _told(rule: Rule) -> dict[str, str]:
    """Everything a rule says, as text, by the name of its place."""
    told = {
        name: str(getattr(rule, name))
        for name in ("title", "version", "status", "level", "typology", "role", "description", "reason", "budget")
    }
    told |= {name: ", ".join(getattr(rule, name)) for name in ("indicators", "techniques", "per", "falsepositives")}
    told |= {"anchor": " ".join(rule.anchor.split()), "when": " ".join(rule.when.split())}
    for parameter in rule.parameters.values():
        told[f"parameters.{parameter.name}"] = f"{parameter.default:g} {parameter.unit}"
        told[f"parameters.{parameter.name}.basis"] = parameter.basis
    told |= {f"conditions.{name}": " ".join(text.split()) for name, text in rule.conditions.items()}
    for step in rule.steps.values():
        told[f"steps.{step.name}"] = (
            f"{' '.join(step.where.split())} | after {step.after}, {step.within}, {step.at_least}, {step.same}"
        )
    for measure in rule.measures.values():
        told[f"measures.{measure.name}"] = " ".join(str(part) for part in measure.logic)
    if rule.correlation is not None:
        told["correlation"] = str(rule.correlation)
    return told


def _lists(rule: Rule, old: Library, new: Library) -> tuple[tuple[str, str, str], ...]:
    """Lists that the rule names and that hold other entries now."""
    texts = " ".join((rule.anchor, *rule.conditions.values(), *(s.where for s in rule.steps.values()),
                      *(m.where or "" for m in rule.measures.values())))  # fmt: skip
    return tuple(
        (f"@{name}", old.list_fingerprint(name), new.list_fingerprint(name))
        for name in sorted(old.lists.keys() & new.lists.keys())
        if f"@{name}" in texts and old.list_fingerprint(name) != new.list_fingerprint(name)
    )


def subjects(
    old: Library,
    new: Library,
    tables: Mapping[str, pl.DataFrame | pl.LazyFrame],
    *,
    base_currency: str,
    as_of: datetime | None,
    threads: int,
    progress: Progress,
) -> pl.DataFrame:
    """Accounts that one version finds and the other does not.

    Only rules whose logic or lists changed are run. Columns ``rule_id``, ``account_id``, ``change``
    (gained or lost), ``episodes``, ``peak_at``, ``reason`` (of the version that finds it).
    """
    touched = [c.rule_id for c in changes(old, new) if c.change not in ("same", "metadata")]
    sides = []
    for library in (old, new):
        some = library.with_components(touched)
        found = detect_tables(
            tables, some, base_currency=base_currency, as_of=as_of, threads=threads, progress=progress
        ).episodes
        mine = found.filter(pl.col("rule_id").is_in(touched)).sort("strength", descending=True)
        sides.append(
            mine.group_by("rule_id", "account_id").agg(
                pl.len().alias("episodes"), pl.col("peak_at").first(), pl.col("reason").first()
            )
        )
    lost, gained = (a.join(b, on=["rule_id", "account_id"], how="anti") for a, b in (sides, sides[::-1]))
    together = pl.concat([gained.with_columns(change=pl.lit("gained")), lost.with_columns(change=pl.lit("lost"))])
    return together.select("rule_id", "account_id", "change", "episodes", "peak_at", "reason").sort(
        "rule_id", "change", "account_id"
    )
