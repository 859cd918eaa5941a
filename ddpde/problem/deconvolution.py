"""Sparse deconvolution on the circle: positive spikes from low frequencies (Chizat & Bach 2018)."""

from __future__ import annotations

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace
from ddpde.problem.data import DataSet
from ddpde.problem.initial import DensityLaw
from ddpde.problem.losses import HalfSquared
from ddpde.problem.problem import Problem

TURN = 2 * np.pi


class Wave:
    """σ(x; θ) = x₃ cos(x₁ θ − x₂): frequency, phase and size are the input's."""

    dim = 1
    input_dim = 3

    def __call__(self, x: Array, theta: Array) -> Array:
        x = namespace(theta).asarray(x, dtype=theta.dtype)
        return x[:, 2] * namespace(theta).cos(theta * x[:, 0] - x[:, 1])


class _Paced:
    """ξ = pace."""

    def __init__(self, pace: float) -> None:
        self._pace = pace

    def __call__(self, t: float) -> float:
        return self._pace


def _uniform(theta: np.ndarray) -> np.ndarray:
    """1/2π on the circle."""
    return np.full(len(theta), 1 / TURN)


def deconvolution(
    places: tuple[float, ...] = (1.0, 2.5, 4.5),
    weights: tuple[float, ...] = (0.5, 0.3, 0.4),
    frequencies: int = 4,
    mass: float = 0.2,
    alpha: float = 1.0,
    beta: float = 0.1,
) -> Problem:
    """Spikes on the circle from their Fourier coefficients: ∂_t ν = β ∇·(ν ∇J') − 4α J' ν.

    J = ½ Σ_{|k| ≤ frequencies} |ν̂_k − ν̂*_k|², ν* = Σ weights_j δ(places_j), which is the risk;
    ν starts uniform, of the given mass (the cone metric of Chizat 2019).
    """
    if len(places) != len(weights) or not places:
        raise ProblemError(f"{len(places)} places and {len(weights)} weights: one for each spike")
    if frequencies < 1:
        raise ProblemError(f"frequencies = {frequencies}: at least 1")
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not value > 0:
            raise ProblemError(f"{name} = {value}: must be positive")
    k = np.arange(1.0, frequencies + 1)
    count = 2 * frequencies + 1  # of the data, whose mean the risk is
    size = np.full(count, np.sqrt(2.0 * count))
    size[0] = np.sqrt(count)
    phase = np.concatenate([np.zeros(frequencies + 1), np.full(frequencies, np.pi / 2)])
    x = np.column_stack([np.concatenate([[0.0], k, k]), phase, size])
    y = np.asarray(weights) @ Wave()(x, np.asarray(places, dtype=float)[:, None])
    return Problem(
        name="deconvolution",
        unit=Wave(),
        data=DataSet(x, y),
        loss=HalfSquared(),
        initial=DensityLaw(1, _uniform),
        periods=(TURN,),
        schedule=_Paced(beta),
        birth_death=4 * alpha / beta,
        mass=mass,
        conserved=False,
        parameters={
            "places": list(places),
            "weights": list(weights),
            "frequencies": frequencies,
            "mass": mass,
            "alpha": alpha,
            "beta": beta,
        },
    )
