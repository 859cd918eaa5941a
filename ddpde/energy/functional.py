"""F[ρ] = E ℓ(f_ρ(x), y) + ∫ r dρ and its first variation, for a law carried by points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddpde.energy.features import FeatureMap, feature_map
from ddpde.problem import Problem

Reduce = Callable[[np.ndarray], np.ndarray]


def _serial(partial: np.ndarray) -> np.ndarray:
    return partial


class Energy:
    """The energy of a problem, the points being given at each call or as a feature matrix S.

    Shapes: n points, M data nodes; S (n, M); masses (n,) = ∫ of ρ against each point's shape
    function; f (M,) = predictions at the data nodes. `reduce` adds an array over the ranks.
    """

    def __init__(self, problem: Problem, reduce: Reduce = _serial) -> None:
        self.features: FeatureMap = feature_map(problem)
        self._loss = problem.loss
        self._ridge = problem.ridge
        self._reduce = reduce

    def predictions(self, S: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """f_m = ∫ σ(x_m; θ) ρ(dθ), added over the ranks."""
        return self._reduce(S.T @ masses)

    def risk(self, f: np.ndarray) -> float:
        """E ℓ(f, y), without the regulariser."""
        return float(self.features.weights @ self._loss.value(f, self.features.targets))

    def dual(self, f: np.ndarray) -> np.ndarray:
        """w_m ∂_f ℓ(f_m, y_m): the M numbers through which points interact."""
        return self.features.weights * self._loss.derivative(f, self.features.targets)

    def regulariser(self, points: np.ndarray) -> np.ndarray:
        """r(θ) = ridge · |θ|² at points (n, k)."""
        return self._ridge * (points**2).sum(axis=1)

    def drift(self, points: np.ndarray, gradients: np.ndarray, dual: np.ndarray) -> np.ndarray:
        """−∇F' (n, k) at points, from the features' gradients (n, k, M) there."""
        return -(gradients @ dual) - 2 * self._ridge * points
