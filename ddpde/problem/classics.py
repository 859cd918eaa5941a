"""Classical gradient flows without a network: potentials, interactions, circles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace
from ddpde.problem.initial import DensityLaw, GaussianLaw, Mixture
from ddpde.problem.problem import Problem

TURN = 2 * np.pi


def _half_square(theta: Array) -> Array:
    """|θ|²/2."""
    return 0.5 * (theta * theta).sum(axis=1)


def ornstein_uhlenbeck(
    mean: tuple[float, ...] = (2.0, 1.0),
    std: tuple[float, ...] = (0.7071067811865476, 0.5477225575051661),
    temperature: float = 0.5,
) -> Problem:
    """∂_t ρ = ∇·(xρ) + T Δρ from N(mean, diag(std²)), in as many dimensions as `mean` has."""
    return Problem(
        name="ornstein_uhlenbeck",
        potential=_half_square,
        initial=GaussianLaw(tuple(mean), tuple(std)),
        temperature=temperature,
        parameters={"mean": list(mean), "std": list(std), "temperature": temperature},
    )


@dataclass(frozen=True)
class _GaussianWell:
    """W = −strength · exp(−|θ − θ'|²/2)."""

    strength: float

    def __call__(self, theta: Array, other: Array) -> Array:
        # |θ − θ'|² expanded: no array of (n, m, D)
        squares = (theta * theta).sum(axis=1)[:, None] + (other * other).sum(axis=1)
        return -self.strength * namespace(theta).exp(theta @ other.T - 0.5 * squares)


def mckean_vlasov(temperature: float = 0.1, strength: float = 1.0) -> Problem:
    """Planar McKean–Vlasov flow: V = |x|²/2, W = −strength · exp(−|x|²/2), from two Gaussians."""
    std = (np.sqrt(0.15),) * 2
    start = Mixture((0.5, 0.5), (GaussianLaw((1.0, 0.5), std), GaussianLaw((-1.0, -0.5), std)))
    return Problem(
        name="mckean_vlasov",
        potential=_half_square,
        interaction=_GaussianWell(strength),
        initial=start,
        temperature=temperature,
        parameters={"temperature": temperature, "strength": strength},
    )


@dataclass(frozen=True)
class _Cosine:
    """W = −coupling · cos(θ − θ')."""

    coupling: float

    def __call__(self, theta: Array, other: Array) -> Array:
        return -self.coupling * namespace(theta).cos(theta - other.T)

    def factors(self, theta: Array) -> tuple[Array, Array]:
        """left (n, 2), right (n, 2) with W = left · right: particles then cost O(N)."""
        xp = namespace(theta)
        right = xp.concat([xp.cos(theta), xp.sin(theta)], axis=1)
        return -self.coupling * right, right


@dataclass(frozen=True)
class _Bump:
    """(1 + tilt · cos(θ − 1))/2π on the circle."""

    tilt: float

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        return (1 + self.tilt * np.cos(theta[:, 0] - 1.0)) / TURN


def kuramoto(temperature: float = 0.5, coupling: float = 1.5, tilt: float = 0.4) -> Problem:
    """Noisy Kuramoto oscillators on the circle [0, 2π): drift −K r sin(θ − ψ), noise √(2T).

    They synchronise above K = 2T, to r = I₁(Kr/T)/I₀(Kr/T).
    """
    if not 0 <= tilt <= 1:
        raise ProblemError(f"tilt = {tilt}: must lie in [0, 1], for a density >= 0")
    return Problem(
        name="kuramoto",
        interaction=_Cosine(coupling),
        initial=DensityLaw(1, _Bump(tilt), support=(0.0, TURN)),
        temperature=temperature,
        periods=(TURN,),
        parameters={"temperature": temperature, "coupling": coupling, "tilt": tilt},
    )
