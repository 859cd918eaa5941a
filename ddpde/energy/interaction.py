"""Pair interactions W(θ, θ') as few features: a pivoted cross approximation.

W ≈ W(·, P) C W(P, ·) with pivots P chosen on a sample of the mesh's bounding box and C the
(pseudo-)inverse of W(P, P), factorised: W ≈ Σ_m s_m S_m ⊗ S_m, s_m = ±1. So ½ ∬ W dρ dρ =
½ Σ_m s_m f_m² with f_m = ∫ S_m dρ, as for a network, and no n² matrix is formed. A definite W has
a pivoted Cholesky factor (Harbrecht, Peters & Schneider 2012), which costs a tenth of the
column-pivoted QR and the eigenvectors that others take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from scipy.linalg import qr
from scipy.linalg.lapack import dpstrf, dtrtri

from ddpde.energy.compression import Box, box_sample
from ddpde.energy.derivatives import Differentiated, differentiated
from ddpde.energy.features import relative, shaped
from ddpde.errors import ProblemError

_SAMPLES = (150, 600, 1800, 5400)
_MOST_INDEFINITE = 1800  # of a sample: without a Cholesky factor more take too long
_ROWS = 600  # of W that are formed at once
_CHECKS = 250
_CHECKED_ROWS = 100  # of the sample, for symmetry and definiteness
_CUTS = (0.3, 0.03)  # tolerances at which pivots end, until the measured error is below one
_SURE = 0.8  # of the sample: a higher rank may be cut by it


class InteractionFeatures:
    """Features of a symmetric W on a box, with their signs and the error that was measured.

    `error` is the largest |W − approximation| over random pairs of the box, relative to the
    largest |W|; it is at most `tolerance`, else ProblemError.
    """

    def __init__(
        self, interaction: Callable[[object, object], object], box: Box, tolerance: float = 1e-8
    ) -> None:
        self._W = interaction
        self._box = lower, upper = tuple(np.asarray(side, dtype=float) for side in box)
        self.error, self.signs = np.inf, np.zeros(0)
        for count in _SAMPLES:  # as few as will do: the cost is cubic in them
            sample = box_sample((lower, upper), count)
            matrix = np.concatenate([self._rows(part, sample) for part in _parts(sample)])
            self._scale = scale = float(np.abs(matrix).max())
            if not np.isfinite(scale):
                raise ProblemError("the interaction is not finite on the mesh", "shrink the mesh")
            some = _some(count)
            if not np.abs(matrix[some] - matrix[:, some].T).max() <= 1e-12 * scale:
                raise ProblemError("the interaction is not symmetric", "give W(θ, θ') = W(θ', θ)")
            for ranks in self._attempts(sample, matrix, tolerance):
                if self._keep([rank for rank in ranks if rank <= _SURE * count], tolerance):
                    return
        reached = f", only {self.error:.1e}" if np.isfinite(self.error) else ""
        raise ProblemError(
            f"the interaction is not known to {tolerance:g} by {_SURE * count:.0f} features"
            f"{reached}",
            "smooth the interaction, shrink the mesh, or raise rtol",
        )

    def _attempts(
        self, sample: np.ndarray, matrix: np.ndarray, tolerance: float
    ) -> Iterator[list[int]]:
        """Sets pivots and their mix; the numbers of leading features that may do."""
        ranks = self._cholesky(sample, matrix, tolerance)
        if ranks:
            yield ranks
            return
        for cut in _CUTS if len(sample) <= _MOST_INDEFINITE else ():
            yield self._eigenvectors(sample, matrix, cut * tolerance)

    def _rows(self, some: np.ndarray, sample: np.ndarray) -> np.ndarray:
        return shaped("interaction", np.asarray(self._W(some, sample)), len(some), len(sample))

    def _cholesky(self, sample: np.ndarray, matrix: np.ndarray, tolerance: float) -> list[int]:
        """Pivots and signs of a definite matrix; the ranks by _CUTS, none if it is not definite."""
        diagonal = np.diag(matrix)
        sign = np.sign(diagonal[0])
        if np.any(sign * diagonal <= 0):
            return []
        floors = np.array(_CUTS) * tolerance * np.abs(diagonal).max()
        factor, order, rank, _ = dpstrf(sign * matrix, tol=floors.min(), lower=1)
        some = _some(len(sample))
        rows = np.tril(factor)[some, :rank]
        places = order[some] - 1
        left = sign * matrix[np.ix_(places, places)] - rows @ rows.T
        if (
            np.abs(left).max() > 2.0 * floors.min()
        ):  # in a definite one |left_ij|² ≤ left_ii left_jj
            return []
        self._pivots = sample[order[:rank] - 1]
        self.signs = np.full(rank, sign)
        inverse, _ = dtrtri(factor[:rank, :rank], lower=1)
        self._mix = np.tril(inverse).T
        residuals = np.diag(factor)[:rank] ** 2
        return [int(np.count_nonzero(residuals > floor)) for floor in floors]

    def _eigenvectors(self, sample: np.ndarray, matrix: np.ndarray, tolerance: float) -> list[int]:
        """Pivots and signs of any symmetric matrix; the rank."""
        triangle, order = qr(matrix, mode="r", pivoting=True)
        diagonal = np.abs(np.diag(triangle))
        chosen = order[: max(1, int(np.searchsorted(-diagonal, -tolerance * diagonal[0])))]
        self._pivots = sample[chosen]
        values, vectors = np.linalg.eigh(matrix[np.ix_(chosen, chosen)])
        # the inverse of a nearly singular core would amplify rounding: leave out what is noise
        kept = np.abs(values) > 1e-14 * np.abs(values).max()
        self.signs = np.sign(values[kept])
        self._mix = vectors[:, kept] / np.sqrt(np.abs(values[kept]))
        return [len(self.signs)]

    def _keep(self, ranks: list[int], tolerance: float) -> bool:
        """Keep the fewest features that are found accurate on random pairs; False if none are."""
        lower, upper = self._box
        rng = np.random.default_rng(0)
        a, b = lower + (upper - lower) * rng.random((2, _CHECKS // 2, len(lower)))
        left, right = self.values(np.concatenate([a, b])).reshape(2, len(a), -1)
        exact = np.asarray(self._W(a, b))
        for rank in ranks:
            found = (left[:, :rank] * self.signs[:rank]) @ right[:, :rank].T
            self.error = float(np.abs(found - exact).max() / self._scale)
            if self.error <= tolerance:
                self.signs, self._mix = self.signs[:rank], self._mix[:, :rank]
                used = np.flatnonzero(np.abs(self._mix).max(axis=1) > 0.0)
                self._pivots, self._mix = self._pivots[used], self._mix[used]
                return True
        return False

    def values(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(self._W(points, self._pivots)) @ self._mix

    def generators(self, points: np.ndarray) -> np.ndarray:
        return np.asarray(self._W(points, self._pivots))

    def difference(self, found: np.ndarray, exact: np.ndarray) -> float:
        """Of the interactions between the points: single features oscillate more than they do."""
        return relative((found * self.signs) @ found.T, (exact * self.signs) @ exact.T)

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._differentiate(points)

    @cached_property
    def _differentiate(self) -> Differentiated:
        return differentiated(lambda points: self._W(points, self._pivots) @ self._mix)


def _parts(sample: np.ndarray) -> list[np.ndarray]:
    return np.array_split(sample, -(-len(sample) // _ROWS))


def _some(count: int) -> np.ndarray:
    """Places (_CHECKED_ROWS,) among `count`."""
    return np.linspace(0, count - 1, _CHECKED_ROWS).astype(int)
