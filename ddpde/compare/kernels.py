"""Kernel distances between weighted clouds by all pairs: O((n + m)²), exact.

For a few thousand points; `NegativeSobolev` is the one that scales.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Kernel = Callable[[np.ndarray], np.ndarray]

_ROWS = 2_000_000  # entries of distances at a time


def gaussian_kernel(bandwidth: float = 1.0) -> Kernel:
    """exp(−r²/2h²) of squared distances r²."""
    return lambda squares: np.exp(-squares / (2 * bandwidth**2))


def energy_kernel(squares: np.ndarray) -> np.ndarray:
    """−r: the energy distance of Székely and Rizzo, 2 E|X − Y| − E|X − X'| − E|Y − Y'|."""
    return -np.sqrt(squares)


def mmd_squared(
    x: np.ndarray,
    y: np.ndarray,
    kernel: Kernel,
    a: np.ndarray | None = None,
    b: np.ndarray | None = None,
) -> float:
    """∬ k d(μ − ν)², μ the points x (n, k) of weights a (n,), ν of y (m, k), b (m,).

    Weights are equal by default. Pairs of a point with itself count (V-statistic): of n
    independent draws of ν the mean is (∫ k(x, x) dν − ∬ k dν dν)/n.
    """
    points = np.concatenate([x, y])
    a = np.full(len(x), 1.0 / len(x)) if a is None else a
    b = np.full(len(y), 1.0 / len(y)) if b is None else b
    signed = np.concatenate([a / a.sum(), -b / b.sum()])
    norms = (points**2).sum(axis=1)
    step = max(1, _ROWS // len(points))
    total = 0.0
    for begin in range(0, len(points), step):
        part = slice(begin, begin + step)
        squares = norms[part, None] + norms - 2 * points[part] @ points.T
        total += signed[part] @ kernel(np.maximum(squares, 0.0)) @ signed
    return float(total)
