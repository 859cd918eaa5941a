"""Schedules ξ(t) of the step size."""

from __future__ import annotations

from dataclasses import dataclass


def constant(t: float) -> float:
    """The schedule ξ = 1."""
    return 1.0


@dataclass(frozen=True)
class PowerDecay:
    """The schedule ξ(t) = (1 + t)^{−alpha} (De Bortoli et al. 2020)."""

    alpha: float

    def __call__(self, t: float) -> float:
        return (1.0 + t) ** -self.alpha
