"""The adjoint equation solved backwards along a flow, with what noise adds on the way."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
from petsc4py import PETSc
from scipy.interpolate import CubicHermiteSpline, make_interp_spline

from ddpde.flow import Adjoint, EulerianFlow
from ddpde.flow.diffusion import Diffusion
from ddpde.problem import Problem
from ddpde.run.clock import Clock
from ddpde.step import METHODS, Method, MethodOfLines

_FINER = 0.01  # tolerance of the law's own path, relative
_SLIVER = 0.01  # of a step's length


class Path:
    """The law's coefficients at any s: cubic between the accepted steps of the flow."""

    def __init__(self) -> None:
        self.s: list[float] = []
        self._states: list[np.ndarray] = []
        self._rates: list[np.ndarray] = []

    def append(self, s: float, u: np.ndarray, rate: np.ndarray) -> None:
        self.s.append(s)
        self._states.append(u.copy())
        self._rates.append(rate)

    def __call__(self, s: float) -> np.ndarray:
        if len(self.s) == 1:
            return self._states[0]
        i = min(max(bisect_right(self.s, s) - 1, 0), len(self.s) - 2)
        ends = slice(i, i + 2)
        piece = CubicHermiteSpline(self.s[ends], self._states[ends], self._rates[ends])
        return piece(min(max(s, self.s[i]), self.s[i + 1]))


def follow(flow: EulerianFlow, stops: np.ndarray, rtol: float) -> Path:
    """Solve the flow to the last stop and keep its steps."""
    path, rate = Path(), flow.state.duplicate()

    def keep(s: float, ds: float, u: PETSc.Vec) -> bool:
        flow.transport(u, rate)
        shaped, change = flow.coefficients(u), flow.coefficients(rate).copy()
        if flow.diffusion is not None:
            change -= flow.temperature * flow.diffusion.apply(shaped)
        path.append(s, shaped, change)
        return True

    keep(0.0, 0.0, flow.state)
    # cubics between steps of order 4 and 5 lose accuracy, and noise is integrated at these steps
    stepper = MethodOfLines(flow, _method(flow), rtol=_FINER * rtol)
    try:
        for stop in stops:
            stepper.advance(stop, keep)
    finally:
        stepper.close()
    return path


def _method(flow: EulerianFlow) -> Method:
    return METHODS["rk5" if flow.diffusion is None else "imex4"]


class Backward:
    """The adjoint equation in r = stop − s; offers what `MethodOfLines` needs of a flow.

    `last` (K, n_cells, nd): the observables χ.
    """

    nonlinear = None

    def __init__(
        self, flow: EulerianFlow, adjoint: Adjoint, path: Path, stop: float, last: np.ndarray
    ) -> None:
        self._flow, self._adjoint, self._path, self._stop = flow, adjoint, path, stop
        self.comm, self.temperature, self.local_shape = flow.comm, flow.temperature, last.shape
        self.diffusion = None if flow.diffusion is None else _Stacked(flow.diffusion)
        self.state = PETSc.Vec().createMPI((last.size, None), comm=flow.comm)
        self.state.setArray(last.ravel())
        self.at(0.0)

    def covariances(self, problem: Problem, t: float, rtol: float) -> tuple[np.ndarray, ...]:
        """Go back to s = 0: of the initial draws, of diffusion, of SGD (K, K)."""
        s, noise = [self._stop], [self._noise()]

        def on_step(r: float, dr: float, u: PETSc.Vec) -> bool:
            self.at(r)
            s.append(self._stop - r)
            noise.append(self._noise())
            return True

        stepper = _Dated(self, _method(self._flow), rtol=rtol)  # type: ignore[arg-type]
        try:
            # between the flow's own steps the law is a smooth function of time
            for before in [s for s in self._path.s if s < self._stop * (1 - 1e-12)][::-1]:
                stepper.advance(self._stop - before, on_step)
        finally:
            stepper.close()
        self._adjoint.at(self._path(0.0))
        initial = self._adjoint.covariance(self._functions(self.state))
        if len(s) == 1:
            return initial, *np.zeros_like(noise[0])
        kept = _apart(np.array(s[::-1]))
        clock, increasing = Clock(problem.schedule), np.array(s[::-1])[kept]
        xi = np.array([problem.schedule(clock.t_of(float(at), t)) for at in increasing])
        values = np.array(noise[::-1])[kept]  # (steps, 2, K, K)
        singular = not np.isfinite(xi).all()
        values[:, 1] *= 0.0 if singular else xi[:, None, None]  # s_k² = ε ξ · ξ dt
        curve = make_interp_spline(increasing, values, k=min(5, len(kept) - 1 - len(kept) % 2))
        diffusion, sgd = curve.integrate(increasing[0], increasing[-1])
        return initial, diffusion, np.full_like(sgd, np.nan) if singular else sgd

    def influence(self) -> tuple[np.ndarray, np.ndarray]:
        """Where it has come to: g (K, n_cells, nd), and its means (K,) under the law there."""
        g = self._functions(self.state).copy()
        return g, self._adjoint.mean(g)

    def _noise(self) -> np.ndarray:
        """What is the neurons' own, and what SGD adds at this time (2, K, K)."""
        g = self._functions(self.state)
        out = np.zeros((2, len(g), len(g)))
        if self.temperature > 0:
            out[0] = 2 * self.temperature * self._adjoint.dirichlet(g)
        if self._flow.birth_death is not None:
            out[0] += self._adjoint.births(g)
        if self._flow.energy.sampled:
            out[1] = self._adjoint.sampling(g)
        return out

    def at(self, r: float) -> None:
        """Linearise around the law at s = stop − r."""
        self._adjoint.at(self._path(self._stop - r))

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        with out as array:
            array[:] = self._adjoint.transport(self._functions(u)).ravel()

    def stabilise(self, u: PETSc.Vec) -> bool:
        return False

    def _functions(self, u: PETSc.Vec) -> np.ndarray:
        return u.getArray(readonly=True).reshape(self.local_shape)


def _apart(times: np.ndarray) -> np.ndarray:
    """Which of increasing times a spline goes through: not those a sliver after another, which the
    errors of values there would bend far away; both ends."""
    gaps = np.diff(times)
    sliver = gaps[:-1] < _SLIVER * gaps[1:]
    sliver[-1:] |= gaps[-1:] < _SLIVER * gaps[-2:-1]
    return np.flatnonzero(np.concatenate([[True], ~sliver, [True]]))


@dataclass(frozen=True)
class _Stacked:
    """A `Diffusion` of several functions (K, n_cells, nd)."""

    single: Diffusion

    @property
    def factorises(self) -> bool:
        return self.single.factorises

    def apply(self, u: np.ndarray) -> np.ndarray:
        return np.stack([self.single.apply(part) for part in u])

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        return np.stack([self.single.solve(shift, factor, part) for part in b])


class _Dated(MethodOfLines):
    """The method of lines for an equation whose coefficients depend on time."""

    _flow: Any

    def _explicit_part(self, ts: PETSc.TS, t: float, u: PETSc.Vec, out: PETSc.Vec) -> None:
        self._flow.at(t)
        super()._explicit_part(ts, t, u, out)
