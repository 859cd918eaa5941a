"""SGD of a ridge unit on one sample a step: several steps at a time, the same up to rounding.

With one sample a step moves all neurons along one direction: w_i ← w_i − g_i x. What such steps
cost is passes over memory, so there are two ways of making fewer of them.

Many coordinates, `_late`: ⟨w, x_k⟩ for the samples of a group of K steps is taken at the weights
before the group and corrected by what its earlier steps did, −Σ_{j<k} g_j ⟨x_j, x_k⟩; the weights
themselves move once a group. They are read twice and written once in K steps instead of in each.
The bias is one more weight here, its coordinate of every sample 1.

Few coordinates, `_eager`: each coordinate of the weights is an array of its own, so that the
compiler makes the update and the next ⟨w, x⟩ in one pass.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ddpde.particles.forces import Terms
from ddpde.problem import RidgeUnit

FEW = 4  # coordinates
SMALL = 2**14  # parameters: where all of them stay in the nearest cache passes cost nothing

Parts = tuple[jax.Array, ...]


def applies(terms: Terms, batch: int, width: int) -> bool:
    """Whether `move` can make the steps, and is the quicker way."""
    unit = terms.unit
    if not isinstance(unit, RidgeUnit) or batch > 1 or terms.temperature or terms.ridge:
        return False
    return unit.input_dim > FEW or width * unit.dim > SMALL


def move(
    terms: Terms, theta: jax.Array, x: jax.Array, y: jax.Array, rates: jax.Array, steps: jax.Array
) -> Parts:
    """The parts of θ (D, N) after the first `steps` of the samples x (K, d), y (K,)."""
    unit = terms.unit
    assert isinstance(unit, RidgeUnit)
    if unit.input_dim <= FEW:
        several, together, start = _eager, 4, tuple(theta)
    else:
        several, together = _late, 16
        start = (*theta[: unit.output_weight], theta[unit.output_weight :])
        if unit.bias:
            x = jnp.pad(x, ((0, 0), (1, 0)), constant_values=1.0)
    together = min(together, len(rates))

    def group(count: int, j: jax.Array, parts: Parts) -> Parts:
        seen = (jax.lax.dynamic_slice_in_dim(v, j * count, count) for v in (x, y, rates))
        return several(terms, parts, *seen)

    groups = steps // together
    parts = jax.lax.fori_loop(jnp.uint32(0), groups, partial(group, together), start)
    return jax.lax.fori_loop(groups * together, steps, partial(group, 1), parts)


def _late(terms: Terms, parts: Parts, x: jax.Array, y: jax.Array, rates: jax.Array) -> Parts:
    """parts ([a (N,),] w (d, N)), both x (K, d) and w with the bias's coordinate."""
    *rest, w = parts
    overlap = x @ x.T
    moves = x @ w  # row k: ⟨w, x_k⟩, until step k has been made
    for k in range(len(y)):
        z = moves[k]
        for j in range(k):
            z = z - overlap[k, j] * moves[j]
        g = _move(terms, rest, z, y[k], rates[k])
        moves = jax.lax.optimization_barrier(moves.at[k].set(g))  # stored: later steps read it
    # a stored transpose: the product that contracts the first axes of both is a slow one
    return (*rest, w - jax.lax.optimization_barrier(x.T) @ moves)


def _eager(terms: Terms, parts: Parts, x: jax.Array, y: jax.Array, rates: jax.Array) -> Parts:
    """parts ([a,] [b,] w_1, …, w_d), each (N,)."""
    unit = terms.unit
    assert isinstance(unit, RidgeUnit)
    inner = unit.dim - unit.input_dim
    rest, w = list(parts[:inner]), list(parts[inner:])
    for k in range(len(y)):
        z: Any = sum(c * row for c, row in zip(x[k], w, strict=True))
        z = z + rest[-1] if unit.bias else z
        g = _move(terms, rest, z, y[k], rates[k])
        if unit.bias:
            rest[-1] = rest[-1] - g
        w = [row - c * g for c, row in zip(x[k], w, strict=True)]
    return (*rest, *w)


def _move(
    terms: Terms, rest: list[jax.Array], z: jax.Array, y: jax.Array, rate: jax.Array
) -> jax.Array:
    """s ∂ℓ/∂f ∂σ_i/∂z_i (N,) at z = ⟨w, x⟩ + b; moves the output weights rest[0] if there are."""
    unit = terms.unit
    assert isinstance(unit, RidgeUnit)
    h, slope = jax.jvp(unit.activation, (z,), (jnp.ones_like(z),))
    h = jax.lax.optimization_barrier(h)  # stored: computed once
    if not unit.output_weight:
        return rate * terms.loss.derivative(h.mean(), y) * slope
    a = rest[0]
    push = rate * terms.loss.derivative(h @ a / len(z), y)
    rest[0] = a - push * h
    return push * (a * slope)
