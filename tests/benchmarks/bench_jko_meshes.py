"""What lagged JKO steps cost by mesh: time, Newton iterations, memory.

Whole runs, one process a mesh: Ornstein–Uhlenbeck in the plane to t = ½ with τ = 0.05, and
Barenblatt's profile (m = 2) for ten steps of 0.1. The minimisation of `jko-bdf2` is an implicit
Euler step of the flow on the same mesh, so that the ratio is what the varied norm of `jko` costs.

    python tests/benchmarks/bench_jko_meshes.py [--slow]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from workprecision import head

MESHES, SLOW = (32, 64, 128), (256, 512)  # cells a direction
STEPS = 10


def one_mesh(n: int, cell: str) -> None:
    """One row: milliseconds a step and mean and largest number of iterations, for each run."""
    import ddpde
    from ddpde.problem.catalogue import ornstein_uhlenbeck
    from ddpde.problem.classics import porous_medium

    def solved(problem, n, half, method, t, tau):  # type: ignore[no-untyped-def]
        mesh = ddpde.box((-half, -half), (half, half), cells=(n, n), cell=cell)
        return ddpde.solve(problem, mesh, times=[t], method=method, dt=tau)

    cells = [f"{n}² {cell}s"]
    for problem, half, tau in ((ornstein_uhlenbeck(), 6.0, 0.05), (porous_medium(2), 2.4, 0.1)):
        costs = []
        for method in ("jko", "jko-bdf2"):
            solved(ornstein_uhlenbeck(), 24, 6.0, method, 0.05, 0.05)  # what the first call costs
            start = time.process_time()
            run = solved(problem, n, half, method, STEPS * tau, tau)
            costs.append(1e3 * (time.process_time() - start) / STEPS)
            counts = run.history["iterations"][1:]
            cells.append(f"{costs[-1]:.0f}, {counts.mean():.1f} ({counts.max()})")
        cells.append(f"{costs[0] / costs[1]:.1f}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("| " + " | ".join([*cells, f"{memory:.0f}"]) + " |", flush=True)


if __name__ == "__main__":
    if "--mesh" in sys.argv:
        one_mesh(int(sys.argv[-2]), sys.argv[-1])
    else:
        print("milliseconds a step, Newton iterations a step: mean (largest); MiB of the process")
        runs = [f"{p}: {m}" for p in ("OU", "Barenblatt") for m in ("jko", "jko-bdf2")]
        head("cells", *runs[:2], "ratio", *runs[2:], "ratio", "MiB")
        meshes = [(n, cell) for cell in ("quadrilateral", "triangle") for n in MESHES]
        meshes += [(n, "quadrilateral") for n in SLOW if "--slow" in sys.argv]
        for n, cell in meshes:
            line = [sys.executable, __file__, "--mesh", str(n), cell]
            print(subprocess.run(line, capture_output=True, text=True, check=True).stdout, end="")
