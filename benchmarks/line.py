"""The whole line in one process: synthetic feed, lake, rules, ranking. Seconds of each stage, and the peak of memory.

python benchmarks/line.py                          1 million payments
python benchmarks/line.py --payments 10_000_000
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from asking import parser, save
from population import PER_ACCOUNT_DAY, say
from processes import peak_bytes

from fintel.config import Settings
from fintel.feeds import mapping_loader
from fintel.feeds.synthetic import generate
from fintel.pipeline import detect, ingest, load_library
from fintel.store.lake import Lake


def main() -> None:
    """Run the line once and print what each stage took."""
    given = parser(__doc__, payments=1_000_000, result="line-PAYMENTS.json").parse_args()
    accounts = max(round(given.payments / (PER_ACCOUNT_DAY * given.days)), 200)
    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}
    processor: dict[str, float] = {}
    load = os.getloadavg()[0]

    def stage(name: str, begun: float, used: float) -> None:
        seconds[name] = round(time.perf_counter() - begun, 1)
        processor[name] = round(time.process_time() - used, 1)
        # A peak never falls: the first stage with the final number is the one that needs it.
        peaks[name] = round(peak_bytes() / (1 << 20))

    with tempfile.TemporaryDirectory() as folder:
        feed, home = Path(folder) / "feed", Path(folder) / "lake"
        settings = Settings(lake=home, threads=given.threads)
        say("feed")
        begun, used = time.perf_counter(), time.process_time()
        population = generate(feed, accounts=accounts, days=given.days, seed=given.seed)
        stage("synth", begun, used)
        with Lake.create_or_open(home) as lake:
            say("lake")
            begun, used = time.perf_counter(), time.process_time()
            ingest(lake, feed, mapping_loader.load("fintel"), settings)
            stage("ingest", begun, used)
            say("rules and ranking")
            begun, used = time.perf_counter(), time.process_time()
            library, _ = load_library(settings)
            summary = detect(lake, settings, library)
            stage("detect and rank", begun, used)
    inner = {name: round(value, 1) for name, value in summary.seconds.items()}
    print(
        f"{population.payments:,} payments, {accounts:,} own accounts, {len(library.rules)} rules, "
        f"{summary.alerts.height:,} accounts with a reason; {os.cpu_count()} cores, load {load:.1f} at the start"
    )
    print(f"{'':20} {'seconds':>8} {'CPU s':>8} {'peak MB so far':>15}")
    for name, value in seconds.items():
        print(f"{name:20} {value:8.1f} {processor[name]:8.1f} {peaks[name]:15,}")
    print(f"{'all':20} {sum(seconds.values()):8.1f} {sum(processor.values()):8.1f} {max(peaks.values()):15,}")
    print("within detect and rank: " + ", ".join(f"{name} {value}" for name, value in inner.items()))
    if given.save:
        told = {"payments": population.payments, "cores": os.cpu_count(), "load": load, "seconds": seconds,
                "processor_seconds": processor, "peak_mb": peaks, "detect": inner}  # fmt: skip
        save(told, f"line-{given.payments}.json")


if __name__ == "__main__":
    main()
