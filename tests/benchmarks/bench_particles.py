"""Throughput of particle SGD: ours against a hand-written JAX scan, NumPy and numba, in one run.

ŷ = (1/N) Σ a_i tanh(⟨w_i, x⟩ + b_i), one-pass, squared loss, y = tanh(x_1) + 0.1 noise;
microseconds a step without compilation, each the least of several repetitions taken in turn.

    python tests/benchmarks/bench_particles.py [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from ddpde.particles import risk, train
from ddpde.particles.backend import cores, precision
from ddpde.problem import GaussianInputs, GaussianLaw, Problem, RidgeUnit, catalogue, tanh

try:
    import numba
except ImportError:
    numba = None

RATE = 0.05  # their 0.1 of the gradient of half the loss
CELLS = [
    ("float32", 1000, 2, 1),
    ("float32", 1000, 2, 64),
    ("float32", 1000, 40, 1),
    ("float32", 100_000, 2, 1),
    ("float32", 100_000, 2, 64),
    ("float32", 100_000, 40, 1),
    ("float32", 100_000, 40, 64),
    ("float64", 1000, 2, 1),
    ("float64", 100_000, 2, 1),
    ("float64", 100_000, 40, 1),
]


def teacher(x):  # type: ignore[no-untyped-def]
    """tanh(x_1), in NumPy or JAX."""
    return tanh(x[:, 0])


def problem(dim: int) -> Problem:
    """The task, for inputs in R^dim; θ = (a, b, w)."""
    unit = RidgeUnit(tanh, dim, bias=True, output_weight=True)
    return Problem(
        name="bench",
        unit=unit,
        data=GaussianInputs(dim, teacher, label_noise=0.1),
        initial=GaussianLaw.isotropic(unit.dim, 1.0),
    )


def numpy_steps(width: int, dim: int, batch: int, dtype: str, steps: int) -> Callable[[], object]:
    """Vectorised over neurons and samples, in place."""
    rng = np.random.default_rng(0)
    one = np.dtype(dtype).type
    a, b = rng.standard_normal((2, width)).astype(dtype)
    w = rng.standard_normal((width, dim)).astype(dtype)

    def run() -> None:
        nonlocal a, b, w
        x = rng.standard_normal((steps, batch, dim), dtype=dtype)
        y = np.tanh(x[..., 0]) + one(0.1) * rng.standard_normal((steps, batch), dtype=dtype)
        for k in range(steps):
            h = w @ x[k].T
            h += b[:, None]
            np.tanh(h, out=h)
            r = (y[k] - (a @ h) / one(width)) * one(2 * RATE / batch)
            change = h @ r
            np.multiply(h, h, out=h)
            np.subtract(one(1), h, out=h)
            h *= r
            h *= a[:, None]
            w += h @ x[k]
            b += h.sum(axis=1)
            a += change

    return run


def scan_steps(width: int, dim: int, batch: int, dtype: str, steps: int) -> Callable[[], object]:
    """What a user of JAX writes: gradients by hand, separate arrays, one jitted scan."""

    def body(carry, sample):  # type: ignore[no-untyped-def]
        (a, b, w), (x, y) = carry, sample
        h = jnp.tanh(w @ x.T + b[:, None])
        r = (y - (a @ h) / width) * (2 * RATE / batch)
        g = a[:, None] * (1 - h * h) * r
        return (a + h @ r, b + g.sum(axis=1), w + g @ x), None

    @jax.jit
    def run(carry, key):  # type: ignore[no-untyped-def]
        x_key, y_key = jax.random.split(key)
        x = jax.random.normal(x_key, (steps, batch, dim), dtype)
        y = jnp.tanh(x[..., 0]) + 0.1 * jax.random.normal(y_key, (steps, batch), dtype)
        return jax.lax.scan(body, carry, (x, y))[0]

    with precision(dtype):
        key = jax.random.key(0)
        sizes = ((width,), (width,), (width, dim))
        start = tuple(jax.random.normal(key, size, dtype) for size in sizes)

    def call() -> None:
        with precision(dtype):
            jax.block_until_ready(run(start, key))

    return call


def numba_steps(
    width: int, dim: int, batch: int, dtype: str, steps: int, threads: int
) -> Callable[[], object] | None:
    """Compiled loops, neurons on `threads` threads; None where numba is not installed."""
    if numba is None:
        return None
    rng = np.random.default_rng(0)
    one = np.dtype(dtype).type

    @numba.njit(fastmath=True, parallel=threads > 1)
    def loops(a, b, w, x, y, rate):  # type: ignore[no-untyped-def]
        width, dim = w.shape
        batch = x.shape[1]
        h = np.empty((batch, width), w.dtype)
        for k in range(len(x)):
            for m in range(batch):
                f = w.dtype.type(0)
                for i in numba.prange(width):
                    z = b[i]
                    for j in range(dim):
                        z += w[i, j] * x[k, m, j]
                    h[m, i] = np.tanh(z)
                    f += a[i] * h[m, i]
                y[k, m] = (y[k, m] - f / width) * rate / batch
            for m in range(batch):
                r = y[k, m]
                for i in numba.prange(width):
                    g = a[i] * (1 - h[m, i] * h[m, i]) * r
                    for j in range(dim):
                        w[i, j] += g * x[k, m, j]
                    b[i] += g
            for m in range(batch):
                for i in numba.prange(width):
                    a[i] += h[m, i] * y[k, m]

    a, b = rng.standard_normal((2, width)).astype(dtype)
    w = rng.standard_normal((width, dim)).astype(dtype)
    rate = one(2 * RATE)

    def run() -> None:
        x = rng.standard_normal((steps, batch, dim), dtype=dtype)
        y = np.tanh(x[..., 0]) + one(0.1) * rng.standard_normal((steps, batch), dtype=dtype)
        numba.set_num_threads(threads)
        loops(a, b, w, x, y, rate)

    return run


def ours(
    task: Problem,
    width: int,
    batch: int,
    dtype: str,
    steps: int,
    calls: int,
    busy: dict[int, float],
    replicas: int = 1,
) -> Iterator[float]:
    """Seconds a step of all replicas, again and again: the quickest chunk of a training.

    busy: gets the number of processors at work in it, by `replicas`.
    """
    while True:
        clock: list[tuple[float, float, int]] = []

        def note(done: int, clock: list[tuple[float, float, int]] = clock) -> None:
            clock.append((time.perf_counter(), time.process_time(), done))

        train(
            task,
            width,
            replicas=replicas,
            step_size=RATE,
            times=[RATE * calls * steps],  # what is saved in between is no step
            seed=0,
            batch=batch,
            dtype=dtype,
            progress=note,
        )
        best, busy[replicas] = min(
            ((t1 - t0) / (k1 - k0), (p1 - p0) / (t1 - t0))
            for (t0, p0, k0), (t1, p1, k1) in pairwise(clock)
        )
        yield best


def timed(run: Callable[[], object], steps: int, again: int) -> Iterator[float]:
    """Seconds a step, again and again: the quickest of `again` calls; the first warms up."""
    run()
    while True:
        best = np.inf
        for _ in range(again):
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        yield best / steps


def triad(bytes_: int) -> Iterator[float]:
    """Seconds of b ← b + s·c on arrays of `bytes_` in all, again and again, in one jitted loop."""
    n = bytes_ // 12

    @jax.jit
    def run(b: jax.Array, c: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 50, lambda _, b: b + 1e-3 * c, b)

    b, c = jnp.ones(n, "float32"), jnp.ones(n, "float32")
    yield from timed(lambda: jax.block_until_ready(run(b, c)), 50, 5)


def table(cells: list[tuple[str, int, int, int]], repetitions: int) -> None:
    """The table of microseconds a step.

    Bandwidth: a step at batch 1 by itself has to read the parameters twice and to write them once;
    steps that share these passes exceed 100 % of the triad. Not timed: —.
    """
    print(
        "| dtype, N, d, batch | NumPy | numba, 1 and 2 threads | JAX scan | ours | scan / ours "
        "| NumPy / ours | numba / ours | 16 replicas / 1 | processors busy, 1 and 16 "
        "| 16 scans / 16 replicas | GB/s, of triad |"
    )
    print("|" + " --- |" * 12)
    for dtype, width, dim, batch in cells:
        steps = int(np.clip(3e9 / (width * batch * (dim + 10)), 2, 4096))
        sizes = (width, dim, batch, dtype)
        few = max(1, steps // 20)
        busy: dict[int, float] = {}
        runs = {
            "scan": timed(scan_steps(*sizes, steps), steps, 4),
            "ours": ours(problem(dim), width, batch, dtype, steps, 4, busy),
            "numpy": timed(numpy_steps(*sizes, few), few, 2),
        }
        for threads in (1, 2):
            compiled = numba_steps(*sizes, few, threads)
            if compiled is not None:
                runs[f"numba {threads}"] = timed(compiled, few, 2)
        moved = 3 * width * (dim + 2) * np.dtype(dtype).itemsize
        if batch == 1:
            runs["triad"] = triad(moved)
        if width <= 1000 or batch == 1:
            runs["sixteen"] = ours(problem(dim), width, batch, dtype, steps, 2, busy, replicas=16)
        best = dict.fromkeys(runs, np.inf)
        for _ in range(repetitions):
            for name, run in runs.items():
                best[name] = min(best[name], 1e6 * next(run))
        one, sixteen = best["ours"], best.get("sixteen")
        loops = [best[name] for name in ("numba 1", "numba 2") if name in best]
        speed = ""
        if batch == 1:
            speed = f"{moved / one / 1e3:.0f}, {100 * best['triad'] / one:.0f} %"
        print(
            f"| {dtype}, {width}, {dim}, {batch} | {best['numpy']:.1f} "
            f"| {', '.join(f'{t:.1f}' for t in loops) or '—'} "
            f"| {best['scan']:.1f} | {one:.1f} | {best['scan'] / one:.2f} "
            f"| {best['numpy'] / one:.1f} | {f'{min(loops) / one:.1f}' if loops else '—'} "
            f"| {f'{sixteen / one:.1f}' if sixteen else '—'} "
            f"| {', '.join(f'{p:.2f}' for p in busy.values())} "
            f"| {f'{16 * best["scan"] / sixteen:.2f}' if sixteen else '—'} | {speed} |",
            flush=True,
        )


def main_case(t_end: float) -> None:
    """The isotropic Gaussians of Mei et al. at d = 40: training and risk, seconds in all."""
    task = catalogue.isotropic_gaussians()
    times = np.linspace(0.0, t_end, 9)
    for batch in (1, 16):
        for width in (100, 200, 400, 800):
            run = train(task, width, replicas=16, step_size=1e-4, times=times, seed=0, batch=batch)
            start = time.perf_counter()
            risk(task, run.theta, task.data, samples=20_000)
            spent = time.perf_counter() - start
            print(
                f"isotropic Gaussians, 16 replicas, batch {batch}, N = {width}, t = {t_end:g}: "
                f"train {run.wall:.1f} s (compilation {run.compile:.1f} s), risk {spent:.1f} s",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="N = 1000 only, shorter training")
    quick = parser.parse_args().quick
    print(f"{cores()} cores, JAX {jax.__version__} on {jax.default_backend()}")
    if numba is None:
        print("numba is missing: pip install numba")
    table([c for c in CELLS if not quick or c[1] <= 1000], repetitions=2)
    main_case(0.4 if quick else 5.0)


if __name__ == "__main__":
    main()
