"""JKO steps, 2D Ornstein–Uhlenbeck to t = 1: L1 errors against seconds, ours, ott-jax and POT.

The problem of bench_ou.py. Ours is timed as the whole `ddpde.solve` with its mesh; of the peers
only the steps count, not compilation or cost matrix. Entropy and potential of the flow are an
unbalanced second marginal of Sinkhorn's problem there: with ott-jax by a separable kernel, with POT
by a dense one.

    python tests/benchmarks/bench_jko_ou.py [--peer-python PYTHON] [--rounds 1]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench_ou import BOX, DIFFUSION, MEAN, VARIANCE, centres, exact
from jko_errors import of_grid, of_run
from workprecision import Point, main, measure

OURS = [  # method, cells a direction, steps
    ("jko-entropic", 64, 20),
    ("jko-entropic", 64, 40),
    ("jko-entropic", 96, 24),
    ("jko-entropic", 96, 64),
    ("jko", 48, 20),
    ("jko", 64, 40),
    ("jko-bdf2", 48, 20),
    ("jko-bdf2", 64, 20),
]
OTT = [(96, 10, 0.1), (128, 20, 0.1), (192, 20, 0.05)]  # cells, steps, ε/(2 T τ)
POT = [(48, 10, 0.3)]  # the same


def final(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The law at t = 1."""
    return exact(x, y, 1.0)


def ours() -> Iterator[Point]:
    """`ddpde.solve`, mesh included."""
    import ddpde
    from ddpde.problem.catalogue import ornstein_uhlenbeck

    problem = ornstein_uhlenbeck(tuple(MEAN), tuple(np.sqrt(VARIANCE)), DIFFUSION)

    for method, n, steps in OURS:

        def run(method=method, n=n, steps=steps):  # type: ignore[no-untyped-def]
            mesh = ddpde.box((-BOX, -BOX), (BOX, BOX), cells=(n, n))
            return ddpde.solve(problem, mesh, times=[1.0], method=method, dt=1 / steps)

        yield measure(f"ours ({method})", f"{n}² cells, {steps} steps", run, of_run(final), 2)


def ott_jax() -> Iterator[Point]:
    """Peyré's step: the KL prox of potential and entropy is an unbalanced second marginal."""
    import jax
    import jax.numpy as jnp
    from ott.geometry import grid
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn

    jax.config.update("jax_enable_x64", True)
    for n, steps, fraction in OTT:
        x, y, h = centres(n)
        lam = 2 * DIFFUSION / steps
        eps = fraction * lam
        target = jnp.asarray(np.exp(-(x**2 + y**2) / (2 * DIFFUSION)).ravel())
        target = target / target.sum()
        axis = jnp.asarray(x[:, 0])
        geometry = grid.Grid(x=[axis, axis], epsilon=eps)

        @jax.jit
        def step(a, geometry=geometry, target=target, lam=lam, eps=eps):  # type: ignore[no-untyped-def]
            problem = linear_problem.LinearProblem(
                geometry, a, target, tau_a=1.0, tau_b=lam / (lam + eps)
            )
            solver = sinkhorn.Sinkhorn(threshold=1e-4, max_iterations=2000, lse_mode=False)
            reached = solver(problem).marginal(0)
            return reached / reached.sum()

        def run(n=n, steps=steps, step=step, x=x, y=y, h=h):  # type: ignore[no-untyped-def]
            a = jnp.asarray(exact(x, y, 0.0).ravel())
            a = a / a.sum()
            for _ in range(steps):
                a = step(a)
            return np.asarray(a).reshape(n, n) / h**2

        setting = f"{n}² points, {steps} steps, ε = {eps:.2g}"
        yield measure("ott-jax", setting, run, of_grid(x[0, 0], h, final), 1)


def pot() -> Iterator[Point]:
    """The same step by `ot.sinkhorn_unbalanced`."""
    import ot

    for n, steps, fraction in POT:
        x, y, h = centres(n)
        lam = 2 * DIFFUSION / steps
        eps = fraction * lam
        target = np.exp(-(x**2 + y**2) / (2 * DIFFUSION)).ravel()
        target /= target.sum()
        points = np.stack([x.ravel(), y.ravel()], axis=1)
        cost = ot.dist(points, points)

        def run(n=n, steps=steps, cost=cost, target=target, lam=lam, eps=eps, x=x, y=y, h=h):  # type: ignore[no-untyped-def]
            a = exact(x, y, 0.0).ravel()
            a = a / a.sum()
            for _ in range(steps):
                plan = ot.sinkhorn_unbalanced(
                    a, target, cost, eps, (np.inf, lam), reg_type="entropy", numItermax=2000
                )
                a = plan.sum(axis=0)
                a = a / a.sum()
            return a.reshape(n, n) / h**2

        setting = f"{n}² points, {steps} steps, ε = {eps:.2g}"
        yield measure("POT", setting, run, of_grid(x[0, 0], h, final), 1)


if __name__ == "__main__":
    peers = {"ott-jax": ott_jax, "POT": pot}
    main(__doc__ or "", ours, peers, (1.2e-1, 5.2e-2, 2.7e-2, 1e-2))
