"""Diffusion on a tensor grid, solved directly for any shift by diagonalising one direction.

There the interior-penalty matrix is a sum over directions, M⁻¹K = Σ_j L_j, each L_j small and
symmetric in the mass of its line: in the eigenvectors of the L_j every (shift + c M⁻¹K) is
diagonal. A solve costs two products a direction (Lynch, Rice & Thomas 1964), a change of step
nothing.
"""

from __future__ import annotations

from functools import reduce

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.flow.diffusion import penalty
from ddpde.space.quadrature import legendre, tabulate
from ddpde.space.tensor import TensorGrid, along


class TensorDiffusion:
    """`Diffusion` on a tensor grid."""

    factorises = False

    def __init__(self, grid: TensorGrid) -> None:
        self._grid = grid
        values, into, back = [], [], []
        for sizes, periodic in zip(grid.sizes, grid.periodic, strict=True):
            stiffness = _line_matrix(sizes, periodic, grid.degree, grid.cells.ndim)
            root = np.sqrt(np.repeat(sizes, grid.degree + 1))  # of the line's mass
            eigenvalues, vectors = np.linalg.eigh(stiffness / np.outer(root, root))
            # the constant belongs to 0, to the last digit, so that mass is conserved to rounding
            constant = np.where(np.arange(len(root)) % (grid.degree + 1), 0.0, root)
            vectors[:, 0] = constant / np.linalg.norm(constant)
            vectors[:, 1:] -= np.outer(vectors[:, 0], vectors[:, 0] @ vectors[:, 1:])
            eigenvalues[0] = 0.0
            values.append(eigenvalues)
            into.append(vectors.T * root)
            back.append(vectors / root[:, None])
        # each rank takes its share of the first direction's modes; the results are added
        modes = np.array_split(np.arange(len(values[0])), grid.comm.size)[grid.comm.rank]
        values[0], into[0], back[0] = values[0][modes], into[0][modes], back[0][:, modes]
        self._into, self._back = into, back
        self._values = reduce(np.add.outer, values)

    def apply(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K u for coefficients (n_cells, nd)."""
        return self._in_modes(u, lambda modes: modes * self._values)

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        """(shift + factor M⁻¹K)⁻¹ b."""
        return self._in_modes(b, lambda modes: modes / (shift + factor * self._values))

    def _in_modes(self, u: np.ndarray, scale) -> np.ndarray:  # type: ignore[no-untyped-def]
        array = self._grid.spread(u)
        for axis, matrix in enumerate(self._into):
            array = along(matrix, array, axis)
        array = scale(array)
        for axis, matrix in enumerate(self._back):
            array = along(matrix, array, axis)
        return self._grid.collect(sum_over_ranks(self._grid.comm, array))


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
    eta = penalty(degree, tdim) * sum(0.5 / sizes[side] for side in sides)[:, None, None]
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
            np.add.at(out, (sides[s], slice(None), sides[t]), block if s == t else -block)
    return out.reshape(n * order, n * order)
