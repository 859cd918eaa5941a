"""Features S[i, m] = σ(x_m; θ_i): the unit on the nodes of the data law.

All that the mean-field side needs of a network. With them F' costs O(n M), never n²
(DESIGN, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ddpde.energy.derivatives import Differentiated, differentiated
from ddpde.problem import Nodes, Unit


class FeatureMap(Protocol):
    """Feature functions S_m of the mesh coordinates, m = 1 … M."""

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

    def values(self, points: np.ndarray) -> np.ndarray:
        return self.unit(self.nodes.x, points)

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._differentiate(points)

    @cached_property
    def _differentiate(self) -> Differentiated:
        return differentiated(lambda points: self.unit(self.nodes.x, points))
