"""−Δ in discontinuous polynomials: symmetric interior penalty, no flux at the boundary.

    ∫ ∇u·∇v − Σ_facets ∫ {∂_n u}[v] + [u]{∂_n v} − η [u][v] + [∂_n u][∂_n v]/(4η) .

The last term, with which the form is called *bent* here, belongs to that with unknowns on the
facets, for general meshes (`condensed.py`). It is left out on tensor grids, as it spoils the
symmetry of a line about its ends (`fast_diagonal.py`), and for tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc
from scipy import sparse

from ddpde.space import Facets, Space
from ddpde.space.quadrature import tabulate

_CHUNK = 20_000_000  # numbers in one block of facet tables
_TOLERANCE = 1e-12  # of conjugate gradients
_GMRES = 1e-8  # mass is conserved to this part of a Newton step
_FEW = 3000  # rows of blocks, with which PETSc's factors are faster than MUMPS's
_PATIENCE = 60  # iterations after which complete factors are cheaper


class Diffusion(Protocol):
    """−Δ on the density's coefficients (owned cells, nd), and shifted solves with it."""

    @property
    def factorises(self) -> bool:
        """A change of the shift costs much more than a solve."""
        ...

    @property
    def bent(self) -> bool:
        """Which form K is."""
        ...

    def apply(self, u: np.ndarray) -> np.ndarray:
        """M⁻¹K u."""
        ...

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        """(shift + factor M⁻¹K)⁻¹ b."""
        ...


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


def iterative(matrix: PETSc.Mat) -> PETSc.KSP:
    """Starts from what it is given; incomplete LU is incomplete Cholesky on a symmetric matrix."""
    ksp = PETSc.KSP().create(matrix.comm)
    ksp.setOperators(matrix)
    ksp.setType(PETSc.KSP.Type.CG)
    ksp.setNormType(PETSc.KSP.NormType.NATURAL)
    ksp.setInitialGuessNonzero(True)
    ksp.setTolerances(rtol=_TOLERANCE, atol=0.0, max_it=_PATIENCE)
    ksp.getPC().setType(PETSc.PC.Type.BJACOBI)
    return ksp


class NeighbourMatrix:
    """A sparse matrix of (nd, nd) blocks between cells, or facets, and their neighbours.

    shape: rows of blocks on this rank, and nd; rows (b,) are this rank's, counted from 0, columns
    (b,) global numbers; a pair appears once. `fill` may be called again and again: solvers keep
    what belongs to the pattern alone. Of few rows on one rank PETSc sees the blocks, and its own
    solvers work with them, not with single numbers.
    """

    def __init__(
        self, comm: MPI.Comm, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray
    ) -> None:
        n_rows, nd = shape
        order = np.lexsort((columns, rows))
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
        index = PETSc.IntType
        size = (n_rows * nd, None)
        self._blocked = comm.size == 1 and n_rows <= _FEW
        if self._blocked:
            self._places = order
            self._pattern = starts.astype(index), columns[order].astype(index)
            self.matrix = PETSc.Mat().createBAIJ((size, size), nd, comm=comm)
            self.matrix.setPreallocationCSR(self._pattern)
            # as it stores a block: one column after the other
            self.matrix.setOption(PETSc.Mat.Option.ROW_ORIENTED, False)
            return
        whole = (n_rows * nd, comm.allreduce(n_rows) * nd)
        places = np.arange(len(rows) * nd * nd).reshape(-1, nd, nd)
        csr = sparse.bsr_matrix((places[order], columns[order], starts), shape=whole).tocsr()
        self._places = csr.data
        self._pattern = csr.indptr.astype(index), csr.indices.astype(index)
        self.matrix = PETSc.Mat().createAIJ(
            (size, size), csr=(*self._pattern, np.zeros(csr.nnz)), comm=comm
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

    def solver(self, tdim: int) -> PETSc.KSP:
        """For a matrix that is not symmetric, on a mesh of this dimension; factors are kept for a
        while.

        On several ranks complete ones wait for each other more than incomplete ones take.
        """
        if tdim < 3 and self.matrix.comm.size == 1:
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


def penalties(space: Space, facets: Facets) -> np.ndarray:
    """η of each interior facet (n_facets,), by the flatter of its cells."""
    areas = facets.weights.ravel()[facets.first].sum(axis=1)
    heights = (areas[:, None] / space.local_volumes[facets.pairs]).max(axis=1)
    return penalty(space.degree, space.tdim) * heights


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
    space: Space, facets: Facets, tensor: Tensor | None = None, *, bent: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blocks of K: owned rows (b,), local columns (b,), (b, nd, nd); each pair once.

    Of −Δ, or of −∇·(D∇u) for a `tensor` D.
    """
    n_cells, nd = space.local_shape
    diagonal = inside_blocks(space, tensor=tensor)
    conormal = tensor.conormal if tensor else facets.conormal
    values, normal = facets.basis(space.degree)
    eta = penalties(space, facets)
    step = max(1, _CHUNK // (nd * max(nd, facets.first.shape[1]) * 4))
    off = []
    for begin in range(0, len(eta), step):
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
        if bent:
            slope[:, :, nd:] *= -1.0  # along each side's own normal
            bend = (0.25 * weights / strength)[:, :, None] * slope
            block -= np.matmul(slope.transpose(0, 2, 1), bend)
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
        rows * len(space.global_cells) + columns, return_index=True, return_inverse=True
    )
    if len(first) < len(rows):  # on a circle of one or two cells facets share their pair
        merged = np.zeros((len(first), nd, nd))
        np.add.at(merged, which, blocks)
        rows, columns, blocks = rows[first], columns[first], merged
    return rows, columns, blocks


def inside_blocks(
    space: Space, cells: np.ndarray | None = None, tensor: Tensor | None = None
) -> np.ndarray:
    """∫ ∇φ_i·D∇φ_j over cells (default: all owned ones), (n, nd, nd)."""
    chosen = slice(None) if cells is None else cells
    rule = space.quadrature(tensor.degree if tensor else 2 * space.degree)
    slopes = tabulate(rule.element(space.degree), rule.reference, derivatives=1)[1]
    metric = (tensor.inside if tensor else rule.metric())[chosen]
    weights = rule.reference_weights
    if metric.shape[1] > 1:
        metric = metric * weights[:, None, None]
        return np.einsum("cqab,aqi,bqj->cij", metric, slopes, slopes, optimize=True)
    products = np.einsum("aqi,bqj->abij", weights[:, None] * slopes, slopes, optimize=True)
    return np.tensordot(metric[:, 0], products, axes=2)


def mass_blocks(space: Space, cells: np.ndarray) -> np.ndarray:
    """M on cells, (n, nd, nd)."""
    rule = space.quadrature(2 * space.degree + 2)
    basis = rule.basis(space.degree)
    return np.tensordot(rule.weights[cells], np.einsum("qi,qj->qij", basis, basis), axes=1)
