"""Σ(θ, ρ) = Cov[∂_f ℓ(f_ρ(x), y) ∇σ(x; θ)] on the nodes of a mesh: O(n M D²) for M data nodes."""

from __future__ import annotations

import numpy as np

from ddpde.energy.features import NodeFeatures
from ddpde.problem import Nodes, Problem


class GradientCovariance:
    """The covariance of one sample's gradient at points (n, D)."""

    def __init__(self, problem: Problem, points: np.ndarray) -> None:
        assert problem.unit is not None and problem.data is not None
        self._nodes, self._loss = problem.data.nodes(), problem.loss
        # ∇σ does not know y: nodes that share their x are added up first
        x, self._place = np.unique(self._nodes.x, axis=0, return_inverse=True)
        self._place = self._place.ravel()
        empty = np.zeros(len(x))
        self._gradients = NodeFeatures(problem.unit, Nodes(x, empty, empty)).values_and_gradients(
            points
        )[1]

    def __call__(self, f: np.ndarray) -> np.ndarray:
        """Σ (n, D, D) where the network's outputs at the data nodes are f (M,)."""
        slope = self._loss.derivative(f, self._nodes.y)
        first, second = (
            np.bincount(self._place, weights=self._nodes.weights * part)
            for part in (slope, slope**2)
        )
        mean = self._gradients @ first
        square = (self._gradients * second) @ self._gradients.transpose(0, 2, 1)
        return square - mean[:, :, None] * mean[:, None, :]
