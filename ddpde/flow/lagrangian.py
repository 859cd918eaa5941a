"""The PDE on a mesh that moves with the flow (temperature zero).

The Gauss points of every cell are carried along the characteristics θ' = −ξ ∇F'[ρ](θ) with
their initial masses: mass is constant in each cell, positivity is trivial, and integrals keep
the quadrature accuracy of the initial law. Between the points a cell is the polynomial image of
the reference cell, which gives the density.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.energy import TOLERANCE, Energy
from ddpde.errors import ProblemError, SolverError
from ddpde.flow.checks import bounding_box, check_mass, check_mesh, initial_density
from ddpde.flow.lowering import part_of_the_way
from ddpde.problem import Problem
from ddpde.space import Law, Space, gathered
from ddpde.space.quadrature import jacobian_determinant, legendre, tabulate


class LagrangianFlow:
    """Implements `SemiDiscrete` with the points' positions (owned cells, q, k) as state."""

    temperature, diffusion, nonlinear, now = 0.0, None, None, 0.0

    def __init__(
        self, problem: Problem, mesh: dmesh.Mesh, degree: int, tolerance: float = TOLERANCE
    ) -> None:
        if problem.temperature > 0:
            raise ProblemError(
                f"the Lagrangian method follows transport only; temperature = "
                f"{problem.temperature:g}",
                'use space = "eulerian"',
            )
        if problem.birth_death > 0:
            raise ProblemError(
                f"the Lagrangian method moves mass, it does not create any; birth_death = "
                f"{problem.birth_death:g}",
                'use space = "eulerian"',
            )
        if problem.diffuses:
            raise ProblemError(
                "the Lagrangian method follows transport only, no internal energy and no noise",
                'use space = "eulerian"',
            )
        check_mesh(problem, mesh)
        self._lower = np.asarray(problem.lower)
        self.comm = mesh.comm
        self._space = Space(mesh, degree)
        self._degree = degree
        rule = self._space.quadrature(2 * degree + 1)
        self.local_shape = self._shape = rule.points.shape
        density = initial_density(problem, self.comm)(rule.points.reshape(-1, self._shape[2]))
        masses = rule.weights * density.reshape(rule.weights.shape)
        total = self.comm.allreduce(float(masses.sum()))
        self.truncated_mass = check_mass(total)
        masses *= problem.mass / total
        self._masses = masses.ravel()
        # least squares from the points to polynomials: interpolation on tensor cells
        self._fit = np.linalg.pinv(rule.basis(degree))
        self._slopes = tabulate(legendre(rule.cell, degree), rule.reference, derivatives=1)[1]
        self._reference_density = masses / rule.reference_weights
        reduce = partial(sum_over_ranks, self.comm)
        self.energy = Energy(problem, bounding_box(mesh), reduce, tolerance)
        self.feature_error = self.energy.compression_error
        self.state = PETSc.Vec().createMPI((rule.points.size, None), comm=self.comm)
        self.state.setArray(rule.points.ravel())

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        with out as array:
            array[:] = self._velocity(self._points(u)).ravel()

    def stabilise(self, u: PETSc.Vec) -> bool:
        """What has reached the end of a coordinate stays there until it is driven back.

        (The centre of a radial law may be reached in finite time: Mei et al. 2018, Figure 4.)
        Within a step such points go on beyond the end, where they count as at the end: so the
        right-hand side stays continuous, and no step has to meet an arrival.
        """
        positions = u.getArray(readonly=True).reshape(-1, self._shape[2])
        beyond = bool(np.any(positions < self._lower))
        if not self.comm.allreduce(beyond, MPI.LOR):  # all ranks restart the step, or none
            return False
        with u as array:
            array[:] = self._points(u).ravel()
        return True

    def lower(self, u: PETSc.Vec, before: PETSc.Vec, goal: float) -> float:
        """Points that have passed their lowest place, as at a kink of F', go a part of their way;
        where that is not enough, all points do."""
        end = self._points(u)
        way = end - self._points(before)
        passed = (self._velocity(end) * way).sum(axis=1) < 0.0

        def energy(part: float) -> float:
            return self._free_energy(end - (1.0 - part) * left_out)

        left_out = way * passed[:, None]
        if energy(0.0) > goal:
            left_out = way
        part = part_of_the_way(energy, goal)
        if part == 0.0 and not self.comm.allreduce(bool(passed.any()), MPI.LOR):
            raise SolverError(
                "the free energy rises along the flow, however short the step",
                "let unit, potential and loss have derivatives, but for kinks",
            )
        with u as array:
            array[:] = (end - (1.0 - part) * left_out).ravel()
        return energy(part)

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        points = self._points(u)
        f = self._predictions(points)
        mass = self.comm.allreduce(float(self._masses.sum()))
        volume = self._volume(points.reshape(self._shape))
        density = self._reference_density / np.maximum(volume, 1e-300)
        return {
            "risk": self.energy.risk(f),
            "free_energy": self._free_energy(points, f),
            "mass": mass,
            "minimum": self.comm.allreduce(float(density.min(initial=np.inf)), MPI.MIN),
            "boundary_mass": 0.0,
        }

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        positions = self._points(u).reshape(self._shape)
        geometry = np.einsum("nq,cqg->cng", self._fit, positions)
        values, degree = self._reference_density @ self._fit.T, self._degree
        own = Law(t, self._space.cell, degree, degree, geometry, values, moved=True)
        return gathered(self.comm, self._space.original_cells, own)

    def _velocity(self, points: np.ndarray) -> np.ndarray:
        """−∇F' (n, k) at the points of the law (n, k)."""
        S, gradients = self.energy.features_and_gradients(points)
        f = self.energy.predictions(S, self._masses)
        return self.energy.drift(points, gradients, self.energy.dual(f))

    def _predictions(self, points: np.ndarray) -> np.ndarray:
        return self.energy.predictions(self.energy.features(points), self._masses)

    def _free_energy(self, points: np.ndarray, f: np.ndarray | None = None) -> float:
        """Of the law at points (n, k); `f` where its predictions are known."""
        f = self._predictions(points) if f is None else f
        local = self.comm.allreduce(float(self._masses @ self.energy.local(points)))
        return self.energy.nonlocal_energy(f) + local

    def _points(self, u: PETSc.Vec) -> np.ndarray:
        positions = u.getArray(readonly=True).reshape(-1, self._shape[2])
        return np.maximum(positions, self._lower)

    def _volume(self, positions: np.ndarray) -> np.ndarray:
        geometry = np.einsum("nq,cqg->cng", self._fit, positions)
        return jacobian_determinant(np.einsum("aqn,cng->cqga", self._slopes, geometry))
