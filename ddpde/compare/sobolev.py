"""The distance in H^{−p} between a cloud of particles and a law, at O(N + n)."""

from __future__ import annotations

import numpy as np
from dolfinx import mesh as dmesh

from ddpde.errors import ProblemError
from ddpde.space import Law, PointLoads, ScreenedPoisson, Space


class NegativeSobolev:
    """‖μ − ρ‖ with ‖ν‖² = ∫ ν (κ² − Δ)^{−p} ν: the maximum mean discrepancy of a Matérn kernel.

    In free space the kernel has smoothness p − d/2 and length 1/κ: in 1D (1 + κr) exp(−κr)/4κ³ with
    p = 2 and exp(−κr)/2κ with p = 1, in 2D r K₁(κr)/4πκ with p = 2, in 3D (1 + κr) exp(−κr)/32πκ³
    with p = 3. On the mesh it has no flux through the boundary: κ times the distance to it says
    how little that matters. Points and the law's mass are loaded on continuous elements of
    `degree`, whose linear system is factorised once; a cloud of N particles then costs O(N) and
    p/2 solves.

    `law` is that of rank 0, clouds are the same on all ranks, the mesh any (it need not be the
    law's) that holds all particles, in cells shorter than 1/κ. Default p: the least with smoothness
    1, for an error of second order in the mesh; with less it is of first order, and where p ≤ d/2 a
    point has infinite energy.
    Raises ProblemError for p ≤ d/2 or no law, MeshError for particles outside.
    """

    def __init__(
        self,
        law: Law | None,
        mesh: dmesh.Mesh,
        *,
        kappa: float = 1.0,
        power: int | None = None,
        degree: int = 2,
    ) -> None:
        dim = mesh.geometry.dim
        power = (dim + 3) // 2 if power is None else power
        if not power > dim / 2:
            raise ProblemError(
                f"power = {power} in {dim}D: a point has infinite energy",
                f"take power >= {dim // 2 + 1}",
            )
        if not (kappa > 0 and np.isfinite(kappa)):
            raise ProblemError(f"kappa = {kappa}: must be positive")
        if degree < 1:
            raise ProblemError(f"degree = {degree}: must be at least 1")
        given = mesh.comm.bcast(None if law is None else law.points())
        if given is None:
            raise ProblemError("law = None", "rank 0 needs the law; other ranks have none")
        space = Space(mesh, degree - 1)
        self._power = power
        self._loads = PointLoads(space)
        self._solver = ScreenedPoisson(space, kappa)
        self._law = self._loads(*given)

    def __call__(self, cloud: np.ndarray) -> float:
        """Distance of equally weighted particles (N, k) to the law; collective."""
        load = self._loads(cloud, np.full(len(cloud), 1.0 / len(cloud))) - self._law
        return float(np.sqrt(max(self._solver.quadratic(load, self._power), 0.0)))
