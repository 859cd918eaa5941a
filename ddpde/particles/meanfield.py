"""A given law in place of the particles' own: mean-field copies.

A copy sees the same initial parameters, samples and noise as a particle, while the law in its
drift is the limit's, which is known from elsewhere (the PDE). The distance of particle and copy
is the strong error of propagation of chaos, E |X^i − X̄^i|² = O(1/N) (Sznitman's coupling).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ddpde.errors import ProblemError
from ddpde.particles.forces import Cloud


class LawPath:
    """A law over time as weighted points, linear in time between the given ones.

    times (K,) increasing; points (n, D), or (K, n, D) where they move; weights (K, n) or (n,),
    made to sum to one. From a PDE: the nodes of its mesh and their masses at K times. What
    interpolation loses is O(Δt²) of the times' distance.
    """

    def __init__(self, times: Any, points: Any, weights: Any) -> None:
        self.times = np.atleast_1d(np.asarray(times, dtype=float))
        points, weights = np.asarray(points, dtype=float), np.asarray(weights, dtype=float)
        count = len(self.times)
        if self.times.ndim != 1 or count == 0 or (np.diff(self.times) <= 0).any():
            raise ProblemError(f"times of a law: must increase, got {self.times}")
        if weights.ndim == 1:
            weights = np.broadcast_to(weights, (count, len(weights)))
        shapes = f"points {points.shape}, weights {weights.shape} at {count} times"
        if points.ndim not in (2, 3) or weights.shape != (count, points.shape[-2]):
            raise ProblemError(shapes, "give points (n, D) or (K, n, D), and weights (K, n)")
        if points.ndim == 3 and len(points) != count:
            raise ProblemError(shapes, "give points at each of the times")
        if not (np.isfinite(points).all() and np.isfinite(weights).all()):
            raise ProblemError("points or weights of a law hold NaN or infinity")
        total = weights.sum(axis=1, keepdims=True)
        if (total <= 0).any():
            raise ProblemError("the weights of a law must have a positive sum")
        self.points, self.weights = points, weights / total

    @property
    def dim(self) -> int:
        """D."""
        return self.points.shape[-1]

    def arrays(self, dtype: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """times, points and weights in one precision, for `at`."""
        return tuple(a.astype(dtype) for a in (self.times, self.points, self.weights))  # type: ignore[return-value]


def at(path: tuple[jax.Array, jax.Array, jax.Array] | None, t: jax.Array) -> Cloud | None:
    """The law at time t; None, the particles' own, where no path is given."""
    if path is None:
        return None
    times, points, weights = path
    if len(times) == 1:
        return Cloud(points.reshape(-1, points.shape[-1]), weights[0])
    k = jnp.clip(jnp.searchsorted(times, t, side="right") - 1, 0, len(times) - 2)
    part = jnp.clip((t - times[k]) / (times[k + 1] - times[k]), 0.0, 1.0)
    before, after = (1.0 - part) * weights[k], part * weights[k + 1]
    if points.ndim == 2:
        return Cloud(points, before + after)
    return Cloud(jnp.concatenate([points[k], points[k + 1]]), jnp.concatenate([before, after]))
