"""The recursion of N particles and its random numbers, in JAX.

    θ_i ← θ_i − s_k [ mean over the mini-batch of ∂_f ℓ(f(x), y) ∇σ(x; θ_i) + 2·ridge·θ_i ]
              + √(2 T s_k) g_i,      f(x) = (1/N) Σ_i σ(x; θ_i),   s_k = ε ξ(kε),

the i = j term included. For the squared loss this is Mei et al. 2018, eq. (noisy SGD): with
T = 2τ/D the noise is √(4 s_k τ/D), the one that belongs to their PDE.

Random numbers are counters: a key is folded from (seed, width, replica), then stream, then step.
So a replica is the same whatever runs beside it and however its steps are cut into chunks, and
runs with different step sizes start from the same parameters and see the same sequence of data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ddpde.errors import ProblemError
from ddpde.problem import DataLaw, InitialLaw, Loss, Problem, Unit

INITIAL, DATA, NOISE = 0, 1, 2  # streams of one replica


def network(problem: Problem) -> tuple[Unit, DataLaw]:
    """The unit and the data law of a problem that has them."""
    if problem.unit is None or problem.data is None:
        raise ProblemError(
            f"problem {problem.name!r} has no network, so that there is nothing to train",
            "give it a unit and a data law",
        )
    return problem.unit, problem.data


def root_key(seed: int) -> jax.Array:
    """The key that everything of one seed is folded from."""
    return jax.random.key(seed, impl="threefry2x32")


def replica_keys(seed: int, width: int, first: int, count: int) -> jax.Array:
    """Keys (count,) of the replicas first, first + 1, …"""
    key = jax.random.fold_in(root_key(seed), width)
    replicas = jnp.arange(first, first + count, dtype=jnp.uint32)
    return jax.vmap(lambda r: jax.random.fold_in(key, r))(replicas)


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


def step_keys(key: jax.Array, stream: int, first: jax.Array, count: int) -> jax.Array:
    """Keys (count,) of one replica's steps first, first + 1, … in a stream."""
    key = jax.random.fold_in(key, stream)
    steps = first + jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda k: jax.random.fold_in(key, k))(steps)


def chunk(
    unit: Unit,
    data: DataLaw,
    loss: Loss,
    ridge: float,
    temperature: float,
    batch: int,
    length: int,
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """A function that makes up to `length` steps of one replica.

    (theta (D, N), key, first, steps, rates (length,)) -> (theta (D, N), all finite?): makes the
    steps k = first … first + steps − 1 with s_k = rates[k − first].

    θ is kept transposed, so that the particles lie along the fast axis: a product with a few
    samples, and the update, then run at the speed of memory (2–3 times faster than (N, D) for
    one sample). The samples of a chunk are drawn together, in front of the loop; the noise,
    which is N·D numbers a step, within it.
    """

    def advance(
        theta: jax.Array, key: jax.Array, first: jax.Array, steps: jax.Array, rates: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        dtype = theta.dtype
        x, y = draw(data, step_keys(key, DATA, first, length), batch, dtype)
        noise_key = jax.random.fold_in(key, NOISE)

        def step(j: jax.Array, theta: jax.Array) -> jax.Array:
            rate = rates[j]
            outputs, pullback = jax.vjp(lambda t: unit(x[j], t.T), theta)  # outputs (N, batch)
            slope = loss.derivative(outputs.mean(axis=0), y[j])
            # the step size goes in here, where it multiplies `batch` numbers instead of N·D
            (change,) = pullback(jnp.broadcast_to(rate * slope / batch, outputs.shape))
            new = theta - change
            if ridge:
                new = new - (2.0 * ridge * rate) * theta
            if temperature:
                g = jax.random.normal(jax.random.fold_in(noise_key, first + j), theta.shape, dtype)
                new = new + jnp.sqrt(2.0 * temperature * rate) * g
            return new

        theta = jax.lax.fori_loop(jnp.uint32(0), steps, step, theta)
        return theta, jnp.isfinite(theta).all()

    return advance
