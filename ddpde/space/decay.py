"""How large the first neglected coefficients are, from the decay of those that are kept.

A density that looks like exp(zx) in a cell has parts of degree k of size s_k z^k times its mass,
s_k those of x^k/k! in the orthonormal basis. Its mass is positive, hence z comes from the part of
degree k alone, k = p or p − 1 (one of them may vanish by symmetry), and the part of degree p + 1,
the largest that is neglected, is s_{p+1} z^{p+1} times the mass.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ddpde.space.quadrature import gauss, legendre, tabulate


def next_coefficients(cell: str, parts: np.ndarray) -> np.ndarray:
    """Size (n,) of the part of degree p + 1 from those (n, p + 1) of degrees 0 … p."""
    degree = parts.shape[1] - 1
    scale = _scales(cell, degree + 1)
    relative = parts / np.maximum(parts[:, :1], 1e-290)
    kept = range(max(1, degree - 1), degree + 1)
    rate = np.max([(relative[:, k] / scale[k]) ** (1 / k) for k in kept], axis=0)
    largest = np.max([parts[:, k] for k in kept], axis=0)
    # no decay at all: the kept parts say how much is missing
    with np.errstate(over="ignore", invalid="ignore"):
        return np.fmin(scale[-1] * rate ** (degree + 1) * parts[:, 0], largest)


@cache
def degrees(cell: str, degree: int) -> np.ndarray:
    """Degree (nd,) of each function of the orthonormal basis on a simplex or an interval."""
    counts = {"interval": lambda k: 1, "triangle": lambda k: k + 1}.get(
        cell, lambda k: (k + 1) * (k + 2) // 2
    )
    return np.repeat(np.arange(degree + 1), [counts(k) for k in range(degree + 1)])


@cache
def _scales(cell: str, degree: int) -> np.ndarray:
    """s_k (degree + 1,): the part of degree k of x^k/k!, relative to that of the function one."""
    points, weights = gauss(cell, 2 * degree)
    basis = tabulate(legendre(cell, degree), points)
    of, out, power = degrees(cell, degree), np.ones(degree + 1), np.ones(len(points))
    for k in range(1, degree + 1):
        power = power * points[:, 0] / k
        moments = (weights * power) @ basis[:, of == k]
        out[k] = np.sqrt((moments**2).sum()) * basis[0, 0]
    return out
