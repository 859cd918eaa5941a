"""A tensor grid's coefficients as one array, of which every rank holds a slab.

What works along whole lines needs all of a line on one rank. Slabs are cut across one direction, so
that lines of the others are whole; `turn` cuts another one instead. Whole cells travel between the
mesh's partition and the slabs: fewest where both are cut across the same direction.
"""

from __future__ import annotations

import numpy as np

from ddpde.space.tensor import TensorGrid


class Slabs:
    """Arrays (n_1 (p+1), share of n_2 (p+1), n_3 (p+1), …); in 1D the first rank has all.

    axes: the grid's directions in the order of the arrays', the one that is cut second.
    """

    def __init__(self, grid: TensorGrid) -> None:
        self._comm, self._order, self._dim = grid.comm, grid.degree + 1, grid.cells.ndim
        starts = self._comm.allgather(grid.mine.start)
        self.axes, cells, shares, slab_of = _least_travel(grid, starts)
        whither = slab_of[grid.mine]
        self._leaving = np.argsort(whither, kind="stable")
        nd = self._order**self._dim
        self._sent = nd * np.bincount(whither, minlength=self._comm.size)
        slab = cells[:, shares[self._comm.rank]]
        arriving = np.sort(slab, axis=None)  # ranks number their cells one after the other
        self._shape, self._places = slab.shape, np.searchsorted(arriving, slab.ravel())
        self._received = nd * np.diff(np.searchsorted(arriving, [*starts, cells.size]))
        length = cells.shape[0] * self._order
        self._rows = [len(part) for part in np.array_split(np.arange(length), self._comm.size)]
        width = self._order if self._dim > 1 else 1
        self._columns = [len(share) * width for share in shares]

    @property
    def rows(self) -> slice:
        """This rank's part of the first direction in turned arrays."""
        start = sum(self._rows[: self._comm.rank])
        return slice(start, start + self._rows[self._comm.rank])

    def spread(self, u: np.ndarray) -> np.ndarray:
        """The slab from coefficients (own cells, nd)."""
        d, k = self._dim, self._order
        rows = self._exchange(u[self._leaving], self._sent, self._received).reshape(-1, k**d)
        blocks = rows[self._places].reshape(*self._shape, *(k,) * d)
        if d == 1:
            return blocks.transpose(0, 2, 1).reshape(self._shape[0] * k, self._shape[1])
        mixed = blocks.transpose([axis for j in range(d) for axis in (j, d + self.axes[j])])
        return mixed.reshape([n * k for n in self._shape])

    def collect(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `spread`."""
        d, k = self._dim, self._order
        rows = np.empty((len(self._places), k**d))
        if d == 1:
            blocks = array.reshape(self._shape[0], k, self._shape[1]).transpose(0, 2, 1)
        else:
            mixed = array.reshape([size for n in self._shape for size in (n, k)])
            inside = [2 * self.axes.index(j) + 1 for j in range(d)]
            blocks = mixed.transpose([*range(0, 2 * d, 2), *inside])
        rows[self._places] = blocks.reshape(rows.shape)
        out = np.empty((len(self._leaving), k**d))
        out[self._leaving] = self._exchange(rows, self._received, self._sent).reshape(out.shape)
        return out

    def turn(self, array: np.ndarray) -> np.ndarray:
        """From whole lines of the first direction to whole lines of all others."""
        if self._comm.size == 1:
            return array
        sent, received, rest = self._turned(array)
        flat = self._exchange(array, sent, received)
        parts = np.split(flat, np.cumsum(received)[:-1])
        mine = self._rows[self._comm.rank]
        shapes = [(mine, width, *rest) for width in self._columns]
        return np.concatenate([p.reshape(s) for p, s in zip(parts, shapes, strict=True)], axis=1)

    def turn_back(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `turn`."""
        if self._comm.size == 1:
            return array
        received, sent, rest = self._turned(array)
        parts = np.split(array, np.cumsum(self._columns)[:-1], axis=1)
        flat = self._exchange(np.concatenate([part.ravel() for part in parts]), sent, received)
        return flat.reshape(sum(self._rows), self._columns[self._comm.rank], *rest)

    def _turned(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
        """Numbers that `turn` sends to and receives from every rank; lengths of further axes."""
        rest, me = array.shape[2:], self._comm.rank
        each = int(np.prod(rest))
        rows, columns = np.array(self._rows), np.array(self._columns)
        return rows * columns[me] * each, rows[me] * columns * each, rest

    def _exchange(self, array: np.ndarray, sent: np.ndarray, received: np.ndarray) -> np.ndarray:
        """Flat, from every rank its part of this rank's numbers."""
        if self._comm.size == 1:
            return array
        out = np.empty(received.sum())
        self._comm.Alltoallv([np.ascontiguousarray(array), sent], [out, received])
        return out


def _least_travel(
    grid: TensorGrid, starts: list[int]
) -> tuple[tuple[int, ...], np.ndarray, list[np.ndarray], np.ndarray]:
    """The directions (d,), the one to cut second, cells so transposed, the cut one's shares of all
    ranks, and the rank (n_cells,) of the slab of each cell; ranks' first cells are `starts`."""
    d, ranks = grid.cells.ndim, np.arange(grid.comm.size)
    owner = np.repeat(ranks, np.diff([*starts, grid.cells.size]))
    best = None
    for cut in (1, 0, 2)[:d] if d > 1 else (0,):
        axes = tuple(np.insert(np.delete(np.arange(d), cut), min(1, d - 1), cut).tolist())
        cells = grid.cells.transpose(axes) if d > 1 else grid.cells[:, None]
        shares = np.array_split(np.arange(cells.shape[1]), len(ranks))
        slab_of = np.empty(cells.size, dtype=int)
        slab_of[np.moveaxis(cells, 1, -1)] = np.repeat(ranks, [len(share) for share in shares])
        stay = np.count_nonzero(slab_of == owner)
        if best is None or stay > best[0]:
            best = stay, (axes, cells, shares, slab_of)
    assert best is not None
    return best[1]
