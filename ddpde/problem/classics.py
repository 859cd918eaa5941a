"""Classical gradient flows without a network: potentials, interactions, circles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace
from ddpde.problem.initial import DensityLaw, GaussianLaw, Mixture
from ddpde.problem.internal import PorousMedium
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
class _Well:
    """stiffness/2 · |θ|²."""

    stiffness: float

    def __call__(self, theta: Array) -> Array:
        return self.stiffness * _half_square(theta)


@dataclass(frozen=True)
class Attraction:
    """½ · strength · (x − x')² (n, m): problems of equal strength share its features."""

    strength: float

    def __call__(self, theta: Array, other: Array) -> Array:
        return 0.5 * self.strength * (theta[:, :1] - other[:, 0]) ** 2

    def factors(self, theta: Array) -> tuple[Array, Array]:
        """left (n, 3), right (n, 3) with W = left · right: particles then cost O(N)."""
        xp, x = namespace(theta), theta[:, 0]
        one = xp.ones_like(x)
        left = 0.5 * self.strength * xp.stack([x * x, -2.0 * x, one], axis=1)
        return left, xp.stack([one, x, x * x], axis=1)


def quadratic_interaction(
    stiffness: float = 1.0,
    attraction: float = 1.0,
    temperature: float = 0.5,
    mean: float = 1.0,
    std: float = 0.5,
) -> Problem:
    """Linear drift −λx − κ(x − mean), noise √(2T), from N(mean, std²): Gaussian, exact at every N.

    λ = `stiffness`, κ = `attraction`.
    """
    if not stiffness > 0 or not attraction > 0:
        raise ProblemError(
            f"stiffness = {stiffness}, attraction = {attraction}: both must be positive"
        )
    return Problem(
        name="quadratic_interaction",
        potential=_Well(stiffness),
        interaction=Attraction(attraction),
        initial=GaussianLaw((mean,), (std,)),
        temperature=temperature,
        parameters={
            "stiffness": stiffness,
            "attraction": attraction,
            "temperature": temperature,
            "mean": mean,
            "std": std,
        },
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


@dataclass(frozen=True)
class Barenblatt:
    """The self-similar solution of ∂_t ρ = Δρ^m of mass one (Barenblatt 1952; Vázquez 2007).

    ρ = t^{−α} (C − k |x|² t^{−2β})_+^{1/(m−1)}, α = d/(d(m − 1) + 2), β = α/d,
    k = α(m − 1)/(2md), with d = `dim`, m = `exponent`, t = `time`.
    """

    dim: int
    exponent: float
    time: float

    @property
    def radius(self) -> float:
        """Radius of the support."""
        beta, k, constant = self._constants
        return float(np.sqrt(constant / k) * self.time**beta)

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        beta, k, constant = self._constants
        scaled = (theta**2).sum(axis=1) * self.time ** (-2 * beta)
        inside = np.maximum(constant - k * scaled, 0.0)
        return self.time ** (-beta * self.dim) * inside ** (1 / (self.exponent - 1))

    @property
    def _constants(self) -> tuple[float, float, float]:
        """β, k, and the C of mass one."""
        d, q = self.dim, 1 / (self.exponent - 1)
        beta = 1 / (d * (self.exponent - 1) + 2)
        k = beta * (self.exponent - 1) / (2 * self.exponent)
        log_volume = d / 2 * np.log(np.pi / k) + gammaln(q + 1) - gammaln(q + 1 + d / 2)
        return beta, k, float(np.exp(-log_volume / (q + d / 2)))


@dataclass(frozen=True)
class _Bowl:
    """strength · |θ|²/2 (n,) at points (n, d)."""

    strength: float

    def __call__(self, theta: Array) -> Array:
        return self.strength * _half_square(theta)


def porous_medium(
    dim: int = 1, exponent: float = 2.0, confinement: float = 0.0, start: float = 1.0
) -> Problem:
    """∂_t ρ = Δρ^m + confinement ∇·(xρ) from Barenblatt's profile of age `start`.

    Without confinement the solution at t is the profile of age start + t, and its support ends at
    a front of finite speed; with it ρ tends to the profile that the confinement holds.
    """
    if dim not in (1, 2, 3):
        raise ProblemError(f"dim = {dim}: 1, 2 or 3")
    if not confinement >= 0:
        raise ProblemError(f"confinement = {confinement}: must be >= 0")
    if not start > 0:
        raise ProblemError(f"start = {start}: must be positive")
    return Problem(
        name="porous_medium",
        potential=_Bowl(confinement) if confinement else None,
        internal=PorousMedium(exponent),
        initial=DensityLaw(dim, Barenblatt(dim, exponent, start)),
        parameters={
            "dim": dim,
            "exponent": exponent,
            "confinement": confinement,
            "start": start,
        },
    )
