"""Unknowns on the interior facets of a mesh, a few polynomials each, on any number of ranks.

A *side* is a facet as one cell sees it, numbered (cell, local facet). Arrays on sides are
(cells, facets of a cell · m); those on facets (own facets, m), where a facet belongs to the rank
that owns the cell that leads: that of the lesser global number.
"""

from __future__ import annotations

import numpy as np
from dolfinx import la
from scipy import sparse

from ddpde.space import Facets, Space


class Skeleton:
    """Attributes: per_cell, facets of a cell; size, m; inner (owned and ghost cells, per_cell),
    whether a cell faces another there; basis (owned and ghost cells, slots of a cell, m), the
    polynomials of a facet in the slots of both its sides, zero on the boundary; count, facets of
    this rank; rows (b,), columns (b,) of the pairs of facets that share a cell, own and global
    numbers, each pair once; diagonal (count,), where among these a facet is paired with itself.
    """

    def __init__(self, space: Space, facets: Facets) -> None:
        self._comm, self._n_owned = space.comm, space.n_cells
        q = facets.first.shape[1]
        self.per_cell = per_cell = facets.per_cell // q
        polynomials = facets.polynomials(space.degree)
        self.size = polynomials.shape[1]
        self._cells = space.mesh.topology.index_map(space.tdim)
        sides = np.stack([facets.first[:, 0], facets.second[:, 0]], axis=1) // q
        keys = space.global_cells[sides // per_cell] * per_cell + sides % per_cell
        swapped = keys[:, 0] > keys[:, 1]
        self._sides = np.where(swapped[:, None], sides[:, ::-1], sides)
        lead = np.where(swapped[:, None], facets.second, facets.first)
        n_cells = len(space.global_cells)
        basis = np.zeros((n_cells * facets.per_cell, self.size))
        basis[facets.first] = basis[facets.second] = polynomials[lead % q]
        self.basis = basis.reshape(n_cells, facets.per_cell, self.size)
        inner = np.zeros(n_cells * per_cell, dtype=bool)
        inner[sides] = True
        self.inner = inner.reshape(n_cells, per_cell)
        own = self._sides[:, 0] < space.n_cells * per_cell
        self._own = self._sides[own]
        self.count = len(self._own)
        self._vectors: dict[int, la.Vector] = {}
        self._number()

    def _number(self) -> None:
        """Pairs of facets, and where the blocks of the cells belong among them."""
        first = self._comm.exscan(self.count) or 0
        table = np.full((len(self.inner) * self.per_cell, 1), -1.0)
        table[self._own[:, 0], 0] = first + np.arange(self.count)
        table = self._shared(table)
        table[self._sides[:, 1]] = table[self._sides[:, 0]]
        numbers = self._shared(table).astype(np.int64).reshape(-1, self.per_cell)
        columns = numbers[self._own.T // self.per_cell]  # (2, count, per_cell)
        used = columns >= 0
        rows = np.broadcast_to(np.arange(self.count)[:, None], columns.shape)[used]
        sources = self._own.T[:, :, None] * self.per_cell + np.arange(self.per_cell)
        total = self._comm.allreduce(self.count)
        pairs, places = np.unique(rows * total + columns[used], return_inverse=True)
        self._adding = sparse.csr_array(
            (np.ones(len(places)), (places, sources[used])),
            shape=(len(pairs), self.inner.size * self.per_cell),
        )
        self.rows, self.columns = np.divmod(pairs, max(total, 1))
        self.diagonal = np.flatnonzero(self.columns == first + self.rows)

    def sums(self, sides: np.ndarray) -> np.ndarray:
        """Both sides of each own facet (count, …) added up, from (owned cells, per_cell, …)."""
        shape = sides.shape[2:]
        table = self._shared(sides.reshape(len(sides) * self.per_cell, int(np.prod(shape))))
        return (table[self._own[:, 0]] + table[self._own[:, 1]]).reshape(self.count, *shape)

    def spread(self, unknowns: np.ndarray) -> np.ndarray:
        """(owned cells, per_cell · m) on both sides, zero on the boundary, from (count, m)."""
        table = np.zeros((self.inner.size, self.size))
        table[self._own[:, 0]] = unknowns
        table = self._shared(table)
        table[self._sides[:, 1]] = table[self._sides[:, 0]]
        owned = self._n_owned, self.per_cell * self.size
        return table[: self._n_owned * self.per_cell].reshape(owned)

    def assembled(self, blocks: np.ndarray) -> np.ndarray:
        """Blocks (b, m, m) of the pairs, from the cells' (owned cells, per_cell·m, per_cell·m)."""
        m, n = self.size, self.per_cell
        parts = blocks.reshape(-1, n, m, n, m).swapaxes(2, 3).reshape(-1, n * m * m)
        found = self._adding @ self._shared(parts).reshape(-1, m * m)
        return found.reshape(-1, m, m)

    def _shared(self, table: np.ndarray) -> np.ndarray:
        """A table on the sides (cells · per_cell, …), with what ghost cells have on their ranks;
        its rows for these may be missing."""
        if self._comm.size == 1:
            return table
        width = self.per_cell * table.shape[1]
        vector = self._vectors.get(width)
        if vector is None:
            vector = la.vector(self._cells, bs=width, dtype=np.float64)
            self._vectors[width] = vector
        vector.array[: table.size] = table.ravel()
        vector.scatter_forward()
        return vector.array.reshape(self.inner.size, table.shape[1]).copy()
