"""2D Ornstein–Uhlenbeck to t = 1: L1 error against seconds, ours and the peers'.

∂_t ρ = ∇·(xρ) + ½Δρ on [−6, 6]², ρ₀ = N((2, 1), diag(0.5, 0.3)). Ours is timed as the whole
`ddpde.solve` with its mesh; of Dedalus, py-pde and fplanck only the time stepping counts, not
what they build or compile before.

    python tests/benchmarks/bench_ou.py [--peer-python PYTHON]
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
from workprecision import Point, main, measure

BOX = 6.0
DIFFUSION = 0.5
MEAN, VARIANCE = np.array([2.0, 1.0]), np.array([0.5, 0.3])
TARGETS = (1e-3, 3e-4, 1e-4, 1e-5)

# cells a direction, degree, equal steps (as the peers take them) or, less than one, the rtol of
# adaptive ones: from a scan, those near the lower envelope
QUADRILATERALS = [
    (8, 5, 8),
    (7, 6, 7),
    (8, 6, 8),
    (9, 6, 9),
    (8, 7, 9),
    (9, 6, 10),
    (11, 7, 16),
    (10, 8, 16),
    (8, 6, 5e-5),
    (8, 6, 2e-5),
    (8, 7, 9e-6),
    (11, 7, 1e-6),
]
TRIANGLES = [
    (5, 8, 8),
    (6, 7, 8),
    (5, 9, 7),
    (6, 8, 7),
    (7, 7, 7),
    (6, 9, 9),
    (7, 8, 8),
    (7, 8, 10),
    (6, 10, 10),
    (6, 11, 16),
    (7, 10, 16),
    (8, 9, 16),
    (6, 8, 1e-4),
    (7, 8, 3e-5),
    (7, 8, 1e-5),
    (7, 10, 1e-6),
]


def exact(x: np.ndarray, y: np.ndarray, t: float) -> np.ndarray:
    """The Gaussian density at time t."""
    decay = np.exp(-2 * t)
    mean, variance = MEAN * np.exp(-t), VARIANCE * decay + DIFFUSION * (1 - decay)
    exponent = (x - mean[0]) ** 2 / variance[0] + (y - mean[1]) ** 2 / variance[1]
    return np.exp(-exponent / 2) / (2 * np.pi * np.sqrt(variance.prod()))


def centres(n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Cell centres (n, n) of a uniform grid, and the cell size."""
    h = 2 * BOX / n
    x = -BOX + h * (np.arange(n) + 0.5)
    return *np.meshgrid(x, x, indexing="ij"), h


def on_grid(x: np.ndarray, y: np.ndarray, h: float) -> Callable[[np.ndarray], tuple[float, float]]:
    """Judge values on a uniform grid."""
    final = exact(x, y, 1.0)
    return lambda u: (float(np.abs(u - final).sum() * h * h), float(u.min()))


def ours() -> Iterator[Point]:
    """`ddpde.solve`, mesh included."""
    import ddpde
    from ddpde.problem import GaussianLaw, Problem
    from ddpde.space.quadrature import gauss

    problem = Problem(
        name="Ornstein–Uhlenbeck",
        initial=GaussianLaw(tuple(MEAN), tuple(np.sqrt(VARIANCE))),
        potential=lambda t: 0.5 * (t * t).sum(axis=1),
        temperature=DIFFUSION,
    )

    def judge(run: ddpde.Trajectory) -> tuple[float, float]:
        law = run.laws[-1]
        reference, weights = gauss(law.cell, 2 * law.degree + 6)
        x, density, volume = law.at(reference)
        error = np.abs(density - exact(x[..., 0], x[..., 1], 1.0)) * volume * weights
        return float(error.sum()), float(run.history["minimum"].min())

    families = {"quadrilateral": QUADRILATERALS, "triangle": TRIANGLES}
    for cell, settings in families.items():
        for n, degree, step in settings:
            chosen = {"dt": 1.0 / step} if step >= 1 else {"rtol": step}

            def run(n=n, degree=degree, chosen=chosen, cell=cell):  # type: ignore[no-untyped-def]
                mesh = ddpde.box((-BOX, -BOX), (BOX, BOX), cells=(n, n), cell=cell)
                return ddpde.solve(problem, mesh, times=[1.0], degree=degree, **chosen)

            name = "ours" if cell == "quadrilateral" else "ours, triangles"
            steps = f"{step} steps" if step >= 1 else f"rtol {step:g}"
            yield measure(name, f"{n}² cells, degree {degree}, {steps}", run, judge, 5)


def bernoulli(z: np.ndarray) -> np.ndarray:
    """z / (e^z − 1)."""
    small = np.abs(z) < 1e-6
    safe = np.where(small, 1.0, z)
    return np.where(small, 1 - z / 2, safe / np.expm1(safe))


def scharfetter_gummel() -> Iterator[Point]:
    """What a numerical analyst writes in an hour: finite volumes, Crank–Nicolson, one LU."""
    from scipy import sparse
    from scipy.sparse.linalg import splu

    def solve(n: int, steps: int) -> np.ndarray:
        x, y, h = centres(n)
        slope = bernoulli(np.diff(x[:, 0] ** 2 / 2) / DIFFUSION)
        right, left = slope, slope + np.diff(x[:, 0] ** 2 / 2) / DIFFUSION
        flux = sparse.diags_array([right, -left], offsets=[0, 1], shape=(n - 1, n))
        divergence = sparse.diags_array([-1.0, 1.0], offsets=[0, -1], shape=(n, n - 1))
        line = (divergence @ flux) * (DIFFUSION / h**2)
        eye = sparse.eye_array(n)
        rate = (sparse.kron(line, eye) + sparse.kron(eye, line)).tocsc() * (0.5 / steps)
        unit = sparse.eye_array(n * n, format="csc")
        symmetric = {"SymmetricMode": True}
        factors = splu(
            unit - rate, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric
        )
        forward = (unit + rate).tocsr()
        u = exact(x, y, 0.0).ravel()
        for _ in range(steps):
            u = factors.solve(forward @ u)
        return u.reshape(n, n)

    for n, steps in ((64, 16), (128, 24), (208, 32), (224, 32), (256, 48), (400, 64)):
        yield measure(
            "scipy",
            f"Scharfetter–Gummel, {n}² cells, {steps} Crank–Nicolson steps",
            lambda n=n, steps=steps: solve(n, steps),
            on_grid(*centres(n)),
            2,
        )


def dedalus() -> Iterator[Point]:
    """Fourier modes on a longer periodic box, the drift bent smoothly to zero at its ends."""
    logging.disable(logging.CRITICAL)
    import dedalus.public as d3

    half = 8.0
    for n, dt in (
        (28, 0.05), (32, 0.04), (32, 0.025), (36, 0.04), (40, 0.03), (40, 0.025), (44, 0.03),
        (48, 0.025), (48, 0.02), (56, 0.02), (64, 0.02), (64, 0.01),
    ):  # fmt: skip
        axes = d3.CartesianCoordinates("x", "y")
        where = d3.Distributor(axes, dtype=np.float64)
        bases = tuple(
            d3.RealFourier(axes[a], size=n, bounds=(-half, half), dealias=3 / 2) for a in "xy"
        )
        x, y = where.local_grids(*bases)
        rho = where.Field(name="rho", bases=bases)
        drift = where.VectorField(axes, name="drift", bases=bases)
        drift["g"][0], drift["g"][1] = bent(x, 5.0, half), bent(y, 5.0, half)
        problem = d3.IVP([rho], namespace={"rho": rho, "drift": drift})
        problem.add_equation("dt(rho) - 0.5*lap(rho) = div(rho*drift)")
        solver = problem.build_solver(d3.RK443)

        def run(dt=dt, rho=rho, solver=solver, x=x, y=y):  # type: ignore[no-untyped-def]
            rho.change_scales(1)
            rho["g"] = exact(x, y, 0.0)
            for _ in range(round(1 / dt)):
                solver.step(1 / round(1 / dt))
            rho.change_scales(1)
            return rho["g"].copy()

        yield measure("Dedalus", f"{n}² modes, dt {dt:g}", run, on_grid(x, y, 2 * half / n), 3)


def bent(x: np.ndarray, inner: float, half: float) -> np.ndarray:
    """x up to |x| = inner, then smoothly to zero at |x| = half (seven times differentiable)."""
    from scipy.special import betainc

    return x * (1 - betainc(8, 8, np.clip((np.abs(x) - inner) / (half - inner), 0, 1)))


def py_pde() -> Iterator[Point]:
    """Its compiled right-hand side in SciPy's adaptive Runge–Kutta method."""
    import pde
    from scipy.integrate import solve_ivp

    equation = pde.PDE({"c": "0.5*laplace(c) + d_dx(x*c) + d_dy(y*c)"}, bc={"value": 0})
    for n, rtol in ((64, 1e-3), (128, 1e-3), (208, 1e-4)):
        x, y, h = centres(n)
        grid = pde.CartesianGrid([[-BOX, BOX]] * 2, n)
        start = exact(x, y, 0.0)
        rate = equation.make_pde_rhs(pde.ScalarField(grid, start), backend="numba")

        def run(n=n, rtol=rtol, start=start, rate=rate):  # type: ignore[no-untyped-def]
            def flat(t: float, u: np.ndarray) -> np.ndarray:
                return np.asarray(rate(u.reshape(n, n), t)).ravel()

            done = solve_ivp(flat, (0.0, 1.0), start.ravel(), rtol=rtol, atol=1e-2 * rtol)
            return done.y[:, -1].reshape(n, n)

        yield measure("py-pde", f"{n}² cells, rtol {rtol:g}", run, on_grid(x, y, h), 2)


def fplanck() -> Iterator[Point]:
    """Its master equation, propagated by a matrix exponential."""
    from fplanck.solver import FokkerPlanck
    from scipy import constants

    def start(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return exact(x, y, 0.0)

    for n in (48, 96, 144):
        h = 2 * BOX / n
        solver = FokkerPlanck(
            temperature=DIFFUSION / constants.k,
            drag=1.0,
            extent=[2 * BOX, 2 * BOX],
            resolution=h,
            potential=lambda x, y: (x * x + y * y) / 2,
        )

        def run(h=h, solver=solver):  # type: ignore[no-untyped-def]
            return solver.propagate(start, 1.0) / h**2

        yield measure("fplanck", f"{n}² cells", run, on_grid(*solver.grid, h), 3)


PEERS = {
    "scipy": scharfetter_gummel,
    "dedalus": dedalus,
    "py-pde": py_pde,
    "fplanck": fplanck,
}

if __name__ == "__main__":
    main(__doc__, ours, PEERS, TARGETS)
