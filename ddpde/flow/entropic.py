"""Laws by their density at the vertices of any mesh, for entropic JKO steps.

Integrals are sums over vertices with lumped masses; the metric enters by the heat semigroup alone,
so that boxes, meshes from gmsh and curved surfaces are treated alike.
"""

from __future__ import annotations

from functools import partial

import basix
import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.energy import TOLERANCE, Energy, NodalFeatures, entropy, on_lattice
from ddpde.errors import ProblemError
from ddpde.flow.checks import bounding_box, check_mass, check_memory, check_mesh
from ddpde.flow.heat import Vertices, heat_semigroup
from ddpde.problem import Problem
from ddpde.space import Law, gathered
from ddpde.space.quadrature import legendre, tabulate

_PRESENT = 1e-6  # of the peak: where there is less, how steep F' is does not matter


class EntropicFlow:
    """A problem on the vertices of a mesh with their densities (n,) as state.

    Attributes: positions (n, gdim); masses (n,), the volume each vertex stands for; heat, the
    semigroup. The density is linear in each cell, whatever `degree` says.
    """

    def __init__(
        self,
        problem: Problem,
        mesh: dmesh.Mesh,
        degree: int = 1,
        tolerance: float = TOLERANCE,
    ) -> None:
        if problem.birth_death > 0 or any(problem.periods):
            what = "periodic coordinates" if any(problem.periods) else "birth and death"
            raise ProblemError(f"entropic JKO steps have no {what}", "use another method")
        check_mesh(problem, mesh)
        self.comm = mesh.comm
        self.temperature = problem.temperature
        self.internal = problem.internal
        self._vertices = vertices = Vertices(mesh)
        self.masses, self.positions = vertices.masses, vertices.x
        self.local_shape = self.masses.shape
        self.heat = heat_semigroup(vertices)
        box = bounding_box(mesh)
        total = vertices.map.size_global
        reduce = partial(sum_over_ranks, self.comm)
        self.energy = Energy(problem, box, reduce=reduce, tolerance=tolerance, points=total)
        found = on_lattice(self.energy, vertices.x, box, tolerance)
        rows = len(vertices.x) if found is None else len(found.S)
        check_memory(self.comm, 2 * rows * self.energy.size, 60 * len(vertices.x))
        self._features = NodalFeatures(self.energy, vertices.x, found)
        self.feature_error = self.energy.compression_error + (found.error if found else 0.0)
        self._r = self.energy.local(vertices.x)
        if not (self._features.finite and np.isfinite(self._r).all()):
            raise ProblemError("the energy is not finite on the mesh", "shrink the mesh")
        density = problem.initial_density(vertices.x)
        mass = self.sum(density)
        self.truncated_mass = check_mass(mass)
        self._rim = _rim(problem, vertices)
        self.state = PETSc.Vec().createMPI((len(density), None), comm=self.comm)
        self.state.setArray(density / mass)

    def sum(self, values: np.ndarray) -> float:
        """∫ of values (n,) at the vertices, over all ranks."""
        return self.comm.allreduce(float(self.masses @ values))

    def potential(self, density: np.ndarray) -> np.ndarray:
        """F' (n,) without entropy and internal energy."""
        f = self._features.predictions(self.masses * density)
        return self._features.field(self.energy.dual(f)) + self._r

    def steepness(self, field: np.ndarray, density: np.ndarray) -> float:
        """Largest difference of a field within a cell, where there is mass."""
        cells = self._vertices.cells
        present = self._vertices.extend(density)[cells].max(axis=1)
        peak = self.comm.allreduce(float(density.max(initial=0.0)), MPI.MAX)
        around = np.ptp(self._vertices.extend(field)[cells][present > _PRESENT * peak], axis=1)
        return self.comm.allreduce(float(around.max(initial=0.0)), MPI.MAX)

    def free_energy(self, density: np.ndarray) -> float:
        """F_T of densities (n,); a largest density is not looked at."""
        f = self._features.predictions(self.masses * density)
        local = density * self._r
        if self.internal is not None and self.internal.smooth:
            local = local + self.internal.value(density)
        negentropy = entropy(density, self.masses) if self.temperature > 0 else 0.0
        parts = float(self.masses @ local) + self.temperature * negentropy
        return self.energy.nonlocal_energy(f) + self.comm.allreduce(parts)

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        density = u.getArray(readonly=True)
        carried = self.masses * density
        mass, rim = sum_over_ranks(self.comm, np.array([carried.sum(), carried[self._rim].sum()]))
        return {
            "risk": self.energy.risk(self._features.predictions(carried)),
            "free_energy": self.free_energy(density),
            "mass": mass,
            "minimum": self.comm.allreduce(float(density.min(initial=np.inf)), MPI.MIN),
            "boundary_mass": rim,
        }

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        vertices = self._vertices
        corners = basix.geometry(basix.CellType[vertices.cell])
        to_modes = np.linalg.inv(tabulate(legendre(vertices.cell, 1), corners))
        nodal = vertices.extend(u.getArray(readonly=True))[vertices.cells]
        original = vertices.mesh.topology.original_cell_index[: len(nodal)]
        own = Law(
            t, vertices.cell, 1, vertices.geometry_degree, vertices.geometry, nodal @ to_modes.T
        )
        return gathered(self.comm, original, own)


def _rim(problem: Problem, vertices: Vertices) -> np.ndarray:
    """Owned vertices at the artificial boundary: natural ends of coordinates do not count."""
    mesh = vertices.mesh
    tdim = mesh.topology.dim
    mesh.topology.create_connectivity(tdim - 1, tdim)
    facets = dmesh.exterior_facet_indices(mesh.topology)
    centres = dmesh.compute_midpoints(mesh, tdim - 1, facets)[:, : mesh.geometry.dim]
    artificial = np.all(centres > np.asarray(problem.lower) + 1e-12, axis=1)
    found = fem.locate_dofs_topological(vertices.space, tdim - 1, facets[artificial])
    return found[found < vertices.count]
