"""Barenblatt's profile in the plane: L1 errors against seconds, JKO steps and finite volumes.

∂_t ρ = Δρ² (m = 2), from the source solution whose support has radius 0.2 to that of radius 0.4.
Ours is timed as the whole `ddpde.solve` with its mesh; `jko-dynamic` has two inner steps. The peer
is what one would write with scipy: central finite volumes on the unit square, BDF2, Newton's method
with a sparse LU; its steps alone count.

    python tests/benchmarks/bench_jko_barenblatt.py [--rounds 1]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jko_errors import of_grid, of_run
from workprecision import Point, main, measure

DISC = 0.43  # radius: the support stays within
OURS = [  # method, cells a direction or size of triangles on a disc, steps, half a square
    ("jko", 42, 23),
    ("jko", 34, 24, DISC),
    ("jko", 54, 20),
    ("jko", 64, 32),
    ("jko-bdf2", 64, 16),
    ("jko-bdf2", 64, 32),
    ("jko-bdf2", 80, 40),
    ("jko-bdf2", 96, 40),
    ("jko-bdf2", 112, 44),
    ("jko-dynamic", 37, 32),
    ("jko-dynamic", 0.04, 32),
    ("jko-dynamic", 0.03, 48),
    ("jko-dynamic", 0.025, 56),
]
PEER = [(64, 16), (96, 24), (128, 32)]  # cells a direction, steps

C = 1 / np.sqrt(8 * np.pi)  # ρ = (C t^{-1/2} − r²/(16 t))₊, of mass one
AGE = (0.2 / 4) ** 4 / C**2  # when the radius 4 √C t^{1/4} is 0.2
END = 16 * AGE  # and when it is 0.4


def exact(x: np.ndarray, y: np.ndarray, age: float = END) -> np.ndarray:
    """The density of that age."""
    return np.maximum(C / np.sqrt(age) - (x**2 + y**2) / (16 * age), 0.0)


def ours() -> Iterator[Point]:
    """`ddpde.solve`, mesh included."""
    import ddpde
    from ddpde.problem.classics import porous_medium

    problem = porous_medium(2, start=AGE)
    for method, size, steps, *square in OURS:
        (half,) = square or (0.5,)  # else the unit square

        def run(method=method, size=size, steps=steps, half=half):  # type: ignore[no-untyped-def]
            if size < 1:
                mesh = ddpde.disc(DISC, size=size)
            else:
                mesh = ddpde.box((-half, -half), (half, half), cells=(size, size))
            inner = {"inner_steps": 2} if method == "jko-dynamic" else {}
            t = END - AGE
            return ddpde.solve(problem, mesh, times=[t], method=method, dt=t / steps, **inner)

        words = f"triangles of {size}" if size < 1 else f"{size}² cells on ±{half}"
        yield measure(f"ours ({method})", f"{words}, {steps} steps", run, of_run(exact), 2)


def finite_volumes() -> Iterator[Point]:
    """∇·(ρ ∇2ρ) = Δρ² by five points, BDF2 after one step of implicit Euler."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    for n, steps in PEER:
        h, tau = 1 / n, (END - AGE) / steps
        x = h * (np.arange(n) + 0.5) - 0.5
        start = exact(*np.meshgrid(x, x, indexing="ij"), AGE).ravel()
        gradient = sparse.diags([-np.ones(n - 1), np.ones(n - 1)], [0, 1], shape=(n - 1, n))
        one, line = sparse.identity(n), gradient.T @ gradient / h**2
        laplacian = (sparse.kron(line, one) + sparse.kron(one, line)).tocsc()

        def run(n=n, steps=steps, start=start, laplacian=laplacian, tau=tau):  # type: ignore[no-untyped-def]
            old = new = start
            for step in range(steps):
                before, ahead = (4 * new - old) / 3, 2 * tau / 3
                if step == 0:
                    before, ahead = new, tau
                old, rho = new, new
                for _ in range(30):
                    residual = rho - before + ahead * (laplacian @ (rho * np.abs(rho)))
                    if np.abs(residual).sum() / n**2 < 1e-11:
                        break
                    slope = sparse.diags(2 * np.abs(rho))
                    matrix = sparse.identity(n**2, format="csc") + ahead * (laplacian @ slope)
                    rho = rho - splu(matrix.tocsc()).solve(residual)
                new = rho
            return new.reshape(n, n)

        yield measure("scipy", f"{n}² cells, {steps} steps", run, of_grid(x[0], h, exact), 1)


if __name__ == "__main__":
    main(__doc__ or "", ours, {"scipy": finite_volumes}, (1.5e-2, 4.5e-3, 1.25e-3))
