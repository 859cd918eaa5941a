"""Dense output of explicit methods: the state inside an accepted step.

(Implicit ones interpolate their stages, as the rate of a stiff flow amplifies the errors of the
two ends: beside 1e-3 in the steps we saw 7e-2 between them.)
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import Legendre
from petsc4py import PETSc

from ddpde.flow import SemiDiscrete

_CUBIC = 4  # order of the error of the cubic through both ends with their rates


def blend(theta: float) -> float:
    """θ² (3 − 2θ): from zero to one, level at both ends."""
    return theta * theta * (3.0 - 2.0 * theta)


class DenseOutput:
    """u(s) in the step between its ends (s, u), with an error of O(hᵖ).

    p is at least four, and the `order` of the method beyond. With rates f_j at places c_j of the
    step, 0 and 1 among them, and b_j(θ) = ∫₀^θ ℓ_j of their Lagrange polynomials,

        u(θ) = u₀ + h Σ b_j(θ) f_j + θ² (3 − 2θ) (u₁ − u₀ − h Σ b_j(1) f_j) :

    with the two ends alone the cubic Hermite polynomial. Rates of that polynomial at more places
    (Gauss–Lobatto) give one order more, and so on (Enright, Jackson, Nørsett & Thomsen 1986).
    Mass is kept, as rates have none; positivity is the law's (`flow.law` limits).
    """

    def __init__(
        self,
        flow: SemiDiscrete,
        order: int,
        start: tuple[float, PETSc.Vec],
        end: tuple[float, PETSc.Vec],
    ) -> None:
        (self._start, before), (stop, after) = start, end
        self._length = stop - self._start
        self._before = before.getArray(readonly=True).copy()
        self._change = after.getArray(readonly=True) - self._before
        self._state = before.duplicate()
        self._flow = flow
        ends = [self._rate(*start), self._rate(*end)]
        self._set(np.array([0.0, 1.0]), np.array(ends))
        for _ in range(order - _CUBIC):
            inner = 0.5 * (1.0 + np.sort(Legendre.basis(order - 2).deriv().roots().real))
            times = self._start + self._length * inner
            rates = [self._rate(s, self(s)) for s in times]
            self._set(np.array([0.0, *inner, 1.0]), np.array([ends[0], *rates, ends[1]]))

    def __call__(self, s: float) -> PETSc.Vec:
        """The state at s, in a vector that is used again."""
        theta = (s - self._start) / self._length
        inside = self._before + self._length * (self._weights(theta) @ self._rates)
        self._state.setArray(inside + blend(theta) * self._defect)
        return self._state

    def _rate(self, s: float, u: PETSc.Vec) -> np.ndarray:
        """du/ds (n,)."""
        self._flow.now = s
        out = u.duplicate()
        self._flow.transport(u, out)
        return out.getArray(readonly=True)

    def _set(self, places: np.ndarray, rates: np.ndarray) -> None:
        """Rates (m, n) at places (m,) of the step."""
        self._places, self._rates = places, rates
        self._defect = self._change - self._length * (self._weights(1.0) @ rates)

    def _weights(self, theta: float) -> np.ndarray:
        """b_j(θ) (m,)."""
        powers = np.arange(len(self._places))
        moments = theta ** (powers + 1) / (powers + 1)
        return np.linalg.solve(np.vander(self._places, increasing=True).T, moments)
