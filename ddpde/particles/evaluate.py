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


def predict(problem: Problem, theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """f(x) = (1/N) Σ_i σ(x; θ_i), (…, M), of networks theta (…, N, D) at inputs x (M, d).

    Computed in the precision of theta.
    """
    theta, x = np.asarray(theta), np.asarray(x)
    unit, _ = network(problem)
    _check_shapes(unit, theta)
    if x.ndim != 2 or x.shape[1] != unit.input_dim:
        raise ProblemError(f"x of shape {x.shape}: must be (M, {unit.input_dim})")
    flat = theta.reshape(-1, *theta.shape[-2:])
    with precision(theta.dtype):
        outputs = compiled(_network_on_blocks, unit)
        blocks = jnp.asarray(_in_blocks(x.astype(theta.dtype)))
        f = [np.asarray(outputs(t, blocks)).reshape(-1)[: len(x)] for t in flat]
    return np.array(f, dtype=theta.dtype).reshape(*theta.shape[:-2], len(x))


def risk(
    problem: Problem,
    theta: np.ndarray,
    law: DataLaw,
    *,
    samples: int = 20_000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """E ℓ(f(x), y) under `law` and its standard error, each (…), for networks theta (…, N, D).

    Of a DataSet: over all its samples, with error 0. Of any other law: over `samples` fresh
    samples, which depend on the seed, on N and on the position along the last of the leading axes
    (the replica): replicas and widths are independent, while the times of one replica, or two
    step sizes, are compared on the same samples.
    """
    theta = np.asarray(theta)
    unit, _ = network(problem)
    _check_shapes(unit, theta)
    leading, (width, dim) = theta.shape[:-2], theta.shape[-2:]
    if isinstance(law, DataSet):
        f = predict(problem, theta, law.x)
        mean = problem.loss.value(f.astype(float), law.y).mean(axis=-1)
        return mean, np.zeros_like(mean)
    if samples < 2:
        raise ProblemError(f"samples = {samples}: must be an integer >= 2")
    replicas = leading[-1] if leading else 1
    by_replica = np.moveaxis(theta.reshape(-1, replicas, width, dim), 1, 0)
    blocks = -(-samples // BLOCK)

    def one(replica: int) -> tuple[np.ndarray, np.ndarray]:
        with precision(theta.dtype):
            key = jax.random.fold_in(jax.random.fold_in(root_key(seed), width), replica)
            keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(blocks, dtype=jnp.uint32))
            f, y = losses(by_replica[replica], keys)
        value = problem.loss.value(np.asarray(f, dtype=float), np.asarray(y, dtype=float))
        value = value.swapaxes(0, 1).reshape(value.shape[1], -1)[:, :samples]
        return value.mean(axis=1), value.std(axis=1, ddof=1) / np.sqrt(samples)

    losses = compiled(_network_on_samples, unit, law)
    with ThreadPoolExecutor(min(cores(), replicas)) as pool:
        results = list(pool.map(one, range(replicas)))
    mean, error = (np.stack([r[k] for r in results], axis=1).reshape(leading) for k in (0, 1))
    return mean, error


def _outputs(unit: Unit, theta: jax.Array, x: jax.Array) -> jax.Array:
    """f (m,) of one network theta (N, D) at x (m, d), a bounded number of entries at a time."""
    rows = len(x)
    while rows > 1 and rows * len(theta) > 2**25:
        rows //= 2
    if rows == len(x):
        return unit(x, theta).mean(axis=0)
    parts = x.reshape(-1, rows, x.shape[1])
    return jax.lax.map(lambda part: unit(part, theta).mean(axis=0), parts).reshape(-1)


def _network_on_blocks(unit: Unit) -> Callable[..., jax.Array]:
    """(theta (N, D), x (blocks, BLOCK, d)) -> f (blocks, BLOCK)."""
    return lambda theta, x: jax.lax.map(lambda block: _outputs(unit, theta, block), x)


def _network_on_samples(unit: Unit, law: DataLaw) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """(theta (T, N, D), keys (blocks,)) -> f (blocks, T, BLOCK), y (blocks, 1, BLOCK)."""

    def block(theta: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x, y = draw(law, key[None], BLOCK, theta.dtype)
        return jax.lax.map(lambda t: _outputs(unit, t, x[0]), theta), y

    return lambda theta, keys: jax.lax.map(partial(block, theta), keys)


def _in_blocks(x: np.ndarray) -> np.ndarray:
    """x (M, d) as (blocks, BLOCK, d), filled up with zeros."""
    blocks = -(-len(x) // BLOCK)
    return np.pad(x, ((0, blocks * BLOCK - len(x)), (0, 0))).reshape(blocks, BLOCK, x.shape[1])


def _check_shapes(unit: Unit, theta: np.ndarray) -> None:
    if theta.ndim < 2 or theta.shape[-1] != unit.dim or 0 in theta.shape:
        raise ProblemError(f"theta of shape {theta.shape}: must be (…, N, {unit.dim})")
    if theta.dtype not in (np.float32, np.float64):
        raise ProblemError(f"theta of type {theta.dtype}: must be float32 or float64")
