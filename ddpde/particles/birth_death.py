"""Birth and death of particles: Rotskoff, Jelassi, Bruna & Vanden-Eijnden 2019.

    ∂_t μ = … − α (V − V̄) μ,     V = F'[μ] + T log μ, V̄ = ∫ V dμ  (α = `Problem.birth_death`).

In a step of length s a particle with V > V̄ dies with probability 1 − exp(−α (V − V̄) s), one with
V < V̄ is doubled with probability 1 − exp(−α (V̄ − V) s); then the population is brought back to N
by removing, or doubling, uniformly chosen particles. Reinjection adds

    − α' (V − V̄)₊ μ + α' μ_b ∫ (V − V̄)₊ dμ:

a particle with V > V̄ is moved to an independent draw of μ_b with probability
1 − exp(−α' (V − V̄) s). A cloud of points has no density: for T > 0 its place is taken by the
cloud smoothed by a normal law of standard deviation h, as Lu, Lu & Nolen 2019 do; the limit
N → ∞ is the equation above as h → 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ddpde.errors import ProblemError
from ddpde.particles.forces import ENTRIES
from ddpde.problem import InitialLaw


@dataclass(frozen=True)
class Reinjection:
    """Killed particles come back as draws of `law`, at rate α' = `rate` times (V − V̄)₊."""

    law: InitialLaw
    rate: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.rate) and self.rate > 0):
            raise ProblemError(f"rate = {self.rate} of the reinjection: must be finite and > 0")


def birth_death(key: jax.Array, theta: jax.Array, excess: jax.Array) -> jax.Array:
    """Parameters (D, N) after one step, for excess = α (V − V̄) s (N,)."""
    chance_key, order_key = jax.random.split(key)
    acts = jax.random.uniform(chance_key, excess.shape, excess.dtype) < -jnp.expm1(-jnp.abs(excess))
    copies = jnp.where(acts, jnp.where(excess > 0, 0, 2), 1)
    return jax.lax.cond(
        acts.any(), lambda t: t[:, _survivors(order_key, copies)], lambda t: t, theta
    )


def log_density(theta: jax.Array, bandwidth: float) -> jax.Array:
    """log Σ_j exp(−|θ_i − θ_j|²/2h²) (N,) at the particles (D, N), up to a constant; O(N²)."""
    points = theta.T

    def at(point: jax.Array) -> jax.Array:
        squares = ((points - point) ** 2).sum(axis=1)
        return jax.nn.logsumexp(squares / (-2.0 * bandwidth**2))

    return jax.lax.map(at, points, batch_size=min(len(points), max(1, ENTRIES // points.size)))


def _survivors(key: jax.Array, copies: jax.Array) -> jax.Array:
    """Indices (N,) of particles with `copies` (N,) each, brought back to N uniformly."""
    n = len(copies)
    ends = jnp.cumsum(copies)
    total = ends[-1]  # at least one: the particle of least V does not die
    candidates = jnp.arange(2 * n)
    parent = jnp.minimum(jnp.searchsorted(ends, candidates, side="right"), n - 1)
    lots = jnp.where(candidates < total, jax.random.uniform(key, (2 * n,)), jnp.inf)
    order = jnp.argsort(lots)  # the first `total` are a random order of the living
    place = jnp.arange(n)
    filled = jnp.where(place < total, place, order[(place - total) % total])
    return parent[jnp.where(total >= n, order[:n], filled)]


def reinject(key: jax.Array, theta: jax.Array, excess: jax.Array, law: InitialLaw) -> jax.Array:
    """Parameters (D, N) after one step, for excess = α' (V − V̄) s (N,)."""
    chance_key, normal_key, order_key = jax.random.split(key, 3)
    acts = jax.random.uniform(chance_key, excess.shape, excess.dtype) < -jnp.expm1(-excess)
    normals = jax.random.normal(normal_key, theta.T.shape, theta.dtype)
    # a mixture fills its rows component by component: hence a random order
    fresh = jax.random.permutation(order_key, law.sample(normals)).T
    return jnp.where(acts, fresh, theta)
