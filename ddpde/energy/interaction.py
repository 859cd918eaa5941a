"""Pair interactions W(θ, θ') as few features: a pivoted cross approximation.

W ≈ W(·, P) C W(P, ·) with pivots P chosen by column-pivoted QR on a sample of the mesh's bounding
box and C the pseudo-inverse of W(P, P), diagonalised: W ≈ Σ_m s_m S_m ⊗ S_m, s_m = ±1. So
½ ∬ W dρ dρ = ½ Σ_m s_m f_m² with f_m = ∫ S_m dρ, as for a network, and no n² matrix is formed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy.linalg import qr

from ddpde.energy.compression import Box, box_sample
from ddpde.energy.derivatives import Differentiated, differentiated
from ddpde.errors import ProblemError

_SAMPLES = (150, 450, 900, 1800)
_CHECKS = 1000


class InteractionFeatures:
    """Features of a symmetric W on a box, with their signs and the error that was measured.

    `error` is the largest |W − approximation| over random pairs of the box, relative to the
    largest |W|; it is at most `tolerance`, else ProblemError.
    """

    def __init__(
        self, interaction: Callable[[object, object], object], box: Box, tolerance: float = 1e-8
    ) -> None:
        self._W = interaction
        lower, upper = (np.asarray(side, dtype=float) for side in box)
        for count in _SAMPLES:  # as few as will do: the cost is cubic in them
            scale, low_rank = self._compress(box_sample((lower, upper), count), tolerance)
            self.error = self._measure(lower, upper, scale)
            if low_rank and self.error <= tolerance:
                return
        raise ProblemError(
            f"the interaction's compression reached {self.error:.1e} with {len(self.signs)} "
            f"features, not {tolerance:g}",
            "smooth the interaction, or shrink the mesh",
        )

    def _compress(self, sample: np.ndarray, tolerance: float) -> tuple[float, bool]:
        """Pivots and signs from a sample; returns the largest |W|, and whether the rank is low."""
        matrix = np.asarray(self._W(sample, sample))
        scale = float(np.abs(matrix).max())
        if not np.allclose(matrix, matrix.T, atol=1e-12 * scale):
            raise ProblemError("the interaction is not symmetric", "give W(θ, θ') = W(θ', θ)")
        triangle, order = qr(matrix, mode="r", pivoting=True)
        diagonal = np.abs(np.diag(triangle))
        rank = max(1, int(np.searchsorted(-diagonal, -0.1 * tolerance * diagonal[0])))
        chosen = order[:rank]
        self._pivots = sample[chosen]
        values, vectors = np.linalg.eigh(matrix[np.ix_(chosen, chosen)])
        # the inverse of a nearly singular core would amplify rounding: leave out what is noise
        kept = np.abs(values) > 1e-14 * np.abs(values).max()
        self.signs = np.sign(values[kept])
        self._mix = vectors[:, kept] / np.sqrt(np.abs(values[kept]))
        return scale, rank < len(sample)

    def values(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(self._W(points, self._pivots)) @ self._mix

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._differentiate(points)

    @cached_property
    def _differentiate(self) -> Differentiated:
        return differentiated(lambda points: self._W(points, self._pivots) @ self._mix)

    def _measure(self, lower: np.ndarray, upper: np.ndarray, scale: float) -> float:
        rng = np.random.default_rng(0)
        a, b = lower + (upper - lower) * rng.random((2, _CHECKS // 2, len(lower)))
        difference = (self.values(a) * self.signs) @ self.values(b).T - np.asarray(self._W(a, b))
        return float(np.abs(difference).max() / scale)
