"""Noise of stochastic gradients beyond a common mini-batch: own samples, and √Σ dB."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ddpde.particles.forces import ENTRIES, Cloud, Terms, over_samples, prediction


def own_samples_force(
    terms: Terms,
    theta: jax.Array,
    x: jax.Array,
    y: jax.Array,
    p: jax.Array,
    cloud: Cloud | None,
) -> tuple[jax.Array, jax.Array]:
    """p Σ_b ∂ℓ(f(x_ib), y_ib) σ(x_ib; θ_i) (N,), and its gradient (D, N), neuron i on its own x_i.

    theta (D, N), x (N, B, d), y (N, B). The network must be known at all N·B samples: O(N² B)
    where it is the particles', O(N B n) for a `cloud` of n points; in blocks of neurons.
    """
    unit, _ = terms.network
    width, batch = y.shape
    points = theta.T
    law = Cloud(points, jnp.full(width, 1.0 / width, theta.dtype)) if cloud is None else cloud
    rows = min(width, max(1, ENTRIES // (len(law.weights) * batch)))
    blocks = -(-width // rows)

    def cut(a: jax.Array) -> jax.Array:
        fill = [(0, blocks * rows - width)] + [(0, 0)] * (a.ndim - 1)
        return jnp.pad(a, fill, mode="edge").reshape(blocks, rows, *a.shape[1:])

    def block(part: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        t, x, y = part  # (rows, D), (rows, B, d), (rows, B)
        f = law.weights @ unit(x.reshape(rows * batch, -1), law.points)
        slope = p * terms.loss.derivative(f.reshape(rows, batch), y)
        own = jax.vmap(lambda t, x: unit(x, t[None])[0])
        outputs, pullback = jax.vjp(lambda t: own(t, x), t)
        return (outputs * slope).sum(axis=1), pullback(slope)[0]

    value, gradient = jax.lax.map(block, (cut(points), cut(x), cut(y)))
    return value.reshape(-1)[:width], gradient.reshape(blocks * rows, -1)[:width].T


def force_and_noise(
    terms: Terms,
    theta: jax.Array,
    x: jax.Array,
    y: jax.Array,
    p: jax.Array,
    key: jax.Array,
    common: bool,
    cloud: Cloud | None,
) -> tuple[jax.Array, jax.Array]:
    """The network's mean gradient ḡ(θ_i) and a normal Σ^{1/2} g_i, both (D, N).

    Σ(θ, μ) = Cov[∂ℓ(f_μ(x), y) ∇σ(x; θ)] over the nodes x (M, d), y (M,) of weights p (M,). The
    normal is Σ_m √p_m (∂ℓ_m ∇σ_m − ḡ) ξ_m, with ξ_m one standard normal for all neurons if
    `common` (then the covariance between neurons is that of real SGD as well), else one for each.
    No matrix root is taken; O(N M).
    """
    unit, _ = terms.network
    width = theta.shape[1]

    def part(
        x: jax.Array, y: jax.Array, p: jax.Array, numbers: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        keys = jax.vmap(lambda m: jax.random.fold_in(key, m))(numbers)
        xi = jax.vmap(lambda k: jax.random.normal(k, (1 if common else width,), theta.dtype))(keys)
        xi = jnp.sqrt(p)[:, None] * xi
        outputs, pullback = jax.vjp(lambda t: unit(x, t.T), theta)
        slope = terms.loss.derivative(prediction(unit, x, outputs, cloud), y)
        (mean,) = pullback(jnp.broadcast_to(p * slope, outputs.shape))
        (noise,) = pullback(jnp.broadcast_to(xi.T * slope, outputs.shape))
        return mean, noise, xi.sum(axis=0)

    numbers = jnp.arange(len(y), dtype=jnp.uint32)
    mean, noise, total = over_samples(part, width, x, y, p, numbers)
    return mean, noise - mean * total
