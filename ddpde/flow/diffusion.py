"""−Δ in discontinuous polynomials: symmetric interior penalty, no flux at the boundary."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from petsc4py import PETSc
from scipy import sparse

from ddpde.errors import SolverError
from ddpde.space import Facets, Space
from ddpde.space.quadrature import tabulate

_CHUNK = 20_000_000  # numbers in one block of facet tables


class Diffusion(Protocol):
    """−Δ on the density's coefficients (owned cells, nd), and shifted solves with it."""

    def apply(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K u."""
        ...

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        """(shift + factor M⁻¹K)⁻¹ b."""
        ...


class SparseDiffusion:
    """`Diffusion` on any mesh, on any number of ranks: one factorisation for each shift."""

    def __init__(self, space: Space, facets: Facets) -> None:
        self._matrix = matrix = diffusion_matrix(space, facets)
        self._shifted = matrix.duplicate(copy=True)
        self._current = (0.0, 0.0)
        self._x, self._b = matrix.createVecs()
        self._ksp = ksp = PETSc.KSP().create(matrix.comm)
        ksp.setType("preonly")
        ksp.getPC().setType("lu")
        ksp.getPC().setFactorSolverType("mumps")

    def apply(self, u: np.ndarray) -> np.ndarray:
        self._x.setArray(u.ravel())
        self._matrix.mult(self._x, self._b)
        return self._b.getArray().reshape(u.shape).copy()

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        if (shift, factor) != self._current:
            self._matrix.copy(self._shifted, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
            self._shifted.scale(factor)
            self._shifted.shift(shift)
            self._ksp.setOperators(self._shifted)
            self._current = (shift, factor)
        self._b.setArray(b.ravel())
        self._ksp.solve(self._b, self._x)
        if self._ksp.getConvergedReason() < 0:
            raise SolverError(
                f"the linear solver of the diffusion failed "
                f"(reason {self._ksp.getConvergedReason()})",
                "take a mesh of better shape",
            )
        return self._x.getArray().reshape(b.shape).copy()


def diffusion_matrix(space: Space, facets: Facets) -> PETSc.Mat:
    """M⁻¹K: the rate of loss of density by unit diffusion, K the interior-penalty matrix."""
    n_cells, nd = space.local_shape
    rows, columns, blocks = _stiffness_blocks(space, facets)
    blocks = space.divide_by_mass(blocks, rows)
    order = np.lexsort((columns, rows))
    rows, columns, blocks = rows[order], columns[order], blocks[order]
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_cells))])
    n_global = space.comm.allreduce(n_cells)
    local = sparse.bsr_matrix(
        (blocks, columns, starts), shape=(n_cells * nd, n_global * nd)
    ).tocsr()
    index = PETSc.IntType
    matrix = PETSc.Mat().createAIJ(
        ((n_cells * nd, None), (n_cells * nd, None)),
        csr=(local.indptr.astype(index), local.indices.astype(index), local.data),
        comm=space.comm,
    )
    matrix.assemble()
    return matrix


def penalty(degree: int, tdim: int) -> float:
    """Factor of area/volume in the interior penalty: coercive on every cell type."""
    return float((degree + 1) * (degree + tdim))


def _stiffness_blocks(space: Space, facets: Facets) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blocks of K: owned rows (b,), global columns (b,), (b, nd, nd); each pair once."""
    n_cells, nd = space.local_shape
    rule = space.quadrature(2 * space.degree)
    slopes = tabulate(rule.element(space.degree), rule.reference, derivatives=1)[1]
    metric = rule.metric() * rule.reference_weights[:, None, None]
    diagonal = np.einsum("cqab,aqi,bqj->cij", metric, slopes, slopes, optimize=True)
    off = []
    values, normal = facets.basis(space.degree)
    areas = facets.weights.ravel()[facets.first].sum(axis=1)
    volumes = space.local_volumes
    heights = (areas[:, None] / volumes[facets.pairs]).mean(axis=1)
    eta = penalty(space.degree, space.tdim) * heights
    sides = (facets.first, facets.second)
    step = max(1, _CHUNK // (nd * facets.first.shape[1] * 4))
    for begin in range(0, len(areas), step):
        part = slice(begin, begin + step)
        weights = facets.weights.ravel()[facets.first[part]][:, :, None]
        tables = []
        for side in sides:
            slots = side[part]
            local, cells = slots % facets.per_cell, slots // facets.per_cell
            slope = np.einsum("fqa,afqi->fqi", facets.conormal[cells, local], normal[:, local])
            tables.append((values[local], slope))
        for s in (0, 1):  # test side
            owned = facets.pairs[part, s] < n_cells
            for t in (0, 1):  # trial side
                (v, dv), (u, du) = tables[s], tables[t]
                sign = 1.0 if s == t else -1.0
                lifted = weights * (eta[part, None, None] * u - 0.5 * du)
                block = sign * (
                    np.matmul(v.transpose(0, 2, 1), lifted)
                    - 0.5 * np.matmul(dv.transpose(0, 2, 1), weights * u)
                )
                if s == t:
                    np.add.at(diagonal, facets.pairs[part, s][owned], block[owned])
                else:
                    pair = facets.pairs[part][owned]
                    off.append((pair[:, s], space.global_cells[pair[:, t]], block[owned]))
    rows = [np.arange(n_cells), *[r for r, _, _ in off]]
    columns = [space.global_cells[:n_cells], *[c for _, c, _ in off]]
    return (
        np.concatenate(rows),
        np.concatenate(columns),
        np.concatenate([diagonal, *[b for _, _, b in off]]),
    )
