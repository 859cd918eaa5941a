"""Losses ℓ(f, y), convex in the prediction f, for NumPy and JAX arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ddpde.problem.activations import Array, namespace


class Loss(Protocol):
    """ℓ(f, y) with its first two derivatives in f; elementwise."""

    def value(self, f: Array, y: Array) -> Array: ...

    def derivative(self, f: Array, y: Array) -> Array: ...

    def second_derivative(self, f: Array, y: Array) -> Array: ...


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


LOSSES: dict[str, Loss] = {
    "squared": Squared(),
    "half_squared": HalfSquared(),
    "logistic": Logistic(),
}
