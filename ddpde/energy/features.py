"""Features S[i, m] = σ(x_m; θ_i): the unit on the nodes of the data law.

All that the mean-field side needs of a network. With them F' costs O(n M), never n²
(DESIGN, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ddpde.energy.hermite import HermiteRadialFeatures
from ddpde.errors import ProblemError
from ddpde.problem import IsotropicGaussians, Nodes, Problem, Radial, RidgeUnit, Unit
from ddpde.problem.activations import PiecewiseLinear


class FeatureMap(Protocol):
    """Feature functions S_m with the targets y_m and weights w_m of the M data nodes."""

    @property
    def targets(self) -> np.ndarray: ...

    @property
    def weights(self) -> np.ndarray: ...

    def values(self, points: np.ndarray) -> np.ndarray:
        """S (n, M) at mesh coordinates (n, k)."""
        ...

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S (n, M) and ∂S/∂coordinate (n, k, M)."""
        ...


@dataclass(frozen=True, eq=False)
class NodeFeatures:
    """S_m(θ) = σ(x_m; θ) for a unit and a quadrature of the data law."""

    unit: Unit
    nodes: Nodes

    @property
    def targets(self) -> np.ndarray:
        return self.nodes.y

    @property
    def weights(self) -> np.ndarray:
        return self.nodes.weights

    def values(self, points: np.ndarray) -> np.ndarray:
        return self.unit(self.nodes.x, points)

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import jax

        with jax.enable_x64(True):
            values, gradients = self._differentiate(points)
            return np.asarray(values), np.asarray(gradients)

    @cached_property
    def _differentiate(self) -> Any:
        import jax
        import jax.numpy as jnp

        def along(points: jax.Array, direction: jax.Array) -> tuple[jax.Array, jax.Array]:
            # row i of σ depends on θ_i alone: one forward derivative per coordinate serves all rows
            tangent = jnp.broadcast_to(direction, points.shape)
            return jax.jvp(lambda p: self.unit(self.nodes.x, p), (points,), (tangent,))

        def differentiate(points: jax.Array) -> tuple[jax.Array, jax.Array]:
            values, slopes = jax.vmap(along, in_axes=(None, 0), out_axes=(None, 1))(
                points, jnp.eye(points.shape[1])
            )
            return values, slopes

        return jax.jit(differentiate)


def feature_map(problem: Problem) -> FeatureMap:
    """The features of a problem: in closed form where the reduction has one, else on nodes."""
    if problem.reduction is None:
        return NodeFeatures(problem.unit, problem.data.nodes())
    unit, data = problem.unit, problem.data
    if (
        isinstance(problem.reduction, Radial)
        and isinstance(data, IsotropicGaussians)
        and isinstance(unit, RidgeUnit)
        and isinstance(unit.activation, PiecewiseLinear)
        and unit.dim == data.dim
    ):
        return HermiteRadialFeatures(data.dim, data.delta, unit.activation)
    raise ProblemError(
        f"no reduced features for {type(problem.reduction).__name__} with this unit and data law",
        "solve without reduction, or use a piecewise-linear ridge unit on isotropic Gaussians",
    )
