"""Seconds that each kind of motif takes on large networks: for all accounts, for the busiest and for a middle one.

python benchmarks/motifs_speed.py FOLDER > speed.json     # FOLDER: networks of graph_populations, *.npz
python benchmarks/attempts.py --speed speed.json > docs/reference/motifs.md
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from graph_populations import loaded  # noqa: E402
from population import say  # noqa: E402

from fintel.domain.schema import MONEY_SCALE, MONEY_UNITS  # noqa: E402
from fintel.frames import MONEY, TIMESTAMP  # noqa: E402
from fintel.graph.motifs import KINDS, find  # noqa: E402
from fintel.graph.network import Network  # noqa: E402

#: Banks that the accounts of a network are spread over, as the places of funnels.
_BANKS = 40


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--payments", type=int, default=1_000_000)
    chosen = parser.parse_args()
    files = sorted(chosen.folder.glob(f"*-{chosen.payments}-1.npz"))
    warm, _ = loaded(files[0], 2_000)
    for kind in KINDS:
        find(warm, kind, tables=tables(warm))
    print(json.dumps([row for file in files for row in speed(file)], indent=2))


def speed(file: Path) -> list[dict[str, Any]]:
    """A row a kind: CPU seconds for all accounts, for the busiest, and for the median by payments."""
    net, _ = loaded(file)
    payments = np.bincount(net.source, minlength=len(net.nodes)) + np.bincount(net.target, minlength=len(net.nodes))
    order = np.argsort(-payments, kind="stable")
    busiest, middle = (net.nodes[int(order[k])] for k in (0, order.size // 2))
    held = tables(net)
    rows = []
    for kind in KINDS:
        seconds = []
        for accounts in (None, [busiest], [middle]):
            begun = time.process_time()
            found = find(net, kind, accounts=accounts, tables=held if kind == "funnel" else None)
            seconds.append(round(time.process_time() - begun, 2))
            if accounts is None:
                told, skipped = found.instances.height, found.skipped["account_id"].n_unique()
        say(f"{file.stem} {kind}: {seconds} s")
        names = ("all", "busiest", "middle")
        rows.append(
            {
                "network": file.stem.split("-")[0], "payments": len(net), "kind": kind,
                **dict(zip(names, seconds, strict=True)), "instances": told, "skipped_accounts": skipped,
            }
        )  # fmt: skip
    return rows


def tables(net: Network) -> dict[str, pl.LazyFrame]:
    """The payments as a transactions table whose places are banks, for funnels."""
    frame = pl.DataFrame(
        {
            "transaction_id": np.arange(len(net)), "booked_at": net.time, "units": net.amount,
            "debtor_account_id": net.nodes.gather(net.source), "creditor_account_id": net.nodes.gather(net.target),
            "debtor_agent": net.source % _BANKS, "creditor_agent": net.target % _BANKS,
        }
    ).with_columns(
        pl.col("transaction_id", "debtor_agent", "creditor_agent").cast(pl.String),
        pl.col("booked_at").cast(TIMESTAMP),
        amount_base=(pl.col("units").cast(pl.Decimal(38, MONEY_SCALE)) / MONEY_UNITS).cast(MONEY),
        status=pl.lit("booked"),
        **{
            name: pl.lit(None, dtype=pl.String)
            for name in (
                "place_id", "place_city", "place_country", "debtor_country", "creditor_country", "reversal_of",
            )
        },
    )  # fmt: skip
    return {"transactions": frame.lazy()}


if __name__ == "__main__":
    main()
