"""Diffusion in Itô form, Σ and ρ depending on the place, exact and periodic in 1D to 3D.

X has independent phases z_i = ⟨k_i, X⟩ along orthogonal waves k_i, and z_i + a sin z_i is Brownian
of strength s|k_i|. By Itô's formula Σ = s² Σ_i k̂_i k̂_iᵀ/(1 + a cos z_i)², and the drift is −∇V for
V = −tr Σ/4. In two and three dimensions the waves are oblique: no entry of Σ is zero.
"""

import numpy as np
from rings import distances, torus

from ddpde.problem import DensityLaw, GivenNoise, Problem
from ddpde.problem.classics import TURN

STRENGTH, WARP, TILT = 0.8, 0.3, 0.3
WAVES = {
    1: np.array([[1.0]]),
    2: np.array([[1.0, 1.0], [1.0, -1.0]]),
    3: np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]),
}


def density(x: np.ndarray, t: float) -> np.ndarray:
    """ρ (n,) at points (n, d), from Π (1 + 0.3 cos(y_i − 1)) in y_i = z_i + a sin z_i."""
    waves = WAVES[x.shape[1]]
    z = x @ waves.T
    y = z + WARP * np.sin(z)
    tilt = TILT * np.exp(-0.5 * STRENGTH**2 * (waves**2).sum(axis=1) * t)
    return np.prod((1 + tilt * np.cos(y - 1)) * (1 + WARP * np.cos(z)) / TURN, axis=1)


def covariance(x: np.ndarray) -> np.ndarray:
    """Σ (n, d, d) at points (n, d)."""
    waves = WAVES[x.shape[1]]
    along = waves / np.linalg.norm(waves, axis=1)[:, None]
    return np.einsum("ni,ia,ib->nab", _strengths(x), along, along)


def warped(dim: int) -> Problem:
    """The flow on the flat torus of `dim` circles."""
    return Problem(
        "warped",
        DensityLaw(dim, lambda x: density(x, 0.0), support=(0.0, TURN)),
        potential=lambda x: -0.25 * _strengths(x).sum(axis=1),
        noise=GivenNoise(covariance),
        periods=(TURN,) * dim,
    )


def l1_errors(cell: str, degree: int, counts: tuple[int, ...], t: float, rtol: float) -> np.ndarray:
    """∫ |ρ_h − ρ| at time t on meshes with these numbers of divisions of each side."""
    meshes = (torus(cell, count) for count in counts)
    return distances(warped, lambda x: density(x, t), meshes, degree, t, rtol)


def _strengths(x: np.ndarray) -> np.ndarray:
    """Σ's eigenvalues (n, d), along the waves."""
    return (STRENGTH / (1 + WARP * np.cos(x @ WAVES[x.shape[1]].T))) ** 2
