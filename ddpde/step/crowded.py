"""The local energy of one vertex below a largest density, as a curve of density against pressure.

As in `monotone`, with a barrier: p(ρ) = T (1 + log ρ) − ε log(1 − ρ/ρ_max), T at least ε. As ε goes
to 0 this is the constraint, to a duality gap of about ε. The curve is followed in the logit s of
ρ/ρ_max: densities keep off both ends, near which Newton's steps count in logarithms.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

_MOST_ITERATIONS = 100
_FAR = 30.0  # of the logit in a Newton step
_LINEAR = 0.99  # of the way to an end: as much is taken in ρ
_FLAT = 1e-130  # least slope dρ/du, in units of 1/c
_ENDS = 1e-60, 1 - 1e-10  # of the largest density: where a start is cut off


class CrowdGraph:
    """Points (ρ, p) of the curve, elementwise on arrays of one shape; as `monotone.Graph`.

    `temperature`: T. `scale`: c, in u = c ρ + p. `barrier`: ε.
    """

    def __init__(self, temperature: float, most: float, scale: float, barrier: float) -> None:
        self._T, self._most = max(temperature, barrier), most
        self.scale, self._barrier = scale, barrier

    def point(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) with c ρ + p = u."""
        s = self._position(u)
        return self._most * expit(s), self._pressure(s)

    def at(self, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) of densities, those at the ends cut off."""
        share = np.clip(density / self._most, *_ENDS)
        return self._most * share, self._pressure(logit(share))

    def tangent(self, density: np.ndarray, pressure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dρ/du > 0 and dp/du ≥ 0 at points of the curve, with c dρ + dp = du."""
        s = self._position(self.scale * density + pressure)
        along = self._most * expit(s) * expit(-s) / self._slope(s)
        along = np.maximum(along, _FLAT / self.scale)
        return along, 1.0 - self.scale * along

    def moved(
        self, density: np.ndarray, pressure: np.ndarray, by: np.ndarray, pressure_by: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(ρ, p) after a Newton step along the tangent: in ρ, but in s where it goes fast
        towards an end."""
        s = self._position(self.scale * density + pressure)
        along = s + np.clip((self.scale * by + pressure_by) / self._slope(s), -_FAR, _FAR)
        change = by / self._most
        new = density / self._most + change
        low = (new < 0.5) & (change > -_LINEAR * expit(s))
        high = (new > 0.5) & (new < _ENDS[1]) & (change < _LINEAR * expit(-s))
        linear = low | high
        s = np.where(linear, logit(np.where(linear, new, 0.5)), along)
        return self._most * expit(s), self._pressure(s)

    def _pressure(self, s: np.ndarray) -> np.ndarray:
        low, high = np.logaddexp(0.0, -s), np.logaddexp(0.0, s)
        return self._T * (1.0 + np.log(self._most) - low) + self._barrier * high

    def _slope(self, s: np.ndarray) -> np.ndarray:
        """du/ds."""
        up, down = expit(s), expit(-s)
        return self.scale * self._most * up * down + self._T * down + self._barrier * up

    def _position(self, u: np.ndarray) -> np.ndarray:
        """s at u: Newton's method between bounds that close in."""
        c, middle = self.scale * self._most, float(self._pressure(np.zeros(1))[0])
        middle += 0.5 * c
        reach = 2.0 * (np.abs(u - middle) + c) / self._barrier + 1.0
        low, high = np.where(u < middle, -reach, 0.0), np.where(u < middle, 0.0, reach)
        s = np.where(u < middle, np.maximum((u - middle) / self._T, low), 0.0)
        for _ in range(_MOST_ITERATIONS):
            excess = c * expit(s) + self._pressure(s) - u
            low, high = np.where(excess < 0, s, low), np.where(excess > 0, s, high)
            new = s - excess / self._slope(s)
            new = np.where((new > low) & (new < high), new, 0.5 * (low + high))
            new = np.where(excess == 0, s, new)
            moved, s = np.abs(new - s), new
            if not (moved > 1e-14 * (1.0 + np.abs(s))).any():
                break
        return s
