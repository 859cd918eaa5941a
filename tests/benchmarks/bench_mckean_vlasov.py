"""2D McKean–Vlasov to t = 1: L1 error against seconds, ours and the peers'.

∂_t ρ = ∇·(ρ ∇(V + W∗ρ)) + 0.1 Δρ on [−4, 4]², V = |x|²/2, W = −exp(−|x|²/2), ρ₀ the mean of
N((1, ½), 0.15 I) and N((−1, −½), 0.15 I). Ours is given W as a function and timed as the whole
`ddpde.solve` with its mesh; the peers are given the convolution by FFT, and of Dedalus only the
time stepping counts. The reference is a Fourier solution, which a fine run of ours confirms.

    python tests/benchmarks/bench_mckean_vlasov.py [--peer-python PYTHON]
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from bench_ou import bent, bernoulli
from scipy import fft
from scipy.interpolate import RectBivariateSpline
from workprecision import Point, main, measure

BOX = 4.0
DIFFUSION = 0.1
VARIANCE = 0.15
TARGETS = (1e-3, 3e-4, 1e-4, 4e-5)

# cells a direction, degree, steps: from a scan, those near the lower envelope
SETTINGS = [
    (10, 7, 8),
    (10, 7, 9),
    (10, 7, 10),
    (12, 7, 11),
    (11, 8, 11),
    (11, 8, 13),
    (11, 8, 14),
    (12, 8, 13),
    (12, 8, 18),
    (11, 9, 17),
]


def initial(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ρ₀."""
    plus = (x - 1) ** 2 + (y - 0.5) ** 2
    minus = (x + 1) ** 2 + (y + 0.5) ** 2
    peaks = np.exp(-plus / (2 * VARIANCE)) + np.exp(-minus / (2 * VARIANCE))
    return peaks / (4 * np.pi * VARIANCE)


def attraction(a, b):  # type: ignore[no-untyped-def]
    """W(a − b) for a (n, 2), b (m, 2)."""
    square = (a[:, None, 0] - b[None, :, 0]) ** 2 + (a[:, None, 1] - b[None, :, 1]) ** 2
    return -np.exp(-square / 2)


def grid(n: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Centres (n, n) of the cells of a uniform grid, and the cell size."""
    h = 2 * BOX / n
    x = -BOX + h * (np.arange(n) + 0.5)
    return *np.meshgrid(x, x, indexing="ij"), h


def convolution(n: int, kernel: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Transform of a field (n, n), padded; and its convolutions with the kernel's components."""
    h = 2 * BOX / n
    offset = h * fft.fftfreq(2 * n, 1 / (2 * n))
    kernels = fft.rfft2(kernel(*np.meshgrid(offset, offset, indexing="ij"))) * h * h

    def convolve(field: np.ndarray) -> np.ndarray:
        padded = fft.rfft2(field, s=(2 * n, 2 * n))
        return fft.irfft2(kernels * padded, s=(2 * n, 2 * n))[..., :n, :n]

    return convolve


def fourier(n: int, steps: int) -> np.ndarray:
    """ρ(1) (n, n): Fourier modes, diffusion as an integrating factor, Runge–Kutta of order 4."""
    x, y, h = grid(n)
    p, q = np.meshgrid(2 * np.pi * fft.fftfreq(n, h), 2 * np.pi * fft.rfftfreq(n, h), indexing="ij")
    kept = (np.abs(p) < np.abs(p).max() * 2 / 3) & (q < q.max() * 2 / 3)
    slope = convolution(n, lambda x, y: np.stack([x, y]) * np.exp(-(x * x + y * y) / 2))
    wave = 1j * np.stack([p, q]) * kept
    position = np.stack([x, y])
    dt = 1.0 / steps
    half = np.exp(-DIFFUSION * (p * p + q * q) * dt / 2)

    def rate(modes: np.ndarray) -> np.ndarray:
        rho = fft.irfft2(modes, s=(n, n))
        return (wave * fft.rfft2(rho * (position + slope(rho)))).sum(axis=0)

    modes = fft.rfft2(initial(x, y)) * kept
    for _ in range(steps):
        k1 = rate(modes)
        k2 = rate(half * (modes + dt / 2 * k1))
        k3 = rate(half * modes + dt / 2 * k2)
        k4 = rate(half * (half * modes + dt * k3))
        modes = half * (half * (modes + dt / 6 * k1) + dt / 3 * (k2 + k3)) + dt / 6 * k4
    return fft.irfft2(modes, s=(n, n))


@cache
def reference() -> Callable[..., np.ndarray]:
    """ρ(1) as a function of x and y arrays of equal shape: a spline of the Fourier solution."""
    n, finer = 192, 768
    x, _, h = grid(finer)
    modes = fft.rfft2(fourier(n, 250))
    # trigonometric interpolation to the finer grid, whose first centre lies elsewhere
    shift = (x[0, 0] - grid(n)[0][0, 0]) / h * (2 * np.pi / finer)
    p, q = fft.fftfreq(n, 1 / n), fft.rfftfreq(n, 1 / n)
    wide = np.zeros((finer, finer // 2 + 1), complex)
    wide[p.astype(int)[:, None], q.astype(int)] = modes * np.exp(1j * shift * (p[:, None] + q))
    values = fft.irfft2(wide, s=(finer, finer)) * (finer / n) ** 2
    spline = RectBivariateSpline(x[:, 0], x[:, 0], values, kx=5, ky=5)
    return lambda x, y: spline(x.ravel(), y.ravel(), grid=False).reshape(x.shape)


def on_grid(x: np.ndarray, y: np.ndarray, h: float) -> Callable[[np.ndarray], tuple[float, float]]:
    """Judge values on a uniform grid, which may reach beyond the box: there the law is zero."""
    inside = (np.abs(x) < BOX) & (np.abs(y) < BOX)
    final = np.where(inside, reference()(np.clip(x, -BOX, BOX), np.clip(y, -BOX, BOX)), 0.0)
    return lambda u: (float(np.abs(u - final).sum() * h * h), float(u.min()))


def ours() -> Iterator[Point]:
    """`ddpde.solve`, mesh and compression of the kernel included."""
    import ddpde
    from ddpde.problem import GaussianLaw, Mixture, Problem
    from ddpde.space.quadrature import gauss

    std = (VARIANCE**0.5,) * 2
    problem = Problem(
        name="McKean–Vlasov",
        initial=Mixture((0.5, 0.5), (GaussianLaw((1.0, 0.5), std), GaussianLaw((-1.0, -0.5), std))),
        potential=lambda t: 0.5 * (t * t).sum(axis=1),
        interaction=attraction,
        temperature=DIFFUSION,
    )

    def judge(run: ddpde.Trajectory) -> tuple[float, float]:
        law = run.laws[-1]
        points, weights = gauss(law.cell, 2 * law.degree + 6)
        x, density, volume = law.at(points)
        error = np.abs(density - reference()(x[..., 0], x[..., 1])) * volume * weights
        return float(error.sum()), float(run.history["minimum"].min())

    def solve(n: int, degree: int, **settings: float) -> ddpde.Trajectory:
        mesh = ddpde.box((-BOX, -BOX), (BOX, BOX), cells=(n, n))
        return ddpde.solve(problem, mesh, times=[1.0], degree=degree, **settings)

    error, _ = judge(solve(16, 8, rtol=1e-7))
    print(f"16² cells, degree 8, rtol 1e-7 differ from the reference by {error:.1e} in L1")
    for n, degree, steps in SETTINGS:

        def run(n=n, degree=degree, steps=steps):  # type: ignore[no-untyped-def]
            # equal steps, as the peers take; rtol is then that of W's compression
            return solve(n, degree, dt=1.0 / steps, rtol=1e-4)

        yield measure("ours", f"{n}² cells, degree {degree}, {steps} steps", run, judge, 5)


def spectral() -> Iterator[Point]:
    """The Fourier method of the reference on coarser grids: periodic, no mesh, no positivity."""
    for n, steps in ((48, 20), (56, 25), (64, 25), (64, 40), (72, 40), (80, 50), (96, 64)):
        yield measure(
            "NumPy Fourier",
            f"{n}² modes, {steps} steps",
            lambda n=n, steps=steps: fourier(n, steps),
            on_grid(*grid(n)),
            5,
        )


def finite_volumes() -> Iterator[Point]:
    """Scharfetter–Gummel fluxes, explicit Runge–Kutta of order 2 at the stability limit."""

    def solve(n: int) -> np.ndarray:
        x, y, h = grid(n)
        convolve = convolution(n, lambda x, y: -np.exp(-(x * x + y * y) / 2))
        confining = (x * x + y * y) / 2
        steps = int(np.ceil(1.0 / min(0.9 * h * h / (4 * DIFFUSION), 0.09 * h)))

        def rate(u: np.ndarray) -> np.ndarray:
            potential = (confining + convolve(u)) / DIFFUSION
            out = np.zeros_like(u)
            for v, into, p in ((u, out, potential), (u.T, out.T, potential.T)):
                jump = np.diff(p, axis=0)
                right = bernoulli(jump)
                flux = right * v[:-1] - (right + jump) * v[1:]
                into[:-1] -= flux
                into[1:] += flux
            return out * (DIFFUSION / h**2)

        u = initial(x, y)
        for _ in range(steps):
            middle = u + rate(u) / steps
            u = 0.5 * (u + middle + rate(middle) / steps)
        return u

    for n in (64, 128):
        yield measure(
            "NumPy finite volumes", f"{n}² cells", lambda n=n: solve(n), on_grid(*grid(n)), 2
        )


def dedalus() -> Iterator[Point]:
    """Fourier modes on a longer periodic box, bent drift, W∗ρ as a user's function."""
    logging.disable(logging.CRITICAL)
    import dedalus.public as d3

    half = 6.0
    for n, dt in ((48, 0.05), (64, 0.04), (64, 0.03), (72, 0.03), (80, 0.025), (96, 0.02)):
        axes = d3.CartesianCoordinates("x", "y")
        where = d3.Distributor(axes, dtype=np.float64)
        bases = tuple(
            d3.RealFourier(axes[a], size=n, bounds=(-half, half), dealias=3 / 2) for a in "xy"
        )
        x, y = where.local_grids(*bases)
        rho = where.Field(name="rho", bases=bases)
        drift = where.VectorField(axes, name="drift", bases=bases)
        drift["g"][0], drift["g"][1] = bent(x, 3.5, half), bent(y, 3.5, half)
        fine = 3 * n // 2
        spacing = 2 * half / fine
        p = 2 * np.pi * fft.fftfreq(fine, spacing)[:, None]
        q = 2 * np.pi * fft.rfftfreq(fine, spacing)
        kernel = -2 * np.pi * np.exp(-(p * p + q * q) / 2)

        def attracted(rho=rho, kernel=kernel, fine=fine):  # type: ignore[no-untyped-def]
            rho.change_scales(3 / 2)
            return fft.irfft2(kernel * fft.rfft2(rho["g"]), s=(fine, fine))

        pull = d3.GeneralFunction(
            dist=where, domain=rho.domain, layout="g", tensorsig=(), dtype=np.float64,
            func=attracted, args=[],
        )  # fmt: skip
        problem = d3.IVP([rho])
        problem.add_equation(
            (d3.dt(rho) - DIFFUSION * d3.lap(rho), d3.div(rho * (drift + d3.grad(pull))))
        )
        solver = problem.build_solver(d3.RK443)

        def run(dt=dt, rho=rho, solver=solver, x=x, y=y):  # type: ignore[no-untyped-def]
            rho.change_scales(1)
            rho["g"] = initial(x, y)
            for _ in range(round(1 / dt)):
                solver.step(1 / round(1 / dt))
            rho.change_scales(1)
            return rho["g"].copy()

        nodes = np.broadcast_arrays(x, y)
        yield measure("Dedalus", f"{n}² modes, dt {dt:g}", run, on_grid(*nodes, 2 * half / n), 3)


PEERS = {"spectral": spectral, "finite volumes": finite_volumes, "dedalus": dedalus}

if __name__ == "__main__":
    main(__doc__, ours, PEERS, TARGETS)
