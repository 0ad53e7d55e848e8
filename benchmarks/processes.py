"""One contender, one process: its seconds, its processor time, its own peak of memory."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: Bytes in what the system counts ``ru_maxrss`` in.
_UNIT = 1 if sys.platform == "darwin" else 1 << 10


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - begun, 2)


@dataclass(frozen=True)
class Outcome:
    """What one process did. ``ended`` is empty if it finished, else why not; ``seconds`` and ``peak_mb`` are those it
    measured itself, ``all_seconds`` its whole life. Of one that was ended ``peak_mb`` is what the system says, which
    may hold the peak of the process that started it."""

    name: str
    ended: str
    all_seconds: float
    processor_seconds: float
    peak_mb: float
    load: float
    seconds: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run(name: str, script: Path, arguments: Sequence[str], timeout: float) -> Outcome:
    """Run ``script arguments… --out FILE`` and read what it tells there (``tell``).

    A process that takes longer than ``timeout`` seconds is ended and reported as not finished.
    """
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        begun = time.perf_counter()
        process = subprocess.Popen([sys.executable, str(script), *arguments, "--out", str(out)])
        late = threading.Timer(timeout, process.kill)
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        late.cancel()
        took = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        told = json.loads(out.read_text()) if process.returncode == 0 else {}
    ended = ""
    if process.returncode == -signal.SIGKILL:
        ended = f"not finished after {took:.0f} s" if took >= timeout else f"ended by the system after {took:.0f} s"
    elif process.returncode != 0:
        raise SystemExit(f"{name} failed with exit code {process.returncode}")
    return Outcome(
        name=name,
        ended=ended,
        all_seconds=round(took, 2),
        processor_seconds=round(usage.ru_utime + usage.ru_stime, 2),
        load=round(load, 1),
        **{"peak_mb": round(usage.ru_maxrss * _UNIT / (1 << 20)), **told},
    )


def tell(out: Path, seconds: Mapping[str, float], facts: Mapping[str, Any]) -> None:
    """Write what this process measured, and its peak of memory, for ``run`` to read."""
    told = {"seconds": dict(seconds), "facts": dict(facts), "peak_mb": round(peak_bytes() / (1 << 20))}
    out.write_text(json.dumps(told))


def peak_bytes() -> int:
    """The most memory that this process had resident, up to now.

    ``ru_maxrss`` of a process that another started holds the peak of that other, from before the program was
    changed; Linux counts the program alone beside it. Elsewhere there is no better number.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) << 10 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
