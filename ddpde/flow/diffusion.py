"""−Δ in discontinuous polynomials: symmetric interior penalty, no flux at the boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from petsc4py import PETSc
from scipy import sparse

from ddpde.errors import SolverError
from ddpde.space import Facets, Space
from ddpde.space.quadrature import tabulate

_CHUNK = 20_000_000  # numbers in one block of facet tables
_TOLERANCE = 1e-12  # of conjugate gradients
_GMRES = 1e-8  # mass is conserved to this part of a Newton step
_SAME = 1e-12  # shifts nearer than this are those of one time step, but for rounding
_FEW = 3000  # cells, with which blocks of the cells' are faster than MUMPS's
_PATIENCE = 60  # iterations after which complete factors are cheaper


class Diffusion(Protocol):
    """−Δ on the density's coefficients (owned cells, nd), and shifted solves with it."""

    @property
    def factorises(self) -> bool:
        """A change of the shift costs much more than a solve."""
        ...

    def apply(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K u."""
        ...

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        """(shift + factor M⁻¹K)⁻¹ b."""
        ...


class SparseDiffusion:
    """`Diffusion` on any mesh, on any number of ranks, by (shift M + factor K) x = M b.

    The matrix is symmetric and positive definite. On surfaces and in the plane complete factors,
    made when the shift changes, are the cheapest: of few cells on one rank PETSc's own, whose
    blocks are the cells', else MUMPS's (Cholesky). In space, where they fill up, conjugate
    gradients with incomplete ones, unless these need too many iterations.
    """

    def __init__(self, space: Space, facets: Facets) -> None:
        self._space = space
        rows, columns, blocks = stiffness_blocks(space, facets)
        self._matrix = NeighbourMatrix(space, rows, columns).fill(blocks)
        cells = np.arange(space.n_cells)
        self._mass = NeighbourMatrix(space, cells, cells).fill(mass_blocks(space))
        self._shifted = self._matrix.duplicate(copy=True)
        self._current = (0.0, 0.0)
        self._x, self._b = self._matrix.createVecs()
        self._one, self._weight = self._matrix.createVecs()
        self._one.setArray(space.one.ravel())
        self._weight.setArray(space.cell_means[0].ravel())
        self._volume = self._weight.dot(self._one)
        self._ksp = direct(self._shifted) if space.tdim < 3 else _iterative(self._shifted)

    @property
    def factorises(self) -> bool:
        return self._ksp.getType() == PETSc.KSP.Type.PREONLY

    def apply(self, u: np.ndarray) -> np.ndarray:
        self._x.setArray(u.ravel())
        self._matrix.mult(self._x, self._b)
        return self._space.divide_by_mass(self._b.getArray(readonly=True).reshape(u.shape))

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        old_shift, old_factor = self._current
        if abs(shift - old_shift) > _SAME * shift or factor != old_factor:
            self._matrix.copy(self._shifted, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
            self._shifted.scale(factor)
            self._shifted.axpy(shift, self._mass, PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
            self._shifted.setOption(PETSc.Mat.Option.SPD, True)
            self._ksp.setOperators(self._shifted)
            self._current = (shift, factor)
        self._x.setArray(b.ravel())
        self._mass.mult(self._x, self._b)
        self._x.scale(1.0 / shift)
        self._ksp.solve(self._b, self._x)
        if self._ksp.getConvergedReason() < 0 and not self.factorises:
            self._ksp.destroy()
            self._ksp = direct(self._shifted)
            self._ksp.solve(self._b, self._x)
        if self._ksp.getConvergedReason() < 0:
            raise SolverError(
                f"the linear solver of the diffusion failed "
                f"(reason {self._ksp.getConvergedReason()})",
                "take a mesh of better shape",
            )
        # K takes no mass, but the error of a solve does; cell by cell the difference is small, and
        # its sum loses no digits
        self._b.setArray(b.ravel())
        self._b.axpby(1.0, -1.0 / shift, self._x)  # x − b / shift
        self._x.axpy(-self._b.dot(self._weight) / self._volume, self._one)
        return self._x.getArray().reshape(b.shape).copy()


def direct(matrix: PETSc.Mat, *, symmetric: bool = True) -> PETSc.KSP:
    """Complete factors: of blocks PETSc's own LU, else MUMPS's Cholesky or LU."""
    ksp = PETSc.KSP().create(matrix.comm)
    ksp.setOperators(matrix)
    ksp.setType(PETSc.KSP.Type.PREONLY)
    pc = ksp.getPC()
    if matrix.getType() == PETSc.Mat.Type.SEQBAIJ:
        pc.setType(PETSc.PC.Type.LU)
        pc.setFactorOrdering(PETSc.Mat.OrderingType.QMD)
    else:
        pc.setType(PETSc.PC.Type.CHOLESKY if symmetric else PETSc.PC.Type.LU)
        pc.setFactorSolverType("mumps")
    return ksp


def _iterative(matrix: PETSc.Mat) -> PETSc.KSP:
    """Starts from what it is given; incomplete LU is incomplete Cholesky on a symmetric matrix."""
    ksp = PETSc.KSP().create(matrix.comm)
    ksp.setOperators(matrix)
    ksp.setType(PETSc.KSP.Type.CG)
    ksp.setNormType(PETSc.KSP.NormType.NATURAL)
    ksp.setInitialGuessNonzero(True)
    ksp.setTolerances(rtol=_TOLERANCE, atol=0.0, max_it=_PATIENCE)
    ksp.getPC().setType(PETSc.PC.Type.BJACOBI)
    return ksp


def mass_blocks(space: Space) -> np.ndarray:
    """M on the owned cells (n_cells, nd, nd)."""
    rule = space.quadrature(2 * space.degree + 2)
    basis = rule.basis(space.degree)
    return np.tensordot(rule.weights, np.einsum("qi,qj->qij", basis, basis), axes=1)


class NeighbourMatrix:
    """A sparse matrix of (nd, nd) blocks between cells and their neighbours.

    rows (b,) are owned cells, columns (b,) local ones; a pair appears once. `fill` may be called
    again and again: solvers keep what belongs to the pattern alone. Of few cells on one rank PETSc
    sees the blocks, and its own solvers work with them, not with single numbers.
    """

    def __init__(self, space: Space, rows: np.ndarray, columns: np.ndarray) -> None:
        n_cells, nd = space.local_shape
        columns = space.global_cells[columns]
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_cells))])
        index = PETSc.IntType
        self._tdim = space.tdim
        size = (n_cells * nd, None)
        self._blocked = space.comm.size == 1 and n_cells <= _FEW
        if self._blocked:
            self._places = order
            self._pattern = starts.astype(index), columns[order].astype(index)
            self.matrix = PETSc.Mat().createBAIJ((size, size), nd, comm=space.comm)
            self.matrix.setPreallocationCSR(self._pattern)
            # as it stores a block: one column after the other
            self.matrix.setOption(PETSc.Mat.Option.ROW_ORIENTED, False)
            return
        shape = (n_cells * nd, space.comm.allreduce(n_cells) * nd)
        places = np.arange(len(rows) * nd * nd).reshape(-1, nd, nd)
        csr = sparse.bsr_matrix((places[order], columns[order], starts), shape=shape).tocsr()
        self._places = csr.data
        self._pattern = csr.indptr.astype(index), csr.indices.astype(index)
        self.matrix = PETSc.Mat().createAIJ(
            (size, size), csr=(*self._pattern, np.zeros(csr.nnz)), comm=space.comm
        )

    def fill(self, blocks: np.ndarray) -> PETSc.Mat:
        """The matrix with blocks (b, nd, nd), in the order of rows and columns."""
        if self._blocked:
            values = blocks[self._places].transpose(0, 2, 1).ravel()
            self.matrix.setValuesBlockedCSR(*self._pattern, values)
        else:
            self.matrix.setValuesCSR(*self._pattern, blocks.ravel()[self._places])
        self.matrix.assemble()
        return self.matrix

    def solver(self) -> PETSc.KSP:
        """For a matrix that is not symmetric, whose factors are kept for a while.

        On several ranks complete ones wait for each other more than incomplete ones take.
        """
        if self._tdim < 3 and self.matrix.comm.size == 1:
            return direct(self.matrix, symmetric=False)
        ksp = PETSc.KSP().create(self.matrix.comm)
        ksp.setOperators(self.matrix)
        ksp.setType(PETSc.KSP.Type.GMRES)
        ksp.setTolerances(rtol=_GMRES)
        ksp.getPC().setType(PETSc.PC.Type.BJACOBI)
        return ksp


def penalty(degree: int, tdim: int) -> float:
    """Factor of area/volume in the interior penalty: coercive on every cell type."""
    return float((degree + 1) * (degree + tdim))


@dataclass(frozen=True, eq=False)
class Tensor:
    """A symmetric tensor D for −∇·(D∇u), where the interior penalty needs it.

    inside (n_cells, q, tdim, tdim): √g J⁻¹ D J⁻ᵀ at the points of the rule of degree `degree`;
    conormal (cells, per_cell, tdim): J⁻¹ D n in the facets' slots; strength (cells, per_cell):
    n·D n there.
    """

    degree: int
    inside: np.ndarray
    conormal: np.ndarray
    strength: np.ndarray


def stiffness_blocks(
    space: Space, facets: Facets, tensor: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blocks of K: owned rows (b,), local columns (b,), (b, nd, nd); each pair once.

    Of −Δ, or of −∇·(D∇u) for a `tensor` D.
    """
    n_cells, nd = space.local_shape
    diagonal = _inside(space, tensor)
    conormal = tensor.conormal if tensor else facets.conormal
    values, normal = facets.basis(space.degree)
    areas = facets.weights.ravel()[facets.first].sum(axis=1)
    volumes = space.local_volumes
    heights = (areas[:, None] / volumes[facets.pairs]).mean(axis=1)
    eta = penalty(space.degree, space.tdim) * heights
    step = max(1, _CHUNK // (nd * max(nd, facets.first.shape[1]) * 4))
    off = []
    for begin in range(0, len(areas), step):
        part = slice(begin, begin + step)
        pairs, weights = facets.pairs[part], facets.weights.ravel()[facets.first[part]]
        jumps, slopes = [], []
        for slots, sign in ((facets.first[part], 1.0), (facets.second[part], -1.0)):
            local, cells = slots % facets.per_cell, slots // facets.per_cell
            along = sign * conormal[cells, local]
            slopes.append(sum(along[:, :, a, None] * normal[a, local] for a in range(space.tdim)))
            jumps.append(sign * values[local])
        jump, slope = np.concatenate(jumps, axis=2), np.concatenate(slopes, axis=2)
        strength = eta[part, None]
        if tensor:
            strength = strength * tensor.strength.ravel()[facets.first[part]]
        # of a symmetric form in the functions of both sides: η [u][v] − {∂u}[v] − [u]{∂v}
        half = (0.5 * weights * strength)[:, :, None] * jump - 0.5 * weights[:, :, None] * slope
        block = np.matmul(jump.transpose(0, 2, 1), half)
        block += block.transpose(0, 2, 1)
        for s, test in enumerate((slice(nd), slice(nd, None))):
            owned = np.flatnonzero(pairs[:, s] < n_cells)
            beside = (slice(nd, None), slice(nd))[s]
            mine = pairs[owned, s]
            off.append((mine, pairs[owned, 1 - s], block[owned, test, beside]))
            adding = sparse.csr_array(
                (np.ones(len(owned)), (mine, owned)), shape=(n_cells, len(pairs))
            )
            diagonal += (adding @ block[:, test, test].reshape(-1, nd * nd)).reshape(-1, nd, nd)
    rows = np.concatenate([np.arange(n_cells), *[r for r, _, _ in off]])
    columns = np.concatenate([np.arange(n_cells), *[c for _, c, _ in off]])
    blocks = np.concatenate([diagonal, *[b for _, _, b in off]])
    _, first, which = np.unique(
        rows * len(volumes) + columns, return_index=True, return_inverse=True
    )
    if len(first) < len(rows):  # on a circle of one or two cells facets share their pair
        merged = np.zeros((len(first), nd, nd))
        np.add.at(merged, which, blocks)
        rows, columns, blocks = rows[first], columns[first], merged
    return rows, columns, blocks


def _inside(space: Space, tensor: Tensor | None) -> np.ndarray:
    """∫ ∇φ_i·D∇φ_j over the owned cells (n_cells, nd, nd)."""
    rule = space.quadrature(tensor.degree if tensor else 2 * space.degree)
    slopes = tabulate(rule.element(space.degree), rule.reference, derivatives=1)[1]
    metric, weights = tensor.inside if tensor else rule.metric(), rule.reference_weights
    if metric.shape[1] > 1:
        metric = metric * weights[:, None, None]
        return np.einsum("cqab,aqi,bqj->cij", metric, slopes, slopes, optimize=True)
    products = np.einsum("aqi,bqj->abij", weights[:, None] * slopes, slopes, optimize=True)
    return np.tensordot(metric[:, 0], products, axes=2)
