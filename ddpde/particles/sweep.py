"""The recursion of a network on mini-batches, written for speed.

The same numbers as the general recursion up to rounding, and nothing else of it: no potential,
interaction, given law, birth or death. What makes it fast, measured on a CPU with the table of
tests/benchmarks/bench_particles.py:

- parameters are kept in parts (output weights, biases, weights): one array a part in the loop's
  state, updated in place. Slices of one packed array cost a padded sum a step;
- only Σ_i σ(x; θ_i) is differentiated, not the outputs of all neurons: for output weights this is
  a matrix product, and the array of particles × samples is passed over less often;
- the derivative along ⟨w, x⟩ is computed once, not again for every row of w;
- one sample a step: several steps share their passes over memory, see `one_sample`.

Blocks of neurons that stay in cache are slower: they have to predict a second time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ddpde.particles import one_sample
from ddpde.particles.forces import Terms
from ddpde.particles.randomness import NOISE, minibatches
from ddpde.particles.recursion import Advance, Chunk
from ddpde.problem import Unit

Parts = tuple[jax.Array, ...]


def sweep(terms: Terms, sampling: str, batch: int, general: Advance) -> Advance:
    """See `ddpde.particles.recursion.advance`; `general` takes over where a law is given."""
    unit, data = terms.network

    def run(theta: jax.Array, key: jax.Array, chunk: Chunk) -> tuple[jax.Array, jax.Array]:
        first, steps, rates, _, path = chunk
        if path is not None:
            return general(theta, key, chunk)
        dim, width = theta.shape
        x, y = minibatches(data, sampling, key, first, len(rates), batch, theta.dtype)
        noise_key = jax.random.fold_in(key, NOISE)

        def split(theta: jax.Array) -> Parts:
            return unit.parts(theta) if hasattr(unit, "parts") else (theta,)

        def step(j: jax.Array, parts: Parts) -> Parts:
            rate = rates[j]

            def total(parts: Parts) -> jax.Array:
                return _total(unit, x[j], parts)

            sums, pullback = jax.vjp(total, parts)
            (change,) = pullback((rate / batch) * terms.loss.derivative(sums / width, y[j]))
            shrink = 2.0 * terms.ridge * rate
            new = tuple(
                p - c - shrink * p if terms.ridge else p - c
                for p, c in zip(parts, change, strict=True)
            )
            if terms.temperature:
                g = jax.random.normal(
                    jax.random.fold_in(noise_key, first + j), (dim, width), theta.dtype
                )
                amplitude = jnp.sqrt(2.0 * terms.temperature * rate)
                new = tuple(p + amplitude * n for p, n in zip(new, split(g), strict=True))
            return new

        if one_sample.applies(terms, batch, width):
            parts = one_sample.move(terms, theta, x[:, 0], y[:, 0], rates, steps)
        else:
            parts = jax.lax.fori_loop(jnp.uint32(0), steps, step, split(theta))
        theta = jnp.concatenate([p.reshape(-1, width) for p in parts])
        return theta, jnp.isfinite(theta).all()

    return run


def _total(unit: Unit, x: jax.Array, parts: Parts) -> jax.Array:
    """Σ_i σ(x; θ_i) (B,)."""
    if hasattr(unit, "total"):
        return unit.total(x, parts, _stored if x.size >= 8 else None)
    return unit(x, parts[0].T).sum(axis=0)


@jax.custom_vjp
def _stored(z: jax.Array) -> jax.Array:
    """z, whose derivative is stored: every row of w's gradient reads it, and so computes nothing.

    For one sample of few coordinates it is quicker to compute it again.
    """
    return z


_stored.defvjp(lambda z: (z, None), lambda _, d: (jax.lax.optimization_barrier(d),))
