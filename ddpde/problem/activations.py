"""Scalar activations, written once for NumPy and JAX arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any  # a NumPy or a JAX array: whatever follows the array API
Activation = Callable[[Array], Array]


def namespace(array: Array) -> Any:
    """The module (numpy, jax.numpy) whose functions act on `array`."""
    return array.__array_namespace__() if hasattr(array, "__array_namespace__") else np


def tanh(z: Array) -> Array:
    """Hyperbolic tangent."""
    return namespace(z).tanh(z)


def relu(z: Array) -> Array:
    """max(z, 0)."""
    return namespace(z).maximum(z, 0.0)


def identity(z: Array) -> Array:
    """z: a linear unit."""
    return z


def square(z: Array) -> Array:
    """z²: a quadratic unit."""
    return z * z


def erf(z: Array) -> Array:
    """erf(z/√2) = 2Φ(z) − 1, whose Gaussian averages are known in closed form."""
    scaled = z / math.sqrt(2.0)
    if namespace(z) is np:
        from scipy.special import erf as special_erf
    else:
        from jax.scipy.special import erf as special_erf  # not in the array API
    return special_erf(scaled)


@dataclass(frozen=True)
class PiecewiseLinear:
    """Linear between (knots[j], values[j]), constant outside (Mei et al. 2018, Examples)."""

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.knots) != len(self.values) or len(self.knots) < 2:
            raise ValueError("PiecewiseLinear needs as many values as knots, and at least two")
        if any(b <= a for a, b in zip(self.knots[:-1], self.knots[1:], strict=True)):
            raise ValueError(f"knots must increase: {self.knots}")

    @property
    def slopes(self) -> tuple[float, ...]:
        """Slope of each linear piece."""
        k, v = self.knots, self.values
        return tuple((v[j + 1] - v[j]) / (k[j + 1] - k[j]) for j in range(len(k) - 1))

    def __call__(self, z: Array) -> Array:
        # Selects, not clips: the derivative is then one constant a piece, which XLA fuses into
        # the particles' update (twice as fast); the last branch keeps a NaN a NaN.
        where = namespace(z).where
        k, v, s = self.knots, self.values, self.slopes
        out = v[-2] + s[-1] * (z - k[-2])
        for j in reversed(range(len(s) - 1)):
            out = where(z < k[j + 1], v[j] + s[j] * (z - k[j]), out)
        out = where(z <= k[0], v[0], out)
        return where(z >= k[-1], v[-1], out)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": tanh,
    "erf": erf,
    "relu": relu,
    "identity": identity,
    "square": square,
}
