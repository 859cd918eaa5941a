"""Distances between a cloud of particles and a law."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddpde.space import Law

Distance = Callable[[np.ndarray], float]


def directions(dim: int, count: int = 12) -> np.ndarray:
    """Fixed unit vectors (m, dim): one in 1D, `count` over a half circle, else spread at random."""
    if dim == 1:
        return np.ones((1, 1))
    if dim == 2:
        angle = np.pi * np.arange(count) / count
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vectors = np.random.default_rng(0).standard_normal((2 * count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class _Sliced:
    """The law's weighted points, projected on each of `directions` and sorted once."""

    def __init__(self, law: Law) -> None:
        points, masses = law.points(16 if law.gdim == 1 else 5)
        kept = masses > 1e-12 * masses.max()  # the rest moves no distance
        points, masses = points[kept], masses[kept] / masses[kept].sum()
        self._directions = directions(law.gdim)
        self._quantiles = [_Quantiles(points @ v, masses) for v in self._directions]

    def _each(self, cloud: np.ndarray, order: int) -> np.ndarray:
        pairs = zip(self._directions, self._quantiles, strict=True)
        return np.array([quantiles.distance(cloud @ v, order) for v, quantiles in pairs])


class SlicedW1(_Sliced):
    """W₁ to a law, averaged over `directions`; in 1D W₁ itself.

    A cloud of n particles costs O(n log n) a direction, however fine the law's mesh is. Exact for
    the law's weighted points.
    """

    def __call__(self, cloud: np.ndarray) -> float:
        """Distance of equally weighted particles (n, k) to the law."""
        return float(self._each(cloud, 1).mean())


class SlicedW2(_Sliced):
    """W₂ to a law, its square averaged over `directions`; in 1D W₂ itself.

    At the cost of `SlicedW1`. Exact for the law's weighted points, which stand 16 to a cell in 1D:
    a W₂ below their spacing means nothing.
    """

    def __call__(self, cloud: np.ndarray) -> float:
        """Distance of equally weighted particles (n, k) to the law."""
        return float(np.sqrt((self._each(cloud, 2) ** 2).mean()))


class _Quantiles:
    """Quantile function Q of weighted points on the line, with its integral."""

    def __init__(self, x: np.ndarray, masses: np.ndarray) -> None:
        order = np.argsort(x)
        self._x, m = x[order], masses[order]
        self._levels = np.concatenate([[0.0], np.cumsum(m)])
        self._levels[-1] = 1.0
        self._integral = np.concatenate([[0.0], np.cumsum(m * self._x)])
        mean = self._integral[-1]
        self._variance = float(m @ (self._x - mean) ** 2)

    def distance(self, cloud: np.ndarray, order: int = 1) -> float:
        """(∫ |C(u) − Q(u)|^order du)^(1/order), C the cloud's quantile function; order 1 or 2.

        C is constant on n steps. On a step (a, b) with C = c the sign changes at most once, at
        u* = P(x ≤ c).
        """
        c = np.sort(cloud)
        grid = np.arange(len(c) + 1) / len(c)
        if order == 2:
            # around the law's mean, so that a distant origin costs no digits
            c = c - self._integral[-1]
            at_grid = np.interp(grid, self._levels, self._integral) - grid * self._integral[-1]
            square = (c @ c) / len(c) - 2 * c @ np.diff(at_grid) + self._variance
            return float(np.sqrt(max(square, 0.0)))
        a, b = grid[:-1], grid[1:]
        crossing = self._levels[np.searchsorted(self._x, c, side="right")]
        middle = np.clip(crossing, a, b)
        at_grid = np.interp(grid, self._levels, self._integral)
        at_middle = np.interp(middle, self._levels, self._integral)
        below = c * (middle - a) - (at_middle - at_grid[:-1])
        above = (at_grid[1:] - at_middle) - c * (b - middle)
        return float((below + above).sum())


def floor(
    law: Law, distance: Distance, count: int, *, repeats: int, rng: np.random.Generator
) -> np.ndarray:
    """Distances (repeats,) of `count` independent draws of the law to the law itself.

    `distance`: any function of a cloud (n, k), made for the law. Particles that interact can come
    a little closer: training damps some fluctuations.
    """
    draws = law.sample(repeats * count, rng).reshape(repeats, count, -1)
    return np.array([distance(cloud) for cloud in draws])
