"""−Δ by the interior penalty of `diffusion.py`, solved for through unknowns on the facets alone.

With λ on the interior facets, one polynomial of degree p each, and τ twice the penalty, the form

    Σ_K ∫_K ∇u·∇v − ∫_∂K (∂_n u (v − μ) + (u − λ) ∂_n v − τ (u − λ)(v − μ))

couples cells through λ only. Without λ, which is eliminated facet by facet, it is the interior
penalty in u, *bent* (IP-H of Cockburn, Gopalakrishnan & Lazarov, SIAM J. Numer. Anal. 47, 2009). To
solve, u is eliminated cell by cell instead, with dense products that cells of one shape share; what
is left is symmetric, positive definite, and smaller the higher the degree: 8 unknowns a facet in
place of 36 a triangle with p = 7.
"""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.diffusion import (
    NeighbourMatrix,
    direct,
    inside_blocks,
    iterative,
    mass_blocks,
    penalties,
)
from ddpde.flow.skeleton import Skeleton
from ddpde.space import Facets, Space

_SAME = 1e-12  # shifts nearer than this are those of one time step, but for rounding
_KEYS = 2.0**40  # numbers of cells that differ by less than 1/_KEYS of the largest are the same


class CondensedDiffusion:
    """`Diffusion` on any mesh, on any number of ranks.

    On surfaces and in the plane complete factors, made when the shift changes, are the cheapest; in
    space, where they fill up, conjugate gradients with incomplete ones, unless these need too many
    iterations.
    """

    bent = True

    def __init__(self, space: Space, facets: Facets) -> None:
        self._space = space
        self._skeleton = skeleton = Skeleton(space, facets)
        strength = np.zeros(facets.weights.size)
        strength[facets.first] = strength[facets.second] = 2.0 * penalties(space, facets)[:, None]
        self._shapes = _Shapes(space, facets, skeleton, strength.reshape(facets.weights.shape))
        self._form(facets, strength.reshape(facets.weights.shape))
        self._matrix = NeighbourMatrix(
            space.comm, (skeleton.count, skeleton.size), skeleton.rows, skeleton.columns
        )
        self._x, self._b = self._matrix.matrix.createVecs()
        self._ksp = (direct if space.tdim < 3 else iterative)(self._matrix.matrix)
        self._current = (0.0, 0.0)
        self._integrals = space.cell_means[0]
        self._volume = sum_over_ranks(space.comm, np.array([(self._integrals * space.one).sum()]))

    def _form(self, facets: Facets, strength: np.ndarray) -> None:
        """The blocks of the form of one cell of each shape, and the facets' own."""
        space, skeleton, chosen = self._space, self._skeleton, self._shapes.chosen
        n, nd = len(chosen), space.local_shape[1]
        sides = skeleton.per_cell, facets.first.shape[1]
        values, gradients = facets.basis(space.degree)
        weights, strength = facets.weights[chosen], strength[chosen]
        # no flux, and no unknowns, on the boundary
        weights = weights * np.repeat(skeleton.inner[chosen], sides[1], axis=1)
        conormal = facets.conormal[chosen]
        slope = sum(conormal[:, :, a, None] * gradients[a] for a in range(space.tdim))
        half = (0.5 * weights * strength)[..., None] * values - weights[..., None] * slope
        own = np.matmul(values.T, half)
        self._inside = inside_blocks(space, chosen) + own + own.swapaxes(1, 2)
        self._mass = mass_blocks(space, chosen)

        def by_facet(slots: np.ndarray) -> np.ndarray:
            """(n, facets of a cell, points, …)"""
            return slots.reshape(n, *sides, slots.shape[2])

        across = weights[..., None] * (slope - strength[..., None] * values)
        basis = by_facet(skeleton.basis[chosen])
        coupling = np.matmul(by_facet(across).swapaxes(2, 3), basis)
        coupling = coupling.swapaxes(1, 2).reshape(n, nd, skeleton.per_cell * skeleton.size)
        own = np.matmul(basis.swapaxes(2, 3), by_facet((weights * strength)[..., None]) * basis)
        self._penalty = skeleton.sums(self._shapes.of_cells(own))
        self._eliminated = np.linalg.inv(self._penalty)
        self._coupling = coupling.swapaxes(1, 2).copy()
        self._both = np.concatenate([self._inside, coupling], axis=2)

    @property
    def factorises(self) -> bool:
        return self._ksp.getType() == PETSc.KSP.Type.PREONLY

    def apply(self, u: np.ndarray) -> np.ndarray:
        out, sides = self._split(u, self._both)
        unknowns = self._facet_values(self._skeleton.sums(sides))
        out -= self._shapes.product(self._skeleton.spread(unknowns), self._coupling)
        rate = self._space.divide_by_mass(out)
        return rate - self._mean(rate)  # what rounding made of the total flux, which is zero

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        old_shift, old_factor = self._current
        if abs(shift - old_shift) > _SAME * shift or factor != old_factor:
            self._factorise(shift, factor)
            self._current = (shift, factor)
        u, sides = self._split(b, self._into)
        self._b.setArray(self._skeleton.sums(sides).ravel())
        if not self.factorises:
            start = self._skeleton.sums(self._split(b, self._both)[1])
            self._x.setArray(self._facet_values(start).ravel() / shift)
        self._ksp.solve(self._b, self._x)
        if self._ksp.getConvergedReason() < 0 and not self.factorises:
            self._ksp.destroy()
            self._ksp = direct(self._matrix.matrix)
            self._ksp.solve(self._b, self._x)
        if self._ksp.getConvergedReason() < 0:
            raise SolverError(
                f"the linear solver of the diffusion failed "
                f"(reason {self._ksp.getConvergedReason()})",
                "take a mesh of better shape",
            )
        unknowns = self._x.getArray(readonly=True).reshape(-1, self._skeleton.size)
        u += self._shapes.product(self._skeleton.spread(unknowns), self._back)
        # K takes no mass, but the error of a solve does; cell by cell the difference is small, and
        # its sum loses no digits
        return u + self._mean(b / shift - u)

    def _mean(self, u: np.ndarray) -> np.ndarray:
        """The mean of u, everywhere."""
        total = np.array([(self._integrals * u).sum()])
        return sum_over_ranks(self._space.comm, total) / self._volume * self._space.one

    def _factorise(self, shift: float, factor: float) -> None:
        """Blocks through which u = into·b + back·λ, and the system for −λ."""
        coupling = factor * self._coupling
        inverse = np.linalg.inv(shift * self._mass + factor * self._inside)
        self._back = np.matmul(coupling, inverse)
        both = np.concatenate([inverse, self._back.swapaxes(1, 2)], axis=2)
        self._into = np.matmul(self._mass, both)
        condensed = np.matmul(self._back, coupling.swapaxes(1, 2))
        blocks = -self._skeleton.assembled(self._shapes.of_cells(condensed))
        blocks[self._skeleton.diagonal] += factor * self._penalty
        matrix = self._matrix.fill(blocks)
        matrix.setOption(PETSc.Mat.Option.SPD, True)
        self._ksp.setOperators(matrix)

    def _split(self, u: np.ndarray, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The product of u with blocks that go to the cells (n_cells, nd), and to their sides."""
        found, nd = self._shapes.product(u, blocks), u.shape[1]
        sides = len(u), self._skeleton.per_cell, self._skeleton.size
        return found[:, :nd].copy(), found[:, nd:].reshape(sides)

    def _facet_values(self, moments: np.ndarray) -> np.ndarray:
        """(count, m) divided by the penalty."""
        return np.matmul(self._eliminated, moments[:, :, None])[:, :, 0]


class _Shapes:
    """Cells that share their blocks: `chosen` (k,), one cell of each shape."""

    def __init__(
        self, space: Space, facets: Facets, skeleton: Skeleton, strength: np.ndarray
    ) -> None:
        n = space.n_cells
        shape_of = np.arange(n)
        if facets.jacobian.shape[1] == 1 and n:
            q = facets.first.shape[1]
            # how a facet's two sides are turned to each other is seen in its polynomials
            mixed = np.cos(np.arange(q)) @ skeleton.basis[:n].reshape(n, -1, q, skeleton.size)
            parts = facets.jacobian[:n], strength[:n, ::q], mixed
            scaled = [
                part.reshape(n, -1) / max(np.abs(part).max(), np.finfo(float).tiny)
                for part in parts
            ]
            keys = np.rint(_KEYS * np.hstack(scaled)).astype(np.int64)
            shape_of = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
        counts = np.bincount(shape_of)
        order = np.argsort(counts, kind="stable")
        rank = np.argsort(order, kind="stable")
        self._shape_of = rank[shape_of]
        cells, counts = np.argsort(self._shape_of, kind="stable"), counts[order]
        starts = np.concatenate([[0], np.cumsum(counts)])
        self.chosen = cells[starts[:-1]]
        # shapes of equally many cells are multiplied at once
        self._batches = []
        for count in np.unique(counts):
            shapes = slice(*np.searchsorted(counts, [count, count + 1]))
            members = cells[starts[shapes.start] : starts[shapes.stop]]
            self._batches.append((shapes, members.reshape(-1, count)))

    def of_cells(self, blocks: np.ndarray) -> np.ndarray:
        """(n_cells, …) from (k, …)."""
        return blocks[self._shape_of]

    def product(self, u: np.ndarray, blocks: np.ndarray) -> np.ndarray:
        """u (n_cells, a) times the blocks (k, a, b), cell by cell."""
        out = np.empty((len(u), blocks.shape[2]))
        for shapes, cells in self._batches:
            out[cells] = np.matmul(u[cells], blocks[shapes])
        return out
