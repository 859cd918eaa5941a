"""Internal energies ∫ h(ρ): crowding that depends on the density at a point alone.

They add ΔP(ρ) to the flow, with the pressure P(ρ) = ρ h'(ρ) − h(ρ). Functions act elementwise on
NumPy and JAX arrays. A numerical density may be negative by its error: h, h'' and P' are then
even in ρ, h' and P odd, so that P stays monotone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace


class InternalEnergy(Protocol):
    """The density h of an internal energy, convex, with h(0) = 0.

    `smooth`: whether h is finite and twice differentiable for ρ > 0; a constraint is not.
    """

    @property
    def smooth(self) -> bool: ...

    def value(self, density: Array) -> Array:
        """h(ρ)."""
        ...

    def derivative(self, density: Array) -> Array:
        """h'(ρ), the part of F' that the internal energy has."""
        ...

    def second_derivative(self, density: Array) -> Array:
        """h''(ρ)."""
        ...

    def pressure(self, density: Array) -> Array:
        """P(ρ) = ρ h'(ρ) − h(ρ)."""
        ...

    def pressure_slope(self, density: Array) -> Array:
        """P'(ρ) = ρ h''(ρ), finite at 0."""
        ...


@dataclass(frozen=True)
class PorousMedium:
    """h(ρ) = c ρ^m/(m − 1), m > 1: the flow ∂_t ρ = c Δρ^m (Otto 2001). P(ρ) = c ρ^m."""

    exponent: float
    coefficient: float = 1.0
    smooth = True

    def __post_init__(self) -> None:
        if not 1 < self.exponent < float("inf"):
            raise ProblemError(
                f"exponent = {self.exponent}: must be finite and > 1",
                "linear diffusion is temperature = ...",
            )
        if not 0 < self.coefficient < float("inf"):
            raise ProblemError(f"coefficient = {self.coefficient}: must be finite and > 0")

    def value(self, density: Array) -> Array:
        return self.coefficient / (self.exponent - 1) * abs(density) ** self.exponent

    def derivative(self, density: Array) -> Array:
        m = self.exponent
        size = self.coefficient * m / (m - 1) * abs(density) ** (m - 1)
        return namespace(density).sign(density) * size

    def second_derivative(self, density: Array) -> Array:
        return self.coefficient * self.exponent * abs(density) ** (self.exponent - 2)

    def pressure(self, density: Array) -> Array:
        return self.coefficient * density * abs(density) ** (self.exponent - 1)

    def pressure_slope(self, density: Array) -> Array:
        return self.coefficient * self.exponent * abs(density) ** (self.exponent - 1)


@dataclass(frozen=True)
class Congestion:
    """h = 0 for ρ ≤ maximum, ∞ above: crowd motion (Maury, Roudneff-Chupin & Santambrogio 2010).

    The flow has no pressure as a function of ρ; JKO steps, which only minimise, can use it.
    """

    maximum: float = 1.0
    smooth = False

    def __post_init__(self) -> None:
        if not 0 < self.maximum < float("inf"):
            raise ProblemError(f"maximum = {self.maximum}: must be finite and > 0")

    def value(self, density: Array) -> Array:
        xp = namespace(density)
        return xp.where(density <= self.maximum, 0.0, xp.inf)

    def derivative(self, density: Array) -> Array:
        """The least element of the subdifferential."""
        return self.value(density)

    def second_derivative(self, density: Array) -> Array:
        return self.value(density)

    def pressure(self, density: Array) -> Array:
        return self.value(density)

    def pressure_slope(self, density: Array) -> Array:
        return self.value(density)


def largest_density(internal: InternalEnergy | None) -> float:
    """That the energy allows: np.inf where it allows all."""
    return internal.maximum if isinstance(internal, Congestion) else np.inf
