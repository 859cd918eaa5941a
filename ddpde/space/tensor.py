"""Boxes seen as tensor grids: cells as an array, one axis a direction, lines of any spacing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mpi4py import MPI

from ddpde.space.quadrature import legendre, tabulate
from ddpde.space.spaces import Space

_FIRST_EDGES = {"interval": (1,), "quadrilateral": (1, 2), "hexahedron": (1, 2, 4)}


@dataclass(frozen=True, eq=False)
class TensorGrid:
    """cells (n_1, …, n_d): the cell at each place, along the reference axes.

    lines: for each axis the cells' ends (n_j + 1,), increasing; axes (d,): the coordinate that
    each axis runs along; periodic (d,): whether the last cell of an axis faces the first.
    Cells are numbered through the ranks; `mine` are this rank's.
    """

    comm: MPI.Comm
    cells: np.ndarray
    lines: tuple[np.ndarray, ...]
    axes: tuple[int, ...]
    periodic: tuple[bool, ...]
    degree: int
    mine: slice

    @property
    def sizes(self) -> list[np.ndarray]:
        """For each axis the lengths (n_j,) of its cells."""
        return [np.diff(line) for line in self.lines]

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
    """The tensor grid of an axis-parallel box; None (on all ranks) for other meshes."""
    if space.cell not in _FIRST_EDGES or space.geometry_degree > 1 or space.gdim != space.tdim:
        return None
    counts = space.comm.allgather(space.n_cells)
    corners = np.concatenate(space.comm.allgather(space.geometry[: space.n_cells]))
    origin = corners[:, 0]
    edges = np.stack([corners[:, v] - origin for v in _FIRST_EDGES[space.cell]], axis=1)
    axes = np.argmax(np.abs(edges[0]), axis=1)  # the direction in space of each reference axis
    extent = np.ptp(corners.reshape(-1, space.gdim), axis=0)
    if len(set(axes)) < space.tdim:
        return None
    sizes = edges[:, np.arange(space.tdim), axes]  # (n_cells, d)
    straight = np.zeros_like(edges)
    straight[:, np.arange(space.tdim), axes] = sizes
    scale = 1e-10 * extent.max()
    opposite = origin + straight.sum(axis=1)
    if (
        sizes.min() <= scale
        or np.abs(edges - straight).max() > scale
        or np.abs(corners[:, -1] - opposite).max() > scale
    ):
        return None
    lines, places = [], []
    for j, axis in enumerate(axes):
        starts, place = _clusters(origin[:, axis], scale)
        line = np.append(starts, origin[:, axis].min() + extent[axis])
        if np.abs(line[place] + sizes[:, j] - line[place + 1]).max() > scale:
            return None
        lines.append(line)
        places.append(place)
    shape = tuple(len(line) - 1 for line in lines)
    if np.prod(shape) != len(corners):
        return None
    cells = np.full(shape, -1)
    cells[tuple(places)] = np.arange(len(corners))
    if cells.min() < 0:
        return None
    first = sum(counts[: space.comm.rank])
    mine = slice(first, first + space.n_cells)
    periodic = tuple(bool(space.periods and space.periods[axis]) for axis in axes)
    whither = tuple(int(axis) for axis in axes)
    return TensorGrid(space.comm, cells, tuple(lines), whither, periodic, space.degree, mine)


def along(matrix: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    """Apply a matrix to one axis of an array."""
    if axis == array.ndim - 1:
        return array @ matrix.T
    head, tail = array.shape[:axis], array.shape[axis + 1 :]
    flat = array.reshape(*head, array.shape[axis], int(np.prod(tail)))
    return np.matmul(matrix, flat).reshape(*head, len(matrix), *tail)


def line_projection(old: np.ndarray, new: np.ndarray, degree: int) -> np.ndarray:
    """The L² projection between polynomials of `degree` on the cells of two lines.

    Cells' ends old (n + 1,) and new (m + 1,); the matrix (m (p+1), n (p+1)) acts on coefficients
    in the orthonormal basis. Integrated exactly on the common refinement, hence conservative in
    every new cell; where the new line reaches beyond the old one the function is zero.
    """
    order = degree + 1
    ends = np.unique(np.concatenate([old, new]))
    ends = ends[(ends >= max(old[0], new[0])) & (ends <= min(old[-1], new[-1]))]
    nodes, weights = np.polynomial.legendre.leggauss(order)
    middle, length = 0.5 * (ends[1:] + ends[:-1]), np.diff(ends)
    x = middle[:, None] + 0.5 * length[:, None] * nodes
    tables, owners = [], []
    for line in (old, new):
        cell = np.searchsorted(line, middle) - 1
        local = (x - line[cell, None]) / np.diff(line)[cell, None]
        values = tabulate(legendre("interval", degree), local.reshape(-1, 1))
        tables.append(values.reshape(*x.shape, order))
        owners.append(cell)
    (source, target), (tables_old, tables_new) = owners, tables
    scaled = 0.5 * weights * (length / np.diff(new)[target])[:, None]
    blocks = np.einsum("sq,sqi,sqj->sij", scaled, tables_new, tables_old)
    out = np.zeros((len(new) - 1, order, len(old) - 1, order))
    places: Any = (target, slice(None), source)
    np.add.at(out, places, blocks)
    return out.reshape((len(new) - 1) * order, -1)


def _clusters(values: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Values that agree to `scale`, taken together: those in order, and the place of each."""
    order = np.argsort(values)
    steps = np.diff(values[order], prepend=values[order[0]]) > scale
    place = np.empty(len(values), dtype=int)
    place[order] = np.cumsum(steps)
    return values[order[np.append(True, steps[1:])]], place
