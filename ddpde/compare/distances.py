"""Distances between a cloud of particles and a law."""

from __future__ import annotations

import numpy as np
from scipy.stats import wasserstein_distance

from ddpde.space import Law


def directions(dim: int, count: int = 12) -> np.ndarray:
    """Fixed unit vectors (m, dim): one in 1D, `count` over a half circle, else spread at random."""
    if dim == 1:
        return np.ones((1, 1))
    if dim == 2:
        angle = np.pi * np.arange(count) / count
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vectors = np.random.default_rng(0).standard_normal((2 * count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def sliced_w1(cloud: np.ndarray, points: np.ndarray, masses: np.ndarray) -> float:
    """W₁ between particles (n, k) and weighted points (m, k), averaged over `directions`.

    In 1D this is W₁ itself, exact for the weighted points. Cost O((n + m) log(n + m)) a direction.
    """
    total = 0.0
    chosen = directions(cloud.shape[1])
    for vector in chosen:
        total += wasserstein_distance(cloud @ vector, points @ vector, v_weights=masses)
    return total / len(chosen)


def floor(law: Law, count: int, *, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """Distances (repeats,) of `count` independent draws of the law to the law itself.

    No cloud of that size can be expected to come closer.
    """
    points, masses = weighted_points(law)
    return np.array([sliced_w1(law.sample(count, rng), points, masses) for _ in range(repeats)])


def weighted_points(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """The law's points and masses, as fine as distances need, without empty ones."""
    points, masses = law.points(16 if law.gdim == 1 else 5)
    kept = masses > 1e-12 * masses.max()
    return points[kept], masses[kept]
