"""A problem on the vertices of a mesh: finite volumes around them, for minimising movements.

Elements of degree one with quadrature at the vertices: a vertex i has a mass m_i (volume), a pair
ij of one cell a transmissibility a_ij = −∫ ∇φ_i·∇φ_j. On boxes of quadrilaterals or hexahedra this
is the stencil of 5 or 7 points, on triangles that of the cotangents (Pinkall & Polthier 1993), on
surfaces in space too. Where all a_ij ≥ 0, as on Delaunay triangulations, Σ a_ij M_ij (φ_i − φ_j)²
is a metric on densities (Maas 2011) and JKO steps keep their structure.
"""

from __future__ import annotations

from functools import cached_property, partial
from itertools import combinations
from math import prod

import basix
import basix.ufl
import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc
from scipy import sparse

from ddpde.comm import sum_over_ranks
from ddpde.energy import TOLERANCE, Energy, NodalFeatures, entropy, on_lattice
from ddpde.errors import MeshError, ProblemError
from ddpde.flow.checks import (
    bounding_box,
    check_mass,
    check_memory,
    check_mesh,
    initial_density,
)
from ddpde.problem import Problem
from ddpde.space import Law, gathered
from ddpde.space.periodic import NEAR, numbered
from ddpde.space.quadrature import CellQuadrature, jacobian_determinant, legendre, tabulate

_OBTUSE = 0.01  # of all transmissibilities: as much may face obtuse angles, and is left out
_LEAST = 1e-30  # of the peak: densities that entropy sees
_SIMPLICES = ("interval", "triangle", "tetrahedron")


class VertexFlow:
    """State: the densities of the vertices that this rank owns (n,).

    masses (n,): volumes of the owned vertices. pairs (e, 2): global vertex numbers of the pairs
    in this rank's cells, with this rank's part of a_ij in `transmissibility` (e,); what they
    reach beyond the owned vertices is in `reached`, local numbers in `local_pairs`. corners
    (n_cells, vertices a cell): local numbers of those of the owned cells.
    """

    numbers = 1_000, 1_500, 12_000  # a vertex in 1, 2, 3 dimensions, most of them factors: a bound

    def __init__(
        self, problem: Problem, mesh: dmesh.Mesh, degree: int = 1, tolerance: float = TOLERANCE
    ) -> None:
        check_mesh(problem, mesh)
        self.problem, self.mesh, self.comm = problem, mesh, mesh.comm
        self.temperature = problem.temperature
        self.cell = mesh.topology.cell_name()
        self._vertices = fem.functionspace(mesh, ("Lagrange", 1))
        numbering = numbered(self._vertices, problem.periods)
        self.first, self.total = numbering.first, numbering.total
        self.size = len(numbering.chosen)
        self.reached = numbering.reached
        self._number = numbering.number
        self._positions = self._vertices.tabulate_dof_coordinates()[:, : mesh.geometry.dim]
        self.local_shape = (self.size,)
        self._exchange = PETSc.Vec().createGhost(
            self.reached[self.size :].astype(PETSc.IntType), (self.size, None), comm=self.comm
        )
        self._build()
        self.points = self._positions[numbering.chosen]
        box = bounding_box(mesh)
        reduce = partial(sum_over_ranks, self.comm)
        self.energy = Energy(problem, box, reduce=reduce, tolerance=tolerance, points=self.total)
        others = self.numbers[mesh.topology.dim - 1] * self.size
        check_memory(self.comm, 2 * self.size * self.energy.size, others)
        found = on_lattice(self.energy, self.points, box, tolerance, self.comm.allgather)
        self.features = NodalFeatures(self.energy, self.points, found)
        self.feature_error = self.energy.compression_error + (found.error if found else 0.0)
        self.local_energy = self.energy.local(self.points)
        if not (self.features.finite and np.isfinite(self.local_energy).all()):
            raise ProblemError("the energy is not finite on the mesh", "shrink the mesh")
        self.state = self._initial()

    def predictions(self, density: np.ndarray) -> np.ndarray:
        """The means f of the energy's features under densities (n,)."""
        return self.features.predictions(self.masses * density)

    def free_energy(self, density: np.ndarray) -> float:
        """F + T ∫ ρ log ρ + ∫ h(ρ)."""
        return self._energies(density)[1]

    def shared(self, owned: np.ndarray) -> np.ndarray:
        """Values (n, …) at the owned vertices, with those of the ghosts after them."""
        if self.comm.size == 1:
            return owned
        columns = owned.reshape(len(owned), prod(owned.shape[1:]))  # a rank may own none
        out = np.empty((len(self.reached), columns.shape[1]))
        for j, column in enumerate(columns.T):
            with self._exchange.localForm() as form:
                form.array[: self.size] = column
            self._exchange.ghostUpdate(PETSc.InsertMode.INSERT, PETSc.ScatterMode.FORWARD)
            with self._exchange.localForm() as form:
                out[:, j] = form.array_r
        return out.reshape(-1, *owned.shape[1:])

    def gathered(self, parts: np.ndarray) -> np.ndarray:
        """The sum over all ranks, at the owned vertices, of parts (n and ghosts, …)."""
        if self.comm.size == 1:
            return parts
        columns = parts.reshape(len(parts), prod(parts.shape[1:]))
        out = np.empty((self.size, columns.shape[1]))
        for j, column in enumerate(columns.T):
            with self._exchange.localForm() as form:
                form.array[:] = column
            self._exchange.ghostUpdate(PETSc.InsertMode.ADD, PETSc.ScatterMode.REVERSE)
            out[:, j] = self._exchange.array_r
        return out.reshape(self.size, *parts.shape[1:])

    def scattered(self, to_first: np.ndarray, to_second: np.ndarray) -> np.ndarray:
        """Sums over all ranks, at the owned vertices, of what pairs (e, …) give to their ends."""
        first, second = self._ends
        return self.gathered(first @ to_first + second @ to_second)

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        density = u.getArray(readonly=True)
        risk, free_energy = self._energies(density)
        carried = self.masses * density
        mass, rim = sum_over_ranks(self.comm, np.array([carried.sum(), carried[self._rim].sum()]))
        return {
            "risk": risk,
            "free_energy": free_energy,
            "mass": mass,
            "minimum": self.comm.allreduce(float(density.min(initial=np.inf)), MPI.MIN),
            "boundary_mass": rim,
        }

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        owned = self.mesh.topology.index_map(self.mesh.topology.dim).size_local
        at_corners = tabulate(legendre(self.cell, 1), self._corners)
        values = self.shared(u.getArray(readonly=True))[self.corners] @ np.linalg.inv(at_corners).T
        original = self.mesh.topology.original_cell_index[:owned]
        own = Law(t, self.cell, 1, self.geometry_degree, self._geometry, values)
        return gathered(self.comm, original, own)

    @cached_property
    def across(self) -> np.ndarray:
        """From the first to the second ends of the pairs (e, gdim)."""
        points = self.shared(self.points)[self.local_pairs]
        across = points[:, 1] - points[:, 0]
        for axis, period in enumerate(self.problem.periods):
            if period is not None:
                across[:, axis] -= period * np.round(across[:, axis] / period)
        return across

    @cached_property
    def _ends(self) -> list[sparse.csr_array]:
        """From the pairs to their first and to their second ends."""
        e = np.arange(len(self.local_pairs))
        shape = (len(self.reached), len(e))
        return [sparse.csr_array((np.ones(len(e)), (end, e)), shape) for end in self.local_pairs.T]

    @cached_property
    def _corners(self) -> np.ndarray:
        return np.asarray(basix.geometry(basix.CellType[self.cell]))

    def _build(self) -> None:
        """Volumes of vertices and transmissibilities of pairs, from this rank's own cells."""
        mesh = self.mesh
        tdim = mesh.topology.dim
        owned = mesh.topology.index_map(tdim).size_local
        corners = self._vertices.dofmap.list[:owned]
        self.corners = dofs = self._number[corners]
        self._geometry = mesh.geometry.x[mesh.geometry.dofmaps[0][:owned]][
            :, :, : mesh.geometry.dim
        ]
        self.geometry_degree = mesh.geometry.cmaps[0].degree
        element = basix.ufl.element("Lagrange", self.cell, 1)
        if self.cell in _SIMPLICES:
            rule = CellQuadrature(self.cell, self._geometry, self.geometry_degree, 4)
            shape, slope = tabulate(element, rule.reference, derivatives=1)
            volume, metric = rule.weights, rule.metric() * rule.reference_weights[:, None, None]
        else:  # at the vertices
            shape, slope = tabulate(element, self._corners, derivatives=1)
            jacobian = np.einsum("aqn,cng->cqga", slope, self._positions[corners])
            volume = jacobian_determinant(jacobian) * 0.5**tdim
            gram = np.einsum("cqga,cqgb->cqab", jacobian, jacobian)
            metric = np.linalg.inv(gram) * volume[..., None, None]
        stiffness = np.einsum("cqab,aqi,bqj->cij", metric, slope, slope, optimize=True)
        lumped = np.bincount(
            dofs.ravel(), weights=(volume @ shape).ravel(), minlength=len(self.reached)
        )
        self.masses = self.gathered(lumped)
        firsts, seconds = np.array(list(combinations(range(dofs.shape[1]), 2))).T
        ends = np.sort(
            np.stack([dofs[:, firsts].ravel(), dofs[:, seconds].ravel()], axis=1), axis=1
        )
        key = ends[:, 0].astype(np.int64) * len(self.reached) + ends[:, 1]
        unique, inverse = np.unique(key, return_inverse=True)
        part = np.bincount(inverse, weights=-stiffness[:, firsts, seconds].ravel())
        pairs = np.stack(np.divmod(unique, len(self.reached)), axis=1)
        kept = np.abs(part) > 1e-12 * np.abs(part).max(initial=0.0)
        kept &= ~self._repelling(self.reached[pairs], part)
        self.local_pairs, self.transmissibility = pairs[kept], part[kept]
        self.pairs = self.reached[self.local_pairs]
        self._rim = self._rim_vertices()

    def _repelling(self, pairs: np.ndarray, part: np.ndarray) -> np.ndarray:
        """Which pairs (e, 2) have a transmissibility < 0 in all, over ranks: to be left out.

        An edge that faces obtuse angles has one. MeshError where there are more than a few.
        """
        comm = self.comm
        key = pairs.min(axis=1) * self.total + pairs.max(axis=1)
        suspects = np.unique(np.concatenate(comm.allgather(key[part < 0])))
        at = np.minimum(np.searchsorted(suspects, key), max(len(suspects) - 1, 0))
        among = suspects[at] == key if len(suspects) else np.zeros(len(key), dtype=bool)
        sums = np.bincount(at[among], weights=part[among], minlength=len(suspects))
        sums = sum_over_ranks(comm, np.append(sums, np.abs(part).sum()))
        lost, whole = -np.minimum(sums[:-1], 0.0).sum(), sums[-1]
        if lost > _OBTUSE * whole:
            raise MeshError(
                f"obtuse angles take {lost / whole:.0%} of the mesh's linear elements: vertices "
                "repel each other there",
                "take a mesh of acute angles (in the plane: a Delaunay mesh), or another method",
            )
        wrong = suspects[sums[:-1] < 0]
        return np.isin(key, wrong)

    def _rim_vertices(self) -> np.ndarray:
        """Owned vertices on the artificial boundary: natural ends of coordinates do not count."""
        tdim = self.mesh.topology.dim
        self.mesh.topology.create_connectivity(tdim - 1, tdim)
        facets = dmesh.exterior_facet_indices(self.mesh.topology)
        centres = dmesh.compute_midpoints(self.mesh, tdim - 1, facets)[:, : self.mesh.geometry.dim]
        artificial = np.all(centres > np.asarray(self.problem.lower) + 1e-12, axis=1)
        for axis, period in enumerate(self.problem.periods):
            if period is not None:  # its ends are none
                ends = np.stack([end[axis] for end in bounding_box(self.mesh)])
                artificial &= np.abs(centres[:, [axis]] - ends).min(axis=1) > NEAR * period
        dofs = fem.locate_dofs_topological(self._vertices, tdim - 1, facets[artificial])
        marked = np.zeros(len(self.reached))
        marked[self._number[dofs]] = 1.0
        return np.flatnonzero(self.gathered(marked)[: self.size])

    def _energies(self, density: np.ndarray) -> tuple[float, float]:
        """Risk and free energy."""
        f = self.predictions(density)
        local = self.masses @ (density * self.local_energy)
        if self.temperature > 0:
            local += self.temperature * entropy(density, self.masses)
        internal = self.problem.internal
        if internal is not None and internal.smooth:
            local += self.masses @ internal.value(density)
        local = self.comm.allreduce(float(local))
        return self.energy.risk(f), self.energy.nonlocal_energy(f) + local

    def _initial(self) -> PETSc.Vec:
        density = initial_density(self.problem, self.comm)(self.points)
        mass = self.comm.allreduce(float(self.masses @ density))
        self.truncated_mass = check_mass(mass)
        density = density / mass
        if self.temperature > 0:  # there is mass everywhere after any time
            peak = self.comm.allreduce(float(density.max(initial=0.0)), MPI.MAX)
            density = np.maximum(density, _LEAST * peak)
        u = PETSc.Vec().createMPI((self.size, None), comm=self.comm)
        u.setArray(density)
        return u
