"""Derivatives of functions written in array-API style, by JAX in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ddpde.errors import ProblemError

Differentiated = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def differentiated(function: Callable[[Any], Any]) -> Differentiated:
    """From points (n, k) -> values (n, M) to points -> values and gradients (n, k, M).

    Row i of the values may depend on point i alone: then one forward derivative per coordinate
    serves all rows.
    """
    import jax
    import jax.numpy as jnp

    def along(points: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(function, (points,), (jnp.broadcast_to(direction, points.shape),))

    every_direction = jax.jit(
        lambda points: jax.vmap(along, in_axes=(None, 0), out_axes=(None, 1))(
            points, jnp.eye(points.shape[1])
        )
    )

    def evaluate(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with jax.enable_x64(True):  # leaves the user's own setting as it is
            try:
                values, gradients = every_direction(points)
            except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError) as e:
                raise ProblemError(
                    "JAX, which has to differentiate a function of the problem, met NumPy or a "
                    f"branch on values in it: {str(e).partition(chr(10))[0]}",
                    "let xp = theta.__array_namespace__() take NumPy's place, xp.where that of if",
                ) from e
            return np.asarray(values), np.asarray(gradients)

    return evaluate
