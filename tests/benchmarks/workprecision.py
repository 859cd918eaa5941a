"""What the work–precision benchmarks share: timing, peers in processes of their own, tables.

A peer runs as `python THIS_BENCHMARK --peer NAME`, so that each has its own MPI and none can spoil
another; `--peer-python` (or PEER_PYTHON) names the interpreter, for peers installed elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

LIMIT = 300.0  # seconds for all settings of one peer


@dataclass(frozen=True)
class Point:
    """One setting of one solver: its L1 error, seconds (best and median), least density; `cpu`:
    the least processor seconds, which other work on the machine lengthens less; `everywhere`: the
    error between the unknowns too, where that is measured apart."""

    name: str
    setting: str
    error: float
    best: float
    median: float
    minimum: float
    cpu: float
    everywhere: float = float("nan")


Solver = Callable[[], Iterator[Point]]


def measure(
    name: str,
    setting: str,
    run: Callable[[], np.ndarray],
    judge: Callable[[np.ndarray], tuple[float, ...]],
    repeats: int = 5,
) -> Point:
    """Time `run` after one warm-up; `judge` gives (L1 error, least density) of its result, and
    maybe the error everywhere."""
    error, minimum, *everywhere = judge(run())
    seconds, cpu = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        run()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    best, middle = min(seconds), statistics.median(seconds)
    return Point(name, setting, error, best, middle, minimum, min(cpu), *everywhere)


def main(about: str, ours: Solver, peers: dict[str, Solver], targets: tuple[float, ...]) -> None:
    """The command line of a benchmark: ours, the peers, the ratios at the error targets."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--peer", choices=peers, help="run this peer alone, for the tables below")
    parser.add_argument(
        "--peer-python",
        default=os.environ.get("PEER_PYTHON", sys.executable),
        help="interpreter for the peers (default: PEER_PYTHON, or this one)",
    )
    parser.add_argument("--rounds", type=int, default=2, help="how often everything is measured")
    options = parser.parse_args()
    if options.peer:
        for point in peers[options.peer]():
            print(json.dumps(asdict(point)), flush=True)
        return
    print(about.strip().splitlines()[0])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    points: dict[tuple[str, str], Point] = {}
    missing = {}
    for _ in range(options.rounds):  # apart in time: a burst of load does not hit every repeat
        for point in ours():
            _keep(points, point)
        for name in peers:
            try:
                for point in _peer(options.peer_python, name):
                    _keep(points, point)
            except RuntimeError as trouble:
                missing[name] = str(trouble)
    head("solver, setting", "L1 error", "everywhere", "best s", "median s", "CPU s", "min density")
    for point in points.values():
        _show(point)
    for name, trouble in missing.items():
        print(f"not measured: {name} ({trouble})")
    for clock, title in (("best", "Seconds"), ("cpu", "Processor seconds")):
        print(f"\n{title} of the fastest setting")
        _ratios(list(points.values()), targets, clock)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


def _keep(points: dict[tuple[str, str], Point], new: Point) -> None:
    """The better of the rounds."""
    old = points.get((new.name, new.setting), new)
    best = min(old, new, key=lambda point: point.best)
    points[new.name, new.setting] = replace(best, cpu=min(old.cpu, new.cpu))


def head(*titles: str) -> None:
    """The first two lines of a table."""
    print("| " + " | ".join(titles) + " |\n|" + " --- |" * len(titles), flush=True)


def _show(point: Point) -> None:
    print(
        f"| {point.name}, {point.setting} | {point.error:.1e} | {_or_dash(point.everywhere)} "
        f"| {point.best:.3f} "
        f"| {point.median:.3f} | {point.cpu:.3f} | {point.minimum:.0e} |",
        flush=True,
    )


def _or_dash(error: float) -> str:
    return "—" if np.isnan(error) else f"{error:.1e}"


def _peer(python: str, name: str) -> list[Point]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMEXPR_MAX_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    line = [python, sys.argv[0], "--peer", name]
    try:
        done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"more than {LIMIT:.0f} s") from None
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [Point(**json.loads(line)) for line in lines]


def _ratios(points: list[Point], targets: tuple[float, ...], clock: str) -> None:
    """For each target the least time of ours and of each peer that reaches it."""
    times = {point: getattr(point, clock) for point in points}
    names = list(dict.fromkeys(p.name for p in points))
    ours, *others = names
    head("L1 error at most", ours, *others, "fastest peer / ours")
    for target in targets:
        least = {
            name: min(
                (times[p] for p in points if p.name == name and p.error <= target), default=0.0
            )
            for name in names
        }
        peers = [least[name] for name in others if least[name] and not name.startswith("ours")]
        ratio = f"{min(peers) / least[ours]:.2g}" if peers and least[ours] else "—"
        cells = [f"{least[name]:.3f} s" if least[name] else "not reached" for name in names]
        print(f"| {target:g} | " + " | ".join(cells) + f" | {ratio} |", flush=True)
