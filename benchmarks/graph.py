"""The graph stage side by side with a yardstick: columns of payments, one at a time, growth, risk, communities.

    python benchmarks/graph.py --yardstick PYTHON --save          four networks of a million payments, and five million
    python benchmarks/graph.py --payments 20_000 --largest 0           a quick look

Every contender runs alone in a process of its own, one after the other. The yardstick is IBM's Graph Feature
Preprocessor (``snapml``), proprietary and no dependency: PYTHON is another interpreter that has it; without one its
rows are left out. Reading arrays, compiling and a first small run are not timed, on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from graph_page import page
from graph_populations import SHAPES, drawn, synthetic
from population import say
from processes import run

HERE = Path(__file__).resolve().parent
OURS = HERE / "graph_contenders.py"
YARDSTICK = HERE / "graph_yardstick.py"
#: Configurations of the yardstick; ``-1`` on one thread, whose processor seconds are hardly touched by what else runs.
KINDS = ("paper", "lean", "paper-1", "lean-1")
NETWORKS = (*SHAPES, "synth")
#: What is measured on each network of ``--payments``.
TASKS = ("families", "full", "full-singles", "full-parts", "risk", "communities")
_STEP = 0.5


def main() -> None:
    """Make the networks, run the contenders, print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--payments", type=_number, default=1_000_000)
    parser.add_argument("--largest", type=_number, default=5_000_000, help="of the even network; 0: none")
    parser.add_argument("--growth", default="0.5,1,2,5", help="even networks of so many times --payments")
    parser.add_argument("--networks", default=",".join(NETWORKS), help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--tasks", default=",".join(TASKS), help=f"of {', '.join(TASKS)}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep networks and outcomes here, and take them from here")
    parser.add_argument("--yardstick", help="an interpreter that has snapml and numpy")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of the yardstick: of {', '.join(KINDS)}")
    parser.add_argument("--calm", type=float, help="wait before each contender until the load is below this")
    parser.add_argument("--timeout", type=float, default=900, help="seconds after which a contender is ended")
    parser.add_argument("--save", type=Path, nargs="?", const=HERE / "results" / "graph.json", help="write JSON")
    parser.add_argument("--saved", type=Path, help="measure nothing, print the page of what --save wrote")
    given = parser.parse_args()
    if given.saved is not None:
        print(page(json.loads(given.saved.read_text(encoding="utf-8"))))
        return
    if given.yardstick and not Path(given.yardstick).is_file():
        say(f"no interpreter at {given.yardstick}: the yardstick is left out")
        given.yardstick = None
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
        found = _measured(given, given.folder.resolve())
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = _measured(given, Path(folder))
    if given.save is not None:
        given.save.parent.mkdir(exist_ok=True)
        given.save.write_text(json.dumps(found, indent=1) + "\n")
    print(page(found))


def _number(text: str) -> int:
    return int(text.replace("_", ""))


def _measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "day": time.strftime("%Y-%m-%d"), "cores": os.cpu_count(), "payments": given.payments,
        "versions": {name: version(name) for name in ("numba", "numpy", "polars", "networkit", "scipy")}
        | {"python": ".".join(str(x) for x in sys.version_info[:3])},
        "networks": {},
    }  # fmt: skip
    wanted = [task for task in TASKS if task in given.tasks.split(",")]
    kinds = tuple(kind for kind in KINDS if kind in given.kinds.split(","))
    for name in given.networks.split(","):
        seconds: dict[str, float] = {}
        if name == "synth":
            file, seconds = synthetic(folder, given.payments, given.seed)
        else:
            file = drawn(folder, name, given.payments, given.seed)
        found["networks"][name] = {"seconds": seconds, "outcomes": _all(given, file, wanted, kinds)}
    if given.largest:
        file = drawn(folder, "even", given.largest, given.seed)
        tasks = [task for task in wanted if task in ("families", "full", "full-parts", "risk", "communities")]
        found["networks"]["largest"] = {
            "seconds": {},
            "outcomes": _all(given, file, tasks, tuple(kind for kind in kinds if kind == "paper")),
        }
    sizes = sorted({round(float(times) * given.payments) for times in given.growth.split(",") if times})
    found["growth"] = {}
    for size in sizes:
        known = {given.payments: "even", given.largest: "largest"}.get(size)
        if known in found["networks"]:
            outcomes = {k: v for k, v in found["networks"][known]["outcomes"].items() if k in ("families", "full")}
        else:
            outcomes = _all(given, drawn(folder, "even", size, given.seed), ["families", "full"], ())
        found["growth"][str(size)] = outcomes
    return found


def _all(given: argparse.Namespace, file: Path, tasks: list[str], kinds: tuple[str, ...]) -> dict[str, Any]:
    outcomes: dict[str, Any] = {}
    for task in tasks:
        outcomes[task] = _one(given, task, OURS, [task, "--population", str(file)])
    for kind in kinds if given.yardstick else ():
        alone = kind.endswith("-1")
        arguments = [
            kind.removesuffix("-1"), "--python", given.yardstick, "--population", str(file),
            "--threads", "1" if alone else "2", *(("--singles", "2000") if alone else ()),
        ]  # fmt: skip
        outcomes[kind] = _one(given, kind, YARDSTICK, arguments)
    return outcomes


def _one(given: argparse.Namespace, name: str, script: Path, arguments: list[str]) -> dict[str, Any]:
    file = Path(arguments[arguments.index("--population") + 1])
    kept = file.with_name(f"{file.stem}-{name}.json")
    if kept.is_file():
        known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    while given.calm is not None and os.getloadavg()[0] >= given.calm:
        time.sleep(_STEP)
    say(f"{name}, {file.stem}")
    outcome = run(name, script, arguments, given.timeout).as_dict() | {"load_after": round(os.getloadavg()[0], 1)}
    kept.write_text(json.dumps(outcome), encoding="utf-8")
    return outcome


if __name__ == "__main__":
    main()
