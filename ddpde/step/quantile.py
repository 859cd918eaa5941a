"""JKO steps in one dimension, exact in W₂: minimise over quantile functions.

X' = argmin Σ M (X − Y)²/(2τ) + F_T(X) over ordered X within the walls, by Newton's method on
banded plus low-rank systems. Two variants are of second order: the implicit midpoint rule, a JKO
step of τ/2, then as far again along the same geodesic (Legendre & Turinici 2017), and
the variational BDF2 of `bdf2`, whose geodesics are straight lines between quantile functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded
from scipy.optimize import isotonic_regression

from ddpde.errors import SolverError
from ddpde.flow.quantile import Expansion, QuantileFlow
from ddpde.step.bdf2 import LONGEST, Continuing, weights

_TOLERANCE = 1e-12  # of the residual, relative to the interval
_ROUNDING = 1e-14
_MOST_ITERATIONS = 200
_CLOSER = 0.05  # neighbours keep this part of their distance in one iteration
_ATTEMPTS = 5  # to find positions that do not cross
_BARRIERS = tuple(10.0**-k for k in range(2, 11, 2))  # down to the duality gap aimed at


class QuantileProximal:
    """The proximal step of a `QuantileFlow`. `iterations`, `residual`: of the latest step.

    The residual is √(τ gᵀH⁻¹g) for gradient g and Hessian H of the objective. As H ≥ M/τ it bounds
    the next Newton step in L²(ρ): the distance W₂ that is left to the minimiser.
    """

    def __init__(self, flow: QuantileFlow) -> None:
        self._flow = flow
        self.iterations, self.residual = 0, 0.0
        self._length = flow.upper - flow.lower
        self._barrier = 0.0

    def __call__(self, Y: np.ndarray, tau: float, near: np.ndarray | None = None) -> np.ndarray:
        """The minimiser (n,) from positions Y; SolverError where Newton's method fails.

        near: where to look first, apart from each other where the law spreads; Y if not given.
        Without an internal energy positions are free to cross where F' is not convex; a local
        minimum with crossed positions is no JKO step, and one is looked for from sorted ones.
        """
        start = Y if near is None else near
        X, self.iterations = start, 0
        if self._flow.crowded:
            return self._crowded(start, Y, tau)
        for _ in range(_ATTEMPTS):
            X, objective = self._descend(X, Y, tau)
            # an internal energy keeps the order by itself
            if self._flow.spreads or np.all(np.diff(X) >= -_ROUNDING * self._length):
                break
            X = np.sort(X)
        else:
            raise self._failure(tau, "positions cross in every minimum found")
        if objective > self._objective(start, Y, tau) + _ROUNDING * max(1.0, abs(objective)):
            raise self._failure(tau, "no minimum found is below the start")
        return X

    def _crowded(self, start: np.ndarray, Y: np.ndarray, tau: float) -> np.ndarray:
        """The minimiser below a largest density: along the central path of a log barrier."""
        X = self._flow.loosened(start)
        for self._barrier in _BARRIERS:
            X, _ = self._descend(X, Y, tau)
        return X

    def _descend(self, X: np.ndarray, Y: np.ndarray, tau: float) -> tuple[np.ndarray, float]:
        """The minimum that Newton's method finds from X, and the objective there."""
        objective, best = self._objective(X, Y, tau), np.inf
        for _ in range(_MOST_ITERATIONS):
            self.iterations += 1
            local = self._flow.expand(X, self._barrier)
            gradient = local.gradient + self._flow.masses * (X - Y) / tau
            step, slope = self._direction(X, local, gradient, tau)
            self.residual = float(np.sqrt(max(-tau * slope, 0.0)))
            stalls = self.residual > 0.5 * best
            if self.residual <= (1e3 if stalls else 1.0) * _TOLERANCE * self._length:
                return X, objective  # converged, or as good as rounding lets it be
            best = min(best, self.residual)
            found = self._search(X, Y, tau, step, slope, objective)
            if found is None:
                break
            X, objective = found
        raise self._failure(tau, f"residual {self.residual:.1e}")

    def _objective(self, X: np.ndarray, Y: np.ndarray, tau: float) -> float:
        moved = float(self._flow.masses @ (X - Y) ** 2)
        return self._flow.free_energy(X, self._barrier) + moved / (2 * tau)

    def _failure(self, tau: float, what: str) -> SolverError:
        return SolverError(
            f"the JKO step of τ = {tau:.3g} did not converge: {what} after "
            f"{self.iterations} Newton iterations",
            "take a smaller dt, or a finer mesh",
        )

    def _direction(
        self, X: np.ndarray, local: Expansion, gradient: np.ndarray, tau: float
    ) -> tuple[np.ndarray, float]:
        """Newton's step within the walls, and the slope of the objective along it."""
        flow = self._flow
        newton = _Newton(local, flow.masses / tau)
        held = ((X <= flow.lower) & (gradient > 0)) | ((X >= flow.upper) & (gradient < 0))
        step = newton.solve(-gradient, held, np.zeros_like(X))
        if flow.spreads:
            # an end that would go through its wall goes up to it, and the others along with it
            reached = np.clip(X + step, flow.lower, flow.upper) - X
            hit = reached != step
            hit[1:-1] = False
            if hit.any():
                step = newton.solve(-gradient, held | hit, np.where(hit, reached, 0.0))
        return step, float(gradient @ step)

    def _search(
        self,
        X: np.ndarray,
        Y: np.ndarray,
        tau: float,
        step: np.ndarray,
        slope: float,
        objective: float,
    ) -> tuple[np.ndarray, float] | None:
        """A part of the step that descends, with slack where the law spreads; None without one."""
        flow = self._flow
        slack = _ROUNDING * max(1.0, abs(objective))
        t = 1.0
        while t > 1e-12:
            trial = np.clip(X + t * step, flow.lower, flow.upper)
            if not flow.spreads or np.all(flow.slack(trial) > _CLOSER * flow.slack(X)):
                value = self._objective(trial, Y, tau)
                if value <= objective + 1e-4 * t * slope + slack:
                    return trial, value
            t *= 0.5
        return None


class QuantileMidpoint:
    """The implicit midpoint rule: a step of τ/2, and as far again (order 2).

    Where that would lose the order of positions or raise the free energy, as with a τ too large for
    it, the step is an ordinary one of τ.
    """

    def __init__(self, flow: QuantileFlow) -> None:
        self._flow, self._step = flow, QuantileProximal(flow)

    @property
    def iterations(self) -> int:
        return self._step.iterations

    @property
    def residual(self) -> float:
        return self._step.residual

    def __call__(self, Y: np.ndarray, tau: float) -> np.ndarray:
        """Positions (n,) after a time τ from Y."""
        half = self._step(Y, 0.5 * tau)
        low, high = self._flow.lower, self._flow.upper
        # nine tenths of the way to a wall at most: ordered positions stay so
        X = np.clip(2.0 * half - Y, low + 0.1 * (half - low), high - 0.1 * (high - half))
        return X if self._sound(X, Y) else self._step(Y, tau)

    def _sound(self, X: np.ndarray, Y: np.ndarray) -> bool:
        flow = self._flow
        ordered = np.all(flow.slack(X) > 0) if flow.spreads else np.all(np.diff(X) >= 0)
        return bool(ordered) and flow.free_energy(X) <= flow.free_energy(Y)


@dataclass(frozen=True)
class _Past:
    """A step: positions (n,) before and after it, τ and the free energy after it."""

    before: np.ndarray
    after: np.ndarray
    tau: float
    energy: float


class QuantileBdf2(Continuing[_Past, QuantileProximal]):
    """Variational BDF2: a step of 2τ/3 from the positions a third of the last way farther on.

    Positions that would cross there, or leave the walls, are projected on those that do not, in
    L²(ρ). The first step is an ordinary one; so is one after which the free energy would have
    risen. A step much longer than the last is made of shorter ones.
    """

    def __init__(self, flow: QuantileFlow) -> None:
        super().__init__(QuantileProximal(flow))
        self._flow = flow

    def _ended_at(self, past: _Past, u: np.ndarray) -> bool:
        return np.array_equal(u, past.after)

    def _to(self, u: np.ndarray, tau: float) -> np.ndarray:
        Y, past = u, self._past
        if past is not None and tau > LONGEST * past.tau:
            return self._to(self._to(Y, 0.5 * tau), 0.5 * tau)
        X, energy = self._second_order(past, tau) if past else (Y, np.inf)
        if past is None or not energy <= past.energy:
            X = self._found(Y, tau, Y)
            energy = self._flow.free_energy(X)
        self._past = _Past(Y, X, tau, energy)
        return X

    def _second_order(self, past: _Past, tau: float) -> tuple[np.ndarray, float]:
        """The step after the past one, and the free energy there."""
        share, part = weights(tau / past.tau)
        far = past.after + share * (past.after - past.before)
        ordered = isotonic_regression(far, weights=self._flow.masses).x
        within = np.clip(ordered, self._flow.lower, self._flow.upper)
        X = self._found(within, part * tau, past.after)
        return X, self._flow.free_energy(X)

    def _found(self, Y: np.ndarray, tau: float, near: np.ndarray) -> np.ndarray:
        X = self._step(Y, tau, near)
        self.iterations += self._step.iterations
        return X


class _Newton:
    """The Hessian of energy + M (X − Y)²/(2τ), made positive where it is not."""

    def __init__(self, local: Expansion, inertia: np.ndarray) -> None:
        self._local = local
        diagonal = inertia + local.curvature
        floor = 0.05 * (inertia + np.abs(local.curvature))
        self._diagonal = np.maximum(diagonal, floor) + local.band[0]
        # symmetric scaling: masses span many orders of magnitude
        self._scale = scale = 1.0 / np.sqrt(self._diagonal)
        self._band = local.band.copy()
        self._band[0] = 1.0
        for k in range(1, len(self._band)):
            self._band[k, :-k] *= scale[:-k] * scale[k:]

    def solve(self, force: np.ndarray, fixed: np.ndarray, given: np.ndarray) -> np.ndarray:
        """The step (n,) that answers a force, equal to `given` where it is `fixed`."""
        weights, scale = self._local.weights, self._scale
        force = np.where(fixed, 0.0, force - self._times(given)) * scale
        band = self._band.copy()
        for k in range(1, len(band)):
            band[k, :-k][fixed[:-k] | fixed[k:]] = 0.0
        J = np.where(fixed, 0.0, scale)[:, None] * self._local.coupling
        solved = solveh_banded(band, np.column_stack([force, J]), lower=True)
        x, BJ = solved[:, 0], solved[:, 1:]
        for w in (weights, np.maximum(weights, 0.0)):
            # Sherman–Morrison–Woodbury, without dividing by weights that vanish
            small = np.eye(len(w)) + w[:, None] * (J.T @ BJ)
            step = x - BJ @ np.linalg.solve(small, w * (J.T @ x))
            if force @ step >= 0:  # a direction of descent
                break
        return scale * step + given

    def _times(self, v: np.ndarray) -> np.ndarray:
        """Hessian · v."""
        local = self._local
        out = self._diagonal * v + local.coupling @ (local.weights * (v @ local.coupling))
        for k in range(1, len(local.band)):
            out[k:] += local.band[k, :-k] * v[:-k]
            out[:-k] += local.band[k, :-k] * v[k:]
        return out
