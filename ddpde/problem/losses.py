"""Losses ℓ(f, y), convex in the prediction f, for NumPy and JAX arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace


class Loss(Protocol):
    """ℓ(f, y) with its derivative in f; elementwise.

    It may have a `second_derivative` as well; else that is formed by differences.
    """

    def value(self, f: Array, y: Array) -> Array: ...

    def derivative(self, f: Array, y: Array) -> Array: ...


@dataclass(frozen=True)
class Squared:
    """(y − f)², without the ½ (Mei et al. 2018): hence the factor 2 in F' = 2Ψ."""

    def value(self, f: Array, y: Array) -> Array:
        return (f - y) ** 2

    def derivative(self, f: Array, y: Array) -> Array:
        return 2.0 * (f - y)

    def second_derivative(self, f: Array, y: Array) -> Array:
        return 2.0 + 0.0 * (f - y)


@dataclass(frozen=True)
class HalfSquared:
    """½ (y − f)² (Rotskoff & Vanden-Eijnden 2018; De Bortoli et al. 2020)."""

    def value(self, f: Array, y: Array) -> Array:
        return 0.5 * (f - y) ** 2

    def derivative(self, f: Array, y: Array) -> Array:
        return f - y

    def second_derivative(self, f: Array, y: Array) -> Array:
        return 1.0 + 0.0 * (f - y)


@dataclass(frozen=True)
class Logistic:
    """log(1 + exp(−y f)) for labels y = ±1."""

    def value(self, f: Array, y: Array) -> Array:
        return namespace(f).logaddexp(0.0 * f, -y * f)

    def derivative(self, f: Array, y: Array) -> Array:
        return -y * self._sigmoid(-y * f)

    def second_derivative(self, f: Array, y: Array) -> Array:
        s = self._sigmoid(y * f)
        return y * y * s * (1.0 - s)

    @staticmethod
    def _sigmoid(z: Array) -> Array:
        return 0.5 * (1.0 + namespace(z).tanh(0.5 * z))  # no overflow at either end


def second_derivative(loss: Loss, f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂²ℓ/∂f²: the loss's own, or central differences of its derivative, good to some 1e-10."""
    own = getattr(loss, "second_derivative", None)
    if own is not None:
        return own(f, y)
    h = np.cbrt(np.finfo(float).eps) * (1.0 + np.abs(f))
    return (loss.derivative(f + h, y) - loss.derivative(f - h, y)) / (2.0 * h)


def check_derivative(loss: Loss) -> None:
    """ProblemError where a loss's derivative is not the slope of its value, at a few places."""
    f, h = np.array([-1.37, -0.41, 0.73, 1.61]), 1e-5
    for y in (-np.ones(4), np.ones(4)):
        with np.errstate(all="ignore"):  # a loss may not be defined everywhere
            slope = (loss.value(f + h, y) - loss.value(f - h, y)) / (2.0 * h)
            apart = np.abs(loss.derivative(f, y) - slope)
        wrong = np.flatnonzero(apart > 1e-4 * (1.0 + np.abs(slope)))
        if len(wrong):
            k = wrong[0]
            raise ProblemError(
                f"the loss's derivative at f = {f[k]}, y = {y[k]:g} is "
                f"{loss.derivative(f, y)[k]:.6g}, but its value has the slope {slope[k]:.6g}",
                "let derivative be that of value, in f",
            )


LOSSES: dict[str, Loss] = {
    "squared": Squared(),
    "half_squared": HalfSquared(),
    "logistic": Logistic(),
}
