"""Dynamic JKO steps on the vertices of a mesh: W₂ as the least action of a path between."""

from __future__ import annotations

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.dynamic_newton import DynamicNewton, Found

INNER_STEPS = 4
_ROUNDING = 1e-10  # by which the free energy may rise


class DynamicProximal:
    """Implements `Proximal` with the action of paths of `inner_steps` inner steps."""

    iterations, residual = 0, 0.0
    latest: Found | None = None  # what Newton's method found in the latest step

    def __init__(self, flow: VertexFlow, inner_steps: int = INNER_STEPS) -> None:
        self._flow, self._newton = flow, DynamicNewton(flow, inner_steps)

    def __call__(
        self, u: np.ndarray, tau: float, potential: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """argmin from densities u (n,), of the same mass to rounding; F_T has a `potential` more.

        SolverError where it is not found, or F_T would rise.
        """
        flow, m = self._flow, self._flow.masses
        self.latest = found = self._newton.solve(u, tau, potential)
        self.iterations, self.residual = found.iterations, found.residual
        wanted, kept = sum_over_ranks(flow.comm, np.array([m @ u, m @ found.density]))
        density = found.density * (wanted / kept)  # what is left of the residual
        before, after = flow.free_energy(u), flow.free_energy(density)
        if not after <= before + _ROUNDING * max(1.0, abs(before)):
            raise SolverError(
                f"a JKO step of {tau:.3g} ended in no minimum: the free energy would rise from "
                f"{before:.6g} to {after:.6g}",
                "take a smaller dt, or a finer mesh",
            )
        return density

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._newton.close()
