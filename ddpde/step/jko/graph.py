"""The energy of one vertex as a monotone graph: density against pressure.

T ρ log ρ + h(ρ) on 0 ≤ ρ ≤ ρ_max has a subdifferential p ∈ ∂(ρ), a curve without gaps in the
plane: it is vertical at ρ = 0 (unless T > 0) and at ρ_max. u = c ρ + p (c > 0) counts along the
curve, so that a Newton step may move on it wherever it is steep or vertical, as variable
switching does (Brenner & Cancès 2017); ρ = (c + ∂)⁻¹ u is Moreau's resolvent.
"""

from __future__ import annotations

import numpy as np

from ddpde.problem import InternalEnergy


class Graph:
    """Points (ρ, p) of the graph, elementwise on arrays of one shape.

    `scale`: c, about p/ρ of the problem.
    """

    def __init__(self, temperature: float, internal: InternalEnergy | None, scale: float) -> None:
        self._T, self.scale = temperature, scale
        self._smooth = internal if internal is not None and internal.smooth else None
        self.maximum = np.inf
        if internal is not None and not internal.smooth:
            self.maximum = internal.maximum  # type: ignore[attr-defined]

    def point(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) with c ρ + p = u."""
        density = np.minimum(self._resolvent(u), self.maximum)
        return density, u - self.scale * density

    def pressure(self, density: np.ndarray) -> np.ndarray:
        """The least p of the graph at densities ≥ 0 (finite: empty vertices are kept off −∞)."""
        out = np.zeros_like(density)
        if self._T > 0:
            out += self._T * (1.0 + np.log(np.maximum(density, 1e-300)))
        if self._smooth is not None:
            out += self._smooth.derivative(density)
        return out

    def tangent(self, density: np.ndarray, pressure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dρ/du and dp/du, both ≥ 0, with c dρ + dp = du."""
        stiff = np.full_like(density, self.scale)
        with np.errstate(divide="ignore", over="ignore"):
            if self._T > 0:
                stiff += self._T / density
            if self._smooth is not None:
                stiff += self._smooth.second_derivative(density)
            along = 1.0 / stiff
        fixed = (density >= self.maximum) & (pressure > 0)
        if self._T == 0:
            fixed |= (density <= 0) & (pressure < 0)
        along[fixed] = 0.0
        return along, 1.0 - self.scale * along

    def _resolvent(self, u: np.ndarray) -> np.ndarray:
        if self._T == 0 and self._smooth is None:
            return np.maximum(u, 0.0) / self.scale
        if self._T > 0:
            return self._above_zero(u)
        out = np.zeros_like(u)
        filled = u > 0
        out[filled] = self._above_zero(u[filled])
        return out

    def _above_zero(self, u: np.ndarray) -> np.ndarray:
        """ρ = e^y with c e^y + T (1 + y) + h'(e^y) = u: convex in y, Newton's method descends."""
        c, T = self.scale, self._T
        if T > 0:
            y = np.where(u - T <= T, u / T - 1.0, np.maximum(np.log(np.maximum(u - T, T) / c), 0.0))
        else:
            y = np.log(u / c)
        for _ in range(60):
            density = np.exp(y)
            value = c * density + T * (1.0 + y) - u
            slope = c * density + T
            if self._smooth is not None:
                value += self._smooth.derivative(density)
                slope += self._smooth.pressure_slope(density)
            step = value / slope
            y -= step
            if not np.abs(step).max(initial=0.0) > 1e-14 * (1 + np.abs(y).max(initial=0.0)):
                break
        return np.exp(y)
