"""What the shipped rules find and whom they trouble, on synthetic populations made for this alone.

    python benchmarks/detection.py                                  three seeds, 6,000 accounts, 150 days
    python benchmarks/detection.py --seeds 1 2 --accounts 2000 --days 120 --page docs/reference/detection.md

For each seed two populations: one with planted schemes, and a clean one of daily life and benign look-alikes.
Rules alone, no model. A number measured here says how well rules find what the generator plants; it says
nothing about real customers.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from scipy.stats import chi2

from fintel.bench.explain_page import table
from fintel.bench.intervals import Share
from fintel.bench.known import standings
from fintel.config import Settings
from fintel.feeds import mapping_loader
from fintel.feeds.synthetic import generate
from fintel.pipeline import canonical_tables, ingest, load_library
from fintel.ranking import rank
from fintel.rules.model import Library, Rule
from fintel.rules.runner import detect_tables
from fintel.store.lake import Lake

SEEDS = (821, 822, 823)
BUDGETS = (10, 25, 50, 100)
MONTH = timedelta(days=30)
USUAL = {"accounts": 6_000, "days": 150}
KINDS = ("planted", "left out")
_HIT = {"rule_id": pl.String, "account_id": pl.String, "month": pl.Int64}


@dataclass(frozen=True)
class Population:
    """A population after a run. ``lawful``: own accounts that are neither suspects nor victims, with ``what`` they are;
    ``members``: accounts of schemes, ``scheme_id, typology, account_id, suspect``; ``hits``: ``rule_id, account_id,
    month`` of each episode; ``ranked``: own accounts, the most suspicious first, and in ``leading`` the strongest
    typology of each; ``idle``: why rules gave no answer."""

    seed: int
    months: float
    payments: int
    lawful: pl.DataFrame
    members: pl.DataFrame
    hits: pl.DataFrame
    ranked: tuple[str, ...]
    leading: tuple[str, ...]
    suspects: frozenset[str]
    idle: dict[str, str]
    seconds: float


def main() -> None:
    """Make, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--accounts", type=int, default=USUAL["accounts"])
    parser.add_argument("--days", type=int, default=USUAL["days"])
    parser.add_argument("--threads", type=int, default=0, help="0 is one a core")
    parser.add_argument("--page", type=Path, help="write the page here; default: print it")
    given = parser.parse_args()
    os.nice(5)
    library, _ = load_library(Settings())
    made: dict[str, list[Population]] = {kind: [] for kind in KINDS}
    for seed in given.seeds:
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as scratch:
                found = measure(Path(scratch), library, given.accounts, given.days, seed, kind, given.threads)
            print(f"seed {seed}, schemes {kind}: {found.payments:,} payments, {found.seconds:.0f} s", file=sys.stderr)
            made[kind].append(found)
    text = page(library, made["planted"], made["left out"], given)
    if given.page is None:
        print(text)
    else:
        given.page.write_text(text, encoding="utf-8")


def measure(folder: Path, library: Library, accounts: int, days: int, seed: int, kind: str, threads: int) -> Population:
    """Make one population and run every rule on it."""
    begun = time.perf_counter()
    generate(folder / "feed", accounts=accounts, days=days, seed=seed, schemes=kind)  # type: ignore[arg-type]
    settings = Settings(lake=folder / "lake")
    with Lake.create_or_open(settings.lake) as lake:
        ingest(lake, folder / "feed", mapping_loader.load("fintel"), settings)
        tables = canonical_tables(lake)
        found = detect_tables(tables, library, threads=threads)
        held = lake.scan("accounts").select("account_id", "party_id", "holding").collect()
        alerts = rank(found.episodes, held, run_id="", prior=settings.ranking.prior).alerts
        known = standings(tables)
        last = tables["transactions"].select(pl.col("booked_at").max()).collect().item()
        members = _members(tables)
        lawful = _lawful(tables, members)
        payments = lake.count("transactions")
    ranked = alerts.filter(pl.col("holding") == "own").sort("rank")
    results = found.rule_results.filter(pl.col("outcome") != "evaluated").select("rule_id", "outcome", "reason")
    return Population(
        seed, days / 30, payments, lawful, members, _hits(found.episodes, last, days),
        tuple(ranked["account_id"]), tuple(ranked["typologies"].str.split(";").list.first()), known.suspicious,
        {rule: f"{outcome}: {reason}" for rule, outcome, reason in results.iter_rows()}, time.perf_counter() - begun,
    )  # fmt: skip


def _hits(episodes: pl.DataFrame, last: datetime, days: int) -> pl.DataFrame:
    """Each rule's accounts by month of 30 days, counted back from the end; an episode counts by its peak."""
    back = (pl.lit(last) - pl.col("peak_at")).dt.total_microseconds() // (MONTH // timedelta(microseconds=1))
    months = -(-days // 30)
    return episodes.select("rule_id", "account_id", month=(months - 1 - back).clip(0)).cast(_HIT).unique()


def _members(tables: dict[str, pl.LazyFrame]) -> pl.DataFrame:
    """Accounts that a scheme's labels name."""
    labels = tables["labels"].filter((pl.col("subject_type") == "account") & pl.col("scheme_id").is_not_null())
    named = labels.select("scheme_id", "typology", account_id="subject_id", suspect="suspicious")
    return named.unique().collect()


def _lawful(tables: dict[str, pl.LazyFrame], members: pl.DataFrame) -> pl.DataFrame:
    """Own accounts of nobody in a scheme, with what they are: a look-alike of a typology, or their kind."""
    review = tables["labels"].filter(
        (pl.col("subject_type") == "account") & ~pl.col("suspicious") & pl.col("scheme_id").is_null()
    )
    looks = review.group_by(account_id="subject_id").agg(looks=pl.col("typology").first())
    own = tables["accounts"].filter(pl.col("holding") == "own").select("account_id", "kind", "party_id")
    jobs = tables["parties"].select("party_id", "occupation")
    return (
        own.join(looks, on="account_id", how="left")
        .join(jobs, on="party_id", how="left")
        .join(members.lazy().select("account_id"), on="account_id", how="anti")
        .select(
            "account_id",
            what=pl.when(pl.col("looks").is_not_null())
            .then(pl.format("look-alike of {}", "looks"))
            .when(pl.col("kind") == "person")
            .then(pl.format("person: {}", pl.col("occupation").fill_null("unknown").str.to_lowercase()))
            .otherwise(pl.col("kind").fill_null("unknown")),
        )
        .collect()
    )


# -- the page


def page(
    library: Library, planted: Sequence[Population], clean: Sequence[Population], given: argparse.Namespace
) -> str:
    """The whole page as Markdown."""
    seeds = ", ".join(str(p.seed) for p in planted)
    lines = [
        "# What the rules find, and whom they trouble",
        "",
        f"Made by `{_command(given)}`: {len(library.rules)} rules, no model, seeds {seeds}; for each "
        f"seed a population of {given.accounts:,} own accounts over {given.days} days with planted schemes and a clean "
        f"one without. {sum(p.payments for p in (*planted, *clean)):,} payments in all. "
        "**It says how well rules find what [the generator](synthetic.md) plants, nothing about real customers.** "
        "Intervals are of 95 %.",
        "",
        "## Schemes found",
        "",
        "A scheme is found if a rule hits one of its suspects. Rules of role `victim` look for its victims, who count "
        "in the column that says so.",
        "",
        *table(("typology", "schemes", "by a rule of its typology", "by any rule", "its typology, victims counted"),
               _recall(library, planted)),
        "",
        "## The queue",
        "",
        "Suspects among the first accounts of the ranking, and which share of the schemes has one there.",
        "",
        *table(("first", *(f"seed {p.seed}" for p in planted), "precision", "schemes"), _queue(planted)),
        "",
        f"Base rate: {_base(planted):.2%} of own accounts.",
        "",
        "By typology: of the first accounts whose strongest typology it is, how many are suspects of any scheme, and "
        "of one of that typology.",
        "",
        *table(("typology", "first", "suspects", "of that typology"), _queue_by_typology(planted)),
        "",
        "## False alarms",
        "",
        *_alarms(library, planted, clean),
    ]  # fmt: skip
    idle = {rule: why for p in (*planted, *clean) for rule, why in p.idle.items()}
    if idle:
        lines += ["", "## Rules that gave no answer", "",
                  "This feed lacks what they look at.", "",
                  *table(("rule", "why"), sorted((f"`{r}`", why) for r, why in idle.items()))]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _command(given: argparse.Namespace) -> str:
    """What makes this page anew: the command with all that is not as usual."""
    seeds = " --seeds " + " ".join(map(str, given.seeds)) if tuple(given.seeds) != SEEDS else ""
    rest = "".join(
        f" --{name} {getattr(given, name)}" for name, usual in USUAL.items() if getattr(given, name) != usual
    )
    return f"python benchmarks/detection.py{seeds}{rest} --page docs/reference/detection.md"


def _share(hits: int, of: int) -> str:
    if not of:
        return "–"
    found = Share(hits, of)
    low, high = found.interval
    return f"{hits} of {of}: {hits / of:.2f} ({low:.2f} to {high:.2f})"


def _recall(library: Library, planted: Sequence[Population]) -> Iterable[tuple[object, ...]]:
    families = {r.id: r.typology for r in library.rules}
    rows = []
    for p in planted:
        hit = p.hits.select("account_id", by=pl.col("rule_id").replace_strict(families)).unique()
        met = p.members.join(hit, on="account_id", how="left")
        same = (pl.col("by") == pl.col("typology")).fill_null(value=False)
        rows.append(
            met.group_by("scheme_id", "typology").agg(
                same=(same & pl.col("suspect")).any(),
                any=(pl.col("by").is_not_null() & pl.col("suspect")).any(),
                victims=same.any(),
            )
        )
    found = pl.concat(rows)
    parts = [(t, found.filter(pl.col("typology") == t)) for t in sorted(found["typology"].unique())]
    for name, some in (*parts, ("all", found)):
        yield name, some.height, *(_share(int(some[c].sum()), some.height) for c in ("same", "any", "victims"))


def _queue(planted: Sequence[Population]) -> Iterable[tuple[object, ...]]:
    for budget in BUDGETS:
        hits = [len(p.suspects & set(p.ranked[:budget])) for p in planted]
        schemes = sum(_schemes(p, set(p.ranked[:budget])) for p in planted)
        of = sum(p.members.filter("suspect")["scheme_id"].n_unique() for p in planted)
        yield budget, *hits, _share(sum(hits), budget * len(planted)), _share(schemes, of)


def _queue_by_typology(planted: Sequence[Population]) -> Iterable[tuple[object, ...]]:
    """Precision at two budgets of each typology's own queue."""
    for typology in sorted({t for p in planted for t in p.leading}):
        for budget in BUDGETS[:2]:
            seen = suspects = same = 0
            for p in planted:
                own = [a for a, t in zip(p.ranked, p.leading, strict=True) if t == typology][:budget]
                mine = p.members.filter(pl.col("suspect") & (pl.col("typology") == typology))["account_id"]
                seen += len(own)
                suspects += len(p.suspects & set(own))
                same += len(set(mine) & set(own))
            yield typology, budget, _share(suspects, seen), _share(same, seen)


def _schemes(p: Population, first: set[str]) -> int:
    return p.members.filter(pl.col("suspect") & pl.col("account_id").is_in(list(first)))["scheme_id"].n_unique()


def _base(planted: Sequence[Population]) -> float:
    own = sum(p.lawful.height + p.members.join(p.lawful, on="account_id", how="anti").height for p in planted)
    return sum(len(p.suspects) for p in planted) / own


@dataclass(frozen=True)
class Alarms:
    """False alarms of one rule on lawful accounts: how many, per 10,000 accounts and 30 days, and on whom."""

    alarms: int
    exposure: float
    whom: tuple[tuple[str, int], ...]

    @property
    def rate(self) -> float:
        """Alarms per 10,000 accounts and 30 days."""
        return self.alarms / self.exposure

    @property
    def interval(self) -> tuple[float, float]:
        """Exact for a Poisson count (Garwood)."""
        low = chi2.ppf(0.025, 2 * self.alarms) / 2 if self.alarms else 0.0
        return float(low) / self.exposure, float(chi2.ppf(0.975, 2 * self.alarms + 2)) / 2 / self.exposure


def alarms(populations: Sequence[Population], rule_ids: Sequence[str]) -> Alarms:
    """False alarms of rules (of any of them, counted once) on lawful own accounts."""
    exposure = sum(p.lawful.height * p.months for p in populations) / 10_000
    mine = [
        p.hits.filter(pl.col("rule_id").is_in(list(rule_ids))).select("account_id", "month").unique()
        .join(p.lawful, on="account_id")
        for p in populations
    ]  # fmt: skip
    found = pl.concat(mine)
    whom = found.group_by("what").len().sort("len", "what", descending=[True, False])
    return Alarms(found.height, exposure, tuple(whom.iter_rows()))


def _alarms(library: Library, planted: Sequence[Population], clean: Sequence[Population]) -> list[str]:
    rows = []
    for rule in library.rules:
        lawful, without = alarms(planted, [rule.id]), alarms(clean, [rule.id])
        rows.append((rule, lawful, without))
    over = [r for r in rows if r[0].budget is not None and max(r[1].rate, r[2].rate) > r[0].budget]
    within = [r for r in rows if r not in over]
    surely = [r for r in over if max(r[1].interval[0], r[2].interval[0]) > r[0].budget]
    unheard = sum(not r[1].alarms and not r[2].alarms for r in rows)
    both = (alarms(planted, [r.id for r in library.rules]), alarms(clean, [r.id for r in library.rules]))
    lines = [
        "Accounts with a hit, per 10,000 accounts and 30 days. *Lawful*: own accounts in the populations with schemes "
        "that are neither suspects nor victims; *clean*: own accounts in the populations without schemes. Both hold "
        "look-alikes, more of them than life does.",
        "",
        f"{len(over)} of {len(rows)} rules are above their budget, {len(surely)} of them beyond chance (the lower end "
        f"of the interval is above it too); {unheard} rules gave no false alarm at all. "
        f"All rules together: {both[0].rate:.0f} lawful and {both[1].rate:.0f} clean.",
        "",
    ]
    columns = ("rule", "level", "budget", "lawful", "interval", "clean", "interval", "whom it hits")
    for title, some in (("Above budget", over), ("Within budget", within)):
        some.sort(key=lambda r: (-max(r[1].rate, r[2].rate) / (r[0].budget or 1), r[0].id))
        lines += [f"### {title}", ""]
        silent = [r[0].id for r in some if not r[1].alarms and not r[2].alarms]
        listed = [_row(*r) for r in some if r[1].alarms or r[2].alarms]
        lines += [*table(columns, listed), ""] if listed else ["None.", ""]
        if silent:
            lines += [f"No false alarm: {', '.join(f'`{i}`' for i in silent)}.", ""]
    return lines


def _row(rule: Rule, lawful: Alarms, clean: Alarms) -> tuple[object, ...]:
    counts: dict[str, int] = {}
    for name, n in (*lawful.whom, *clean.whom):
        counts[name] = counts.get(name, 0) + n
    first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:4]
    whom = ", ".join(f"{name} {n}" for name, n in first)
    told = [f"{one.rate:.1f}" for one in (lawful, clean)]
    spans = [f"{one.interval[0]:.1f} to {one.interval[1]:.1f}" for one in (lawful, clean)]
    return (
        f"`{rule.id}`", rule.level, "–" if rule.budget is None else f"{rule.budget:g}",
        told[0], spans[0], told[1], spans[1], whom,
    )  # fmt: skip


if __name__ == "__main__":
    main()
