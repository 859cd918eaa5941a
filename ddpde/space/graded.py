"""Boxes whose lines are refined where the law is: interval, quadrilateral, hexahedron.

Each coordinate has a line of its own, the given mesh's cells halved some times; the mesh is their
product. So the fast solver stays, and the law goes from one such box to another by exact L²
projections, direction by direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.space.decay import next_coefficients
from ddpde.space.meshes import box
from ddpde.space.spaces import Space
from ddpde.space.tensor import TensorGrid, along, line_projection, tensor_grid


@dataclass(frozen=True, eq=False)
class DyadicLine:
    """base (n + 1,): ends of the coarsest cells; ticks (m + 1,): ends of the cells, increasing
    integers in units of 2^−depth of a coarsest cell."""

    base: np.ndarray
    ticks: np.ndarray
    depth: int

    @classmethod
    def coarsest(cls, base: np.ndarray, depth: int) -> DyadicLine:
        """The line with no cell halved."""
        return cls(base, np.arange(len(base)) << depth, depth)

    @property
    def ends(self) -> np.ndarray:
        """The cells' ends (m + 1,)."""
        return np.interp(self.ticks / 2.0**self.depth, np.arange(len(self.base)), self.base)

    @property
    def room(self) -> np.ndarray:
        """How often each cell (m,) may still be halved."""
        return np.log2(np.diff(self.ticks)).round().astype(int)

    def changed(self, halvings: np.ndarray) -> DyadicLine:
        """Each cell halved so many times (m,); negative: merged with siblings that agree."""
        size, start = np.diff(self.ticks), self.ticks[:-1]
        parts = np.minimum(1 << np.maximum(halvings, 0), size)
        first = np.repeat(np.cumsum(parts) - parts, parts)
        offset = np.arange(parts.sum()) - first
        start = np.repeat(start, parts) + offset * np.repeat(size // parts, parts)
        size, merges = np.repeat(size // parts, parts), np.repeat(np.minimum(halvings, 0), parts)
        while True:
            left = np.flatnonzero(
                (np.maximum(merges[:-1], merges[1:]) < 0)
                & (size[:-1] == size[1:])
                & (size[:-1] < 1 << self.depth)
                & (start[:-1] % (2 * size[:-1]) == 0)
            )
            if not len(left):
                return replace(self, ticks=np.append(start, self.ticks[-1]))
            merges[left] = np.maximum(merges[left], merges[left + 1]) + 1
            size[left] *= 2
            start, size, merges = (np.delete(x, left + 1) for x in (start, size, merges))

    def grown(self, below: int, above: int, least: float) -> DyadicLine:
        """With so many more coarsest cells at either end, of the length there, from `least` on."""
        first, last = np.diff(self.base)[[0, -1]]
        lower = np.maximum(self.base[0] - first * np.arange(below, 0, -1), least)
        lower = np.unique(lower[lower < self.base[0] - 1e-9 * first])
        upper = self.base[-1] + last * np.arange(1, above + 1)
        unit, ticks = 1 << self.depth, self.ticks + (len(lower) << self.depth)
        before, after = np.arange(len(lower)) * unit, ticks[-1] + unit * np.arange(1, above + 1)
        base = np.concatenate([lower, self.base, upper])
        return replace(self, base=base, ticks=np.concatenate([before, ticks, after]))


class GradedBox:
    """Implements `AdaptiveMesh`; a piece is a slab, all cells between two ends of one line."""

    gain = 1  # a halved slab is two slabs
    may_grow = True

    def __init__(self, lines: Sequence[DyadicLine], like: Space) -> None:
        self.lines, self._like = tuple(lines), like

    @cached_property
    def space(self) -> Space:
        """The density's space on the present mesh."""
        mesh = _box([line.ends for line in self.lines], self._like.comm)
        return Space(mesh, self._like.degree, self._like.periods)

    @cached_property
    def _grid(self) -> TensorGrid:
        grid = tensor_grid(self.space)
        assert grid is not None
        return grid

    @classmethod
    def coarsest(cls, space: Space, depth: int) -> GradedBox | None:
        """The box of a mesh, its cells to be halved `depth` times at most; None for others."""
        grid = tensor_grid(space)
        if grid is None:
            return None
        order = np.argsort(grid.axes)
        return cls([DyadicLine.coarsest(grid.lines[j], depth) for j in order], space)

    @property
    def room(self) -> np.ndarray:
        """How often each piece may still be halved."""
        return np.concatenate([line.room for line in self.lines])

    def errors(self, u: np.ndarray) -> np.ndarray:
        """Estimated L1 error in each piece, of the coefficients u (own cells, nd)."""
        parts = [next_coefficients("interval", part) for part in self._parts(u)]
        return np.concatenate(parts)

    def rims(self, u: np.ndarray) -> np.ndarray:
        """Mass (d, 2) in the first and the last cells along each coordinate."""
        return np.array([part[[0, -1], 0] for part in self._parts(u)])

    def crowds(self, points: np.ndarray) -> np.ndarray:
        """The part of the points (n, d) in each piece."""
        counted = [
            np.histogram(points[:, axis], line.ends)[0] for axis, line in enumerate(self.lines)
        ]
        return np.concatenate(counted) / len(points)

    def total(self, values: np.ndarray) -> float:
        """The sum of numbers given for the pieces."""
        return float(values.sum())

    def changed(self, halvings: np.ndarray) -> GradedBox:
        """The box with its pieces halved so many times; negative: merged where that is possible.

        This object where nothing changes.
        """
        return self._with(self._changed(halvings))

    def cells(self, halvings: np.ndarray) -> float:
        """How many cells `changed` would leave."""
        return float(np.prod([len(line.ticks) - 1.0 for line in self._changed(halvings)]))

    def grown(self, counts: np.ndarray, least: Sequence[float]) -> GradedBox:
        """Longer by so many coarsest cells at each end (d, 2), not below `least`.

        This object where nothing changes.
        """
        grown = zip(self.lines, counts, least, strict=True)
        return self._with([line.grown(below, above, low) for line, (below, above), low in grown])

    def reaching(self, points: np.ndarray, least: Sequence[float]) -> GradedBox:
        """Grown until it holds the points (n, d)."""
        counts = [
            [(line.base[0] - x.min()) / first, (x.max() - line.base[-1]) / last]
            for line, x in zip(self.lines, points.T, strict=True)
            for first, last in [np.diff(line.base)[[0, -1]]]
        ]
        return self.grown(np.maximum(np.ceil(counts), 0).astype(int), least)

    def _changed(self, halvings: np.ndarray) -> list[DyadicLine]:
        ends = np.cumsum([len(line.ticks) - 1 for line in self.lines])[:-1]
        pairs = zip(self.lines, np.split(halvings, ends), strict=True)
        return [line.changed(part) for line, part in pairs]

    def _with(self, lines: list[DyadicLine]) -> GradedBox:
        if all(np.array_equal(a.ends, b.ends) for a, b in zip(lines, self.lines, strict=True)):
            return self
        return GradedBox(lines, self._like)

    def transfer(self, u: np.ndarray, new: GradedBox) -> np.ndarray:
        """The L² projection of the coefficients u onto another such box: exact, conservative."""
        array = self._grid.spread(u)
        for j, axis in enumerate(self._grid.axes):
            old_ends, new_ends = self.lines[axis].ends, new.lines[axis].ends
            array = along(line_projection(old_ends, new_ends, self.space.degree), array, j)
        return new._grid.collect(array)

    def _parts(self, u: np.ndarray) -> list[np.ndarray]:
        """For each coordinate, size of the parts (pieces, p + 1) of each degree along it: ∫ |.|."""
        grid, array = self._grid, self._grid.spread(u)
        d, order = grid.cells.ndim, self.space.degree + 1
        squares = array.reshape([n for size in grid.cells.shape for n in (size, order)]) ** 2
        volumes = reduce(np.multiply.outer, grid.sizes)
        parts = [np.empty(0)] * d
        for j, axis in enumerate(grid.axes):
            others = tuple(i for i in range(d) if i != j)
            in_cell = np.sqrt(squares.sum(axis=tuple(2 * i + 1 for i in others)))
            weighted = np.moveaxis(in_cell, j + 1, -1) * volumes[..., None]
            parts[axis] = weighted.sum(axis=others)
        return parts


def _box(lines: Sequence[np.ndarray], comm: MPI.Comm) -> dmesh.Mesh:
    """The box of tensor cells with these ends (n_j + 1,) along each coordinate."""
    counts = [len(line) - 1 for line in lines]
    mesh = box([0.0] * len(lines), [float(n) for n in counts], cells=counts, comm=comm)
    for axis, line in enumerate(lines):
        x = mesh.geometry.x[:, axis]
        mesh.geometry.x[:, axis] = line[np.rint(x).astype(int)]
    return mesh
