"""Predictions and risk of finite networks, on raw samples."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ddpde.errors import ProblemError
from ddpde.particles.backend import compiled, cores, precision
from ddpde.particles.forces import network
from ddpde.particles.randomness import draw, root_key
from ddpde.problem import DataLaw, DataSet, Problem, Unit

BLOCK = 512  # samples drawn and evaluated together


def predict(
    problem: Problem, theta: np.ndarray, x: np.ndarray, *, weights: np.ndarray | None = None
) -> np.ndarray:
    """f(x) = (1/N) Σ_i weights_i σ(x; θ_i), (…, M), of theta (…, N, D) at inputs x (M, d).

    weights (…, N): `Ensemble.weights`; None: one each. Computed in the precision of theta.
    """
    theta, x = np.asarray(theta), np.asarray(x)
    unit, _ = network(problem)
    _check_shapes(unit, theta, weights)
    if x.ndim != 2 or x.shape[1] != unit.input_dim:
        raise ProblemError(f"x of shape {x.shape}: must be (M, {unit.input_dim})")
    flat = theta.reshape(-1, *theta.shape[-2:])
    mass = _masses(theta, weights).reshape(-1, theta.shape[-2])
    with precision(theta.dtype):
        outputs = compiled(_network_on_blocks, unit)
        blocks = jnp.asarray(_in_blocks(x.astype(theta.dtype)))
        pairs = zip(flat, mass, strict=True)
        f = [np.asarray(outputs(t, m, blocks)).reshape(-1)[: len(x)] for t, m in pairs]
    return np.array(f, dtype=theta.dtype).reshape(*theta.shape[:-2], len(x))


def risk(
    problem: Problem,
    theta: np.ndarray,
    law: DataLaw,
    *,
    samples: int = 20_000,
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """E ℓ(f(x), y) under `law` and its standard error, each (…), for networks theta (…, N, D) with
    particles of mass weights/N ((…, N); None: one each).

    Of a DataSet: over all its samples, with error 0. Of any other law: over `samples` fresh
    samples, which depend on the seed, on N and on the position along the last of the leading axes
    (the replica): replicas and widths are independent, while the times of one replica, or two
    step sizes, are compared on the same samples.
    """
    theta = np.asarray(theta)
    unit, _ = network(problem)
    _check_shapes(unit, theta, weights)
    leading, (width, dim) = theta.shape[:-2], theta.shape[-2:]
    if isinstance(law, DataSet):
        f = predict(problem, theta, law.x, weights=weights)
        mean = problem.loss.value(f.astype(float), law.y).mean(axis=-1)
        return mean, np.zeros_like(mean)
    if samples < 2:
        raise ProblemError(f"samples = {samples}: must be an integer >= 2")
    replicas = leading[-1] if leading else 1
    by_replica = np.moveaxis(theta.reshape(-1, replicas, width, dim), 1, 0)
    masses = np.moveaxis(_masses(theta, weights).reshape(-1, replicas, width), 1, 0)
    blocks = -(-samples // BLOCK)

    def one(replica: int) -> tuple[np.ndarray, np.ndarray]:
        with precision(theta.dtype):
            key = jax.random.fold_in(jax.random.fold_in(root_key(seed), width), replica)
            keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(blocks, dtype=jnp.uint32))
            f, y = losses(by_replica[replica], masses[replica], keys)
        value = problem.loss.value(np.asarray(f, dtype=float), np.asarray(y, dtype=float))
        value = value.swapaxes(0, 1).reshape(value.shape[1], -1)[:, :samples]
        return value.mean(axis=1), value.std(axis=1, ddof=1) / np.sqrt(samples)

    losses = compiled(_network_on_samples, unit, law)
    with ThreadPoolExecutor(min(cores(), replicas)) as pool:
        results = list(pool.map(one, range(replicas)))
    mean, error = (np.stack([r[k] for r in results], axis=1).reshape(leading) for k in (0, 1))
    return mean, error


def _outputs(unit: Unit, theta: jax.Array, mass: jax.Array, x: jax.Array) -> jax.Array:
    """f (m,) of particles theta (N, D), mass (N,), at x (m, d), some entries at a time."""
    rows = len(x)
    while rows > 1 and rows * len(theta) > 2**25:
        rows //= 2
    if rows == len(x):
        return mass @ unit(x, theta)
    parts = x.reshape(-1, rows, x.shape[1])
    return jax.lax.map(lambda part: mass @ unit(part, theta), parts).reshape(-1)


def _network_on_blocks(unit: Unit) -> Callable[..., jax.Array]:
    """(theta (N, D), mass (N,), x (blocks, BLOCK, d)) -> f (blocks, BLOCK)."""
    return lambda theta, mass, x: jax.lax.map(lambda block: _outputs(unit, theta, mass, block), x)


def _network_on_samples(unit: Unit, law: DataLaw) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(theta (T, N, D), mass (T, N), keys (blocks,)) -> f (blocks, T, BLOCK), y (blocks, 1, …)."""

    def block(theta: jax.Array, mass: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = draw(law, key[None], BLOCK, theta.dtype)
        return jax.lax.map(lambda p: _outputs(unit, p[0], p[1], x[0]), (theta, mass)), y

    return lambda theta, mass, keys: jax.lax.map(partial(block, theta, mass), keys)


def _in_blocks(x: np.ndarray) -> np.ndarray:
    """x (M, d) as (blocks, BLOCK, d), filled up with zeros."""
    blocks = -(-len(x) // BLOCK)
    return np.pad(x, ((0, blocks * BLOCK - len(x)), (0, 0))).reshape(blocks, BLOCK, x.shape[1])


def _masses(theta: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Masses (…, N) of the particles."""
    width = theta.shape[-2]
    if weights is None:
        return np.full(theta.shape[:-1], 1.0 / width, theta.dtype)
    return (np.asarray(weights) / width).astype(theta.dtype)


def _check_shapes(unit: Unit, theta: np.ndarray, weights: np.ndarray | None) -> None:
    if weights is not None and np.shape(weights) != theta.shape[:-1]:
        raise ProblemError(f"weights of shape {np.shape(weights)}: must be {theta.shape[:-1]}")
    if theta.ndim < 2 or theta.shape[-1] != unit.dim or 0 in theta.shape:
        raise ProblemError(f"theta of shape {theta.shape}: must be (…, N, {unit.dim})")
    if theta.dtype not in (np.float32, np.float64):
        raise ProblemError(f"theta of type {theta.dtype}: must be float32 or float64")
