"""Points in a mesh: the cells they lie in, and finite-element loads of point masses."""

from __future__ import annotations

from functools import cached_property

import basix
import numpy as np
from dolfinx import geometry
from mpi4py import MPI

from ddpde.errors import MeshError
from ddpde.space.quadrature import lagrange, tabulate
from ddpde.space.spaces import Space
from ddpde.space.tensor import tensor_grid
from ddpde.space.walk import Walk

_BLOCK = 4_000_000  # numbers in one block of basis values
_CLOSE = 1e-10  # reference coordinates this far outside are inside
_NEWTON = 12  # steps; cells of degree 2 that are not degenerate take four or five


class PointLoads:
    """∫ ψ_j dμ for clouds μ of weighted points and the continuous basis ψ of a space.

    A cloud of N points costs O(N): boxes of axis-parallel cells are searched line by line, straight
    simplices by walks, other meshes by DOLFINx's tree of bounding boxes. Clouds are the same on all
    ranks; each rank loads the points in its own cells.
    """

    def __init__(self, space: Space) -> None:
        if space.gdim != space.tdim:
            raise MeshError(
                f"point loads on a surface in {space.gdim}D are not available",
                "use a mesh of the full dimension",
            )
        self._space = space
        self._grid = tensor_grid(space)
        self._basis = lagrange(space.cell, space.degree + 1)

    def __call__(self, points: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """(n_nodes,) for points (N, gdim) of masses (N,); ghost nodes hold this rank's part.

        MeshError where a point lies outside of the mesh.
        """
        which, cells, reference = self.locate(points)
        dofs, out = self._space.potential_dofs, np.zeros(len(self._space.nodes))
        step = max(1, _BLOCK // dofs.shape[1])
        for begin in range(0, len(which), step):
            part = slice(begin, begin + step)
            values = tabulate(self._basis, reference[part]) * masses[which[part], None]
            index = dofs[cells[part]]
            out += np.bincount(index.ravel(), weights=values.ravel(), minlength=len(out))
        return out

    def locate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which points (m,) are this rank's, their cells (m,), reference coordinates (m, tdim)."""
        if points.ndim != 2 or points.shape[1] != self._space.gdim:
            raise MeshError(
                f"points of shape {points.shape} in a {self._space.gdim}D mesh",
                f"give (N, {self._space.gdim})",
            )
        if self._grid is not None:
            found = self._on_lines(points)
        else:
            found = self._once(*self._walks(points), len(points))
        count = self._space.comm.allreduce(len(found[0]))
        if count != len(points):
            raise MeshError(
                f"{len(points) - count} of {len(points)} points lie outside of the mesh",
                "enlarge the mesh",
            )
        return found

    def _on_lines(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        grid = self._grid
        assert grid is not None
        places, reference = [], np.empty(points.shape)
        inside = np.ones(len(points), bool)
        for j, (line, axis) in enumerate(zip(grid.lines, grid.axes, strict=True)):
            x = points[:, axis]
            slack = _CLOSE * (line[-1] - line[0])
            inside &= (x >= line[0] - slack) & (x <= line[-1] + slack)  # nan is outside
            place = np.searchsorted(line, x, side="right") - 1
            np.clip(place, 0, len(line) - 2, out=place)
            reference[:, j] = (x - line[place]) / np.diff(line)[place]
            places.append(place)
        cells = grid.cells[tuple(places)]
        mine = inside & (cells >= grid.mine.start) & (cells < grid.mine.stop)
        if mine.all():
            return np.arange(len(points)), cells - grid.mine.start, reference
        which = np.flatnonzero(mine)
        return which, cells[which] - grid.mine.start, reference[which]

    def _walks(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points in owned cells; those on a facet between ranks are found by several."""
        if not _is_affine(self._space) or self._space.n_cells == 0:
            return self._in_tree(points)
        cells, reference, lost = self._walk(points, _CLOSE)
        which, there, where = self._in_tree(points[lost])
        cells[lost[which]], reference[lost[which]] = there, where
        inside = np.flatnonzero(cells >= 0)
        return inside, cells[inside], reference[inside]

    @cached_property
    def _walk(self) -> Walk:
        return Walk(self._space)

    def _once(
        self, which: np.ndarray, cells: np.ndarray, reference: np.ndarray, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each of `count` points on one rank only."""
        space = self._space
        if space.comm.size > 1:
            owner = np.full(count, space.comm.size)
            owner[which] = space.comm.rank
            space.comm.Allreduce(MPI.IN_PLACE, owner, MPI.MIN)
            mine = owner[which] == space.comm.rank
            which, cells, reference = which[mine], cells[mine], reference[mine]
        return which, cells, reference

    def _in_tree(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        space = self._space
        padded = np.zeros((len(points), 3))
        padded[:, : space.gdim] = points
        near = geometry.compute_collisions_points(self._tree, padded)
        which = np.repeat(np.arange(len(points)), np.diff(near.offsets))
        cells = np.asarray(near.array)
        reference = self._pull_back(points[which], cells)
        depth = _depth(space.cell, reference)
        # of all candidates of a point the deepest
        order = np.lexsort((-depth, which))
        which, cells, reference, depth = (
            array[order] for array in (which, cells, reference, depth)
        )
        best = (np.diff(which, prepend=-1) > 0) & (depth >= -_CLOSE)
        return which[best], cells[best], reference[best]

    @cached_property
    def _tree(self) -> geometry.BoundingBoxTree:
        space = self._space
        owned = np.arange(space.n_cells, dtype=np.int32)
        extent = np.ptp(space.geometry.reshape(-1, space.gdim), axis=0).max()
        return geometry.bb_tree(space.mesh, space.tdim, entities=owned, padding=1e-8 * extent)

    def _pull_back(self, points: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Reference coordinates (n, tdim) of points (n, gdim) in cells (n,), by Newton."""
        if len(points) == 0:  # on this rank; basix cannot tabulate nothing
            return points
        space = self._space
        element = lagrange(space.cell, space.geometry_degree)
        nodes = space.geometry[cells]
        reference = np.full(points.shape, basix.geometry(basix.CellType[space.cell]).mean())
        for _ in range(_NEWTON):
            shape, slope = tabulate(element, reference, derivatives=1)
            residual = points - np.einsum("pn,png->pg", shape, nodes)
            jacobian = np.einsum("apn,png->pga", slope, nodes)
            change = np.linalg.solve(jacobian, residual[..., None])[..., 0]
            reference += change
            if np.abs(change).max(initial=0.0) < 1e-12 or _is_affine(space):
                break
        return reference


def _is_affine(space: Space) -> bool:
    return space.geometry_degree == 1 and space.cell in ("triangle", "tetrahedron", "interval")


def _depth(cell: str, reference: np.ndarray) -> np.ndarray:
    """How far inside the reference cell (n,); negative: outside."""
    depth = reference.min(axis=1, initial=np.inf)
    if cell in ("triangle", "tetrahedron"):
        return np.minimum(depth, 1 - reference.sum(axis=1))
    return np.minimum(depth, (1 - reference).min(axis=1, initial=np.inf))
