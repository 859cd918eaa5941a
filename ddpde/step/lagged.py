"""Lagged H⁻¹ JKO steps on the vertices of a mesh."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.problem.internal import largest_density
from ddpde.step import front
from ddpde.step.lagged_newton import Found, LaggedNewton

Start = tuple[np.ndarray, np.ndarray]  # density and potential

_SHORTER = 4.0  # factor between the steps of a continuation in τ
_LEAST_RATIO, _LEAST_PART = 1.1, 1e-4  # of that factor, and of τ, before it is given up

_FIRST_BARRIER, _DUALITY_GAP = 1.0, 1e-10  # of a path to a largest density, and its end
_BEGINNING = 1e-9  # of the largest density: at least that much is everywhere on that path at first
_DRAWS = 2  # of tails, after the first iterations
_LEAST_GUESS = 0.1  # of the density before


@dataclass(frozen=True)
class Trend:
    """A step: the law after it and by how much it changed (n,), so the potential (n,), and τ."""

    density: np.ndarray
    change: np.ndarray
    potential: np.ndarray
    potential_change: np.ndarray
    tau: float

    def ends_at(self, u: np.ndarray, comm: MPI.Comm) -> bool:
        """Whether densities u (n,) are those after the step, on all ranks."""
        return comm.allreduce(np.array_equal(u, self.density), MPI.LAND)

    def ahead(self, flow: VertexFlow, tau: float) -> Start:
        """Density and potential after one more step, of τ, if they go on to change like that."""
        ratio = tau / self.tau
        density = np.maximum(self.density + ratio * self.change, _LEAST_GUESS * self.density)
        return density, self.potential + ratio * self.potential_change

    def went_far(self, flow: VertexFlow) -> bool:
        """Whether a front went farther than a few vertices."""
        return front.ends(flow) and front.goes_far(flow, self.density - self.change, self.density)


class LaggedProximal:
    """Implements `Proximal` with the norm of H⁻¹ weighted by the new density."""

    iterations, residual = 0, 0.0
    latest: Found | None = None  # what Newton's method found in the latest step
    _trend: Trend | None = None

    def __init__(self, flow: VertexFlow, *, upwind: bool = False) -> None:
        self._flow, self._newton = flow, LaggedNewton(flow, upwind=upwind)

    def __call__(
        self,
        u: np.ndarray,
        tau: float,
        *,
        near: Start | None = None,
        frozen: bool = False,
        far: bool = False,
    ) -> np.ndarray:
        """argmin from densities u (n,), of the same mass to rounding, near u or a guess.

        `frozen`: with a norm that is not varied. `far`: a front goes far from the guess.
        """
        last, trend, start = self.latest, self._trend, near
        if start is None:
            far = trend.went_far(self._flow) if trend else front.ends(self._flow)
            if trend is not None and trend.ends_at(u, self._flow.comm):
                start = trend.ahead(self._flow, tau)
        self.latest = found = self._found(u, tau, start, frozen, far)
        self.residual = found.residual
        density, m = np.maximum(found.density, 0.0), self._flow.masses  # −0 by rounding
        wanted, kept = sum_over_ranks(self._flow.comm, np.array([m @ u, m @ density]))
        density *= wanted / kept  # what is left of the residual
        if near is None:
            change = found.potential - (last or found).potential
            self._trend = Trend(density, density - u, found.potential, change, tau)
        return density

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._newton.close()

    def _found(
        self, u: np.ndarray, tau: float, start: Start | None, frozen: bool, far: bool
    ) -> Found:
        """The step solved: from the start, else from movements easier to find."""
        self.iterations = 0
        first = start or self._nearest(u, tau)
        with suppress(SolverError):
            if far and not frozen:
                if self._trend is None:
                    density, phi = first
                    first = front.drawn(self._flow, u, density, phi, tau, at_first=True), phi
                easier = self._newton_from(first, u, tau, frozen=True, roughly=True, draws=_DRAWS)
                first = easier.density, easier.potential
            return self._newton_from(
                first, u, tau, frozen=frozen, draws=_DRAWS if far and frozen else 0
            )
        if largest_density(self._flow.problem.internal) < np.inf:
            return self._along_a_path(u, tau, frozen)
        if self.latest is not None:
            with suppress(SolverError):
                return self._newton_from(self._nearest(u, tau), u, tau, upwind=True, frozen=frozen)
        with suppress(SolverError):
            return self._from_transport(u, tau, frozen)
        return self._by_continuation(u, tau, frozen)

    def _nearest(self, u: np.ndarray, tau: float) -> Start:
        """The old law; the last step's potential if there was one."""
        last = self.latest
        return (self._newton.lifted(u), last.potential) if last else self._newton.first_guess(u)

    def _from_transport(self, u: np.ndarray, tau: float, frozen: bool) -> Found:
        """From the movement without entropy in the field of u, which is found whatever τ is: its
        potential is near that with little entropy, where F_T' at u is not."""
        start = self._newton_from(self._newton.first_guess(u), u, tau, cold=True, upwind=True)
        lifted = self._newton.lifted(start.density)
        return self._newton_from((lifted, start.potential), u, tau, upwind=True, frozen=frozen)

    def _along_a_path(self, u: np.ndarray, tau: float, frozen: bool) -> Found:
        """The largest density approached along the central path of a barrier."""
        density, phi = self._newton.first_guess(u)
        most = largest_density(self._flow.problem.internal)
        start = np.maximum(density, _BEGINNING * most), phi
        barrier, reached, ratio = _FIRST_BARRIER, np.inf, _SHORTER
        while True:
            try:
                found = self._newton_from(
                    start, u, tau, upwind=True, frozen=frozen, barrier=barrier
                )
            except SolverError:
                ratio **= 0.5
                barrier = reached / ratio
                if not (reached < np.inf and ratio > _LEAST_RATIO):
                    raise
                continue
            if barrier <= _DUALITY_GAP:
                return found
            start, reached, ratio = (found.density, found.potential), barrier, ratio**1.25
            barrier = max(barrier / ratio, _DUALITY_GAP)

    def _by_continuation(self, u: np.ndarray, tau: float, frozen: bool) -> Found:
        """Upwind, through shorter steps, each the start of the next."""
        start, part, reached, ratio = self._newton.first_guess(u), 1.0, 0.0, _SHORTER
        while True:
            try:
                found = self._newton_from(start, u, part * tau, upwind=True, frozen=frozen)
            except SolverError:
                if reached:
                    ratio **= 0.5
                part = reached * ratio or part / _SHORTER
                if ratio < _LEAST_RATIO or part < _LEAST_PART:
                    raise
                continue
            if part >= 1.0:
                return found
            reached, part = part, min(1.0, part * ratio)
            start = found.density, found.potential

    def _newton_from(self, start: Start, u: np.ndarray, tau: float, **options: Any) -> Found:
        try:
            return self._newton.solve(u, tau, start, **options)
        finally:
            self.iterations += self._newton.iterations
