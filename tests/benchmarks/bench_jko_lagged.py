"""Barenblatt's profile in the plane: L1 error against seconds, JKO steps and finite volumes.

∂_t ρ = Δρ² on the unit square, from the source solution whose support has radius 0.2 to that of
radius 0.4. Ours is timed as the whole `ddpde.solve` with its mesh. Errors are sums over the
vertices, or the cells' centres, of volume times difference. The peer is what one would write with
scipy: central finite volumes, BDF2, Newton's method with a sparse LU. Before that, by mesh: what a
step costs, how many Newton iterations it takes, and memory.

    python tests/benchmarks/bench_jko_lagged.py [--rounds 1]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from workprecision import Point, head, main, measure

OURS = [  # method, cells a direction, steps
    ("jko", 54, 20),
    ("jko", 64, 32),
    ("jko-bdf2", 64, 16),
    ("jko-bdf2", 64, 32),
    ("jko-bdf2", 80, 40),
    ("jko-bdf2", 96, 40),
    ("jko-bdf2", 128, 48),
]
PEER = [(64, 16), (96, 24), (128, 32)]  # cells a direction, steps
MESHES = (32, 64, 128)

C = 1 / np.sqrt(8 * np.pi)  # ρ = (C t^{-1/2} − r²/(16 t))₊, of mass one
AGE = (0.2 / 4) ** 4 / C**2  # when the radius 4 √C t^{1/4} is 0.2


def barenblatt(squares: np.ndarray, age: float) -> np.ndarray:
    """The density of that age at points of squared distances r² from the centre."""
    return np.maximum(C / np.sqrt(age) - squares / (16 * age), 0.0)


def ours() -> Iterator[Point]:
    """`ddpde.solve`, mesh included."""
    import ddpde
    from ddpde.problem.classics import porous_medium

    problem = porous_medium(2, start=AGE)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])

    def judge(run: ddpde.Trajectory) -> tuple[float, float]:
        x, density, volume = run.laws[-1].at(corners)
        error = np.abs(density - barenblatt((x**2).sum(axis=-1), 16 * AGE)) * volume / 4
        return float(error.sum()), float(run.history["minimum"].min())

    for method, n, steps in OURS:

        def run(method=method, n=n, steps=steps):  # type: ignore[no-untyped-def]
            mesh = ddpde.box((-0.5, -0.5), (0.5, 0.5), cells=(n, n))
            t = 15 * AGE
            return ddpde.solve(problem, mesh, times=[t], method=method, dt=t / steps)

        yield measure(f"ours ({method})", f"{n}² cells, {steps} steps", run, judge, 2)


def finite_volumes() -> Iterator[Point]:
    """∇·(ρ ∇2ρ) = Δρ² by five points, BDF2 after one step of implicit Euler."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    for n, steps in PEER:
        h, tau = 1 / n, 15 * AGE / steps
        x = h * (np.arange(n) + 0.5) - 0.5
        squares = (x[:, None] ** 2 + x**2).ravel()
        gradient = sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(n - 1, n))
        one, line = sparse.identity(n), gradient.T @ gradient / h**2
        laplacian = (sparse.kron(line, one) + sparse.kron(one, line)).tocsc()

        def run(n=n, steps=steps, squares=squares, laplacian=laplacian, tau=tau):
            old = new = barenblatt(squares, AGE)
            for step in range(steps):
                start, ahead = (4 * new - old) / 3, 2 * tau / 3
                if step == 0:
                    start, ahead = new, tau
                old, rho = new, new
                for _ in range(30):
                    residual = rho - start + ahead * (laplacian @ (rho * np.abs(rho)))
                    if np.abs(residual).sum() / n**2 < 1e-11:
                        break
                    slope = sparse.diags(2 * np.abs(rho))
                    matrix = sparse.identity(n**2, format="csc") + ahead * (laplacian @ slope)
                    rho = rho - splu(matrix.tocsc()).solve(residual)
                new = rho
            return new

        def judge(rho: np.ndarray, n=n, squares=squares) -> tuple[float, float]:  # type: ignore[no-untyped-def]
            return float(np.abs(rho - barenblatt(squares, 16 * AGE)).sum() / n**2), float(rho.min())

        yield measure("scipy", f"{n}² cells, {steps} steps", run, judge, 1)


def by_mesh() -> None:
    """A table, from one process a mesh: see `one_mesh`."""
    head("cells", "ms a step: jko", "jko-bdf2", "ratio", "iterations: OU", "Barenblatt", "MiB")
    for n in MESHES:
        line = [sys.executable, __file__, "--mesh", str(n)]
        print(subprocess.run(line, capture_output=True, text=True, check=True).stdout, end="")


def one_mesh(n: int) -> None:
    """One row: a step of τ = 0.05 of both methods, and Newton iterations on two problems.

    The minimisation of `jko-bdf2` costs what an implicit Euler step of the flow costs.
    """
    import ddpde
    from ddpde.problem.catalogue import ornstein_uhlenbeck
    from ddpde.problem.classics import porous_medium

    costs, counts = [], []
    for problem, half, tau in ((ornstein_uhlenbeck(), 6.0, 0.05), (porous_medium(2), 2.4, 0.1)):
        mesh = ddpde.box((-half, -half), (half, half), cells=(n, n))
        for method in ("jko", "jko-bdf2"):
            marks = []
            for steps in (2, 2, 8):  # to warm up; what comes before later steps; and all
                start = time.process_time()
                run = ddpde.solve(problem, mesh, times=[steps * tau], method=method, dt=tau)
                marks.append(time.process_time() - start)
            costs.append(1e3 * (marks[2] - marks[1]) / 6)
            counts.append(run.history["iterations"][3:].mean())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {n}² | {costs[0]:.0f} | {costs[1]:.0f} | {costs[0] / costs[1]:.1f} "
        f"| {counts[0]:.1f}, {counts[1]:.1f} | {counts[2]:.1f}, {counts[3]:.1f} | {memory:.0f} |"
    )


if __name__ == "__main__":
    if "--mesh" in sys.argv:
        one_mesh(int(sys.argv[-1]))
    else:
        if "--peer" not in sys.argv:
            by_mesh()
        main(__doc__ or "", ours, {"scipy": finite_volumes}, (1.5e-2, 4e-3, 1.2e-3))
