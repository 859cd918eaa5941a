"""Variational BDF2 of Gallouët, Natale & Todeschi (Math. Comp. 93, 2024) with steps that change.

A law is extrapolated from the last two, and the next one is a minimising movement from there:

    ρⁿ⁺¹ = argmin W₂²(·, μ)/(2h) + F_T,   μ on the way from ρⁿ⁻¹ through ρⁿ, farther on.

Equal steps τ: μ a third of that way beyond ρⁿ, and h = 2τ/3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

LONGEST = 2.4  # ratio of steps; BDF2 is stable below 1 + √2


def weights(ratio: float) -> tuple[float, float]:
    """After a step τ' and for τ = `ratio` τ': (how much of the last way to add, h/τ)."""
    return ratio**2 / (1 + 2 * ratio), (1 + ratio) / (1 + 2 * ratio)


class _FirstOrder(Protocol):
    @property
    def residual(self) -> float: ...


class Continuing[Past, Step: _FirstOrder](ABC):
    """Implements `Proximal`, its order one more than the step's where it goes on from the last."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._past: Past | None = None
        self.iterations = 0

    @property
    def residual(self) -> float:
        return self._step.residual

    def __call__(self, u: np.ndarray, tau: float) -> np.ndarray:
        """The law (n,) after a time τ from u, of the same mass to rounding."""
        self.iterations = 0
        if self._past is not None and not self._ended_at(self._past, u):
            self._past = None
        return self._to(u, tau)

    @abstractmethod
    def _ended_at(self, past: Past, u: np.ndarray) -> bool:
        """Whether the past step ended at u, on all ranks."""

    @abstractmethod
    def _to(self, u: np.ndarray, tau: float) -> np.ndarray: ...
