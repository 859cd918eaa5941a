"""Entropic JKO steps, 2D Ornstein–Uhlenbeck to t = 1: L1 error against seconds, ours and ott-jax.

The problem of bench_ou.py. Ours is timed as the whole `ddpde.solve` with its mesh; of ott-jax only
the steps count, not the compilation: Sinkhorn with a separable kernel, the entropy and potential of
the flow as an unbalanced marginal.

    python tests/benchmarks/bench_jko_entropic.py [--peer-python PYTHON] [--rounds 1]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bench_ou import BOX, DIFFUSION, MEAN, VARIANCE, centres, exact, on_grid
from workprecision import Point, main, measure

OURS = [(64, 20), (64, 40), (96, 24), (96, 64), (128, 80)]  # cells a direction, steps
OTT = [(96, 10, 0.1), (128, 20, 0.1), (192, 20, 0.05)]  # the same, ε/(2 T τ)


def ours() -> Iterator[Point]:
    """`ddpde.solve`, mesh included."""
    import ddpde
    from ddpde.problem.catalogue import ornstein_uhlenbeck

    problem = ornstein_uhlenbeck(tuple(MEAN), tuple(np.sqrt(VARIANCE)), DIFFUSION)

    def judge(run: ddpde.Trajectory) -> tuple[float, float]:
        x, density, volume = run.laws[-1].at(np.array([[0.5, 0.5]]))
        error = np.abs(density - exact(x[..., 0], x[..., 1], 1.0)) * volume
        return float(error.sum()), float(run.history["minimum"].min())

    for n, steps in OURS:

        def run(n=n, steps=steps):  # type: ignore[no-untyped-def]
            mesh = ddpde.box((-BOX, -BOX), (BOX, BOX), cells=(n, n))
            return ddpde.solve(problem, mesh, times=[1.0], method="jko-entropic", dt=1 / steps)

        yield measure("ours", f"{n}² cells, {steps} steps", run, judge, 3)


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
        yield measure("ott-jax", setting, run, on_grid(x, y, h), 1)


if __name__ == "__main__":
    main(__doc__ or "", ours, {"ott-jax": ott_jax}, (5.2e-2, 4.2e-2, 2.7e-2, 1e-2))
