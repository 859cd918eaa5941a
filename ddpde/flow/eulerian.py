"""The PDE on a fixed mesh: discontinuous Galerkin transport and diffusion."""

from __future__ import annotations

import time
from functools import partial

import dolfinx.fem.petsc
import numpy as np
from dolfinx import fem, la
from dolfinx import mesh as dmesh
from petsc4py import PETSc

from ddpde.comm import log, sum_over_ranks
from ddpde.energy import Energy, entropy
from ddpde.errors import ProblemError
from ddpde.flow.checks import bounding_box, check_mass, check_mesh
from ddpde.flow.diffusion import diffusion_matrix
from ddpde.flow.limiter import PositivityLimiter
from ddpde.flow.reaction import BirthDeath
from ddpde.flow.transport import transport_form
from ddpde.problem import Problem
from ddpde.space import Law, Space, gather


class EulerianFlow:
    """Implements `SemiDiscrete` with the density's coefficients (owned cells, nd) as state."""

    def __init__(self, problem: Problem, mesh: dmesh.Mesh, degree: int) -> None:
        check_mesh(problem, mesh)
        started = time.monotonic()
        self.space = Space(mesh, degree)
        self.comm = mesh.comm
        self.schedule = problem.schedule
        self._temperature = problem.temperature
        self.energy = Energy(problem, bounding_box(mesh), reduce=partial(sum_over_ranks, self.comm))
        nodes = self.space.nodes
        self._S = self.energy.features(nodes)
        self._r = self.energy.local(nodes)
        if not (np.isfinite(self._S).all() and np.isfinite(self._r).all()):
            raise ProblemError("the energy is not finite on the mesh", "shrink the mesh")

        self._density = fem.Function(self.space.density)
        self._potential = fem.Function(self.space.potential)
        self._masses = self.space.coupling.createVecLeft()
        self._form = transport_form(self.space, self._density, self._potential)
        self._constants = fem.pack_constants(self._form)
        self._rhs = la.vector(self.space.density.dofmap.index_map, dtype=np.float64)
        self.stiff = None
        if self._temperature > 0:
            self.stiff = self._temperature * diffusion_matrix(self.space)
        if time.monotonic() - started > 2.0:
            log.info(
                "prepared finite-element kernels in %.0f s (kept for the next run)",
                time.monotonic() - started,
            )
        self._birth_death = None
        if problem.birth_death > 0:
            self._birth_death = BirthDeath(self.space, problem.birth_death, self._temperature)
        self._limiter = PositivityLimiter(self.space)
        self._rule = self.space.quadrature(2 * degree + 2)
        self._basis = self._rule.basis(degree)
        self._rim = _rim_cells(problem, self.space)
        self.state = self._initial(problem)

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        owned = self._load(u)
        f = self._predictions(u)
        self._potential.x.array[:] = self._S @ self.energy.dual(f) + self._r
        self._rhs.array[:] = 0.0
        fem.assemble_vector(self._rhs.array, self._form, self._constants)
        self._rhs.scatter_reverse(la.InsertMode.add)
        moments = self._rhs.array[: owned.size].reshape(self.space.local_shape)
        if self._birth_death is not None:
            coefficients = owned.reshape(self.space.local_shape)
            moments = moments + self._birth_death.moments(coefficients, self._potential)
        with out as array:
            array[:] = np.matmul(self.space.inverse_mass, moments[:, :, None]).ravel()

    def limit(self, u: PETSc.Vec) -> bool:
        with u as array:
            return self._limiter(array.reshape(self.space.local_shape))

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        coefficients = u.getArray(readonly=True).reshape(self.space.local_shape)
        f = self._predictions(u)
        values = coefficients @ self._basis.T
        masses = np.einsum("ci,ci->c", self.space.cell_means[0], coefficients)
        owned = self.space.owned_nodes
        local = np.array(
            [
                self._masses.getArray(readonly=True) @ self._r[:owned],
                entropy(values, self._rule.weights) if self._temperature > 0 else 0.0,
                masses.sum(),
                masses[self._rim].sum(),
            ]
        )
        potential, negentropy, mass, rim = sum_over_ranks(self.comm, local)
        return {
            "risk": self.energy.risk(f),
            "free_energy": self.energy.nonlocal_energy(f)
            + potential
            + self._temperature * negentropy,
            "mass": mass,
            "minimum": self._limiter.minimum(coefficients),
            "boundary_mass": rim,
        }

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        coefficients = u.getArray(readonly=True).reshape(self.space.local_shape)
        parts = gather(
            self.comm, self.space.original_cells, self.space.geometry, coefficients.copy()
        )
        if not parts:
            return None
        return Law(
            t, self.space.cell, self.space.degree, self.space.geometry_degree, parts[0], parts[1]
        )

    def _initial(self, problem: Problem) -> PETSc.Vec:
        u = dolfinx.fem.petsc.create_vector(self.space.density)
        coefficients = self.space.project(problem.initial_density)
        integrals = self.space.cell_means[0]
        mass = self.comm.allreduce(float(np.einsum("ci,ci->", integrals, coefficients)))
        self.truncated_mass = check_mass(mass)
        with u as array:
            array[:] = coefficients.ravel() / mass
        self.limit(u)
        return u

    def _load(self, u: PETSc.Vec) -> np.ndarray:
        owned = u.getArray(readonly=True)
        self._density.x.array[: owned.size] = owned
        self._density.x.scatter_forward()
        return owned

    def _predictions(self, u: PETSc.Vec) -> np.ndarray:
        self.space.coupling.mult(u, self._masses)
        masses = self._masses.getArray(readonly=True)
        return self.energy.predictions(self._S[: self.space.owned_nodes], masses)


def _rim_cells(problem: Problem, space: Space) -> np.ndarray:
    """Owned cells at the artificial boundary: the natural ends of coordinates do not count."""
    mesh = space.mesh
    mesh.topology.create_connectivity(space.tdim - 1, space.tdim)
    facets = dmesh.exterior_facet_indices(mesh.topology)
    centres = dmesh.compute_midpoints(mesh, space.tdim - 1, facets)[:, : space.gdim]
    artificial = np.all(centres > np.asarray(problem.lower) + 1e-12, axis=1)
    cells = mesh.topology.connectivity(space.tdim - 1, space.tdim)
    touched = np.array([cells.links(f)[0] for f in facets[artificial]], dtype=np.int32)
    return np.unique(touched[touched < space.n_cells])
