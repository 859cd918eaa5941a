"""½ ξ Σ_ij ∂_i∂_j(Σ_ij ρ) + T Δρ in s-time: diffusion by a tensor field, in Itô's form.

    ½ ∂_i∂_j(Σ_ij ρ) = ∇·( ½ Σ ∇ρ + ½ ρ div Σ ) :

an interior penalty for ∇·((T + ½ ξ Σ) ∇ρ), and a velocity −½ ξ div Σ which is carried upwind with
the rest of the drift. Σ is replaced by its continuous interpolant of degree p + 1, for both. In
s = ∫ ξ dt noise has a factor ξ that the other terms have not: steps of size ξ make noise of ξ².
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from petsc4py import PETSc
from scipy.integrate import DOP853

from ddpde.energy import GradientCovariance
from ddpde.errors import ProblemError
from ddpde.flow.diffusion import NeighbourMatrix, Tensor, stiffness_blocks
from ddpde.flow.transport import Velocity
from ddpde.problem import Problem, SGDNoise
from ddpde.problem.schedules import at, constant
from ddpde.space import CellQuadrature, Facets, Space
from ddpde.space.quadrature import lagrange, tabulate

Means = Callable[[np.ndarray], np.ndarray]


class NoiseDiffusion:
    """A `NonlinearDiffusion`, with the velocity that belongs to it.

    `means` maps the density's coefficients to the energy's means f; `now` is s.
    """

    def __init__(
        self, problem: Problem, space: Space, facets: Facets, rule: CellQuadrature, means: Means
    ) -> None:
        if space.gdim != space.tdim:
            raise ProblemError(
                "noise of covariance Σ on a surface is not available", "use a flat mesh"
            )
        self.now = 0.0
        self._pace = Pace(problem.schedule)
        self._space, self._facets, self._means = space, facets, means
        self._temperature = problem.temperature
        self._covariance = _covariance(problem, space.nodes)
        self._fixed = not isinstance(problem.noise, SGDNoise)
        self._degree = 3 * space.degree
        own = space.quadrature(self._degree)
        self._cells = _Places(space, own.reference, own.jacobian)
        self._all_cells = _Places(space, rule.reference, rule.jacobian[: space.n_cells])
        self._slots = _Places(space, facets.reference, facets.jacobian)
        rows, columns, _ = stiffness_blocks(space, facets)
        self._rows = rows
        pattern = space.comm, space.local_shape, rows, space.global_cells[columns]
        self._operator, self._jacobian = NeighbourMatrix(*pattern), NeighbourMatrix(*pattern)
        self._x, self._y = self._operator.matrix.createVecs()
        self._key: tuple[float, bytes] | None = None
        self._blocks = np.zeros(0)

    def solver(self) -> PETSc.KSP:
        return self._jacobian.solver(self._space.tdim)

    def rate(self, u: np.ndarray) -> np.ndarray:
        """−M⁻¹ of the interior penalty for ∇·((T + ½ ξ Σ) ∇u)."""
        self._assemble(u)
        self._x.setArray(u.ravel())
        self._operator.matrix.mult(self._x, self._y)
        return self._y.getArray().reshape(u.shape).copy()

    def jacobian(self, u: np.ndarray) -> PETSc.Mat:
        """That of the same Σ for all laws: what Σ itself changes is small in a step."""
        self._assemble(u)
        return self._jacobian.fill(self._blocks)

    def velocity(self, u: np.ndarray) -> Velocity:
        """−½ ξ div Σ."""
        nodal = -0.5 * self._pace(self.now) * self._covariance(self._means(u))
        inside = self._all_cells.pulled_back(self._all_cells.divergence(nodal))
        outward = self._slots.divergence(nodal)
        return Velocity(inside.transpose(0, 2, 1), (outward * self._normals()).sum(axis=2))

    def _normals(self) -> np.ndarray:
        return np.einsum("csga,csa->csg", self._facets.jacobian, self._facets.conormal)

    def _assemble(self, u: np.ndarray) -> None:
        pace = self._pace(self.now)
        f = self._means(u)
        key = pace, b"" if self._fixed else f.tobytes()
        if key == self._key:
            return
        self._key = key
        identity = np.eye(self._space.gdim)
        nodal = self._temperature * identity + 0.5 * pace * self._covariance(f)
        in_slots = self._slots.values(nodal)
        along = (in_slots @ self._normals()[..., None])[..., 0]
        tensor = Tensor(
            self._degree,
            self._cells.metric(nodal),
            (self._slots.inverse @ along[..., None])[..., 0],
            (along * self._normals()).sum(axis=2),
        )
        blocks = stiffness_blocks(self._space, self._facets, tensor)[2]
        self._blocks = self._space.divide_by_mass(blocks, self._rows)
        self._operator.fill(self._blocks)


class Pace:
    """ξ at s = ∫ ξ dt, in any order."""

    def __init__(self, schedule: Callable[[float], float]) -> None:
        self._schedule, self._solver = schedule, None
        if schedule is constant:
            return
        if not 0 < at(schedule, 0.0) < np.inf:
            raise ProblemError(
                "noise of covariance Σ needs a schedule that is finite at t = 0",
                "its factor ξ² could not be followed",
            )
        self._solver = DOP853(
            lambda s, t: 1 / np.array([schedule(t[0])]), 0.0, [0.0], np.inf, rtol=1e-12, atol=1e-14
        )
        self._ends: list[float] = []
        self._pieces: list[Callable[[float], np.ndarray]] = []

    def __call__(self, s: float) -> float:
        if self._solver is None:
            return 1.0
        while not self._ends or self._ends[-1] < s:
            self._solver.step()
            self._ends.append(self._solver.t)
            self._pieces.append(self._solver.dense_output())
        return self._schedule(float(self._pieces[bisect_left(self._ends, s)](s)[0]))


class _Places:
    """Values of a tensor field, given at the potential's nodes, at reference points of all cells.

    nodal is (n_nodes, d, d), results are (cells, q, …); jacobian (cells, q or 1, d, d).
    """

    def __init__(self, space: Space, reference: np.ndarray, jacobian: np.ndarray) -> None:
        element = lagrange(space.cell, space.degree + 1)
        self._shape, self._slope = tabulate(element, reference, derivatives=1)
        self._dofs = space.potential_dofs[: len(jacobian)]
        self.inverse = np.linalg.inv(jacobian)
        self._volume = np.abs(np.linalg.det(jacobian))

    def values(self, nodal: np.ndarray) -> np.ndarray:
        """D (cells, q, d, d)."""
        return np.einsum("qn,cnij->cqij", self._shape, nodal[self._dofs], optimize=True)

    def metric(self, nodal: np.ndarray) -> np.ndarray:
        """√g J⁻¹ D J⁻ᵀ (cells, q, d, d)."""
        inner = self.inverse @ self.values(nodal) @ self.inverse.transpose(0, 1, 3, 2)
        return self._volume[..., None, None] * inner

    def divergence(self, nodal: np.ndarray) -> np.ndarray:
        """∂_j D_ij (cells, q, d)."""
        slopes = np.einsum("aqn,cnij->cqaij", self._slope, nodal[self._dofs], optimize=True)
        inverse = np.broadcast_to(self.inverse, (*slopes.shape[:2], *self.inverse.shape[2:]))
        return np.einsum("cqaj,cqaij->cqi", inverse, slopes, optimize=True)

    def pulled_back(self, vectors: np.ndarray) -> np.ndarray:
        """√g J⁻¹ v (cells, q, d) of v (cells, q, d)."""
        return self._volume[..., None] * (self.inverse @ vectors[..., None])[..., 0]


def _covariance(problem: Problem, points: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """From the means f to Σ (n, d, d) at points (n, d)."""
    noise = problem.noise
    if isinstance(noise, SGDNoise):
        covariance, scale = GradientCovariance(problem, points), noise.scale
        return lambda f: scale * covariance(f)
    assert noise is not None
    fixed = np.asarray(noise.covariance(points), dtype=float)
    dim = points.shape[1]
    if fixed.shape != (len(points), dim, dim) or not np.isfinite(fixed).all():
        raise ProblemError(
            f"the noise's covariance at {len(points)} points has shape {fixed.shape}",
            f"return finite matrices ({len(points)}, {dim}, {dim})",
        )
    if np.abs(fixed - fixed.transpose(0, 2, 1)).max() > 1e-12 * np.abs(fixed).max():
        raise ProblemError("the noise's covariance is not symmetric", "make it so")
    if np.linalg.eigvalsh(fixed).min() < -1e-12 * np.abs(fixed).max():
        raise ProblemError("the noise's covariance has negative eigenvalues", "make them >= 0")
    return lambda f: fixed
