"""The recursion of N particles, in JAX.

    θ_i ← θ_i − s_k ∇F'[μ](θ_i) + √(2 T s_k) g_i,     s_k = ε ξ(kε),

with the network's part of F' on the samples of the step, then birth and death. For the squared
loss and no other term this is Mei et al. 2018, noisy SGD: with T = 2τ/D the noise is
√(4 s_k τ/D), the one that belongs to their PDE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddpde.particles.birth_death import Reinjection, birth_death, log_density, reinject
from ddpde.particles.forces import Cloud, Terms, external_force, network_force
from ddpde.particles.gradient_noise import force_and_noise, own_samples_force
from ddpde.particles.meanfield import at
from ddpde.particles.randomness import (
    BIRTH,
    DATA,
    GRADIENT_NOISE,
    NOISE,
    draw,
    minibatches,
    step_keys,
)


class Chunk(NamedTuple):
    """The steps k = first … first + steps − 1 of sizes s_k = rates[k − first].

    rates (length,), filled up with zeros; step_size: ε; path: a given law over time
    (`LawPath.arrays`), or None.
    """

    first: jax.Array
    steps: jax.Array
    rates: jax.Array
    step_size: jax.Array
    path: Any


# (θ (D, N), key, chunk) -> (θ, all finite?): makes the steps of one replica
Advance = Callable[[jax.Array, jax.Array, Chunk], tuple[jax.Array, jax.Array]]
# of a network: (j, θ (D, N), rate, cloud) -> s_k F' (N,) and s_k ∇F' (D, N) of its part
Force = Callable[[jax.Array, jax.Array, jax.Array, Cloud | None], tuple[jax.Array, jax.Array]]


def advance(
    terms: Terms,
    forces: Callable[..., Force],
    reinjection: Reinjection | None,
    bandwidth: float | None = None,
) -> Advance:
    """A function that makes up to `length` steps of one replica.

    `forces(key, first, length, dtype, step_size)` prepares the network's part; what it draws
    together for the chunk stands in front of the loop.
    """

    def run(theta: jax.Array, key: jax.Array, chunk: Chunk) -> tuple[jax.Array, jax.Array]:
        first, steps, rates, step_size, path = chunk
        force = forces(key, first, len(rates), theta.dtype, step_size)
        noise_key, birth_key = (jax.random.fold_in(key, s) for s in (NOISE, BIRTH))

        def step(j: jax.Array, theta: jax.Array) -> jax.Array:
            rate, k = rates[j], first + j
            cloud = at(path, k.astype(theta.dtype) * step_size)
            value, change = force(j, theta, rate, cloud)
            new = theta - change
            if terms.ridge:
                new = new - (2.0 * terms.ridge * rate) * theta
            if terms.potential is not None or terms.interaction is not None:
                more, gradient = external_force(terms, theta, cloud)
                value, new = value + rate * more, new - rate * gradient
            if terms.temperature:
                g = jax.random.normal(jax.random.fold_in(noise_key, k), theta.shape, theta.dtype)
                new = new + jnp.sqrt(2.0 * terms.temperature * rate) * g
            if terms.birth_death or reinjection is not None:
                value = value + (terms.ridge * rate) * (theta * theta).sum(axis=0)
                if bandwidth is not None:
                    value = value + (terms.temperature * rate) * log_density(theta, bandwidth)
                excess = value - value.mean()
                keys = jax.random.split(jax.random.fold_in(birth_key, k))
                if reinjection is not None:
                    new = reinject(keys[0], new, reinjection.rate * excess, reinjection.law)
                if terms.birth_death:
                    new = birth_death(keys[1], new, terms.birth_death * excess)
            return new

        theta = jax.lax.fori_loop(jnp.uint32(0), steps, step, theta)
        return theta, jnp.isfinite(theta).all()

    return run


def no_network(*_: Any) -> Force:
    """Forces of a problem without a network."""
    return lambda j, theta, rate, cloud: (
        jnp.zeros(theta.shape[1], theta.dtype),
        jnp.zeros_like(theta),
    )


def on_minibatches(terms: Terms, sampling: str, batch: int) -> Callable[..., Force]:
    """Forces on `batch` samples a step, the same for all neurons."""

    def prepare(key: jax.Array, first: jax.Array, length: int, dtype: Any, _: Any) -> Force:
        x, y = minibatches(terms.network[1], sampling, key, first, length, batch, dtype)
        # the step size goes in at the samples, where it multiplies `batch` numbers, not N·D
        return lambda j, theta, rate, cloud: network_force(
            terms, theta, x[j], y[j], rate / batch, cloud=cloud
        )

    return prepare


def on_nodes(terms: Terms, *_: Any) -> Callable[..., Force]:
    """Forces on the whole data set, or the law's quadrature."""
    nodes = terms.network[1].nodes()

    def prepare(key: jax.Array, first: jax.Array, length: int, dtype: Any, _: Any) -> Force:
        x, y, p = (jnp.asarray(a, dtype) for a in (nodes.x, nodes.y, nodes.weights))
        return lambda j, theta, rate, cloud: network_force(
            terms, theta, x, y, rate * p, cloud=cloud
        )

    return prepare


def on_own_samples(terms: Terms, batch: int) -> Callable[..., Force]:
    """Forces on `batch` fresh samples for each neuron and step."""

    def prepare(key: jax.Array, first: jax.Array, length: int, dtype: Any, _: Any) -> Force:
        keys = step_keys(key, DATA, first, length)

        def force(j: jax.Array, theta: jax.Array, rate: jax.Array, cloud: Cloud | None) -> Any:
            width = theta.shape[1]
            x, y = draw(terms.network[1], keys[j][None], width * batch, dtype)
            x, y = x.reshape(width, batch, -1), y.reshape(width, batch)
            return own_samples_force(terms, theta, x, y, rate / batch, cloud)

        return force

    return prepare


def with_gradient_noise(terms: Terms, common: bool, scale: float) -> Callable[..., Force]:
    """Forces on the nodes, and the noise rate·(scale/ε)^{1/2} Σ^{1/2} g."""
    nodes = terms.network[1].nodes()

    def prepare(key: jax.Array, first: jax.Array, length: int, dtype: Any, eps: jax.Array) -> Force:
        x, y, p = (jnp.asarray(a, dtype) for a in (nodes.x, nodes.y, nodes.weights))
        keys = step_keys(key, GRADIENT_NOISE, first, length)
        amplitude = jnp.sqrt(scale / eps)

        def force(j: jax.Array, theta: jax.Array, rate: jax.Array, cloud: Cloud | None) -> Any:
            mean, noise = force_and_noise(terms, theta, x, y, p, keys[j], common, cloud)
            return jnp.zeros(theta.shape[1], dtype), rate * (mean + amplitude * noise)

        return force

    return prepare
