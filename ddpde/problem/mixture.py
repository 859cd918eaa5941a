"""A mixture of Gaussians learned by Gaussian units, with birth and death."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace
from ddpde.problem.initial import GaussianLaw
from ddpde.problem.problem import Problem

# Rotskoff et al. 2019: the target is a mixture of Gaussians (weight, centre, variance) …
_TARGET = ((1 / 3, -2.0, 0.5), (-2 / 3, 0.0, 1.0), (1 / 3, 2.0, 0.5))
_UNIT_VARIANCE = 0.5  # … and so is the unit, c N(x; y, 0.5), of θ = (c, y)


def _normal(z: Array, variance: float) -> Array:
    """N(z; 0, variance)."""
    return namespace(z).exp(-z * z / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def _overlap_with_target(theta: Array) -> Array:
    """−c ∫ N(x; y, 0.5) target(x) dx (n,)."""
    c, y = theta[:, 0], theta[:, 1]
    return -c * sum(w * _normal(y - m, s + _UNIT_VARIANCE) for w, m, s in _TARGET)


def _overlap(theta: Array, other: Array) -> Array:
    """c c' ∫ N(x; y, 0.5) N(x; y', 0.5) dx (n, m)."""
    kernel = _normal(theta[:, 1][:, None] - other[:, 1], 2 * _UNIT_VARIANCE)
    return theta[:, 0][:, None] * other[:, 0] * kernel


def gaussian_mixture(start: Literal["good", "bad"] = "good", rate: float = 5.0) -> Problem:
    """A mixture of Gaussians learned with birth and death (Rotskoff et al. 2019).

    Units c N(x; y, 0.5), θ = (c, y); F = ½ ∫ (f − target)² dx without its constant 0.06886827.
    From the bad start, all y near −2, no unit reaches the bump at +2 unless it is put there.
    """
    starts = {"good": (0.0, 2 / np.sqrt(3.0)), "bad": (-2.0, 0.1)}
    if start not in starts:
        raise ProblemError(f"start = {start!r}: one of {', '.join(starts)}")
    mean, std = starts[start]
    return Problem(
        name="gaussian_mixture",
        potential=_overlap_with_target,
        interaction=_overlap,
        initial=GaussianLaw((0.0, mean), (1.0, std)),
        birth_death=rate,
        parameters={"start": start, "rate": rate},
    )
