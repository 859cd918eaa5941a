"""Kuramoto oscillators on the circle in each coordinate: smooth, positive, exact by Fourier modes.

W = −K Σ_i cos(θ_i − θ'_i) couples no coordinates, so a product law stays a product, of the
one-dimensional solution in each of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import basix
import numpy as np
from scipy.integrate import solve_ivp

import ddpde
from ddpde.problem import DensityLaw, Problem
from ddpde.problem.classics import TURN

TEMPERATURE, COUPLING, TILT = 0.5, 1.0, 0.4
_MODES = 24
_K = np.arange(1, _MODES + 1)


def start_modes(sharpness: float) -> np.ndarray:
    """c_k (24,) of the initial law (1 + 2 Σ c_k cos k(θ − 1))/2π; positive for sharpness < 1.

    With sharpness zero the first alone, else a wrapped Gaussian on a uniform ground.
    """
    return 0.5 * TILT * sharpness ** (_K**2 - 1.0)


def series(c: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(1 + 2 Σ c_k cos k(x − 1))/2π."""
    return (1 + 2 * sum(a * np.cos(m * (x - 1)) for a, m in zip(c, _K, strict=True) if a)) / TURN


@dataclass(frozen=True)
class Cosines:
    """W (n, m) at points (n, d) and (m, d)."""

    def __call__(self, theta, other):
        return -COUPLING * np.cos(theta[:, None] - other[None]).sum(axis=2)

    def factors(self, theta):
        right = np.concatenate([np.cos(theta), np.sin(theta)], axis=1)
        return -COUPLING * right, right


def rings(dim: int, sharpness: float = 0.0) -> Problem:
    """The flow on the flat torus of `dim` circles."""
    c = start_modes(sharpness)
    start = DensityLaw(dim, lambda x: np.prod(series(c, x), axis=1), support=(0.0, TURN))
    return Problem(
        "rings", start, interaction=Cosines(), temperature=TEMPERATURE, periods=(TURN,) * dim
    )


def torus(cell: str, cells: int):
    """A mesh of [0, 2π)^dim with `cells` divisions of each side."""
    dim = {"interval": 1, "triangle": 2, "quadrilateral": 2}.get(cell, 3)
    if dim == 1:
        return ddpde.interval(0, TURN, cells=cells)
    return ddpde.box([0.0] * dim, [TURN] * dim, cells=[cells] * dim, cell=cell)


def profile(t: float, sharpness: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """One coordinate's density, by c_k' = −T k² c_k + (K k/2) c_1 (c_{k−1} − c_{k+1})."""

    def rate(t, c):
        full = np.concatenate([[1.0], c, [0.0]])
        return -TEMPERATURE * _K**2 * c + 0.5 * COUPLING * _K * c[0] * (full[:-2] - full[2:])

    start = start_modes(sharpness)
    c = solve_ivp(rate, (0, t), start, method="DOP853", rtol=3e-14, atol=1e-18).y[:, -1]
    return lambda x: series(c, x)


def l1_errors(
    cell: str,
    degree: int,
    counts: tuple[int, ...],
    t: float,
    rtol: float,
    sharpness: float = 0.0,
) -> np.ndarray:
    """∫ |ρ_h − ρ| at time t on meshes with these numbers of divisions of each side."""
    one = profile(t, sharpness)
    meshes = (torus(cell, count) for count in counts)
    return distances(
        lambda dim: rings(dim, sharpness),
        lambda x: np.prod(one(x), axis=1),
        meshes,
        degree,
        t,
        rtol,
    )


def distances(
    problem: Callable[[int], Problem],
    truth: Callable[[np.ndarray], np.ndarray],
    meshes: Iterable,
    degree: int,
    t: float,
    rtol: float,
) -> np.ndarray:
    """∫ |ρ_h − ρ| at time t on meshes; problem(dim), and ρ (n,) = truth(points (n, dim))."""
    errors = []
    for mesh in meshes:
        dim = mesh.geometry.dim
        law = ddpde.solve(problem(dim), mesh, times=[t], degree=degree, rtol=rtol).laws[-1]
        reference, weights = basix.make_quadrature(basix.CellType[law.cell], 2 * degree + 6)
        x, found, volume = law.at(reference)
        wanted = truth(x.reshape(-1, dim)).reshape(found.shape)
        errors.append(float((np.abs(found - wanted) * volume * weights).sum()))
    return np.array(errors)


def slopes(errors: np.ndarray, counts: tuple[int, ...]) -> np.ndarray:
    """Observed orders, one for each refinement."""
    return np.log(errors[:-1] / errors[1:]) / np.log(np.divide(counts[1:], counts[:-1]))
