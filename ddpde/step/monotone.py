"""The local energy of one vertex as a curve: density against pressure.

T ρ log ρ + h(ρ) has the pressure p(ρ), steep at ρ = 0 with T > 0. u = c ρ + p (c > 0) counts along
the curve, so that a Newton step may move on it wherever it is steep or flat, as variable
switching does (Brenner & Cancès 2017); ρ = (c + p)⁻¹ u is Moreau's resolvent. A largest density
is a place where the curve is vertical: p takes every value above the one it comes with.
"""

from __future__ import annotations

import numpy as np

from ddpde.problem import InternalEnergy
from ddpde.problem.internal import largest_density

_LINEAR = 0.9  # of ρ: as much decay is taken in ρ
_DECAY = 30.0  # of log ρ in a Newton step
_LEAST = -100.0  # log of the least density with an entropy
_NOTHING = 1e-200  # of u/c: as good as 0, without an entropy
_LEAST_COLD = -700.0  # and without, for arithmetic's sake
_FLAT = 1e-130  # least slope dρ/du, in units of 1/c
_MOST_ITERATIONS = 60


class Graph:
    """Points (ρ, p) of the curve, elementwise on arrays of one shape.

    `scale`: c, about p/ρ of the problem. Without an entropy the curve goes on, odd, to ρ < 0.
    """

    def __init__(self, temperature: float, internal: InternalEnergy | None, scale: float) -> None:
        self._T, self.scale = temperature, scale
        self._most = largest_density(internal)
        self._internal = internal if self._most == np.inf else None
        self._corner = np.inf  # u where the curve turns vertical
        if self._most < np.inf:
            self._corner = scale * self._most + float(self.pressure(np.array(self._most)))

    def point(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) with c ρ + p = u."""
        density = self._free(np.minimum(u, self._corner))
        return density, u - self.scale * density

    def _free(self, u: np.ndarray) -> np.ndarray:
        """ρ where there is no largest one."""
        if self._T > 0:
            return self._resolvent(u)
        if self._internal is None:
            return u / self.scale
        density, there = np.zeros_like(u), np.abs(u) > _NOTHING * self.scale
        density[there] = np.sign(u[there]) * self._cold_resolvent(np.abs(u[there]))
        return density

    def at(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) of densities."""
        return density, self.pressure(density)

    def pressure(self, density: np.ndarray) -> np.ndarray:
        """The least p(ρ), of densities that are > 0 where there is an entropy."""
        out = np.zeros_like(density)
        if self._T > 0:
            out += self._T * (1.0 + np.log(density))
        if self._internal is not None:
            out += self._internal.derivative(density)
        return out

    def tangent(self, density: np.ndarray, pressure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dρ/du > 0 and dp/du ≥ 0 at points of the curve, with c dρ + dp = du."""
        stiff = np.full_like(density, self.scale)
        with np.errstate(divide="ignore", over="ignore"):
            if self._T > 0:
                stiff += self._T / density
            if self._internal is not None:
                stiff += self._internal.second_derivative(density)
        along = 1.0 / stiff
        along[self.scale * density + pressure > self._corner] = 0.0
        along = np.maximum(along, _FLAT / self.scale)
        return along, 1.0 - self.scale * along

    def moved(
        self, density: np.ndarray, pressure: np.ndarray, by: np.ndarray, pressure_by: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) after a Newton step (δρ, δp) along the tangent.

        With a logarithm, growth and slow decay are taken in ρ and fast decay in log ρ: its tangent
        overshoots the other way.
        """
        u = self.scale * density + pressure
        new = u + self.scale * by + pressure_by
        if self._T == 0:
            return self.point(new)
        after, p = self.point(np.maximum(new, np.minimum(u, self._corner) - _DECAY * self._T))
        grows = (by > -_LINEAR * density) & (density + by < self._most)
        more = np.where(grows, density + by, after)
        return more, np.where(grows, self.pressure(more), p)

    def _cold_resolvent(self, u: np.ndarray) -> np.ndarray:
        """ρ with c ρ + h'(ρ) = u > 0: log u is convex in log ρ for powers, and almost linear."""
        assert self._internal is not None
        y = np.log(u / self.scale)
        for _ in range(_MOST_ITERATIONS):
            density = np.exp(y)
            total = self.scale * density + self._internal.derivative(density)
            slope = self.scale * density + self._internal.pressure_slope(density)
            new = np.maximum(y - np.log(total / u) * total / slope, _LEAST_COLD)
            moved, y = np.abs(new - y).max(initial=0.0), new
            if not moved > 1e-14 * (1 + np.abs(y).max(initial=0.0)):
                break
        return np.exp(y)

    def _resolvent(self, u: np.ndarray) -> np.ndarray:
        """exp y with c e^y + T (1 + y) + h'(e^y) = u: convex in y, Newton from above descends."""
        c, T = self.scale, self._T
        y = np.where(u - T <= T, u / T - 1.0, np.maximum(np.log(np.maximum(u - T, T) / c), 0.0))
        for _ in range(_MOST_ITERATIONS):
            density = np.exp(y)
            value, slope = c * density + T * (1.0 + y) - u, c * density + T
            if self._internal is not None:
                value = value + self._internal.derivative(density)
                slope = slope + self._internal.pressure_slope(density)
            step = value / slope
            y = y - step
            if not np.abs(step).max(initial=0.0) > 1e-14 * (1 + np.abs(y).max(initial=0.0)):
                break
        return np.exp(np.maximum(y, _LEAST))
