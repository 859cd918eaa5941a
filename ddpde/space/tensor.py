"""Uniform boxes seen as tensor grids: their cells as an array, one axis a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from ddpde.space.spaces import Space

_FIRST_EDGES = {"interval": (1,), "quadrilateral": (1, 2), "hexahedron": (1, 2, 4)}


@dataclass(frozen=True, eq=False)
class TensorGrid:
    """cells (n_1, …, n_d): the cell at each place, along the reference axes; sizes (d,).

    periodic (d,): whether the last cell of an axis faces the first.
    Cells are numbered through the ranks; `mine` are this rank's.
    """

    comm: MPI.Comm
    cells: np.ndarray
    sizes: np.ndarray
    periodic: tuple[bool, ...]
    degree: int
    mine: slice

    def spread(self, u: np.ndarray) -> np.ndarray:
        """All ranks' coefficients (own cells, nd) as one array (n_1 (p+1), …, n_d (p+1))."""
        d, order = self.cells.ndim, self.degree + 1
        if self.comm.size > 1:
            u = np.concatenate(self.comm.allgather(u))
        blocks = u[self.cells].reshape(*self.cells.shape, *(order,) * d)
        mixed = blocks.transpose([axis for j in range(d) for axis in (j, d + j)])
        return mixed.reshape([n * order for n in self.cells.shape])

    def collect(self, array: np.ndarray) -> np.ndarray:
        """This rank's part of the inverse of `spread`."""
        d, order = self.cells.ndim, self.degree + 1
        mixed = array.reshape([size for n in self.cells.shape for size in (n, order)])
        blocks = mixed.transpose([*range(0, 2 * d, 2), *range(1, 2 * d, 2)])
        out = np.empty((self.cells.size, order**d))
        out[self.cells.ravel()] = blocks.reshape(self.cells.size, -1)
        return out[self.mine]


def tensor_grid(space: Space) -> TensorGrid | None:
    """The tensor grid of a uniform, axis-parallel box; None (on all ranks) for other meshes."""
    if space.cell not in _FIRST_EDGES or space.geometry_degree > 1 or space.gdim != space.tdim:
        return None
    counts = space.comm.allgather(space.n_cells)
    corners = np.concatenate(space.comm.allgather(space.geometry[: space.n_cells]))
    origin = corners[:, 0]
    edges = np.stack([corners[:, v] - origin for v in _FIRST_EDGES[space.cell]], axis=1)
    mean = edges.mean(axis=0)
    axes = np.argmax(np.abs(mean), axis=1)  # the direction in space of each reference axis
    sizes = mean[np.arange(space.tdim), axes]
    straight = np.zeros_like(mean)
    straight[np.arange(space.tdim), axes] = sizes
    scale = 1e-9 * np.abs(sizes).max()
    opposite = origin + straight.sum(axis=0)
    if (
        len(set(axes)) < space.tdim
        or sizes.min() <= 0
        or np.abs(edges - straight).max() > scale
        or np.abs(corners[:, -1] - opposite).max() > scale
    ):
        return None
    place = np.rint((origin - origin.min(axis=0))[:, axes] / sizes).astype(int)
    shape = place.max(axis=0) + 1
    if shape.prod() != len(corners):
        return None
    cells = np.full(shape, -1)
    cells[tuple(place.T)] = np.arange(len(corners))
    if cells.min() < 0:
        return None
    first = sum(counts[: space.comm.rank])
    mine = slice(first, first + space.n_cells)
    periodic = tuple(bool(space.periods and space.periods[axis]) for axis in axes)
    return TensorGrid(space.comm, cells, sizes, periodic, space.degree, mine)
