"""Points in straight simplices: jump to a cell close by, then walk from cell to cell.

A grid of boxes names a cell for each box; from there a point goes on through the facet it is
farthest beyond, until it is inside (Devillers, Pion & Teillaud 2002, the visibility walk). All
points walk at once: O(N), with a few steps each where cells are not much smaller than boxes.
"""

from __future__ import annotations

import numpy as np

from ddpde.space.spaces import Space

_STEPS = 24
_CELLS_A_BOX = 0.5
_NOWHERE = -1


class Walk:
    """The owned cells of a mesh of straight simplices (intervals, triangles, tetrahedra)."""

    def __init__(self, space: Space) -> None:
        corners = space.geometry[: space.n_cells]
        self._origins = corners[:, 0]
        edges = np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)
        self._inverse = np.linalg.inv(edges)
        self._beyond = _neighbours(space)
        self._lower, self._upper = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        extent = self._upper - self._lower
        self._slack = 1e-8 * extent.max()
        size = (extent.prod() * _CELLS_A_BOX / space.n_cells) ** (1 / space.tdim)
        self._counts = np.maximum(1, np.ceil(extent / size)).astype(int)
        self._scale = self._counts / extent
        self._start = self._starts(corners)

    def _starts(self, corners: np.ndarray) -> np.ndarray:
        """For each box a cell whose own box meets it; none: no cell is there."""
        first = self._place(corners.min(axis=1) - self._slack)
        last = self._place(corners.max(axis=1) + self._slack)
        start = np.full(self._counts, _NOWHERE)
        spans = last - first + 1
        for offset in np.ndindex(*spans.max(axis=0)):
            reaches = np.flatnonzero((spans > offset).all(axis=1))
            start[tuple((first[reaches] + offset).T)] = reaches
        # the boxes that a cell's own point is in start there: this is the nearest there is
        middle = self._place(corners.mean(axis=1))
        start[tuple(middle.T)] = np.arange(len(corners))
        return start

    def _place(self, points: np.ndarray) -> np.ndarray:
        """Box (n, tdim) of each point; outside: the nearest."""
        place = np.clip((points - self._lower) * self._scale, 0, self._counts - 1)
        return place.astype(int)

    def __call__(
        self, points: np.ndarray, close: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells (n,) and reference coordinates (n, tdim) of points (n, tdim), and which (m,) were
        lost on the way: at a rim, or in a crowd of small cells; their cell is −1.

        Inside a cell is what is at most `close` outside of it in reference coordinates. A point
        whose box no cell meets is outside, and not lost.
        """
        near = (points >= self._lower - self._slack) & (points <= self._upper + self._slack)
        cells = np.full(len(points), _NOWHERE)
        going = np.flatnonzero(near.all(axis=1))  # nan is not near
        cells[going] = self._start[tuple(self._place(points[going]).T)]
        going = going[cells[going] != _NOWHERE]
        reference, lost = np.empty_like(points), []
        for _ in range(_STEPS):
            here = cells[going]
            local = points[going] - self._origins[here]
            local = np.einsum("nij,nj->ni", self._inverse[here], local)
            reference[going] = local
            depth = np.concatenate([1 - local.sum(axis=1, keepdims=True), local], axis=1)
            worst = depth.argmin(axis=1)
            out = ~(np.take_along_axis(depth, worst[:, None], axis=1)[:, 0] >= -close)
            going = going[out]
            cells[going] = self._beyond[here[out], worst[out]]
            stuck = cells[going] == _NOWHERE
            lost.append(going[stuck])
            going = going[~stuck]
            if len(going) == 0:
                break
        cells[going] = _NOWHERE
        return cells, reference, np.concatenate([*lost, going])


def _neighbours(space: Space) -> np.ndarray:
    """Owned cell (n_cells, tdim + 1) beyond the facet opposite to each vertex, or none."""
    topology, tdim, n_cells = space.mesh.topology, space.tdim, space.n_cells
    topology.create_connectivity(tdim, tdim - 1)
    topology.create_connectivity(tdim - 1, tdim)
    facets = topology.connectivity(tdim, tdim - 1).array.reshape(-1, tdim + 1)[:n_cells]
    to_cells = topology.connectivity(tdim - 1, tdim)
    around = np.full((len(to_cells.offsets) - 1, 2), _NOWHERE)
    count = np.diff(to_cells.offsets)
    around[:, 0] = to_cells.array[to_cells.offsets[:-1]]
    two = count == 2
    around[two, 1] = to_cells.array[to_cells.offsets[:-1][two] + 1]
    if tdim == 1:  # the facets of an interval are its vertices themselves
        facets = facets[:, ::-1]
    pair = around[facets]
    beyond = np.where(pair[:, :, 0] == np.arange(n_cells)[:, None], pair[:, :, 1], pair[:, :, 0])
    return np.where(beyond < n_cells, beyond, _NOWHERE)
