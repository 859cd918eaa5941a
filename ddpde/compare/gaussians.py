"""Distances of Gaussian laws in closed form, and the finite-N laws that are Gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import sqrtm

from ddpde.errors import ProblemError


def gaussian_entropy(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other: np.ndarray
) -> float:
    """H(N(mean, covariance) | N(other_mean, other)) for means (d,), covariances (d, d)."""
    ratio = np.linalg.solve(other, covariance)
    shift = other_mean - mean
    quadratic = np.trace(ratio) - len(mean) + shift @ np.linalg.solve(other, shift)
    return float(0.5 * (quadratic - np.linalg.slogdet(ratio)[1]))


def gaussian_w2(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other: np.ndarray
) -> float:
    """W₂ between Gaussian laws (Bures)."""
    root = sqrtm(covariance).real
    cross = sqrtm(root @ other @ root).real
    shift = mean - other_mean
    return float(np.sqrt(max(shift @ shift + np.trace(covariance + other - 2 * cross), 0.0)))


@dataclass(frozen=True)
class QuadraticInteraction:
    """N particles dX = −λX − κ(X − mean of all) + √(2T) dB from independent N(0, s₀), per axis.

    Gaussian and exchangeable for every N (Lacker & Le Flem 2022). The law of k particles has
    variance s in all directions but their mean's, where it is s + k(a − s)/N; s is the mean-field
    variance, a that without interaction.
    """

    confinement: float
    coupling: float
    temperature: float
    variance: float

    def mean_field_variance(self, t: float) -> float:
        """s(t)."""
        return self._relaxed(self.confinement + self.coupling, t)

    def free_variance(self, t: float) -> float:
        """a(t), N times the variance of the particles' mean."""
        return self._relaxed(self.confinement, t)

    def marginal_entropy(self, t: float, width: int, k: int = 1) -> float:
        """H(P^k_N | ρ^{⊗k}): O((k/N)²)."""
        s, excess = self.mean_field_variance(t), self._excess(t, width, k)
        return float(0.5 * (excess / s - np.log1p(excess / s)))

    def marginal_w2(self, t: float, width: int, k: int = 1) -> float:
        """W₂(P^k_N, ρ^{⊗k}): O(k/N)."""
        s = self.mean_field_variance(t)
        return float(abs(np.sqrt(s + self._excess(t, width, k)) - np.sqrt(s)))

    def _excess(self, t: float, width: int, k: int) -> float:
        if not 1 <= k <= width:
            raise ProblemError(f"k = {k} of {width} particles", "from 1 to N")
        return k * (self.free_variance(t) - self.mean_field_variance(t)) / width

    def _relaxed(self, rate: float, t: float) -> float:
        decay = np.exp(-2 * rate * t)
        return float(self.variance * decay + self.temperature * (1 - decay) / rate)
