"""Features S[i, m] = σ(x_m; θ_i): the unit on the nodes of the data law.

All that the mean-field side needs of a network. With them F' costs O(n M), never n².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ddpde.energy.derivatives import Differentiated, differentiated
from ddpde.errors import ProblemError
from ddpde.problem import Nodes, Unit


class FeatureMap(Protocol):
    """Feature functions S_m of the mesh coordinates, m = 1 … M."""

    def values(self, points: np.ndarray) -> np.ndarray:
        """S (n, M) at mesh coordinates (n, k)."""
        ...

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S (n, M) and ∂S/∂coordinate (n, k, M)."""
        ...

    def generators(self, points: np.ndarray) -> np.ndarray:
        """Functions (n, g) that span the fields Σ_m S_m c_m: how smooth they are decides how few
        points the features need."""
        ...

    def difference(self, found: np.ndarray, exact: np.ndarray) -> float:
        """Largest error in F' that features `found` in place of `exact` ones (n, M) make at
        some points, relative to what a unit mass at a point makes of them."""
        ...


def relative(found: np.ndarray, exact: np.ndarray) -> float:
    """Largest difference of two arrays, in units of the largest exact value."""
    return float(np.abs(found - exact).max() / max(np.abs(exact).max(), 1e-300))


def shaped(name: str, values: np.ndarray, *shape: int) -> np.ndarray:
    """What a function of the user's gave, if it has the shape; ProblemError where not."""
    if np.shape(values) != shape:
        raise ProblemError(
            f"the {name} gave an array of shape {np.shape(values)}", f"return one of {shape}"
        )
    return values


@dataclass(frozen=True, eq=False)
class NodeFeatures:
    """S_m(θ) = σ(x_m; θ) for a unit and a quadrature of the data law."""

    unit: Unit
    nodes: Nodes

    def values(self, points: np.ndarray) -> np.ndarray:
        return shaped("unit", self.unit(self.nodes.x, points), len(points), len(self.nodes.x))

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._differentiate(points)

    def generators(self, points: np.ndarray) -> np.ndarray:
        return self.values(points)

    def difference(self, found: np.ndarray, exact: np.ndarray) -> float:
        return relative(found, exact)

    @cached_property
    def _differentiate(self) -> Differentiated:
        return differentiated(lambda points: self.unit(self.nodes.x, points))
