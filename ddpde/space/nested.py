"""Triangles and tetrahedra refined where the law is, by bisection of edges (Plaza & Carey 2000).

Every mesh is made from the user's, the base, in rounds: the cells that are still too large are
split, and what conformity asks for with them. A point's cell is found by going down the rounds
from its base cell, so that two meshes of one base meet without any search, rank by rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from dolfinx import geometry
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.space.decay import degrees, next_coefficients
from ddpde.space.quadrature import legendre, tabulate
from ddpde.space.spaces import Space

_CHUNK = 10_000_000  # basis values at a time
_CHILDREN_BITS = 3  # a round splits a cell into eight at most


class _Round:
    """The owned cells of one mesh in a sequence, and where they come from.

    origin (n, d), inverse (n, d, d): ξ = inverse (x − origin); centres (n, d); volumes (n,), in
    reference cells; roots (n,): each cell's base cell; keys (n,): a number for each cell that does
    not depend on the ranks. children (n,), first (parents + 1,): the cells ordered by their
    parents in the round before, and where each one's begin.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        roots: np.ndarray,
        keys: np.ndarray,
        children: np.ndarray,
        first: np.ndarray,
    ) -> None:
        self.mesh, self.roots, self.keys = mesh, roots, keys
        self._children, self._first = children, first
        corners = _corners(mesh)
        edges = np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)
        self.origin, self.inverse = corners[:, 0], np.linalg.inv(edges)
        self.centres = corners.mean(axis=1)
        self.volumes = np.abs(np.linalg.det(edges))

    @classmethod
    def base(cls, mesh: dmesh.Mesh) -> _Round:
        """The user's mesh."""
        count = mesh.topology.index_map(mesh.topology.dim).size_local
        keys, none = mesh.topology.original_cell_index[:count].copy(), np.empty(0, dtype=int)
        return cls(mesh, np.arange(count), keys, none, none)

    def refined(self, marked: np.ndarray) -> _Round:
        """The next round: the marked cells (k,) split in all their edges. Collective."""
        mesh, dim = self.mesh, self.mesh.topology.dim
        mesh.topology.create_entities(1)
        mesh.topology.create_connectivity(1, dim)
        mesh.topology.create_connectivity(dim, 1)
        edges = dmesh.compute_incident_entities(mesh.topology, marked.astype(np.int32), dim, 1)
        fine, parent_of_input, _ = dmesh.refine(mesh, edges)
        count = fine.topology.index_map(dim).size_local
        first = mesh.comm.exscan(count) or 0
        parents = parent_of_input[fine.topology.original_cell_index[:count] - first]
        # children in an order of their own: that of one linear functional of their centres
        heights = _corners(fine).mean(axis=1) @ np.array([1.0, 0.6180339887, 0.4142135624])[:dim]
        children = np.lexsort((heights, parents))
        counts = np.bincount(parents, minlength=len(self.volumes))
        starts = np.append(0, np.cumsum(counts))
        place = np.empty(count, dtype=int)
        place[children] = np.arange(count) - starts[parents[children]]
        keys = (self.keys[parents] << _CHILDREN_BITS) + place
        return _Round(fine, self.roots[parents], keys, children, starts)

    def reference(self, x: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Reference coordinates (n, d) of points x (n, d) in the given cells (n,)."""
        return np.matmul(self.inverse[cells], (x - self.origin[cells])[..., None])[..., 0]

    def down(self, x: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """Cells (n,) that hold the points x (n, d) of these cells (n,) of the round before."""
        first, counts = self._first[parents], np.diff(self._first)[parents]
        best, found = np.full(len(x), -np.inf), self._children[first]
        for j in range(counts.max(initial=0)):
            at = np.flatnonzero((counts > j) & (counts > 1))
            child = self._children[first[at] + j]
            local = self.reference(x[at], child)
            inside = np.minimum(local.min(axis=1), 1 - local.sum(axis=1))
            better = inside > best[at]
            best[at[better]], found[at[better]] = inside[better], child[better]
        return found


@dataclass(frozen=True, eq=False)
class NestedSimplices:
    """Implements `AdaptiveMesh`; a piece is a cell.

    asked (n,): the volume that was asked for where each cell is. Conformity may have made the cell
    smaller, which is not to be asked for the next time: refinement would creep over the mesh.
    """

    rounds: tuple[_Round, ...]
    asked: np.ndarray
    depth: int
    like: Space

    may_grow = False

    @classmethod
    def coarsest(cls, space: Space, depth: int) -> NestedSimplices | None:
        """From a mesh of straight simplices that fill their space; None for others."""
        flat = space.geometry_degree == 1 and space.gdim == space.tdim
        if space.cell not in ("triangle", "tetrahedron") or not flat or any(space.periods):
            return None
        base = _Round.base(space.mesh)
        return cls((base,), base.volumes, depth, space)

    @cached_property
    def space(self) -> Space:
        """The density's space on the present mesh."""
        space = Space(self._last.mesh, self.like.degree)
        space.original_cells = self._last.keys
        return space

    @property
    def gain(self) -> int:
        """A halved cell is 2^gain cells."""
        return self.like.tdim

    @property
    def room(self) -> np.ndarray:
        """How often each cell may still be halved."""
        first, last = self.rounds[0], self._last
        halved = np.log2(first.volumes[last.roots] / last.volumes) / self.gain
        return np.floor(self.depth - halved + 1e-6).astype(int)

    def errors(self, u: np.ndarray) -> np.ndarray:
        """Estimated L1 error in each cell, of the coefficients u (own cells, nd)."""
        cell, degree = self.like.cell, self.like.degree
        of = degrees(cell, degree)
        squares = np.stack([(u[:, of == k] ** 2).sum(axis=1) for k in range(degree + 1)], axis=1)
        masses, _ = self.space.cell_means
        return next_coefficients(cell, np.sqrt(squares) * masses[:, :1])

    def crowds(self, points: np.ndarray) -> np.ndarray:
        """The part of the points (n, d) in each cell."""
        first = self.rounds[0].mesh
        owned = np.arange(len(self.rounds[0].volumes), dtype=np.int32)
        tree = geometry.bb_tree(first, self.gain, entities=owned)
        padded = np.zeros((len(points), 3))
        padded[:, : self.gain] = points
        near = geometry.compute_collisions_points(tree, padded)
        hits = geometry.compute_colliding_cells(first, near, padded)
        some = np.flatnonzero(np.diff(hits.offsets))
        cells = self._locate(points[some], hits.array[hits.offsets[some]])
        return np.bincount(cells, minlength=len(self._last.volumes)) / len(points)

    def total(self, values: np.ndarray) -> float:
        """The sum over all cells."""
        return self.like.comm.allreduce(float(values.sum()))

    def cells(self, halvings: np.ndarray) -> float:
        """About how many cells `changed` would leave."""
        return self.total(2.0 ** (self.gain * halvings))

    def changed(self, halvings: np.ndarray) -> NestedSimplices:
        """The base refined until each cell has the size that the halvings of the cells ask for.

        This object where nothing changes.
        """
        old, comm = self._last, self.like.comm
        if not comm.allreduce(bool(halvings.any()), MPI.LOR):
            return self
        sized = old.volumes * 2.0 ** (-self.gain * halvings)
        wanted = np.where(halvings > 0, sized, np.maximum(self.asked, sized))
        # splitting all edges makes cells 2^gain times smaller: half way there is near enough
        slack = 1.01 * 2 ** (self.gain - 1)
        at, rounds = old.roots, [self.rounds[0]]
        while True:
            now = rounds[-1]
            least = np.full(len(now.volumes), np.inf)
            np.minimum.at(least, at, wanted)
            empty = np.flatnonzero(np.isinf(least))  # smaller than the old cell around them
            least[empty] = wanted[self._locate(now.centres[empty], now.roots[empty])]
            marked = np.flatnonzero(now.volumes > slack * least)
            if len(rounds) > self.depth + 2 or not comm.allreduce(len(marked)):
                break
            rounds.append(now.refined(marked))
            at = rounds[-1].down(old.centres, at)
        same = np.array_equal(rounds[-1].keys, old.keys) and len(rounds) == len(self.rounds)
        if comm.allreduce(same, MPI.LAND):
            return self
        return NestedSimplices(tuple(rounds), least, self.depth, self.like)

    def transfer(self, u: np.ndarray, new: NestedSimplices) -> np.ndarray:
        """The projection of the coefficients u, by quadrature in the new cells; mass is kept.

        Where a new cell meets several old ones the rule sees their jumps, which are as small as
        the error of the density itself; one factor then restores the mass.
        """
        degree, last = self.like.degree, self._last
        rule = new.space.quadrature(2 * degree + 2)
        cells, q = rule.weights.shape
        element, basis = legendre(self.like.cell, degree), rule.basis(degree)
        moments = np.empty((cells, u.shape[1]))
        step = max(1, _CHUNK // (q * u.shape[1]))
        for begin in range(0, cells, step):
            part = slice(begin, begin + step)
            x = rule.points[part].reshape(-1, self.gain)
            holding = self._locate(x, np.repeat(new._last.roots[part], q))
            values = tabulate(element, last.reference(x, holding))
            values = np.einsum("ni,ni->n", values, u[holding])
            moments[part] = (rule.weights[part] * values.reshape(-1, q)) @ basis
        out = new.space.divide_by_mass(moments)
        before = self.total(np.einsum("ci,ci->c", self.space.cell_means[0], u))
        after = self.total(np.einsum("ci,ci->c", new.space.cell_means[0], out))
        return out * (before / after)

    @property
    def _last(self) -> _Round:
        return self.rounds[-1]

    def _locate(self, x: np.ndarray, roots: np.ndarray) -> np.ndarray:
        """Cells (n,) that hold the points x (n, d) of the given base cells (n,)."""
        cells = roots
        for fine in self.rounds[1:]:
            cells = fine.down(x, cells)
        return cells


def _corners(mesh: dmesh.Mesh) -> np.ndarray:
    """Vertices (n, d + 1, d) of the owned cells."""
    dim = mesh.topology.dim
    count = mesh.topology.index_map(dim).size_local
    return mesh.geometry.x[mesh.geometry.dofmaps[0][:count]][:, :, :dim]
