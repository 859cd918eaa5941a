"""∇·(ρ ∇φ): discontinuous Galerkin with upwind fluxes, without flux through the boundary.

φ is continuous, its normal slope on a facet is the mean of both sides, and mass leaves the cell
it flows out of: exactly conservative, and stable at temperature zero. Dense products over all
cells at once; nothing is compiled, nothing loops.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddpde.space import Facets, Space
from ddpde.space.quadrature import lagrange, tabulate

_BLOCK = 100_000  # numbers in a block of cells' temporaries, which should stay in the cache
_SAME = 1e-12  # relative difference of cells of a uniform mesh


@dataclass(frozen=True, eq=False)
class Velocity:
    """A velocity v where transport needs it.

    inside (owned cells, tdim, q): √g J⁻¹ v at the points of `Transport.rule`; normal (owned and
    ghost cells, per_cell): v·n in the facets' slots, n outward.
    """

    inside: np.ndarray
    normal: np.ndarray


class Transport:
    """Moments of ∇·(ρ ∇φ) against the density's basis, for the potential last set."""

    def __init__(self, space: Space, facets: Facets) -> None:
        self._facets, self._n_owned = facets, space.n_cells
        # `take` is slow with short integers
        self._dofs, self._n_nodes = space.potential_dofs.astype(np.intp), len(space.nodes)
        self.rule = rule = space.quadrature(space.transport_degree, ghosts=True)
        slopes = tabulate(rule.element(space.degree), rule.reference, derivatives=1)[1]
        self._slopes = np.concatenate(slopes)  # (tdim · q, nd)
        self._trace = facets.basis(space.degree)[0]
        self._values = np.concatenate([rule.basis(space.degree), self._trace]).T.copy()
        potential = lagrange(space.cell, space.degree + 1)
        inside = tabulate(potential, rule.reference, derivatives=1)[1]
        at_facets = facets.lagrange_gradients(space.degree + 1)
        metric = rule.metric()  # √g g^{ab}, of one value in affine cells
        self._affine = metric.shape[1] == 1
        self._metric = metric[:, 0] if self._affine else metric.transpose(0, 2, 3, 1).copy()
        self._conormal = facets.conormal.transpose(0, 2, 1).copy()
        weighted = -rule.reference_weights[:, None] * inside
        self._alike = self._affine and _alike(self._metric) and _alike(self._conormal)
        if self._alike:  # products give the drift and the normal slopes themselves
            drift = np.einsum("ab,bqi->aqi", self._metric[0], weighted)
            normal = np.einsum("as,asi->si", self._conormal[0], at_facets)
            self._to_drift, self._to_normal = np.concatenate(drift).T.copy(), normal.T.copy()
        # one product gives all slopes of the potential, (ng, tdim · q + tdim · slots)
        self._potential_slopes = np.concatenate([*weighted, *at_facets]).T.copy()
        self._apart = facets.first - facets.second
        self._flux_weights = -0.5 * facets.weights.ravel()[facets.first]
        tdim, cells = len(inside), len(self._dofs)
        self._drift = np.zeros((self._n_owned, tdim, inside.shape[1]))
        self._normal = np.empty((cells, facets.per_cell))
        self._traces = np.empty((cells, facets.per_cell))
        self._through = np.zeros((cells, facets.per_cell))  # no flux where no facet faces
        step = max(1, _BLOCK // self._potential_slopes.shape[1])
        self._blocks = [slice(i, min(i + step, cells)) for i in range(0, cells, step)]

    def set_potential(self, nodal: np.ndarray, besides: Velocity | None = None) -> None:
        """φ by its values (n_nodes,) at the potential's nodes, ghosts included.

        besides: a velocity that is no gradient, added to −∇φ.
        """
        tdim, q = self._drift.shape[1:]
        for block in self._blocks:
            local, drift = nodal.take(self._dofs[block]), self._drift[block]
            owned = len(drift)
            if self._alike:
                np.matmul(local[:owned], self._to_drift, out=drift.reshape(owned, tdim * q))
                np.matmul(local, self._to_normal, out=self._normal[block])
                continue
            slopes = local @ self._potential_slopes
            at_facets = slopes[:, tdim * q :].reshape(-1, tdim, self._facets.per_cell)
            np.einsum("cas,cas->cs", self._conormal[block], at_facets, out=self._normal[block])
            # the drift in reference coordinates, −√g g^{ab} ∂_b φ w
            metric, inside = self._metric[block][:owned], slopes[:owned, : tdim * q]
            product = "cab,cbq->caq" if self._affine else "cabq,cbq->caq"
            np.einsum(product, metric, inside.reshape(owned, tdim, q), out=drift)
        if besides is not None:
            self._drift += besides.inside * self.rule.reference_weights
            self._normal -= besides.normal
        flat, first, second = self._normal.ravel(), self._facets.first, self._facets.second
        # from the first side to the second; each side's slope is along its own outward normal
        self._speed = flat.take(first)
        self._speed -= flat.take(second)
        self._speed *= self._flux_weights
        # either side, without a branch
        self._upwind = (self._speed > 0.0) * self._apart
        self._upwind += second

    def moments(self, u: np.ndarray) -> np.ndarray:
        """(owned cells, nd) from the coefficients u (owned and ghost cells, nd)."""
        out = np.empty((self._n_owned, u.shape[1]))
        tdim, q = self._drift.shape[1:]  # a block may hold ghosts alone
        for block in self._blocks:
            values = u[block] @ self._values
            drift = self._drift[block]
            carried = drift * values[: len(drift), None, :q]
            np.matmul(carried.reshape(len(drift), tdim * q), self._slopes, out=out[block])
            self._traces[block] = values[:, q:]
        flux = self._traces.ravel().take(self._upwind)
        flux *= self._speed
        through = self._through.reshape(-1)
        through[self._facets.second] = flux
        np.negative(flux, out=flux)
        through[self._facets.first] = flux
        for block in self._blocks:
            here = out[block]
            here += self._through[block][: len(here)] @ self._trace
        return out

    def transposed(self, v: np.ndarray) -> np.ndarray:
        """∂/∂u of ∫ v ∇·(ρ ∇φ), (owned cells, nd), for v (owned and ghost cells, nd).

        The exact transpose of `moments`: in a smooth v, the moments of −∇φ·∇v.
        """
        q = self._drift.shape[2]
        slope = (v[: self._n_owned] @ self._slopes.T).reshape(self._drift.shape)
        out = (self._drift * slope).sum(axis=1) @ self._values[:, :q].T
        back = np.zeros(v.shape[0] * self._facets.per_cell)
        back[self._upwind] = self._speed * self._jump(v)
        return out + back.reshape(len(v), -1)[: self._n_owned] @ self._trace

    def by_potential(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """∂/∂φ of ∫ v ∇·(ρ ∇φ), (n_nodes,): minus the moments of ρ ∇v in a smooth v.

        u and v (owned and ghost cells, nd). The directions of flow are held; ghost nodes hold
        this rank's part.
        """
        n, q = self._n_owned, self._drift.shape[2]
        slope = (v[:n] @ self._slopes.T).reshape(self._drift.shape)
        carried = slope * (u[:n] @ self._values[:, :q])[:, None, :]
        product = "cab,caq->cbq" if self._affine else "cabq,caq->cbq"
        inside = np.zeros((len(u), *carried.shape[1:]))
        np.einsum(product, self._metric[:n], carried, out=inside[:n])
        # what leaves a cell for another rank's counts there
        tested = np.concatenate([v[:n], np.zeros_like(v[n:])])
        flux = self._flux_weights * (u @ self._trace.T).ravel().take(self._upwind)
        flux *= self._jump(tested)
        normal = np.zeros(len(u) * self._facets.per_cell)
        normal[self._facets.first], normal[self._facets.second] = flux, -flux
        at_facets = self._conormal * normal.reshape(len(u), 1, -1)
        slopes = [inside.reshape(len(u), -1), at_facets.reshape(len(u), -1)]
        local = np.hstack(slopes) @ self._potential_slopes.T
        return np.bincount(self._dofs.ravel(), weights=local.ravel(), minlength=self._n_nodes)

    def _jump(self, v: np.ndarray) -> np.ndarray:
        """Second side minus first on every facet's points."""
        traces = (v @ self._trace.T).ravel()
        return traces.take(self._facets.second) - traces.take(self._facets.first)


def _alike(cells: np.ndarray) -> bool:
    """Whether an array (n_cells, …) has the same numbers in all cells, but for rounding."""
    return bool(len(cells)) and np.ptp(cells, axis=0).max() <= _SAME * np.abs(cells).max()
