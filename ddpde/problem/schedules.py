"""Schedules ξ(t) of the step size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def constant(t: float) -> float:
    """The schedule ξ = 1."""
    return 1.0


def at(schedule: Callable[[float], float], t: float) -> float:
    """ξ(t), ∞ where Python divides by zero: t^{−1/4} at t = 0."""
    try:
        return float(schedule(t))
    except ZeroDivisionError:
        return float("inf")


@dataclass(frozen=True)
class PowerDecay:
    """The schedule ξ(t) = (1 + t)^{−alpha} (De Bortoli et al. 2020)."""

    alpha: float

    def __call__(self, t: float) -> float:
        return (1.0 + t) ** -self.alpha
