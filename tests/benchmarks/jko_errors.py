"""The measure of error that the JKO benchmarks share.

L1 errors are given twice, of ours and of peers alike: as sums over a solver's own unknowns
(vertices, or the centres of a grid's cells) of volume times difference, and everywhere, by a Gauss
rule for the law that is linear between the unknowns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import ddpde

Exact = Callable[[np.ndarray, np.ndarray], np.ndarray]  # density at x, y
Judged = tuple[float, float, float]  # error at the unknowns, least density, error everywhere

_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(6)


def of_run(exact: Exact) -> Callable[[ddpde.Trajectory], Judged]:
    """Judge a planar run on linear triangles or quadrilaterals."""
    from ddpde.space.quadrature import gauss

    def judge(run: ddpde.Trajectory) -> Judged:
        law = run.laws[-1]
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        if law.cell == "triangle":
            corners = corners[:3]
        errors = []
        inside, weights = gauss(law.cell, 11)
        for reference, weight in ((corners, weights.sum() / len(corners)), (inside, weights)):
            x, density, volume = law.at(reference)
            difference = np.abs(density - exact(x[..., 0], x[..., 1]))
            errors.append(float((difference * volume * weight).sum()))
        return errors[0], float(run.history["minimum"].min()), errors[1]

    return judge


def of_grid(first: float, h: float, exact: Exact) -> Callable[[np.ndarray], Judged]:
    """Judge values (n, n) at the points first + h (i, j)."""

    def judge(values: np.ndarray) -> Judged:
        x = first + h * np.arange(len(values))
        there = np.abs(values - exact(*np.meshgrid(x, x, indexing="ij"))).sum() * h**2
        total = 0.0
        for s, along in zip((_POINTS + 1) / 2, _WEIGHTS / 2, strict=True):
            low = (1 - s) * values[:-1] + s * values[1:]
            for t, weight in zip((_POINTS + 1) / 2, along * _WEIGHTS / 2, strict=True):
                between = (1 - t) * low[:, :-1] + t * low[:, 1:]
                at = np.meshgrid(x[:-1] + s * h, x[:-1] + t * h, indexing="ij")
                total += weight * np.abs(between - exact(*at)).sum() * h**2
        return float(there), float(values.min()), float(total)

    return judge
