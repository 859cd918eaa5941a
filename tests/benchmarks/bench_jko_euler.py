"""A lagged JKO step against a step of implicit Euler on the same mesh: what the varied norm costs.

With its norm not varied a lagged step is one of implicit Euler for the flow itself, on the same
finite volumes, by the same Newton's method with half the unknowns. Ten steps of each, in turn.

    python tests/benchmarks/bench_jko_euler.py [--most 128]
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from mpi4py import MPI  # noqa: F401
from workprecision import head

import ddpde
from ddpde.flow.vertices import VertexFlow
from ddpde.problem.catalogue import ornstein_uhlenbeck
from ddpde.problem.classics import porous_medium
from ddpde.step.lagged import LaggedProximal

STEPS, REPEATS = 10, 2
CASES = {  # problem, half the width of the mesh, τ
    "Ornstein–Uhlenbeck": (ornstein_uhlenbeck(), 5.0, 0.05),
    "Barenblatt": (porous_medium(2), 2.4, 0.1),
}


def steps(flow: VertexFlow, tau: float, euler: bool) -> tuple[float, float]:
    """Processor milliseconds and Newton iterations a step."""
    step, u, count = LaggedProximal(flow), flow.state.getArray().copy(), 0
    start = time.process_time()
    for _ in range(STEPS):
        u = step(u, tau, frozen=euler)
        count += step.iterations
    used = time.process_time() - start
    step.close()
    return 1e3 * used / STEPS, count / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, default=128, help="cells a direction, at most")
    most = parser.parse_args().most
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    head(
        "problem",
        "cells",
        "JKO: ms a step",
        "iterations",
        "Euler: ms a step",
        "iterations",
        "ratio",
    )
    for name, (problem, half, tau) in CASES.items():
        for n in [n for n in (32, 64, 128, 256) if n <= most]:
            for cell in ("quadrilateral", "triangle"):
                mesh = ddpde.box((-half, -half), (half, half), cells=(n, n), cell=cell)
                flow = VertexFlow(problem, mesh)
                found = [
                    [steps(flow, tau, euler) for euler in (False, True)] for _ in range(REPEATS)
                ]
                (jko, more), (euler, less) = np.min(found, axis=0)
                print(
                    f"| {name} | {n}², {cell} | {jko:.0f} | {more:.1f} | {euler:.0f} | {less:.1f} "
                    f"| {jko / euler:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
