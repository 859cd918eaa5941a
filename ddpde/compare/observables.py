"""What is compared between a law and clouds of particles, computed from each alone.

The risk of a law comes straight from the unit on given inputs and shares nothing with
`ddpde.energy`: a wrong potential shows as a difference between the risk computed there and here.
"""

from __future__ import annotations

import numpy as np

from ddpde.energy import Energy
from ddpde.problem import Problem
from ddpde.space import Law

_BLOCK = 4_000_000  # entries of the unit's, or of an interaction's matrix at a time


def prediction(problem: Problem, law: Law, x: np.ndarray) -> np.ndarray:
    """f_ρ(x) = ∫ σ(x; θ) ρ(dθ), array (m,) at inputs x (m, d); problems without reduction."""
    assert problem.unit is not None
    points, masses = _carrying(law)
    step = max(1, _BLOCK // len(masses))
    blocks = [masses @ problem.unit(x[i : i + step], points) for i in range(0, len(x), step)]
    return np.concatenate(blocks)


def law_risk(problem: Problem, law: Law, x: np.ndarray, y: np.ndarray) -> float:
    """Mean loss of f_ρ over samples x (m, d), y (m,)."""
    return float(np.mean(problem.loss.value(prediction(problem, law, x), y)))


def law_energy(problem: Problem, law: Law) -> float:
    """∫ r dρ + ½ ∬ W dρ dρ of a problem without a network, entropy not included."""
    points, masses = _carrying(law)
    energy = Energy(problem, (points.min(axis=0), points.max(axis=0)))
    f = energy.predictions(energy.features(points), masses)
    return energy.nonlocal_energy(f) + float(masses @ energy.local(points))


def _carrying(law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Points and masses of the law, without those that count for nothing."""
    points, masses = law.points(5)
    kept = masses > 1e-12 * masses.max()
    return points[kept], masses[kept]


def cloud_energy(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """The same of N equal masses, the pairs i = j included: (…) for particles theta (…, N, D)."""
    clouds = theta.reshape(-1, *theta.shape[-2:]).astype(float)
    return np.array([_cloud_energy(problem, c) for c in clouds]).reshape(theta.shape[:-2])


def _cloud_energy(problem: Problem, cloud: np.ndarray) -> float:
    local = problem.ridge * (cloud**2).sum(axis=1).mean()
    if problem.potential is not None:
        local += np.mean(problem.potential(cloud))
    if problem.interaction is None:
        return float(local)
    step = max(1, _BLOCK // len(cloud))
    rows = [
        np.sum(problem.interaction(cloud[i : i + step], cloud)) for i in range(0, len(cloud), step)
    ]
    return float(local + 0.5 * np.sum(rows) / len(cloud) ** 2)
