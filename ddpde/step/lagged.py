"""Lagged H⁻¹ JKO steps on the vertices of a mesh."""

from __future__ import annotations

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.lagged_newton import Found, LaggedNewton

Start = tuple[np.ndarray, np.ndarray]  # density and potential

_SHORTER = 4.0  # factor between the steps of a continuation in τ
_MOST_SHORTER = 5


class LaggedProximal:
    """Implements `Proximal` with the norm of H⁻¹ weighted by the new density."""

    iterations, residual = 0, 0.0

    def __init__(self, flow: VertexFlow, *, upwind: bool = False) -> None:
        self._flow, self._newton = flow, LaggedNewton(flow, upwind=upwind)
        self._phi: np.ndarray | None = None

    def __call__(self, u: np.ndarray, tau: float) -> np.ndarray:
        """argmin from densities u (n,), of the same mass to rounding."""
        start = (u, self._phi) if self._phi is not None else self._newton.first_guess(u)
        found = self._found(u, tau, start)
        self._phi, self.residual = found.potential, found.residual
        density, m = np.maximum(found.density, 0.0), self._flow.masses  # −0 by rounding
        wanted, kept = sum_over_ranks(self._flow.comm, np.array([m @ u, m @ density]))
        return density * (wanted / kept)  # what is left of the residual

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._newton.close()

    def _found(self, u: np.ndarray, tau: float, first: Start) -> Found:
        """The step solved; where Newton fails, upwind and by continuation from a shorter one."""
        start, depth, self.iterations, upwind = first, 0, 0, False
        while True:
            try:
                found = self._newton.solve(u, tau / _SHORTER**depth, start, upwind)
            except SolverError:
                depth, upwind = depth + upwind, True
                start = first
                if depth > _MOST_SHORTER:
                    raise
                continue
            self.iterations += found.iterations
            if depth == 0:
                return found
            depth -= 1
            start = found.density, found.potential
