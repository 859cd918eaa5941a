"""T Δρ + ΔP(ρ): diffusion whose strength depends on the density.

With Π the L² projection to the density's space and K the interior-penalty matrix of −Δ,

    M du/ds = −K (T u + Π P(u)) ,

so that (du/ds, ΠP(u)) = −ΠP·K ΠP <= 0: ∫ Φ(u) with Φ' = P falls, at every degree, as P is
monotone, and mass is conserved as in linear diffusion. ddpde's time integrators solve this part
implicitly: Newton, with the Jacobian K D, D the cells' projections of P'(u).
"""

from __future__ import annotations

import numpy as np
from dolfinx import la
from petsc4py import PETSc

from ddpde.flow.diffusion import Diffusion, NeighbourMatrix, stiffness_blocks
from ddpde.problem import InternalEnergy
from ddpde.space import Facets, Space


class PressureDiffusion:
    """The rate of loss of density, and its Jacobian; coefficients (owned cells, nd)."""

    def __init__(
        self,
        space: Space,
        facets: Facets,
        linear: Diffusion,
        internal: InternalEnergy,
        temperature: float,
    ) -> None:
        self._space, self._linear = space, linear
        self._internal, self._temperature = internal, temperature
        self._rule = space.quadrature(4 * space.degree)
        self._basis = self._rule.basis(space.degree)
        self._products = np.einsum("qi,qj->qij", self._basis, self._basis)
        self._rows, self._columns, blocks = stiffness_blocks(space, facets, bent=linear.bent)
        self._blocks = space.divide_by_mass(blocks, self._rows)
        self._jacobian = NeighbourMatrix(
            space.comm, space.local_shape, self._rows, space.global_cells[self._columns]
        )
        nd = space.local_shape[1]
        cells = space.mesh.topology.index_map(space.tdim)
        self._slopes = la.vector(cells, bs=nd * nd, dtype=np.float64)

    def energy(self, u: np.ndarray) -> float:
        """∫ h(ρ) over this rank's cells."""
        return float((self._rule.weights * self._internal.value(u @ self._basis.T)).sum())

    def rate(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K (T u + Π P(u))."""
        pressure = self._rule.weights * self._internal.pressure(u @ self._basis.T)
        projected = self._space.divide_by_mass(pressure @ self._basis)
        return self._linear.apply(self._temperature * u + projected)

    def solver(self) -> PETSc.KSP:
        return self._jacobian.solver(self._space.tdim)

    def jacobian(self, u: np.ndarray) -> PETSc.Mat:
        """∂rate/∂u; always the same sparse matrix, filled anew."""
        n_cells, nd = u.shape
        slope = self._rule.weights * self._internal.pressure_slope(u @ self._basis.T)
        projected = self._space.divide_by_mass(np.tensordot(slope, self._products, axes=1))
        projected += self._temperature * np.eye(nd)
        self._slopes.array[: n_cells * nd * nd] = projected.ravel()
        self._slopes.scatter_forward()
        slopes = self._slopes.array.reshape(-1, nd, nd)
        return self._jacobian.fill(np.matmul(self._blocks, slopes[self._columns]))
