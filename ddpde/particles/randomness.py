"""Random numbers as counters, and the samples that a step sees.

A key is folded from (seed, width, replica), then stream, then step. So a replica is the same
whatever runs beside it, on however many processes, and however its steps are cut into chunks;
runs with different step sizes, and copies driven by a given law, start from the same parameters
and see the same data and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ddpde.problem import DataLaw, DataSet, InitialLaw

# streams of one replica; data that each neuron draws for itself are those of DATA, reshaped
INITIAL, DATA, NOISE, EPOCH, BIRTH, GRADIENT_NOISE = range(6)

SAMPLING = ("fresh", "reshuffled", "full")


def root_key(seed: int) -> jax.Array:
    """The key that everything of one seed is folded from."""
    return jax.random.key(seed, impl="threefry2x32")


def replica_keys(seed: int, width: int, first: int, count: int) -> jax.Array:
    """Keys (count,) of the replicas first, first + 1, …"""
    key = jax.random.fold_in(root_key(seed), width)
    replicas = jnp.arange(first, first + count, dtype=jnp.uint32)
    return jax.vmap(lambda r: jax.random.fold_in(key, r))(replicas)


def step_keys(key: jax.Array, stream: int, first: jax.Array, count: int) -> jax.Array:
    """Keys (count,) of one replica's steps first, first + 1, … in a stream."""
    key = jax.random.fold_in(key, stream)
    steps = first + jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda k: jax.random.fold_in(key, k))(steps)


def initial_parameters(law: InitialLaw, width: int, dtype: Any) -> Callable[[jax.Array], jax.Array]:
    """A function of a replica's key: its θ at t = 0, transposed, (D, N)."""

    def initial(key: jax.Array) -> jax.Array:
        normals = jax.random.normal(jax.random.fold_in(key, INITIAL), (width, law.dim), dtype)
        return law.sample(normals).T

    return initial


def draw(law: DataLaw, keys: jax.Array, count: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """`count` samples for each of the keys (K,): x (K, count, d), y (K, count)."""

    def sources(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        normal_key, uniform_key = jax.random.split(key)
        normals = jax.random.normal(normal_key, (count, law.normals), dtype)
        return normals, jax.random.uniform(uniform_key, (count, law.uniforms), dtype)

    normals, uniforms = jax.vmap(sources)(keys)
    rows = len(keys) * count
    x, y = law.draw(normals.reshape(rows, law.normals), uniforms.reshape(rows, law.uniforms))
    return x.reshape(len(keys), count, law.input_dim), y.reshape(len(keys), count)


def minibatches(
    law: DataLaw,
    sampling: str,
    key: jax.Array,
    first: jax.Array,
    steps: int,
    batch: int,
    dtype: Any,
) -> tuple[jax.Array, jax.Array]:
    """What the steps first, first + 1, … see: x (steps, batch, d), y (steps, batch).

    fresh: independent samples of the law (of a data set: with replacement).
    reshuffled: passes over a data set, each in a new order; step k takes the places
    k·batch … k·batch + batch − 1 of all passes joined together, so that every sample is seen
    once a pass even where `batch` does not divide the number of samples.
    """
    if sampling == "fresh":
        return draw(law, step_keys(key, DATA, first, steps), batch, dtype)
    assert sampling == "reshuffled" and isinstance(law, DataSet)
    size = len(law.y)
    # the place of the first sample in its pass, without overflow of 32 bits
    passes_before, offset = _divide(first, batch, size)
    passes = -(-steps * batch // size) + 1
    epoch_keys = step_keys(key, EPOCH, passes_before, passes)
    order = jax.vmap(lambda k: jax.random.permutation(k, size))(epoch_keys).reshape(-1)
    places = offset.astype(jnp.int32) + jnp.arange(steps * batch, dtype=jnp.int32)
    index = order[places].reshape(steps, batch)
    return jnp.asarray(law.x, dtype)[index], jnp.asarray(law.y, dtype)[index]


def _divide(first: jax.Array, batch: int, size: int) -> tuple[jax.Array, jax.Array]:
    """Quotient and remainder of first · batch by size, in unsigned 32 bits.

    `first · batch` itself may exceed them: first = a·size + b gives a·batch + (b·batch)//size.
    """
    passes, rest = first // size, (first % size) * jnp.uint32(batch)
    return passes * jnp.uint32(batch) + rest // size, rest % size
