"""The PDE on a fixed mesh: discontinuous Galerkin transport and diffusion."""

from __future__ import annotations

from functools import partial

import numpy as np
from dolfinx import la
from dolfinx import mesh as dmesh
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.energy import TOLERANCE, Energy, NodalFeatures, compact, entropy
from ddpde.errors import ProblemError
from ddpde.flow.checks import check_mass, check_memory, check_mesh, initial_density
from ddpde.flow.condensed import CondensedDiffusion
from ddpde.flow.diffusion import Diffusion
from ddpde.flow.fast_diagonal import TensorDiffusion, affordable
from ddpde.flow.limiter import PositivityLimiter
from ddpde.flow.lowering import Lowering
from ddpde.flow.means import means_of
from ddpde.flow.noise import NoiseDiffusion
from ddpde.flow.pressure import PressureDiffusion
from ddpde.flow.reaction import BirthDeath
from ddpde.flow.transport import Transport
from ddpde.problem import Problem
from ddpde.space import Law, Space, bounding_box, end_facets, gathered, tensor_grid

_WORKSPACE = {1: 100, 2: 120, 3: 220}  # numbers that all else takes for an unknown, by dimension
_NEGLIGIBLE = 1e-4  # negative mass that the evolution may carry
# the same where a pressure has a front: it stands on both sides of it, and limiting it at every
# step moves mass outwards (L1 errors 1.5 to 3 times as large, twice the steps)
_BESIDE_A_FRONT = 1e-2


class EulerianFlow:
    """Implements `SemiDiscrete` with the density's coefficients (owned cells, nd) as state.

    These are `start`, or the initial law's where it is not given; `space` may be given where it
    exists already. tolerance: of the features' compression. `expected_memory`: bytes on this rank,
    as estimated before the features were formed.
    """

    def __init__(
        self,
        problem: Problem,
        mesh: dmesh.Mesh,
        degree: int,
        tolerance: float = TOLERANCE,
        space: Space | None = None,
        start: np.ndarray | None = None,
    ) -> None:
        if problem.internal is not None and not problem.internal.smooth:
            raise ProblemError(
                f"{type(problem.internal).__name__} is a constraint, which has no pressure P(ρ)",
                "use a JKO method, or PorousMedium with a large exponent",
            )
        check_mesh(problem, mesh)
        self.space = space or Space(mesh, degree, problem.periods)
        self.comm = mesh.comm
        self.local_shape = self.space.local_shape
        self.temperature = problem.temperature
        nodes = self.space.nodes
        box = bounding_box(mesh)
        self.energy = Energy(
            problem,
            box,
            reduce=partial(sum_over_ranks, self.comm),
            tolerance=tolerance,
            points=self.space.potential.dofmap.index_map.size_global,
        )
        found = compact(self.energy, nodes, box, tolerance, self.comm.allgather)
        # all nodes' features pass through two more arrays as they are formed
        numbers = found.numbers if found else 3 * len(nodes) * self.energy.size
        unknowns = self.local_shape[0] * self.local_shape[1]
        self.expected_memory = check_memory(
            self.comm, numbers, _WORKSPACE[self.space.tdim] * unknowns
        )
        self.features = NodalFeatures(self.energy, nodes, found)
        self.feature_error = self.energy.compression_error + (found.error if found else 0.0)
        self._means = means_of(self.space, self.features)
        self._r = self.energy.local(nodes)
        if not (self.features.finite and np.isfinite(self._r).all()):
            raise ProblemError("the energy is not finite on the mesh", "shrink the mesh")

        facets = self.space.facets()
        self.upwind = Transport(self.space, facets)
        self._ghosted = la.vector(
            self.space.density.dofmap.index_map, dtype=np.float64
        )  # coefficients with those of the ghost cells
        self.diffusion: Diffusion | None = None
        self.pressure: PressureDiffusion | None = None
        self.noise: NoiseDiffusion | None = None
        if problem.noise is not None:
            self.noise = NoiseDiffusion(
                problem, self.space, facets, self.upwind.rule, self.predictions
            )
        elif problem.diffuses:
            grid = tensor_grid(self.space)
            self.diffusion = (
                TensorDiffusion(grid)
                if grid and affordable(grid)
                else CondensedDiffusion(self.space, facets)
            )
        if problem.internal is not None:
            assert self.diffusion is not None
            self.pressure = PressureDiffusion(
                self.space, facets, self.diffusion, problem.internal, self.temperature
            )
        self.nonlinear = self.pressure or self.noise
        if not self.energy.interacting:
            self.upwind.set_potential(self._r)
        self.birth_death = None
        if problem.birth_death > 0:
            self.birth_death = BirthDeath(self.space, problem)
        self._learns = problem.unit is not None
        self._limiter = PositivityLimiter(self.space)
        self._rule = self.space.quadrature(2 * degree + 2)
        self._basis = self._rule.basis(degree)
        self._lowering = Lowering(
            self.space,
            problem,
            self._limiter,
            self._first_variation,
            self._free_energy,
            facets,
            self.with_ghosts,
        )
        self._rim = _rim_cells(problem, self.space)
        self.truncated_mass = 0.0
        self.state = PETSc.Vec().createMPI((unknowns, None), comm=self.comm)
        self.state.setArray((self._initial(problem) if start is None else start).ravel())

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        coefficients = self.coefficients(u)
        potential = self._r
        if self.energy.interacting:
            potential = self.steer(coefficients)
        if self.noise is not None:
            self.upwind.set_potential(potential, self.noise.velocity(coefficients))
        moments = self.upwind.moments(self.with_ghosts(coefficients))
        if self.birth_death is not None:
            moments += self.birth_death.moments(coefficients, potential)
        with out as array:
            array[:] = self.space.divide_by_mass(moments).ravel()

    @property
    def now(self) -> float:
        """s, which noise depends on through the schedule."""
        return self.noise.now if self.noise is not None else 0.0

    @now.setter
    def now(self, s: float) -> None:
        if self.noise is not None:
            self.noise.now = s

    def steer(self, coefficients: np.ndarray) -> np.ndarray:
        """Let mass flow along −∇F' of a law; F' at the nodes (n_nodes,), without entropy."""
        potential = self._first_variation(coefficients)
        if self.energy.interacting:
            self.upwind.set_potential(potential)
        return potential

    def stabilise(self, u: PETSc.Vec) -> bool:
        coefficients = self.coefficients(u)
        values, weights = coefficients @ self._basis.T, self._rule.weights
        allowed = _NEGLIGIBLE
        if self.birth_death is not None:
            allowed = 0.0  # the entropy's part of birth and death amplifies what is negative
        elif self.pressure is not None:
            allowed = _BESIDE_A_FRONT
        if self._limiter.negative_mass(values, weights) <= allowed:
            return False
        limited = self._limiter(coefficients)
        with u as array:
            array[:] = limited.ravel()
        return True

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        coefficients = self.coefficients(u)
        positive = self._limiter(coefficients)
        means = self.space.cell_means[0]
        masses = [
            np.einsum("ci,ci->", means, coefficients),
            np.einsum("ci,ci->", means[self._rim], positive[self._rim]),
        ]
        mass, rim = sum_over_ranks(self.comm, np.array(masses))
        return {
            # of the law that evolves: limiting is not smooth, and would hide the order in time
            "risk": self.energy.risk(self.predictions(coefficients)) if self._learns else 0.0,
            # of the positive law throughout: with two laws in one sum it need not fall
            "free_energy": self._free_energy(positive),
            "mass": mass,
            "minimum": self._limiter.minimum(positive),
            "boundary_mass": rim,
        }

    def lower(self, u: PETSc.Vec, before: PETSc.Vec, goal: float) -> float:
        laws = [self._limiter(self.coefficients(state)) for state in (u, before)]
        lowered, energy = self._lowering(laws[0], laws[1], goal)
        with u as array:
            array[:] = lowered.ravel()
        return energy

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        space = self.space
        geometry = space.geometry[: space.n_cells]
        coefficients = self._limiter(self.coefficients(u))
        own = Law(t, space.cell, space.degree, space.geometry_degree, geometry, coefficients)
        return gathered(self.comm, space.original_cells, own)

    def _free_energy(self, positive: np.ndarray) -> float:
        local = self.space.nodal_masses(positive) @ self._r
        if self.temperature > 0:
            values = positive @ self._basis.T
            local += self.temperature * entropy(values, self._rule.weights)
        if self.pressure is not None:
            local += self.pressure.energy(positive)
        total = float(sum_over_ranks(self.comm, np.array([local]))[0])
        return self.energy.nonlocal_energy(self.predictions(positive)) + total

    def _first_variation(self, coefficients: np.ndarray) -> np.ndarray:
        """F' at the nodes (n_nodes,), without entropy and internal energy."""
        if not self.energy.interacting:
            return self._r
        found = self.features.field(self.energy.dual_from(self._means(coefficients)))
        found += self._r
        return found

    def _initial(self, problem: Problem) -> np.ndarray:
        coefficients = self.space.project(initial_density(problem, self.comm))
        integrals = self.space.cell_means[0]
        mass = self.comm.allreduce(float(np.einsum("ci,ci->", integrals, coefficients)))
        self.truncated_mass = check_mass(mass)
        return coefficients * (problem.mass / mass)

    def coefficients(self, u: PETSc.Vec) -> np.ndarray:
        return u.getArray(readonly=True).reshape(self.space.local_shape)

    def with_ghosts(self, coefficients: np.ndarray) -> np.ndarray:
        if self.comm.size == 1:
            return coefficients
        self._ghosted.array[: coefficients.size] = coefficients.ravel()
        self._ghosted.scatter_forward()
        return self._ghosted.array.reshape(-1, coefficients.shape[1])

    def predictions(self, coefficients: np.ndarray) -> np.ndarray:
        return self.energy.expanded(self._means(coefficients))


def _rim_cells(problem: Problem, space: Space) -> np.ndarray:
    """Owned cells at the artificial boundary: the natural ends of coordinates do not count."""
    facets, cells = end_facets(space.mesh)
    centres = dmesh.compute_midpoints(space.mesh, space.tdim - 1, facets)[:, : space.gdim]
    artificial = np.all(centres > np.asarray(problem.lower) + 1e-12, axis=1)
    lower, upper = bounding_box(space.mesh)
    for axis, period in enumerate(problem.periods):
        if period is not None:
            ends = np.stack([centres[:, axis] - lower[axis], upper[axis] - centres[:, axis]])
            artificial &= ends.min(axis=0) > 1e-9 * period
    return np.unique(cells[artificial])
