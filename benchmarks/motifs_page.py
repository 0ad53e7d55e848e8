"""``docs/reference/motifs.md`` from what ``attempts.py`` measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from fintel.graph.instances_cycles import PER_PAYMENT, STEPS, STEPS_ASKED, STEPS_EACH, WRITTEN
from fintel.graph.instances_layers import LEGS
from fintel.graph.instances_stars import WAYS
from fintel.graph.kernels_meetings import HUB
from fintel.graph.motifs import BUDGET, CAP, KINDS, LIMIT


def page(found: Mapping[str, Any]) -> str:
    """The whole page."""
    return (
        "\n\n".join([_TOP.strip(), kinds(), _POLICIES.strip(), attempts(found), planted(found), *speed(found)]) + "\n"
    )


def kinds() -> str:
    """The table of kinds, from the code."""
    rows = []
    for name, kind in KINDS.items():
        least = f"{kind.at_least} {kind.of}" if kind.of else "–"
        band = f"{kind.band.low:g} to {kind.band.high:g} of it, by default" if kind.band else "if asked for"
        rule = kind.amounts if kind.amounts == "none" else f"{kind.amounts}; {band}"
        rows.append(
            (
                f"`{name}`",
                kind.doc,
                kind.anchor,
                _span(kind.within) + (f", each {kind.each}" if kind.each else ""),
                least,
                rule,
            )
        )
    return "## Kinds\n\n" + _table(("kind", "what", "told of", "within", "at least", "amount rule"), rows)


def attempts(found: Mapping[str, Any]) -> str:
    """AMLworld's attempts by typology."""
    if "attempts" not in found:
        return ""
    rows = [
        (
            a["typology"], a["kind"], a["attempts"], a["defined"], a["defined_and_whole"],
            _share(a["defined_and_whole"], a["defined"]), a["whole"], a["parts"], a["chains"],
        )
        for a in found["attempts"]
    ]  # fmt: skip
    numbers = [sum(row[k] for row in rows) for k in (2, 3, 4, 6, 7, 8)]
    rows.append(("all", "", *numbers[:3], _share(numbers[2], numbers[1]), *numbers[3:]))
    why = [(a["typology"], text, n) for a in found["attempts"] for text, n in a["why"].items()]
    header = (
        "typology", "motif", "attempts", "form defined", "of these found", "share", "found in all", "in parts",
        "as chains",
    )  # fmt: skip
    every, defined, told, whole = numbers[:4]
    sums = (
        f"Of {defined} attempts that `find` makes a motif of alone, {told} ({_share(told, defined)}) are found; "
        f"that is {told} of all {every} ({_share(told, every)}). {whole - told} more are found in all, "
        "by the payments of others."
    )
    return (
        f"{_ATTEMPTS.strip()}\n\n{_table(header, rows)}\n\n{sums}\n\nWhy the others escape:\n\n"
        f"{_table(('typology', 'why', 'attempts'), why)}"
    )


def planted(found: Mapping[str, Any]) -> str:
    """Recall of what was planted."""
    rows = [
        (
            p["set"], p["planted"], p["kind"], _span(timedelta(hours=p["within_hours"])), p["at_least"], p["schemes"],
            p["planted_instances"], p["found"], p["found_of_one_account"], f"{p['instances']:,}",
            f"{p['skipped_accounts']:,}",
            f"{p['seconds']:.2f}",
        )
        for p in found["planted"]
    ]  # fmt: skip
    total, one, several = (sum(row[k] for row in rows) for k in (6, 7, 8))
    header = (
        "set", "planted", "motif", "within", "at least", "schemes", "instances planted", "found in one",
        "found, of one account", "instances in all", "accounts with something skipped", "seconds",
    )  # fmt: skip
    sums = (
        f"Of what `find` makes of a scheme alone, {one} of {total} instances ({_share(one, total)}) are held by one "
        f"instance of the whole network, {several} ({_share(several, total)}) by the instances of one account."
    )
    alerts = [row for row in rows if row[1] != "schemes"]
    if alerts:
        every, held = (sum(row[k] for row in alerts) for k in (5, 7))
        sums += f" Of all alerts that AMLSim planted, that is {held} of {every} ({_share(held, every)})."
    return f"{_PLANTED.strip()}\n\n{_table(header, rows)}\n\n{sums}"


def speed(found: Mapping[str, Any]) -> list[str]:
    """Seconds by kind and network, if they were measured."""
    if "speed" not in found:
        return []
    rows = [
        (
            p["network"], f"`{p['kind']}`", p["all"], f"{p['payments'] / 1_000 / max(p['all'], 0.01):,.0f}",
            p["busiest"], p["middle"], f"{p['instances']:,}", f"{p['skipped_accounts']:,}",
        )
        for p in found["speed"]
    ]  # fmt: skip
    header = (
        "network", "motif", "all accounts", "thousand payments a second", "the busiest account", "a middle account",
        "instances told", "accounts with something skipped",
    )  # fmt: skip
    return [_SPEED.strip() + "\n\n" + _table(header, rows)]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _span(span: timedelta) -> str:
    return f"{span.days} d" if span == timedelta(days=span.days) else f"{span / timedelta(hours=1):g} h"


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


_TOP = """
# Motifs

`fintel graph motifs` and `fintel.graph.motifs.find` tell patterns in the network of payments together with **the very
payments** that make them. Written by `python benchmarks/attempts.py > docs/reference/motifs.md`; the seconds are of two
busy cores.

    from fintel.graph.motifs import find
    from fintel.graph.network import network

    found = find(network(tables), "cycle", within=timedelta(days=7), tolerance=0.1, tables=tables)
    found.instances   # one row a motif
    found.edges       # its payments
    found.skipped     # what a bound cut short, by account
"""
_POLICIES = f"""
## What one instance is

- **Where it is looked for.** Only behind payments that a graph column flags ([its page](graph-columns.md)):
  the columns say *that*, the instance says *which*.
- **In time order.** What is passed on comes strictly later. Payments of the same moment (feeds with days and no hours)
  are in no order.
- **Fans, gather–scatter, round trips, funnels, bursts, scatter–gather.** Of one account (one pair; one payer and payee)
  the strongest window is taken, then the strongest before and after it, so that they do not overlap in time. The window
  takes in all payments that fit, so none is part of another. The price: what stands across the end of a stronger window
  is told in two parts. Fans and bursts go on: a payment in none of these, but in a window with enough counterparties,
  is told in the strongest window that holds it, so none is left untold.
- **Cycles, triangles.** A closing payment tells each ring of accounts once, by its latest payments; of cycles of one
  ring that share a payment the one that retains most is kept. At most {PER_PAYMENT} cycles a closing payment.
- **Chains, peel chains.** One for each payment that nothing goes on from: the longest that ends there. Known limit:
  they go from payment to payment, so a hop that is split into several payments is not followed.
- **Stacks** of several payees that share a payment and fit in the window are one. **Smurfing** is two or more
  scatter–gathers that share mules.
- **Amounts.** `--tolerance` and `--fee`: passed on is what lies in [x (1 - fee - tolerance), x (1 + tolerance)].
  `retention` is told in any case.
- **Ids** are made of the payments: the same payments give the same id, whatever else the network holds.

## What is cut short

At most {CAP} payments of an account are looked at for one payment (one with more than {HUB} payers or payees is no
mid of a scatter–gather); an account with
more of them (fans: counterparties) in one window is a hub, and its windows are not searched (`--cap`
raises that); {BUDGET:,} steps for the cycles that one payment closes; {LIMIT:,} instances. For all cycles of a
network there are {STEPS:,} steps ({STEPS_EACH} a payment if that is more; {STEPS_ASKED:,} if accounts are asked for),
for all triangles over a mid {LEGS:,}, for all ways over mids {WAYS:,}, and {WRITTEN:,} cycles or triangles are
written out: the largest payments (by powers of two) come first, the nearest if accounts are asked for. A narrower
period, fewer `--hops`, an amount rule or `--account` leave less out. Whatever that leaves out is
in `skipped`, by account, with the reason and at how many payments. Bursts are new counterparties against the month
before: in the first month of a feed everybody is new.
"""
_ATTEMPTS = """
## AMLworld's attempts

IBM AMLworld HI-Small's pattern file: 370 laundering attempts, 3,209 payments, nothing lawful among them, so this
measures recall and naming and nothing of false alarms. Looked for within 9 days, at least 2, cycles up to 12 payments,
no amount rule (amounts there wander, and currencies go through rough rates).

*Form defined*: the payments of the attempt alone make the motif. *Found*: one instance in the network of all attempts
holds all its payments. *In parts*: several instances of the motif do. *As chains*: not found under its name, but
pass-through chains hold all its payments. Self-transfers (11 attempts have one) are no edges and are left out.
"""
_SPEED = """
## How long it takes

CPU seconds at the bounds of the kind, on networks of a million payments in ten days
(`benchmarks/graph_populations.py`),
all measured in one run on two busy cores. For one account, what lies too far away to be part of an instance is not
looked at, but for chains, stacks, smurfing and funnels, whose parts may be anywhere. Places of funnels are made-up
banks.
"""
_PLANTED = """
## Planted instances among lawful payments

*Planted* counts only what `find` makes of the payments of the scheme alone; what it makes nothing of there is no part
of that share, so the share of all alerts stands beside it. AMLSim: an alert counts if all its payments alone make one
instance. Its fans
stretch over up to 630 days, so they are looked for in the whole run at once; its cycles are in no order of time, and
none counts. `fintel synth` (3,000 accounts, 120 days, seed 7): a scheme goes on for weeks and may hold several; planted
is each instance that its payments alone make, at the bounds of the kind. *Found in one*: one instance of the whole
network, lawful payments included, holds all of its payments.
"""
