"""Cost of the engine: nonlocal against local, growth with the unknowns, memory, two ranks.

A step is one of imex4 (six stages) with its limiter and diagnostics, as in `ddpde.solve`, the
first ones left out. The local problem keeps its drift, a nonlocal one forms it anew in each
right-hand side: both readings of the local cost are given. Every measurement runs in a process of
its own. Seconds are the processor's, which other work on the machine lengthens less. One rank and
two are measured by the clock, in turn and several times, as the machine's own speed moves: given
are all, and the ratio of the least of each; of the processor's seconds too, in which ranks that
wait for each other are counted, not the machine's other work.

    python tests/benchmarks/bench_scaling.py [--quick | --slow]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from workprecision import head

SAMPLES = 1000
LIMIT = 280.0  # seconds for one measurement
TURNS = 4  # measurements of one rank and of two
TIMES = ("wall", "step")
BOX = 4.0


def problem(dim: int, nonlocal_: bool):  # type: ignore[no-untyped-def]
    """Confinement and temperature; with `nonlocal_` a network of tanh units on 1000 samples."""
    from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit, tanh

    network = {}
    if nonlocal_:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((SAMPLES, dim - 1))
        y = np.tanh(x[:, 0]) + 0.1 * rng.standard_normal(SAMPLES)
        network = {"unit": RidgeUnit(tanh, dim - 1, bias=True), "data": DataSet(x, y)}
    return Problem(
        name="scaling",
        initial=GaussianLaw.isotropic(dim, 0.7, mean=0.3),
        potential=lambda t: 0.5 * (t * t).sum(axis=1),
        temperature=0.3,
        **network,
    )


def measure(dim: int, cells: int, degree: int, cell: str, nonlocal_: bool, steps: int) -> dict:
    """Seconds a step and a right-hand side, with the drift formed anew too, of set-up; memory
    expected and at its peak, in bytes."""
    from mpi4py import MPI

    import ddpde
    from ddpde.flow import EulerianFlow
    from ddpde.step import METHODS, MethodOfLines

    task = problem(dim, nonlocal_)
    start = time.perf_counter()
    mesh = ddpde.box((-BOX,) * dim, (BOX,) * dim, cells=(cells,) * dim, cell=cell)
    flow = EulerianFlow(task, mesh, degree)
    setup = time.perf_counter() - start
    out, potential = flow.state.duplicate(), task.potential(flow.space.nodes)
    kept = anew = np.inf
    for _ in range(12 if flow.state.getSize() > 2e5 else 40):
        flow.comm.Barrier()
        start = time.process_time()
        flow.transport(flow.state, out)
        middle = time.process_time()
        flow.upwind.set_potential(potential)
        kept = min(kept, middle - start)
        anew = min(anew, time.process_time() - start)
    stepper = MethodOfLines(flow, METHODS["imex4"], rtol=1e-6, dt=1e-3)
    clock = []

    def on_step(t: float, dt: float, u: object) -> bool:
        flow.diagnostics(u)
        flow.comm.Barrier()
        clock.append((time.process_time(), time.perf_counter()))
        return True

    stepper.advance((steps + 1) * 1e-3, on_step)
    used, wall = np.diff(clock, axis=0).min(axis=0)
    here = np.array([kept, used, setup, anew, wall])
    flow.comm.Allreduce(MPI.IN_PLACE, here, MPI.MAX)
    peak = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "unknowns": flow.state.getSize(),
        "rhs": here[0],
        "step": here[1],
        "setup": here[2],
        "anew": here[3],
        "wall": here[4],
        "expected": flow.comm.allreduce(flow.expected_memory),
        "memory": flow.comm.allreduce(peak),
    }


def child(
    dim: int, cells: int, degree: int, cell: str, nonlocal_: bool, steps: int, ranks: int = 1
) -> dict | str:
    """`measure` in processes of its own; a text that says why where there is no result."""
    line = [sys.executable, __file__, "--measure"]
    line.append(json.dumps([dim, cells, degree, cell, nonlocal_, steps]))
    if ranks > 1:
        beside = Path(sys.prefix) / "bin" / "mpirun"  # the one that DOLFINx was built with
        mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
        if mpirun is None:
            return "not run: no mpirun"
        line = [mpirun, "-n", str(ranks), *line]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"more than {LIMIT:.0f} s"
    if done.returncode:
        return f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
    return json.loads([text for text in done.stdout.splitlines() if text.startswith("{")][-1])


def growth(quick: bool) -> None:
    """Local and nonlocal over the unknowns, and the exponents."""
    print("\nCost of a right-hand side and of a step in 2D, degree 3, 1000 samples, one rank")
    head(
        "cells, unknowns", "local: rhs", "with its drift", "step", "nonlocal: rhs", "step",
        "ratio of rhs", "to that with its drift", "of step",
    )  # fmt: skip
    kinds = {"quadrilateral": (8, 16, 32, 64, 128, 256), "triangle": (8, 16, 32, 64)}
    for cell, sizes in kinds.items():
        found: dict[bool, list[dict]] = {False: [], True: []}
        for n in sizes[: 4 if quick else None]:
            both = [child(2, n, 3, cell, kind, 3 if n > 100 else 8) for kind in (False, True)]
            for kind, result in zip((False, True), both, strict=True):
                if isinstance(result, dict):
                    found[kind].append(result)
            print(_row(f"{n}² {cell}s", *both), flush=True)
        for kind, results in found.items():
            if len(results) > 2:
                rows = np.log([[r["unknowns"], r["rhs"], r["step"]] for r in results])
                last = rows[-1] - rows[-2]
                for k, name in ((1, "rhs"), (2, "step")):
                    print(
                        f"{'nonlocal' if kind else 'local'}, {cell}s, exponent of the {name}: "
                        f"{np.polyfit(rows[:, 0], rows[:, k], 1)[0]:.2f} over all sizes, "
                        f"{_slope(rows[:, 0], rows[:, k]):.2f} over the largest hundredfold, "
                        f"{last[k] / last[0]:.2f} between the last two"
                    )


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least squares over the largest sizes, where overheads no longer count."""
    kept = x > x[-1] - np.log(100.0)
    return float(np.polyfit(x[kept], y[kept], 1)[0])


def _row(name: str, local: dict | str, nonlocal_: dict | str) -> str:
    if isinstance(local, str):
        return f"| {name} | {local} | | | | | | | |"
    times = [_ms(local[key]) for key in ("rhs", "anew", "step")]
    text = f"| {name}, {local['unknowns']} | {' | '.join(times)} "
    if isinstance(nonlocal_, str):
        return f"{text}| {nonlocal_} | | | | |"
    pairs = (("rhs", "rhs"), ("rhs", "anew"), ("step", "step"))
    ratios = [f"{nonlocal_[ours] / local[theirs]:.2f}" for ours, theirs in pairs]
    return f"{text}| {_ms(nonlocal_['rhs'])} | {_ms(nonlocal_['step'])} | {' | '.join(ratios)} |"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def large(quick: bool, slow: bool) -> None:
    """Three dimensions, and two ranks against one."""
    size = 12 if quick else 25
    print("\nThree dimensions, degree 3, one rank")
    head("cells, problem", "unknowns", "set-up", "rhs", "step", "memory expected", "at its peak")
    runs = [
        (size, "hexahedron", False), (size // 2, "hexahedron", True), (6, "tetrahedron", False)
    ]  # fmt: skip
    if slow:
        runs.append((size, "hexahedron", True))
    for n, cell, kind in runs:
        name = f"{n}³ {cell}, {'nonlocal' if kind else 'local'}"
        found = child(3, n, 3, cell, kind, 3)
        print(f"| {name} | {_cells(found)} |", flush=True)
    print("\nTwo ranks against one in 2D, degree 3, local")
    head(
        "cells, ranks", "unknowns", "set-up", "rhs", "step", "memory expected", "of all ranks",
        "step by the clock", "ratio of the least", "of the processor's",
    )  # fmt: skip
    for n, cell in ((64 if quick else 256, "quadrilateral"), (64, "triangle")):
        # in turn, as the machine's own speed moves
        runs = [child(2, n, 3, cell, False, 3, ranks) for ranks in (1, 2) * TURNS]
        least = []
        for ranks in (1, 2):
            found = [run for run in runs[ranks - 1 :: 2] if isinstance(run, dict)]
            best = min(found, key=lambda run: run["wall"]) if found else runs[ranks - 1]
            least.append([min([run[key] for run in found], default=np.nan) for key in TIMES])
            clock = ", ".join(_ms(run["wall"]) for run in found)
            ratios = np.divide(least[0], least[1]) if ranks == 2 else ()
            last = " | ".join(f"{ratio:.2f}" for ratio in ratios) or "|"
            print(f"| {n}² {cell}s, {ranks} | {_cells(best)} | {clock} | {last} |", flush=True)


def _cells(found: dict | str) -> str:
    if isinstance(found, str):
        return f"{found} | | | | | "
    return (
        f"{found['unknowns']} | {found['setup']:.1f} s | {_ms(found['rhs'])} "
        f"| {_ms(found['step'])} | {found['expected'] / 1e9:.2f} GB "
        f"| {found['memory'] / 1e9:.2f} GB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--slow", action="store_true", help="a network with 1e6 unknowns in 3D too")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        result = measure(*json.loads(options.measure))
        from mpi4py import MPI

        if MPI.COMM_WORLD.rank == 0:
            print(json.dumps(result), flush=True)
        return
    print(__doc__.splitlines()[0])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    growth(options.quick)
    large(options.quick, options.slow)
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
