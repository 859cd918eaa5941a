"""Diffusion on a uniform box, solved directly for any shift by diagonalising one direction.

On a tensor grid the interior-penalty matrix is a sum over directions, M⁻¹K = Σ_j L_j, each L_j
symmetric and small: in the eigenvectors of the L_j every (shift + c M⁻¹K) is diagonal. A solve
costs two products a direction (Lynch, Rice & Thomas 1964), a change of step nothing.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.flow.diffusion import penalty
from ddpde.space.quadrature import legendre, tabulate
from ddpde.space.tensor import TensorGrid


class TensorDiffusion:
    """`Diffusion` on a tensor grid."""

    def __init__(self, grid: TensorGrid) -> None:
        self._grid = grid
        parts = [
            np.linalg.eigh(_line_matrix(n, size, periodic, grid.degree, grid.cells.ndim))
            for n, size, periodic in zip(grid.cells.shape, grid.sizes, grid.periodic, strict=True)
        ]
        # each rank takes its share of the first direction's modes; the results are added
        modes = np.array_split(np.arange(len(parts[0][0])), grid.comm.size)[grid.comm.rank]
        parts[0] = parts[0][0][modes], parts[0][1][:, modes]
        self._vectors = [vectors for _, vectors in parts]
        self._values = reduce(np.add.outer, [values for values, _ in parts])

    def apply(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K u for coefficients (n_cells, nd)."""
        return self._in_modes(u, lambda modes: modes * self._values)

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        """(shift + factor M⁻¹K)⁻¹ b."""
        return self._in_modes(b, lambda modes: modes / (shift + factor * self._values))

    def _in_modes(self, u: np.ndarray, scale) -> np.ndarray:  # type: ignore[no-untyped-def]
        array = self._grid.spread(u)
        for axis, vectors in enumerate(self._vectors):
            array = _along(vectors.T, array, axis)
        array = scale(array)
        for axis, vectors in enumerate(self._vectors):
            array = _along(vectors, array, axis)
        return self._grid.collect(sum_over_ranks(self._grid.comm, array))


def _along(matrix: np.ndarray, array: np.ndarray, axis: int) -> np.ndarray:
    """Apply a matrix to one axis of an array."""
    if axis == array.ndim - 1:
        return array @ matrix.T
    head = array.shape[:axis]
    flat = array.reshape(*head, array.shape[axis], -1)
    return np.matmul(matrix, flat).reshape(*head, len(matrix), *array.shape[axis + 1 :])


def _line_matrix(cells: int, size: float, periodic: bool, degree: int, tdim: int) -> np.ndarray:
    """Interior-penalty −d²/dx² on `cells` cells of a line, in the orthonormal basis."""
    element = legendre("interval", degree)
    ends, end_slopes = tabulate(element, np.array([[0.0], [1.0]]), derivatives=1)
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    slopes = tabulate(element, 0.5 * (nodes[:, None] + 1), derivatives=1)[1][0]
    inside = np.einsum("q,qi,qj->ij", 0.5 * weights, slopes, slopes) / size
    eta = penalty(degree, tdim) / size
    # the facet between two cells: traces of the left one at 1, of the right one at 0
    values = (ends[1], ends[0])
    normal = (end_slopes[0, 1] / size, -end_slopes[0, 0] / size)
    block = [
        [
            (1.0 if s == t else -1.0)
            * (
                eta * np.outer(values[s], values[t])
                - 0.5 * np.outer(values[s], normal[t])
                - 0.5 * np.outer(normal[s], values[t])
            )
            for t in (0, 1)
        ]
        for s in (0, 1)
    ]
    # up[i, j] = 1 where cell j is the right neighbour of cell i
    up = np.eye(cells, k=1)
    if periodic:
        up[-1, 0] += 1.0
    out = np.kron(np.eye(cells), inside)
    out += np.kron(np.diag(up.sum(axis=1)), block[0][0])
    out += np.kron(np.diag(up.sum(axis=0)), block[1][1])
    out += np.kron(up, block[0][1]) + np.kron(up.T, block[1][0])
    return out / size
