"""The lagged H⁻¹ step of Cancès, Gallouët & Todeschi (2020)."""

from __future__ import annotations

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.errors import ProblemError, SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.jko.inner import Found, InnerProblem

_SHORTER = 4.0  # factor between the steps of a continuation in τ
_MOST_SHORTER = 5


class Lagged:
    """Implements `Proximal`: one inner step, its mobility centred or upwind.

    Raises ProblemError for terms that it does not know.
    """

    def __init__(self, flow: VertexFlow, *, upwind: bool = False) -> None:
        problem = flow.problem
        if problem.temperature == 0 or problem.birth_death > 0 or problem.internal is not None:
            raise ProblemError(
                "lagged JKO steps need a positive temperature, and know neither birth and death "
                "nor an internal energy",
                'take another method, such as "auto"',
            )
        self._flow = flow
        self._inner = InnerProblem(flow, upwind=upwind)
        self._phi: np.ndarray | None = None
        self.iterations, self.residual = 0, 0.0

    def __call__(self, u: np.ndarray, tau: float) -> np.ndarray:
        """The next densities (n,), of the mass of u (n,) to rounding."""
        if self._phi is None:
            self._phi = self._inner.first_guess(u)[:, None]
        found = self._found(u, tau)
        self._phi, self.residual = found.potentials, found.residual
        density, m = found.densities[:, -1], self._flow.masses
        wanted, kept = sum_over_ranks(self._flow.comm, np.array([m @ u, m @ density]))
        return density * (wanted / kept)  # what is left of the residual

    def close(self) -> None:
        self._inner.close()

    def _found(self, u: np.ndarray, tau: float) -> Found:
        """The inner problem solved; where Newton fails, by continuation from a shorter step."""
        assert self._phi is not None
        start, phi = u[:, None], self._phi
        depth, climbing = 0, False
        self.iterations = 0
        while True:
            try:
                found = self._inner.solve(u, tau / _SHORTER**depth, (start, phi))
            except SolverError:
                if climbing or depth == _MOST_SHORTER:
                    raise
                depth += 1
                continue
            climbing = True
            self.iterations += found.iterations
            if depth == 0:
                return found
            depth -= 1
            start, phi = found.densities, found.potentials
