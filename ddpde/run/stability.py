"""Linear stability of a stationary state: leading eigenvalues of the linearised flow.

With δρ = ρ h the flow around ρ reads M ḣ = −K u, u = T h + S diag(∂²G) Sᵀ M h, where on the
continuous space M = ∫ρ φφ and K = ∫ρ ∇φ·∇φ. Writing h = M⁻¹K w — δρ = −∇·(ρ∇w) up to its sign —
turns ḣ = −λ h into

    L w = λ K w,   L = K (T M⁻¹ + S G'' Sᵀ) K,

symmetric on both sides, with K the metric of Wasserstein space: eigenvalues are real, and Lanczos
is safe whether or not the state is stable. Shift and invert at σ < 0 needs only

    (T K − σ M + K S G'' Bᵀ) h = r,   B = M S,   K w = M h :

a sparse symmetric positive definite factorisation and a correction of the rank of S (Woodbury).
Birth and death of rate α adds −α (M − m mᵀ) u, m = M 1: K becomes K + α (M − m mᵀ), and as
perturbations keep the mass, mᵀh = 0, simply K + αM. On circles the nodes at both ends are one.
Everything is scaled by the square root of M's diagonal, so that laws with Gaussian tails, over
many orders of magnitude, give well-conditioned matrices; cells in the far tail that do not are
left out, a no-flux boundary in their place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import la
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.run.stationary import NEUTRAL, StationaryState
from ddpde.space.matrices import closing, nodal_matrix
from ddpde.space.quadrature import lagrange, tabulate

# petsc4py's own annotations refuse much of what it accepts
Vec = Any
Mat = Any

_NEGLIGIBLE = 1e-30  # density relative to its peak: cells below are left out …
_TAIL = 1e-8  # … and below this those whose basis is dependent:
_DEPENDENT = 1e-13  # least eigenvalue of the scaled mass matrix
_COMPRESSION = 1e-15  # of the Gram matrix of features of one sign


@dataclass(frozen=True, eq=False)
class Stability:
    """Leading eigenvalues of the flow linearised at a state, for schedule ξ = 1.

    rates (count,): growth rates of perturbations, largest first; the mass is kept, so zero is
    among them only at a bifurcation. errors (count,): residuals of the eigenpairs.
    unstable: number of growing directions, from the fixed point's Jacobian.
    """

    rates: np.ndarray
    errors: np.ndarray
    unstable: int

    @property
    def stable(self) -> bool:
        return self.unstable == 0


def stability(state: StationaryState, count: int = 6) -> Stability:
    """The `count` leading eigenvalues of the linearised flow around `state`, through SLEPc.

    Parameters: `state`, of `ddpde.stationary` or of a branch. The rates of the result are
    those of perturbations that go like exp(rate · s), s = ∫ ξ dt, the largest first.

    Raises SolverError where SLEPc does not converge, or finds fewer growing directions than the
    state has.
    """
    linearised = _Linearised(state)
    variance = state.expectation(lambda x: ((x - state.mean) ** 2).sum(axis=1))
    shift = -state.temperature * count / variance
    for _ in range(12):
        rates, errors = linearised.solve(shift, count)
        # an eigenvalue left of the shift may have been missed: the Jacobian knows how many
        if (rates > NEUTRAL * -shift).sum() >= min(state.unstable, count):
            return Stability(rates, errors, state.unstable)
        shift *= 4
    raise SolverError(
        f"{state.unstable} growing directions, {int((rates > 0).sum())} found",
        "ask for more eigenvalues (count), or refine the mesh",
    )


class _Linearised:
    """The matrices of the module's head, scaled; vectors are distributed over the ranks."""

    def __init__(self, state: StationaryState) -> None:
        self.comm = state.point.family.comm
        self.temperature = state.temperature
        self.K, self.M, self.B = _matrices(state)
        births = state.point.family.birth_death
        if births > 0:
            self.K.axpy(births, self.M, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        diagonal = self.M.getDiagonal()
        empty = diagonal.array == 0.0
        scale = diagonal.duplicate()
        scale.array[:] = np.where(empty, 1.0, 1.0 / np.sqrt(np.where(empty, 1.0, diagonal.array)))
        for matrix in (self.K, self.M):
            matrix.diagonalScale(scale, scale)
            own = matrix.getDiagonal()
            own.array[empty] = 1.0
            matrix.setDiagonal(own)
        self.constant = np.where(empty, 0.0, 1.0 / scale.array)
        self.B *= scale.array[:, None]
        self._compress(state)
        self.solve_mass = _factor(self.M)
        self.S = self._columns(self.solve_mass, self.B)
        self.KS = self._columns(self.K.mult, self.S)
        start = self.K.getOwnershipRange()[0]
        self.definite = births > 0
        self.held = np.zeros(len(empty), bool)
        if not self.definite:
            # K's kernel are the constants: one node, the heaviest, is held at zero
            heaviest = int(diagonal.array.argmax()) if len(empty) else 0
            best = self.comm.allreduce(
                (float(diagonal.array.max(initial=-1.0)), -self.comm.rank, heaviest), MPI.MAX
            )
            if -best[1] == self.comm.rank:
                self.held[best[2]] = True
        self.metric = self.K.copy()
        self.metric.zeroRowsColumns(np.flatnonzero(self.held).astype(np.int32) + start, diag=1.0)
        self.solve_metric = _factor(self.metric)

    def solve(self, shift: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Growth rates and errors (count,) of the eigenvalues nearest to a negative shift."""
        from slepc4py import SLEPc

        sizes = self.K.getSizes()
        hessian: Mat = PETSc.Mat()
        hessian.createPython(sizes, _Hessian(self), comm=self.comm)
        hessian.setUp()
        solver = SLEPc.EPS().create(self.comm)
        solver.setOperators(hessian, self.metric)
        solver.setProblemType(SLEPc.EPS.ProblemType.GHEP)
        solver.setDimensions(count, max(2 * count + 8, 20))
        solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_MAGNITUDE)
        solver.setTarget(shift)
        solver.setTolerances(1e-11, 200)
        transform = solver.getST()
        transform.setType(SLEPc.ST.Type.SINVERT)
        transform.setMatMode(SLEPc.ST.MatMode.SHELL)
        inner = transform.getKSP()
        inner.setType(PETSc.KSP.Type.PREONLY)
        inner.getPC().setType(PETSc.PC.Type.PYTHON)
        inner.getPC().setPythonContext(_ShiftInvert(self, shift))
        # one Krylov space sees one direction of a multiple eigenvalue: go on without those found
        # until there is nothing nearer
        held: list[tuple[float, float, Vec]] = []
        random = np.random.default_rng(self.comm.rank)
        while True:
            solver.setDeflationSpace(self._massless() + [vector for *_, vector in held])
            solver.setInitialSpace([self._start(random)])
            solver.solve()
            if solver.getConverged() < count:
                raise SolverError(
                    f"SLEPc found {solver.getConverged()} of {count} eigenvalues",
                    "ask for fewer (count), or refine the mesh",
                )
            new = [self._pair(solver, j) for j in range(count)]
            best = sorted(held + new, key=lambda pair: abs(pair[0] - shift))[:count]
            if best == held:
                break
            held = best
        values, errors, _ = zip(*sorted(held, key=lambda pair: pair[0]), strict=True)
        return -np.array(values), np.array(errors)

    def _pair(self, solver: Any, j: int) -> tuple[float, float, Vec]:
        """SLEPc's eigenvalue j, its error, and the eigenvector."""
        from slepc4py import SLEPc

        vector = self.K.createVecRight()
        value = solver.getEigenpair(j, vector).real
        return value, solver.computeError(j, SLEPc.EPS.ErrorType.ABSOLUTE), vector

    def _massless(self) -> list[Vec]:
        """What perturbations that keep the mass are K-orthogonal to, where K is definite."""
        constant = self.K.createVecRight()
        constant.setArray(self.constant)
        return [constant] if self.definite else []

    def _start(self, random: np.random.Generator) -> Vec:
        start = self.K.createVecRight()
        normal = random.standard_normal(len(self.held))
        start.setArray(normal * self.constant * ~self.held)
        return start

    def low_rank(self, h: Vec) -> np.ndarray:
        """E Bᵀ h (rank,) on all ranks."""
        return self.signs * self.dot(h)

    def dot(self, h: Vec) -> np.ndarray:
        """Bᵀ h (rank,) on all ranks."""
        return sum_over_ranks(self.comm, self.B.T @ h.array_r)

    def _compress(self, state: StationaryState) -> None:
        """B diag(g) Bᵀ as B E Bᵀ with signs E; of low rank where all signs agree."""
        curvature = state.point.curvature
        kept = np.abs(curvature) > 0
        self.signs = np.sign(curvature[kept])
        self.B = self.B[:, kept] * np.sqrt(np.abs(curvature[kept]))
        if len(self.signs) and (self.signs == self.signs[0]).all():
            values, vectors = np.linalg.eigh(sum_over_ranks(self.comm, self.B.T @ self.B))
            held = values > _COMPRESSION * values[-1]
            self.B = self.B @ vectors[:, held]
            self.signs = self.signs[: self.B.shape[1]]

    def _columns(self, apply: Callable[[Vec, Vec], None], block: np.ndarray) -> np.ndarray:
        """A linear map (Vec, Vec) -> None applied to each column (n_local, rank)."""
        before, after = self.K.createVecs()
        out = np.empty_like(block)
        for j in range(block.shape[1]):
            before.array[:] = block[:, j]
            apply(before, after)
            out[:, j] = after.array_r
        return out


class _Hessian:
    """w ↦ K (T h + S E Bᵀ h), M h = K w: what SLEPc measures its errors with."""

    def __init__(self, linearised: _Linearised) -> None:
        self._of = linearised
        self._h, self._u = linearised.K.createVecs()

    def mult(self, matrix: Mat, w: Vec, out: Vec) -> None:
        of = self._of
        of.K.mult(w, self._u)
        of.solve_mass(self._u, self._h)
        self._h.copy(self._u)
        self._u.scale(of.temperature)
        self._u.array[:] += of.S @ of.low_rank(self._h)
        of.K.mult(self._u, out)
        out.array[of.held] = 0.0


class _ShiftInvert:
    """(L − σK)⁻¹ by one sparse factorisation and Woodbury's formula."""

    def __init__(self, linearised: _Linearised, shift: float) -> None:
        self._of = linearised
        of = linearised
        matrix = of.M.copy()
        matrix.scale(-shift)
        matrix.axpy(of.temperature, of.K, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        self._solve = _factor(matrix)
        self._X = of._columns(self._solve, of.KS)
        self._core = np.diag(of.signs) + sum_over_ranks(of.comm, of.B.T @ self._X)
        self._r, self._h = of.K.createVecs()

    def apply(self, pc: Any, right: Vec, out: Vec) -> None:
        of, r, h = self._of, self._r, self._h
        right.copy(r)
        # the held row's equation is minus the sum of the others: constants are in K's kernel
        r.array[of.held] = 0.0
        total = of.comm.allreduce(float(of.constant @ r.array_r))
        r.array[of.held] = -total / of.constant[of.held]
        self._solve(r, h)
        if len(of.signs):
            h.array[:] -= self._X @ np.linalg.solve(self._core, of.dot(h))
        of.M.mult(h, r)
        r.array[of.held] = 0.0
        of.solve_metric(r, out)


def _factor(matrix: Mat) -> Callable[[Vec, Vec], None]:
    """x ↦ matrix⁻¹ x as a function (Vec, Vec) -> None, for a symmetric positive definite one."""
    matrix.setOption(PETSc.Mat.Option.SPD, True)
    solver = PETSc.KSP().create(matrix.comm)
    solver.setOperators(matrix)
    solver.setType(PETSc.KSP.Type.PREONLY)
    solver.getPC().setType(PETSc.PC.Type.CHOLESKY)
    solver.getPC().setFactorSolverType("mumps")
    solver.setErrorIfNotConverged(True)
    solver.setUp()
    return solver.solve


def _matrices(state: StationaryState) -> tuple[Mat, Mat, np.ndarray]:
    """K and M on the potential's nodes, and B (n_owned, M_features) = ∫ρ φ (S − f)."""
    space, cloud = state.point.family.space, state.point.family.cloud
    rule = cloud.rule
    element = lagrange(space.cell, space.degree + 1)
    phi, slope = tabulate(element, rule.reference, derivatives=1)
    masses = state.point.masses.reshape(rule.weights.shape)
    density = masses / rule.weights
    mass = np.einsum("cq,qi,qj->cij", masses, phi, phi, optimize=True)
    kept = _resolved(density.max(axis=1), mass, space.comm)
    masses = np.where(kept[:, None], masses, 0.0)
    mass[~kept] = 0.0
    weighted = masses / rule.weights * rule.reference_weights
    metric = np.broadcast_to(rule.metric(), (*weighted.shape, space.tdim, space.tdim))
    stiffness = sum(
        np.einsum("cq,qi,qj->cij", weighted * metric[:, :, a, b], slope[a], slope[b], optimize=True)
        for a in range(space.tdim)
        for b in range(space.tdim)
    )
    dofs = space.potential_dofs[: space.n_cells]
    nodes = space.potential.dofmap.index_map
    B = np.zeros((nodes.size_local + nodes.num_ghosts, cloud.size))
    per_cell = rule.weights.shape[1]
    for rows, S in cloud.blocks():
        cells = slice(rows.start // per_cell, rows.stop // per_cell)
        carried = masses[cells][..., None] * (S - state.f).reshape(*masses[cells].shape, cloud.size)
        np.add.at(B, dofs[cells], np.matmul(phi.T, carried))
    total = la.vector(nodes)
    for column in B.T:
        total.array[:] = column
        total.scatter_reverse(la.InsertMode.add)
        column[:] = total.array
    K, M, B = nodal_matrix(space, stiffness), nodal_matrix(space, mass), B[: nodes.size_local]
    periods = state.point.family.periods
    if not any(periods):
        return K, M, B.copy()
    P = closing(space, periods)
    one, closed = P.createVecLeft(), P.createVecRight()
    columns = np.empty((closed.getLocalSize(), B.shape[1]))
    for j, column in enumerate(B.T):
        one.setArray(column)
        P.multTranspose(one, closed)
        columns[:, j] = closed.array_r
    return K.ptap(P), M.ptap(P), columns


def _resolved(highest: np.ndarray, mass: np.ndarray, comm: MPI.Comm) -> np.ndarray:
    """Which cells (n_cells,) take part, by their highest density and mass matrices.

    Where ρ falls by many orders within one cell, the basis is dependent to working precision.
    """
    peak = comm.allreduce(float(highest.max(initial=0.0)), MPI.MAX)
    kept = highest > _NEGLIGIBLE * peak
    root = np.sqrt(np.einsum("cii->ci", mass[kept]))
    root[root == 0.0] = 1.0  # underflow: the diagonal stays zero, and so the least eigenvalue
    least = np.linalg.eigvalsh(mass[kept] / root[:, :, None] / root[:, None, :])[:, 0]
    dependent = np.zeros(len(kept), bool)
    dependent[kept] = least < _DEPENDENT
    if comm.allreduce(bool((dependent & (highest > _TAIL * peak)).any()), MPI.LOR):
        raise SolverError(
            "the law varies by too many orders within a cell for its linear stability",
            "refine the mesh where the law is",
        )
    return kept & ~dependent
