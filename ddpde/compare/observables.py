"""Predictions and risks of a law, straight from the unit on given inputs.

They share nothing with `ddpde.energy`: a wrong potential shows as a difference between the
risk computed there and the one computed here.
"""

from __future__ import annotations

import numpy as np

from ddpde.problem import Problem
from ddpde.space import Law

_BLOCK = 4_000_000  # entries of the unit's matrix at a time


def prediction(problem: Problem, law: Law, x: np.ndarray) -> np.ndarray:
    """f_ρ(x) = ∫ σ(x; θ) ρ(dθ), array (m,) at inputs x (m, d); problems without reduction."""
    points, masses = law.points(5)
    kept = masses > 1e-12 * masses.max()
    points, masses = points[kept], masses[kept]
    step = max(1, _BLOCK // len(masses))
    blocks = [masses @ problem.unit(x[i : i + step], points) for i in range(0, len(x), step)]
    return np.concatenate(blocks)


def law_risk(problem: Problem, law: Law, x: np.ndarray, y: np.ndarray) -> float:
    """Mean loss of f_ρ over samples x (m, d), y (m,)."""
    return float(np.mean(problem.loss.value(prediction(problem, law, x), y)))
