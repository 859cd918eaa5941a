"""Features of a ridge unit under isotropic Gaussian inputs, reduced to r = |w|.

FACTS: u_d(r, r') = ½ Σ_± Σ_k c_{2k}(τ_± r) c_{2k}(τ_± r') m_{2k},  v = −½ Σ_± (±1) c_0(τ_± r),
with c_k(a) = E[σ(aG) He_k(G)]/√k! and m_{2k} the moments of a coordinate of the unit sphere.
So the risk is that of M = 2K data nodes, Σ_m w_m (y_m − ∫ S_m dρ)², where the node (±, k) has
the feature c_{2k}(τ_± r), the weight m_{2k}/2 and the target ±1 for k = 0, else 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from ddpde.errors import ProblemError
from ddpde.problem.activations import PiecewiseLinear

_TOLERANCE = 1e-15
_MOST_TERMS = 200


def _sphere_moments(dim: int) -> np.ndarray:
    """m_{2k} = E z^{2k}, z a coordinate of a uniform point on the sphere of R^dim."""
    moments = [1.0]
    while moments[-1] > _TOLERANCE and len(moments) < _MOST_TERMS:
        k = len(moments) - 1
        moments.append(moments[-1] * (2 * k + 1) / (dim + 2 * k))
    return np.array(moments)


def _scaled_coefficients(activation: PiecewiseLinear, a: np.ndarray, last: int) -> np.ndarray:
    """c_k(a)/a for k = 2 … last as rows 2 … last of an array (last + 1, n); rows 0, 1 unused."""
    out = np.zeros((last + 1, len(a)))
    for j, slope in enumerate(activation.slopes):
        for knot, sign in ((activation.knots[j], 1.0), (activation.knots[j + 1], -1.0)):
            # beyond 40 the Gaussian factor is zero in double precision; a = 0 means ±infinity
            z = np.clip(np.divide(knot, a, out=np.full_like(a, np.sign(knot) * 40.0),
                                  where=a > abs(knot) / 40.0), -40.0, 40.0)
            previous = np.zeros_like(z)
            current = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)  # He_0 φ / √0!
            for k in range(2, last + 1):
                n = k - 2
                out[k] += sign * slope * current / np.sqrt(k * (k - 1.0))
                previous, current = (
                    current,
                    (z * current - np.sqrt(n) * previous) / np.sqrt(n + 1.0),
                )
    return out


def _mean_activation(activation: PiecewiseLinear, a: np.ndarray) -> np.ndarray:
    """c_0(a) = q(a) = E σ(aG)."""

    def hinge(knot: float) -> np.ndarray:  # E (aG − t)_+ = a φ(t/a) − t Φ(−t/a)
        z = np.divide(knot, a, out=np.full_like(a, np.sign(knot) * 40.0), where=a > abs(knot) / 40)
        return a * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) - knot * ndtr(-z)

    out = np.full_like(a, activation.values[0])
    for j, slope in enumerate(activation.slopes):
        out += slope * (hinge(activation.knots[j]) - hinge(activation.knots[j + 1]))
    return out


@dataclass(frozen=True)
class HermiteRadialFeatures:
    """Feature map of Mei et al. 2018, Example A, exact to `truncation_error`."""

    dim: int
    delta: float
    activation: PiecewiseLinear
    targets: np.ndarray = field(init=False)
    weights: np.ndarray = field(init=False)
    _orders: int = field(init=False)

    def __post_init__(self) -> None:
        moments = _sphere_moments(self.dim)
        if moments[-1] > _TOLERANCE:
            raise ProblemError(
                f"the Hermite series converges too slowly in dimension {self.dim}",
                "use dim >= 8",
            )
        orders = len(moments)
        targets = np.zeros(2 * orders)
        targets[0], targets[orders] = 1.0, -1.0
        object.__setattr__(self, "_orders", orders)
        object.__setattr__(self, "weights", 0.5 * np.tile(moments, 2))
        object.__setattr__(self, "targets", targets)

    @property
    def truncation_error(self) -> float:
        """Bound on the error of u(r, r'): sup σ² times the last moment kept."""
        return max(abs(v) for v in self.activation.values) ** 2 * 2 * float(self.weights[-1])

    def values(self, points: np.ndarray) -> np.ndarray:
        """c_{2k}(τ_± r): array (n, M) at points (n, 1)."""
        out = np.empty((len(points), 2 * self._orders))
        for block, tau in enumerate((1 + self.delta, 1 - self.delta)):
            a = tau * points[:, 0]
            c = _scaled_coefficients(self.activation, a, 2 * self._orders - 2)[::2] * a
            c[0] = _mean_activation(self.activation, a)
            out[:, block * self._orders : (block + 1) * self._orders] = c.T
        return out

    def gradients(self, points: np.ndarray) -> np.ndarray:
        """d/dr of `values`: array (n, 1, M); c_k' = (√((k+1)(k+2)) c_{k+2} + k c_k)/a."""
        out = np.empty((len(points), 1, 2 * self._orders))
        k = np.arange(0, 2 * self._orders, 2.0)[:, None]
        for block, tau in enumerate((1 + self.delta, 1 - self.delta)):
            b = _scaled_coefficients(self.activation, tau * points[:, 0], 2 * self._orders)[::2]
            slope = np.sqrt((k + 1) * (k + 2)) * b[1:] + k * b[:-1]
            out[:, 0, block * self._orders : (block + 1) * self._orders] = tau * slope.T
        return out
