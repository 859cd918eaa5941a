"""∇·(ρ ∇φ): discontinuous Galerkin with upwind fluxes, without flux through the boundary.

φ is continuous, its normal slope on a facet is the mean of both sides, and mass leaves the cell
it flows out of: exactly conservative, and stable at temperature zero. Dense products over all
cells at once; nothing is compiled, nothing loops.
"""

from __future__ import annotations

import basix.ufl
import numpy as np

from ddpde.space import Facets, Space
from ddpde.space.quadrature import tabulate


class Transport:
    """Moments of ∇·(ρ ∇φ) against the density's basis, for the potential last set."""

    def __init__(self, space: Space, facets: Facets) -> None:
        self._facets, self._n_owned = facets, space.n_cells
        self._dofs = space.potential_dofs
        rule = space.quadrature(3 * space.degree, ghosts=True)
        self._phi = rule.basis(space.degree)
        slopes = tabulate(rule.element(space.degree), rule.reference, derivatives=1)[1]
        self._slopes = np.concatenate(slopes)  # (tdim · q, nd)
        lagrange = basix.ufl.element("Lagrange", space.cell, space.degree + 1)
        potential_slopes = tabulate(lagrange, rule.reference, derivatives=1)[1]
        self._potential_slopes = np.concatenate(potential_slopes)
        self._metric = rule.metric() * rule.reference_weights[:, None, None]
        self._coupled = np.abs(self._metric).max(axis=(0, 1)) > 1e-14 * np.abs(self._metric).max()
        self._trace = facets.basis(space.degree)[0]
        self._normal_slopes = facets.lagrange_gradients(space.degree + 1)
        self._flux_weights = facets.weights.ravel()[facets.first]

    def set_potential(self, nodal: np.ndarray) -> None:
        """φ by its values (n_nodes,) at the potential's nodes, ghosts included."""
        local = nodal[self._dofs]
        cells, tdim = len(local), self._metric.shape[-1]
        slope = (local[: self._n_owned] @ self._potential_slopes.T).reshape(self._n_owned, tdim, -1)
        # −√g g^{ab} ∂_b φ w, the drift in reference coordinates
        self._drift = np.zeros_like(slope)
        normal = np.zeros((cells, self._facets.per_cell))
        for a in range(tdim):
            for b in range(tdim):
                if self._coupled[a, b]:
                    self._drift[:, a] -= self._metric[: self._n_owned, :, a, b] * slope[:, b]
            normal += self._facets.conormal[:, :, a] * (local @ self._normal_slopes[a].T)
        flat = normal.ravel()
        # from the first side to the second; each side's slope is along its own outward normal
        speed = -0.5 * (flat[self._facets.first] - flat[self._facets.second])
        speed *= self._flux_weights
        self._forward, self._backward = np.maximum(speed, 0.0), np.minimum(speed, 0.0)

    def moments(self, u: np.ndarray) -> np.ndarray:
        """(owned cells, nd) from the coefficients u (owned and ghost cells, nd)."""
        owned = u[: self._n_owned]
        carried = self._drift * (owned @ self._phi.T)[:, None, :]
        out = carried.reshape(self._n_owned, -1) @ self._slopes
        traces = (u @ self._trace.T).ravel()
        flux = self._forward * traces[self._facets.first]
        flux += self._backward * traces[self._facets.second]
        through = np.zeros_like(traces)
        through[self._facets.first] = -flux
        through[self._facets.second] = flux
        out += through.reshape(len(u), -1)[: self._n_owned] @ self._trace
        return out
