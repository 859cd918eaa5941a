"""Diffusion on a tensor grid, solved directly for any shift by diagonalising each direction.

There the interior-penalty matrix is a sum over directions, M⁻¹K = Σ_j L_j, each L_j small and
symmetric in the mass of its line: in the eigenvectors of the L_j every (shift + c M⁻¹K) is
diagonal. A solve costs two products a direction (Lynch, Rice & Thomas 1964), a change of step
nothing. On long lines of equal cells the products are cosine transforms.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Protocol

import numpy as np
from scipy.fft import dct, dst, idct, idst

from ddpde.flow.diffusion import penalty
from ddpde.space.quadrature import legendre, tabulate
from ddpde.space.slabs import Slabs
from ddpde.space.tensor import TensorGrid, along

_LONG = 100  # cells from which transforms are cheaper than dense products
_MOST = 8000  # unknowns of a line, whose dense eigenvectors take half a gigabyte
_EQUAL = 1e-12  # relative difference of cells of equal length


class Modes(Protocol):
    """The eigenvectors of a line's L and its eigenvalues `values` (m,)."""

    values: np.ndarray

    def into(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Coefficients along an axis as modes."""
        ...

    def back(self, array: np.ndarray, axis: int) -> np.ndarray:
        """The inverse of `into`."""
        ...


class TensorDiffusion:
    """`Diffusion` on a tensor grid."""

    factorises = False
    bent = False

    def __init__(self, grid: TensorGrid) -> None:
        self._slabs = Slabs(grid)
        self._lines = [
            _modes(grid.lines[j], grid.periodic[j], grid.degree, grid.cells.ndim)
            for j in self._slabs.axes
        ]
        values = [line.values for line in self._lines]
        values[0] = values[0][self._slabs.rows]
        if len(values) == 1:
            values.append(np.zeros(1))
        # in the memory order in which the last direction's modes come
        last = np.moveaxis(reduce(np.add.outer, values), -1, 0)
        self._values = np.moveaxis(np.ascontiguousarray(last), 0, -1)

    def apply(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K u for coefficients (n_cells, nd)."""
        return self._in_modes(u, lambda modes: modes * self._values)

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        """(shift + factor M⁻¹K)⁻¹ b."""
        return self._in_modes(b, lambda modes: modes / (shift + factor * self._values))

    def _in_modes(self, u: np.ndarray, scale) -> np.ndarray:  # type: ignore[no-untyped-def]
        first, *others = self._lines
        array = self._slabs.turn(first.into(self._slabs.spread(u), 0))
        for axis, line in enumerate(others, 1):
            array = line.into(array, axis)
        array = scale(array)
        for axis, line in enumerate(others, 1):
            array = line.back(array, axis)
        return self._slabs.collect(first.back(self._slabs.turn_back(array), 0))


def affordable(grid: TensorGrid) -> bool:
    """Whether the eigenvectors of every line are: those of a dense matrix, or cosines."""
    order = grid.degree + 1
    return all(
        (len(line) - 1) * order <= _MOST or _transforms(line, periodic)
        for line, periodic in zip(grid.lines, grid.periodic, strict=True)
    )


def _transforms(line: np.ndarray, periodic: bool) -> bool:
    """Whether a line is long and of equal cells."""
    sizes = np.diff(line)
    rounding = 4 * np.finfo(float).eps * np.abs(line).max()
    equal = np.ptp(sizes) <= max(_EQUAL * sizes.max(), rounding)
    return bool(not periodic and len(sizes) >= _LONG and equal)


def _modes(line: np.ndarray, periodic: bool, degree: int, tdim: int) -> Modes:
    if _transforms(line, periodic):
        return _Cosines(np.diff(line), degree, tdim)
    return _Dense(np.diff(line), periodic, degree, tdim)


class _Dense:
    """Eigenvectors of the whole matrix."""

    def __init__(self, sizes: np.ndarray, periodic: bool, degree: int, tdim: int) -> None:
        root = np.sqrt(np.repeat(sizes, degree + 1))  # of the line's mass
        stiffness = _line_matrix(sizes, periodic, degree, tdim)
        self.values, vectors = np.linalg.eigh(stiffness / np.outer(root, root))
        # the constant belongs to 0, to the last digit, so that mass is conserved to rounding
        constant = np.where(np.arange(len(root)) % (degree + 1), 0.0, root)
        vectors[:, 0] = constant / np.linalg.norm(constant)
        vectors[:, 1:] -= np.outer(vectors[:, 0], vectors[:, 0] @ vectors[:, 1:])
        self.values[0] = 0.0
        self._into, self._back = vectors.T * root, vectors / root[:, None]

    def into(self, array: np.ndarray, axis: int) -> np.ndarray:
        return along(self._into, array, axis)

    def back(self, array: np.ndarray, axis: int) -> np.ndarray:
        return along(self._back, array, axis)


class _Cosines:
    """On n equal cells: cosines of the even polynomials' coefficients, sines of the odd ones'.

    Without flux the solution continues evenly beyond both ends, where neither jumps nor slopes are:
    with the cells' centres at c + 1/2 the frequency πj/n, j = 0 … n, mixes with no other, and
    leaves a block of p + 1 coefficients. Those of the odd polynomials, which frequency 0 lacks and
    π has alone, are stored one place later, so that there are n blocks.
    """

    def __init__(self, sizes: np.ndarray, degree: int, tdim: int) -> None:
        n, order, h = len(sizes), degree + 1, sizes[0]
        line = _line_matrix(sizes[:3], False, degree, tdim).reshape(3, order, 3, order) / h
        inside, across = line[1, :, 1], line[1, :, 2]
        odd = np.arange(order) % 2 == 1
        same = odd[:, None] == odd
        angles = np.pi * np.arange(n)[:, None, None] / n
        sign = np.where(odd[:, None], -1.0, 1.0)
        mixed = 2.0 * np.where(same, np.cos(angles) * across, np.sin(angles) * sign * across)
        mixed[0] = 2.0 * np.where(same, np.where(odd, -across, across), 0.0)
        values, vectors = np.linalg.eigh(inside + mixed)
        # the constant belongs to 0, to the last digit, so that mass is conserved to rounding
        values[0, 0] = 0.0
        vectors[0, 0], vectors[0, :, 0] = 0.0, 0.0
        vectors[0, 0, 0] = 1.0
        self.values, self._back, self._into = values.ravel(), vectors, np.swapaxes(vectors, 1, 2)

    def into(self, array: np.ndarray, axis: int) -> np.ndarray:
        cells = self._cells(array, axis)
        out = np.empty_like(cells)
        out[:, ::2] = dct(cells[:, ::2], axis=0, norm="ortho")
        sines = dst(cells[:, 1::2], axis=0, norm="ortho")
        out[1:, 1::2], out[0, 1::2] = sines[:-1], sines[-1]
        return self._array(np.matmul(self._into, out), array, axis)

    def back(self, array: np.ndarray, axis: int) -> np.ndarray:
        modes = np.matmul(self._back, self._cells(array, axis))
        out = np.empty_like(modes)
        out[:, ::2] = idct(modes[:, ::2], axis=0, norm="ortho")
        out[:, 1::2] = idst(np.roll(modes[:, 1::2], -1, axis=0), axis=0, norm="ortho")
        return self._array(out, array, axis)

    def _cells(self, array: np.ndarray, axis: int) -> np.ndarray:
        """(n, p + 1, all else)"""
        n, order, _ = self._into.shape
        return np.moveaxis(array, axis, 0).reshape(n, order, array.size // (n * order))

    def _array(self, cells: np.ndarray, like: np.ndarray, axis: int) -> np.ndarray:
        shape = np.moveaxis(like, axis, 0).shape
        return np.moveaxis(cells.reshape(shape), 0, axis)


def _line_matrix(sizes: np.ndarray, periodic: bool, degree: int, tdim: int) -> np.ndarray:
    """Interior-penalty −d²/dx² on the cells of a line, of these sizes, in the orthonormal basis."""
    element = legendre("interval", degree)
    ends, end_slopes = tabulate(element, np.array([[0.0], [1.0]]), derivatives=1)
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    slopes = tabulate(element, 0.5 * (nodes[:, None] + 1), derivatives=1)[1][0]
    inside = np.einsum("q,qi,qj->ij", 0.5 * weights, slopes, slopes)
    n, order = len(sizes), degree + 1
    out = np.zeros((n, order, n, order))
    cells = np.arange(n)
    out[cells, :, cells] = inside / sizes[:, None, None]
    # the facets between two cells: traces of the left one at 1, of the right one at 0
    left = cells if periodic else cells[:-1]
    sides = (left, (left + 1) % n)
    eta = penalty(degree, tdim) / np.minimum(sizes[sides[0]], sizes[sides[1]])[:, None, None]
    values = (ends[1], ends[0])
    normal = [
        slope / sizes[side][:, None]
        for slope, side in zip((end_slopes[0, 1], -end_slopes[0, 0]), sides, strict=True)
    ]
    for s in (0, 1):
        for t in (0, 1):
            block = (
                eta * np.outer(values[s], values[t])
                - 0.5 * values[s][:, None] * normal[t][:, None, :]
                - 0.5 * normal[s][:, :, None] * values[t]
            )
            places: Any = (sides[s], slice(None), sides[t])
            np.add.at(out, places, block if s == t else -block)
    return out.reshape(n * order, n * order)
