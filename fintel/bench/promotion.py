"""The life of a rule: experimental → test → stable → deprecated. A gate that does not open says why.

Evidence is of a rule's logic: its own, that of the rules it correlates, and of the lists they name. When any
of it changes, the evidence is of another rule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from fintel.bench.backtest_told import rests_on
from fintel.bench.rewriting import author_of
from fintel.domain.detection import Outcome
from fintel.domain.schema import SEEN_ENTRIES
from fintel.errors import ConfigError, Diagnostic, Severity
from fintel.rules.cases import load_cases
from fintel.rules.checks import check, duplicate_logic
from fintel.rules.checks_logic import logic_findings
from fintel.rules.compiler import compile_library
from fintel.rules.exclusions import Exclusion, review, subject
from fintel.rules.model import STATUSES, Library, Rule
from fintel.rules.testing import Detect, run_cases
from fintel.store.lake import Lake

#: Real payments that a rule must have seen in status ``test`` before it is stable.
SHADOW = timedelta(days=30)
#: No false alarm among n shows, at 95 %, a rate below 3 / n: fewer account-months than that prove nothing.
RULE_OF_THREE = 3.0
MAX_RECORD = 50_000_000


@dataclass(frozen=True)
class Gate:
    """One condition of a promotion, whether it holds, and in words what was found."""

    name: str
    open: bool
    said: str


@dataclass(frozen=True)
class Evidence:
    """What a backtest says of one rule. ``rests_on`` as ``backtest_told.rests_on``."""

    rests_on: Mapping[str, str]
    outcome: str
    days: float
    own_accounts: int
    rate: float | None
    source: str


def gates(
    rule: Rule,
    library: Library,
    status: str,
    *,
    by: str,
    second: str,
    detect: Detect,
    loading: Sequence[Diagnostic] = (),
    exclusions: Sequence[Exclusion] = (),
    evidence: Evidence | None = None,
    lake: Lake | None = None,
) -> tuple[Gate, ...]:
    """Every gate between a rule and a status; a promotion needs all of them open.

    Parameters
    ----------
    library: with the rule in it; ``loading``: what was found when it was read; ``exclusions``: findings
        that may stand.
    evidence: of a backtest; None where there is none.
    lake: whose runs show the shadow days; None where there is none.
    """
    found = [_next(rule, status), _names(by, second)]
    if status == "deprecated":
        return (*found, _free(rule, library))
    found += [_clean(rule, status, library, loading, exclusions), _cases(rule, library, detect)]
    found += [_logic(rule, library, evidence), _budget(rule, evidence)]
    if status == "stable":
        found.append(shadow(rule, library, lake))
    return tuple(found)


def _next(rule: Rule, status: str) -> Gate:
    now, then = STATUSES.index(rule.status), STATUSES.index(status)
    after = STATUSES[now + 1] if now + 1 < len(STATUSES) else None
    fits = status == after or (status == "deprecated" and rule.status != "deprecated")
    way = f"the next is {after}" if after else "nothing comes after it"
    said = f"{rule.status} → {status}" if fits else f"the rule is {rule.status}: {way}, not {status}"
    if not fits and then < now:
        said += "; a new version of its logic begins as experimental"
    return Gate("lifecycle", fits, said)


def _names(by: str, second: str) -> Gate:
    names = [author_of(n) for n in (by, second)]
    if None in names:
        return Gate("two people", False, "--by and --second each name a person, at most 80 letters")
    one, other = (str(n).casefold() for n in names)
    if one == other:
        return Gate("two people", False, f"both names are {names[0]}: a second person looks at it")
    return Gate("two people", True, f"{names[0]} and {names[1]}")


def _free(rule: Rule, library: Library) -> Gate:
    resting = [
        r.id
        for r in library.rules
        if r.correlation is not None and rule.id in r.correlation.components and r.status != "deprecated"
    ]
    if resting:
        return Gate("nothing rests on it", False, f"it would blind {', '.join(resting)}")
    return Gate("nothing rests on it", True, "no correlation names it")


def _clean(
    rule: Rule, status: str, library: Library, loading: Sequence[Diagnostic], exclusions: Sequence[Exclusion]
) -> Gate:
    """What check finds of the rule and its cases, once it has the new status."""
    then = replace(rule, status=status)
    whole = replace(library, rules=tuple(then if r.id == rule.id else r for r in library.rules))
    found = [
        *loading,
        *check(whole.with_components((rule.id,))),
        *logic_findings(whole, [then]),
        *(d for d in duplicate_logic(whole.rules) if f"'{rule.id}'" in d.message),
    ]
    about = [d for d in dict.fromkeys(found) if subject(d) == rule.id or f"'{rule.id}'" in d.message]
    reviewed = review(about, exclusions, today=date.today(), whole=())
    mine = [d for d in reviewed.open if d.severity is not Severity.INFO]
    let = f" ({len(reviewed.excluded)} excluded with a reason)" if reviewed.excluded else ""
    if not mine:
        return Gate("check", True, f"nothing found{let}")
    more = f" and {len(mine) - 3} more" if len(mine) > 3 else ""
    return Gate("check", False, "; ".join(f"{d.code} {d.message}" for d in mine[:3]) + more + let)


def _cases(rule: Rule, library: Library, detect: Detect) -> Gate:
    cases, _ = load_cases(rule)
    lacking = []
    if not any(c.expect.hit for c in cases):
        lacking.append("a hit")
    if not any(c.near_miss for c in cases):
        lacking.append("a near miss")
    if not any(c.expect.cannot_tell for c in cases) and blindable(rule, library):
        lacking.append("one that cannot tell, for want of a field")
    if lacking:
        return Gate("cases", False, f"no case shows {', '.join(lacking)}")
    result = run_cases(library, detect, rule_ids=(rule.id,))
    failed = [r for r in result.results if not r.passed]
    if failed or result.diagnostics:
        why = [f"{r.case}: {r.differences[0]}" for r in failed] + [str(d.message) for d in result.diagnostics]
        return Gate("cases", False, f"{len(why)} of {len(result.results)} fail: " + "; ".join(why[:3]))
    return Gate("cases", True, f"{len(result.results)} pass")


def blindable(rule: Rule, library: Library) -> bool:
    """Whether an empty field can keep the rule from an answer."""
    if rule.correlation is not None:
        return True
    (compiled,) = compile_library(library.only((rule.id,)), base_currency="USD", rates={}).rules or (None,)
    if compiled is None:  # no rate for one of its sums
        return True
    read = {column for columns in compiled.reads.values() for column in columns}
    return bool(compiled.guards) or any(not SEEN_ENTRIES[c].required for c in read if c in SEEN_ENTRIES)


# -- the evidence


def _logic(rule: Rule, library: Library, evidence: Evidence | None) -> Gate:
    if evidence is None:
        return Gate("logic unchanged", False, "no backtest: give --record FILE, or a lake to run it on")
    changed = changed_since(rule, library, evidence.rests_on)
    if changed:
        return Gate("logic unchanged", False, f"since {evidence.source} these changed: {', '.join(changed)}")
    return Gate("logic unchanged", True, f"{rule.fingerprint}, as in {evidence.source}")


def changed_since(rule: Rule, library: Library, rested_on: Mapping[str, str]) -> list[str]:
    """Rules and lists that decide what a rule finds and had other fingerprints (or none) then."""
    return [name for name, now in rests_on(library, rule.id).items() if rested_on.get(name) != now]


def _budget(rule: Rule, evidence: Evidence | None) -> Gate:
    name = "false-positive budget"
    if rule.budget is None:
        return Gate(name, False, "the rule has no budget")
    if evidence is None:
        return Gate(name, False, "no backtest shows that it is kept")
    if evidence.outcome != Outcome.EVALUATED or evidence.rate is None:
        return Gate(name, False, f"{evidence.source}: {evidence.outcome}, so nothing is known of its alarms")
    on = f"{evidence.own_accounts:,} own accounts over {evidence.days:.0f} days"
    told = f"{evidence.rate:.2f} false alarms per 10,000 accounts and 30 days on {on}, budget {rule.budget:g}"
    if evidence.rate > rule.budget:
        return Gate(name, False, told)
    looked_at = evidence.own_accounts / 10_000 * evidence.days / 30
    if rule.budget and looked_at * rule.budget < RULE_OF_THREE:
        needed = math.ceil(RULE_OF_THREE / rule.budget * 10_000 * 30 / max(evidence.days, 1e-9))
        return Gate(name, False, f"{told}: too few accounts to show it, over that time it takes {needed:,}")
    return Gate(name, True, told)


def evidence_of(record: Mapping[str, Any], rule_id: str, source: str) -> Evidence | None:
    """What a backtest's record says of a rule; None where it does not name it.

    Raises
    ------
    ConfigError: not such a record.
    """
    try:
        row = next((r for r in record["rules"] if r["rule"] == rule_id), None)
        if row is None:
            return None
        rate = row.get("false_alarms_per_10000_and_30_days")
        days, own = float(record["days"]), int(record["own_accounts"])
        rests = {str(k): str(v) for k, v in row["rests_on"].items()}
        found = Evidence(rests, str(row["outcome"]), days, own, None if rate is None else float(rate), source)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(f"{source} is no record of a backtest", hint=_MAKE) from error
    sound = 0 < found.days < math.inf and found.own_accounts >= 0
    if not sound or (found.rate is not None and not 0 <= found.rate < math.inf):
        raise ConfigError(f"{source} is no record of a backtest", hint=_MAKE)
    return found


_MAKE = "fintel rules backtest PACK --record FILE writes one"


def read_record(path: Path) -> Mapping[str, Any]:
    """A record as ``fintel rules backtest --record`` writes it.

    Raises
    ------
    ConfigError: it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD + 1)
        if len(data) > MAX_RECORD:
            raise ConfigError(f"{path.name} is larger than {MAX_RECORD:,} bytes")
        found = json.loads(data)
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} is no JSON", hint=_MAKE) from error
    if not isinstance(found, dict) or found.get("kind") != "backtest":
        raise ConfigError(f"{path.name} is no record of a backtest", hint=_MAKE)
    return found


def shadow(rule: Rule, library: Library, lake: Lake | None) -> Gate:
    """Runs in which the rule of this logic could see and had status ``test``: how many days of payments lie
    between the first and the last of them."""
    name = f"{SHADOW.days} shadow days"
    if lake is None:
        return Gate(name, False, "no lake, so no runs")
    others, blind = 0, 0
    moments: list[datetime] = []
    for run in lake.runs():
        known = run.manifest.get("rules", {}).get(rule.id)
        if known is None:
            continue
        rested = {r: facts[1] for r, facts in run.manifest["rules"].items()}
        rested |= {f"@{n}": f for n, f in run.manifest.get("lists", {}).items()}
        if changed_since(rule, library, rested) or len(known) < 3 or known[2] != "test":
            others += 1
            continue
        results = lake.run_table(run.run_id, "rule_results").filter(pl.col("rule_id") == rule.id).collect()
        if results["outcome"].to_list() == [Outcome.EVALUATED]:
            moments.append(run.as_of)
        else:
            blind += 1
    rest = [f"{n:,} {what}" for n, what in ((others, "of another logic or status"), (blind, "that cannot tell")) if n]
    beside = f" (beside {' and '.join(rest)})" if rest else ""
    if len(moments) < 2:
        return Gate(name, False, f"{len(moments)} runs of this logic in status test{beside}: it takes two at least")
    booked = lake.scan("transactions").select(first=pl.col("booked_at").min(), last=pl.col("booked_at").max())
    first, last = booked.collect(engine="streaming").row(0)
    begin, end = max(min(moments), first), min(max(moments), last)
    days = max(0.0, (end - begin).total_seconds() / 86_400)
    days = math.floor(days * 10) / 10  # 29.96 is not 30
    said = f"{len(moments)} runs{beside}, {days:.1f} days of payments from {begin:%Y-%m-%d} to {end:%Y-%m-%d}"
    return Gate(name, end - begin >= SHADOW, said)


def promoted_version(rule: Rule, into: Path | None) -> int:
    """The version that is written: the same, as the logic is; in another folder the next one, for of two
    folders the higher version is taken."""
    elsewhere = into is not None and (into / rule.pack).resolve() != Path(rule.location.file).resolve().parent
    return rule.version + 1 if elsewhere else rule.version


def promotion_line(
    rule: Rule, status: str, version: int, by: str, second: str, on: date, evidence: Evidence | None
) -> str:
    """``2: test → stable (on 2026-11-24, …, by A and B)``."""
    shown = ""
    if evidence is not None and evidence.rate is not None and status != "deprecated":
        shown = f", {evidence.rate:.2f} false alarms per 10,000 accounts and 30 days"
    people = f"{author_of(by)} and {author_of(second)}"
    return f"{version}: {rule.status} → {status} (on {on.isoformat()}{shown}, by {people})"
