"""What acts on a particle: the first variation F'[μ] and its gradient, on samples, in JAX.

F'[μ](θ) = Σ_m p_m ∂_f ℓ(f_μ(x_m), y_m) σ(x_m; θ) + ridge |θ|² + potential(θ) + ∫ W(θ, θ') μ(dθ'),

where μ is the particles' own empirical measure (the i = j terms included), or a given law.
Parameters stand transposed, θ (D, N), so that the particles lie along the fast axis: a product
with a few samples, and the update, then run at the speed of memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ddpde.errors import ProblemError
from ddpde.problem import DataLaw, Loss, Problem, Unit

ENTRIES = 2**24  # of an array particles × samples, or particles × particles, held at a time


@dataclass(frozen=True)
class Terms:
    """The parts of a problem that particles feel; hashable where the parts are."""

    unit: Unit | None
    data: DataLaw | None
    loss: Loss
    ridge: float
    potential: Callable[..., Any] | None
    interaction: Callable[..., Any] | None
    temperature: float
    birth_death: float

    @classmethod
    def of(cls, problem: Problem) -> Terms:
        return cls(**{name: getattr(problem, name) for name in cls.__dataclass_fields__})

    @property
    def network(self) -> tuple[Unit, DataLaw]:
        assert self.unit is not None and self.data is not None
        return self.unit, self.data


class Cloud(NamedTuple):
    """A measure Σ_q weights[q] δ(points[q]): points (n, D), weights (n,)."""

    points: jax.Array
    weights: jax.Array


def network(problem: Problem) -> tuple[Unit, DataLaw]:
    """The unit and the data law of a problem that has them."""
    if problem.unit is None or problem.data is None:
        raise ProblemError(
            f"problem {problem.name!r} has no network, so that there is nothing to train",
            "give it a unit and a data law",
        )
    return problem.unit, problem.data


def network_force(
    terms: Terms,
    theta: jax.Array,
    x: jax.Array,
    y: jax.Array,
    p: jax.Array | float,
    *,
    cloud: Cloud | None = None,
    mass: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The network's part of F' at the particles (N,) and its gradient (D, N).

    theta (D, N); samples x (B, d), y (B,) with weights p (B,), or p for each of them.
    f_μ is that of `cloud` if given, else of the particles, each of mass 1/N or mass (N,).
    """
    unit, _ = terms.network

    def part(x: jax.Array, y: jax.Array, p: jax.Array | float) -> tuple[jax.Array, jax.Array]:
        outputs, pullback = jax.vjp(lambda t: unit(x, t.T), theta)  # outputs (N, B)
        slope = p * terms.loss.derivative(prediction(unit, x, outputs, cloud, mass), y)
        (gradient,) = pullback(jnp.broadcast_to(slope, outputs.shape))
        return outputs @ slope, gradient

    return over_samples(part, theta.shape[1], x, y, p)


def prediction(
    unit: Unit, x: jax.Array, outputs: jax.Array, cloud: Cloud | None, mass: jax.Array | None = None
) -> jax.Array:
    """f_μ (B,) at x (B, d), where the particles' own outputs (N, B) are known."""
    if cloud is not None:
        return cloud.weights @ unit(x, cloud.points)
    return outputs.mean(axis=0) if mass is None else mass @ outputs


def over_samples(part: Callable[..., Any], width: int, x: Any, y: Any, *columns: Any) -> Any:
    """Σ part(x, y, *columns) over blocks of samples, each of at most ENTRIES (width × samples).

    Columns are arrays (B,) or single numbers. The last block is filled up with copies of the
    last sample whose columns are zero.
    """
    samples, block = len(y), max(1, ENTRIES // width)
    if samples <= block:
        return part(x, y, *columns)
    blocks = -(-samples // block)

    def cut(a: jax.Array, mode: str) -> jax.Array:
        fill = [(0, blocks * block - samples)] + [(0, 0)] * (a.ndim - 1)
        return jnp.pad(a, fill, mode=mode).reshape(blocks, block, *a.shape[1:])

    full = tuple(jnp.broadcast_to(c, (samples,)) for c in columns)
    pieces = (cut(x, "edge"), cut(y, "edge"), *(cut(c, "constant") for c in full))
    first = part(*(a[0] for a in pieces))

    def add(total: Any, piece: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, part(*piece)), None

    return jax.lax.scan(add, first, tuple(a[1:] for a in pieces))[0]


def external_force(
    terms: Terms, theta: jax.Array, cloud: Cloud | None = None, mass: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Potential and interaction at the particles (N,), and their gradient (D, N).

    The interaction costs O(N r) where it offers `factors`, a function θ (n, D) ->
    (left (n, r), right (n, r)) with W(θ, θ') = left(θ) · right(θ'); else O(N²), in blocks.
    """
    points = theta.T
    value, gradient = jnp.zeros(len(points), theta.dtype), jnp.zeros_like(points)
    if terms.potential is not None:
        value, gradient = _with_gradient(terms.potential, points)
    if terms.interaction is not None:
        if cloud is None:
            n = len(points)
            cloud = Cloud(points, jnp.full(n, 1.0 / n, theta.dtype) if mass is None else mass)
        more, slope = _interaction(terms.interaction, points, cloud)
        value, gradient = value + more, gradient + slope
    return value, gradient.T


def _interaction(interaction: Any, points: jax.Array, cloud: Cloud) -> tuple[jax.Array, jax.Array]:
    if hasattr(interaction, "factors"):
        moments = cloud.weights @ interaction.factors(cloud.points)[1]
        return _with_gradient(lambda t: interaction.factors(t)[0] @ moments, points)
    field = partial(_with_gradient, lambda t: interaction(t, cloud.points) @ cloud.weights)
    rows = max(1, ENTRIES // (8 * len(cloud.weights)))
    if rows >= len(points):
        return field(points)
    blocks = -(-len(points) // rows)
    # the last particle fills up the last block, so that nothing is evaluated at a foreign point
    padded = jnp.pad(points, ((0, blocks * rows - len(points)), (0, 0)), mode="edge")
    value, gradient = jax.lax.map(field, padded.reshape(blocks, rows, -1))
    return value.reshape(-1)[: len(points)], gradient.reshape(padded.shape)[: len(points)]


def _with_gradient(
    f: Callable[[jax.Array], jax.Array], points: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """f (n,) and its gradient (n, D) at points (n, D), f acting on each row by itself."""
    value, pullback = jax.vjp(f, points)
    return value, pullback(jnp.ones_like(value))[0]
