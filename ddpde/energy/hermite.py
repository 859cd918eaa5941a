"""Features of a ridge unit under isotropic Gaussian inputs, reduced to r = |w|.

For the classes N(0, τ_±² I), y = ±1, of Mei et al. 2018

    U(r, r') = ½ Σ_± Σ_k c_{2k}(τ_± r) c_{2k}(τ_± r') m_{2k},  V = −½ Σ_± (±1) c_0(τ_± r),

with c_k(a) = E[σ(aG) He_k(G)]/√k! and m_{2k} the moments of a coordinate of the unit sphere.
So the risk is that of M = 2K data nodes, Σ_m w_m (y_m − ∫ S_m dρ)², where the node (±, k) has
the feature c_{2k}(τ_± r), the weight m_{2k}/2 and the target ±1 for k = 0, else 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from ddpde.energy.features import relative
from ddpde.errors import ProblemError
from ddpde.problem.activations import PiecewiseLinear

_NEGLIGIBLE = 1e-15  # moments below it are left out
_MOST_TERMS = 200
_TOLERANCE = 1e-12  # of the potentials; the series is refused where it cannot reach it


def _sphere_moments(dim: int) -> np.ndarray:
    """m_{2k} = E z^{2k}, z a coordinate of a uniform point on the sphere of R^dim."""
    moments = [1.0]
    while moments[-1] > _NEGLIGIBLE and len(moments) < _MOST_TERMS:
        k = len(moments) - 1
        moments.append(moments[-1] * (2 * k + 1) / (dim + 2 * k))
    return np.array(moments)


def _over(knot: float, a: np.ndarray) -> np.ndarray:
    """knot/a, at most 40 in size: there the Gaussian factor is zero in double precision."""
    far = np.full_like(a, 40.0 * np.sign(knot))
    return np.divide(knot, a, out=far, where=a > abs(knot) / 40.0)


def _scaled_coefficients(activation: PiecewiseLinear, a: np.ndarray, orders: int) -> np.ndarray:
    """c_{2k}(a)/a for k = 0 … orders − 1 as array (orders, n); row 0 is left zero.

    c_k(a)/a = Σ_j jump_j h_{k−2}(t_j/a) φ(t_j/a) / √(k(k−1)), h the normalised Hermite
    polynomials and jump_j the change of slope at knot t_j.
    """
    slopes = (0.0, *activation.slopes, 0.0)
    jumps = np.diff(slopes)
    z = np.stack([_over(knot, a) for knot in activation.knots])
    out = np.zeros((orders, len(a)))
    previous, current = np.zeros_like(z), np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    for n in range(2 * orders - 2):  # current = h_n φ
        if n % 2 == 0:
            out[n // 2 + 1] = jumps @ current / np.sqrt((n + 1.0) * (n + 2.0))
        previous *= -np.sqrt(n / (n + 1.0))
        previous += z * (current / np.sqrt(n + 1.0))
        previous, current = current, previous
    return out


def _mean_activation(activation: PiecewiseLinear, a: np.ndarray) -> np.ndarray:
    """c_0(a) = q(a) = E σ(aG)."""

    def hinge(knot: float) -> np.ndarray:  # E (aG − t)_+ = a φ(t/a) − t Φ(−t/a)
        z = _over(knot, a)
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
    _k: int = field(init=False)

    def __post_init__(self) -> None:
        moments = _sphere_moments(self.dim)
        if moments[-1] > _TOLERANCE:
            raise ProblemError(
                f"the Hermite series converges too slowly in dimension {self.dim}",
                "use dim >= 14",
            )
        orders = len(moments)
        targets = np.zeros(2 * orders)
        targets[0], targets[orders] = 1.0, -1.0
        object.__setattr__(self, "_k", orders)
        object.__setattr__(self, "weights", 0.5 * np.tile(moments, 2))
        object.__setattr__(self, "targets", targets)

    @property
    def truncation_error(self) -> float:
        """Bound on the error of u(r, r'): sup σ² times the last moment kept."""
        return max(abs(v) for v in self.activation.values) ** 2 * 2 * float(self.weights[-1])

    def values(self, points: np.ndarray) -> np.ndarray:
        """c_{2k}(τ_± r): array (n, M) at points (n, 1)."""
        a = self._widths(points)
        return self._interleave(self._values(a, _scaled_coefficients(self.activation, a, self._k)))

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`values` and their derivative in r (n, 1, M).

        c_k'(a) = (√((k+1)(k+2)) c_{k+2}(a) + k c_k(a))/a.
        """
        a = self._widths(points)
        b = _scaled_coefficients(self.activation, a, self._k + 1)
        k = np.arange(0, 2 * self._k, 2.0)[:, None]
        slopes = np.sqrt((k + 1) * (k + 2)) * b[1:] + k * b[:-1]
        slopes *= np.repeat(self._taus, len(points))
        return self._interleave(self._values(a, b[:-1])), self._interleave(slopes)[:, None, :]

    def generators(self, points: np.ndarray) -> np.ndarray:
        return self.values(points)

    def difference(self, found: np.ndarray, exact: np.ndarray) -> float:
        return relative(found, exact)

    @property
    def _taus(self) -> np.ndarray:
        return np.array([1 + self.delta, 1 - self.delta])

    def _widths(self, points: np.ndarray) -> np.ndarray:
        return np.outer(self._taus, points[:, 0]).ravel()

    def _values(self, a: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        c = scaled * a
        c[0] = _mean_activation(self.activation, a)
        return c

    def _interleave(self, rows: np.ndarray) -> np.ndarray:
        """From (K, 2n), the two widths side by side, to (n, 2K)."""
        n = rows.shape[1] // 2
        return np.concatenate([rows[:, :n], rows[:, n:]]).T
