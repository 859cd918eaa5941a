"""The heat semigroup on the vertices of a mesh: symmetric, positive, mass-preserving.

The generator is that of linear elements with lumped masses, M⁻¹A. Where A has no positive entry
off its diagonal (right or acute angles; in the plane, Delaunay meshes) exp(−t M⁻¹A) and every
power of (I + t/k M⁻¹A)⁻¹ are positive matrices, as the heat kernel is a positive function.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Protocol

import basix
import basix.ufl
import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.errors import MeshError, SolverError
from ddpde.space.quadrature import CellQuadrature, tabulate

_STAGES = 4  # implicit solves for one application of the kernel
_OBTUSE = 0.01  # of A's diagonal: as much may face obtuse angles, and is left out
_SMALL = 50_000  # vertices of all ranks that every rank may have
_KEPT = 8  # times whose kernels on a box are kept
_SAME = 1e-9  # of the extent: coordinates nearer than that are one


class Heat(Protocol):
    """exp(tΔ) on densities at this rank's vertices (n,)."""

    def set_time(self, t: float) -> None: ...

    def __call__(self, density: np.ndarray) -> np.ndarray: ...

    def close(self) -> None:
        """Free what PETSc holds."""
        ...


class Vertices:
    """Linear elements with lumped masses. Owned vertices first: x (n, gdim), masses (n,).

    `cells` (n_cells, vertices a cell): local vertices of the owned cells, ghosts included.
    """

    def __init__(self, mesh: dmesh.Mesh) -> None:
        self.mesh, self.comm = mesh, mesh.comm
        self.space = fem.functionspace(mesh, ("Lagrange", 1))
        self.map = self.space.dofmap.index_map
        self.count = self.map.size_local
        tdim = mesh.topology.dim
        n_cells = mesh.topology.index_map(tdim).size_local
        self.cells = self.space.dofmap.list[:n_cells]
        self.geometry = mesh.geometry.x[mesh.geometry.dofmaps[0][:n_cells]][
            :, :, : mesh.geometry.dim
        ]
        self.x = self.space.tabulate_dof_coordinates()[: self.count, : mesh.geometry.dim]
        self.geometry_degree = mesh.geometry.cmaps[0].degree
        self.cell = mesh.topology.cell_name()
        rule = CellQuadrature(self.cell, self.geometry, self.geometry_degree, 4)
        element = basix.ufl.element("Lagrange", self.cell, 1)
        values, slopes = tabulate(element, rule.reference, derivatives=1)
        self.volume = self.comm.allreduce(float(rule.weights.sum()))
        metric = rule.metric() * rule.reference_weights[:, None, None]
        self._stiffness = np.einsum("cqab,aqi,bqj->cij", metric, slopes, slopes, optimize=True)
        x = PETSc.Vec().createMPI((self.count, self.map.size_global), comm=self.comm)
        # masses: rows of the mass matrix summed, over all ranks' cells
        local = np.bincount(
            self.cells.ravel(),
            weights=(rule.weights @ values).ravel(),
            minlength=self.count + self.map.num_ghosts,
        )
        x.set(0.0)
        x.setValues(self._global(np.arange(len(local))), local, PETSc.InsertMode.ADD_VALUES)
        x.assemble()
        self.masses = x.getArray().copy()
        x.destroy()

    def matrix(self, diagonal: np.ndarray, factor: float) -> PETSc.Mat:
        """diag(diagonal) + factor · A."""
        starts, columns, values = self.stiffness
        first = self.map.local_range[0]
        rows = np.repeat(np.arange(self.count), np.diff(starts))
        own = columns == rows + first
        shifted = factor * values
        shifted[own] += diagonal
        n, total = self.count, self.map.size_global
        matrix = PETSc.Mat().createAIJ(
            ((n, total), (n, total)), csr=(starts, columns, shifted), comm=self.comm
        )
        matrix.assemble()
        return matrix

    @cached_property
    def stiffness(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A in compressed rows of this rank, no positive entry off its diagonal.

        An edge that faces obtuse angles has one: it is left out, which keeps A symmetric and its
        rows' sums zero. MeshError where there are more than a few.
        """
        n, total = self.count, self.map.size_global
        width = self.cells.shape[1]
        matrix = PETSc.Mat().create(self.comm)
        matrix.setSizes(((n, total), (n, total)))
        matrix.setType("aij")
        matrix.setPreallocationCOO(
            self._global(np.repeat(self.cells, width, axis=1).ravel()),
            self._global(np.tile(self.cells, (1, width)).ravel()),
        )
        matrix.setValuesCOO(self._stiffness.ravel(), PETSc.InsertMode.ADD_VALUES)
        matrix.assemble()
        starts, columns, values = matrix.getValuesCSR()
        matrix.destroy()
        rows = np.repeat(np.arange(n), np.diff(starts))
        own = columns == rows + self.map.local_range[0]
        wrong = np.where(own, 0.0, np.maximum(values, 0.0))
        share = np.array([wrong.sum(), values[own].sum()])
        lost, whole = sum_over_ranks(self.comm, share)
        if lost > _OBTUSE * whole:
            raise MeshError(
                f"obtuse angles take {lost / whole:.0%} of the mesh's linear elements: they have "
                "no positive heat kernel there",
                "take a mesh of acute angles (in the plane: a Delaunay mesh), or another method",
            )
        values -= wrong
        values[own] += np.bincount(rows, weights=wrong, minlength=n)
        return starts, columns, values

    def extend(self, values: np.ndarray) -> np.ndarray:
        """Values at this rank's vertices (n,) with those of its ghosts appended."""
        if self.comm.size == 1:
            return values
        vector = fem.Function(self.space)
        vector.x.array[: self.count] = values
        vector.x.scatter_forward()
        return vector.x.array

    def _global(self, local: np.ndarray) -> np.ndarray:
        return self.map.local_to_global(local.astype(np.int32)).astype(PETSc.IntType)


def heat_semigroup(vertices: Vertices) -> Heat:
    """The fastest that the mesh allows."""
    lines = _lines(vertices)
    return ImplicitHeat(vertices) if lines is None else BoxHeat(vertices, lines)


class ImplicitHeat:
    """(I + t/k M⁻¹A)⁻ᵏ on any mesh: k solves with one factorisation.

    On several ranks each has the whole of a small mesh: k solves take one message then, not one
    for every front of the factors.
    """

    def __init__(self, vertices: Vertices) -> None:
        self._vertices = vertices
        self._time = -1.0
        self._ksp: PETSc.KSP | None = None
        comm, (first, end) = vertices.comm, vertices.map.local_range
        self._whole = comm.size > 1 and vertices.map.size_global <= _SMALL
        self._own = slice(first, end) if self._whole else slice(None)
        self._masses = self._gathered(vertices.masses)

    def set_time(self, t: float) -> None:
        if t == self._time:
            return
        self.close()
        self._time = t
        matrix = self._vertices.matrix(self._vertices.masses, t / _STAGES)
        if self._whole:
            matrix = self._copied(matrix)
        self._x, self._b = matrix.createVecs()
        self._ksp = ksp = PETSc.KSP().create(matrix.comm)
        ksp.setType("preonly")
        ksp.setOperators(matrix)
        ksp.getPC().setType("lu")
        ksp.getPC().setFactorSolverType("mumps")
        ksp.setUp()
        matrix.destroy()  # the solver holds what it needs

    def __call__(self, density: np.ndarray) -> np.ndarray:
        assert self._ksp is not None
        out = self._gathered(density)
        for _ in range(_STAGES):
            self._b.setArray(self._masses * out)
            self._ksp.solve(self._b, self._x)
            if self._ksp.getConvergedReason() < 0:
                raise SolverError(
                    "the linear solver of the heat kernel failed "
                    f"(reason {self._ksp.getConvergedReason()})",
                    "take a mesh of better shape",
                )
            out = self._x.getArray().copy()
        return np.maximum(out[self._own], 0.0)

    def _gathered(self, values: np.ndarray) -> np.ndarray:
        """All ranks' values one after another, as vertices are numbered, where each has all."""
        return np.concatenate(self._vertices.comm.allgather(values)) if self._whole else values

    def _copied(self, matrix: PETSc.Mat) -> PETSc.Mat:
        """The whole matrix on this rank alone."""
        starts, columns, values = matrix.getValuesCSR()
        matrix.destroy()
        sizes = self._gathered(np.diff(starts))
        rows = np.concatenate([[0], np.cumsum(sizes)]).astype(starts.dtype)
        csr = (rows, self._gathered(columns), self._gathered(values))
        n = len(sizes)
        return PETSc.Mat().createAIJ((n, n), csr=csr, comm=PETSc.COMM_SELF)

    def close(self) -> None:
        if self._ksp is not None:
            for thing in (self._ksp, self._x, self._b):
                thing.destroy()
            self._ksp = None


class BoxHeat:
    """exp(−t M⁻¹A) where the vertices form a grid: one dense product a direction."""

    def __init__(self, vertices: Vertices, lines: list[np.ndarray]) -> None:
        self._comm = vertices.comm
        self._shape = tuple(len(line) for line in lines)
        places = [
            np.abs(line - vertices.x[:, [axis]]).argmin(axis=1) for axis, line in enumerate(lines)
        ]
        self._index = np.ravel_multi_index(places, self._shape)
        self._kernels_of = lru_cache(_KEPT)(lambda t: [_line_kernel(line, t) for line in lines])

    def set_time(self, t: float) -> None:
        self._kernels = self._kernels_of(t)

    def __call__(self, density: np.ndarray) -> np.ndarray:
        array = np.zeros(int(np.prod(self._shape)))
        array[self._index] = density
        array = sum_over_ranks(self._comm, array).reshape(self._shape)
        for kernel in self._kernels:  # the first axis goes, the new one comes last
            array = np.tensordot(array, kernel, axes=(0, 1))
        return array.ravel()[self._index]

    def close(self) -> None:
        pass


def _line_kernel(line: np.ndarray, t: float) -> np.ndarray:
    """exp(−t M⁻¹A) on a line, to rounding in every entry, however small.

    With Q = −M⁻¹A and c its largest rate, e^{tQ} = (e^{−cs} e^{s(Q + c)})^{2^m}, s = t/2^m: sums
    and products of positive numbers only.
    """
    sizes = np.diff(line)
    masses = np.convolve(sizes, [0.5, 0.5])
    rates = np.zeros((len(line), len(line)))
    along = np.arange(len(sizes))
    rates[along, along + 1] = rates[along + 1, along] = 1.0 / sizes
    rates /= np.sqrt(np.outer(masses, masses))  # symmetric: M^{1/2} Q M^{-1/2}
    leaving = (np.convolve(1.0 / sizes, [1.0, 1.0])) / masses
    largest = leaving.max()
    halvings = max(0, int(np.ceil(np.log2(max(largest * t, 1e-300)))))
    s = t / 2**halvings
    shifted = s * (rates + np.diag(largest - leaving))
    out = term = np.eye(len(line))
    for k in range(1, 25):
        term = term @ shifted / k
        out = out + term
    out *= np.exp(-largest * s)
    for _ in range(halvings):
        out = out @ out
    out = 0.5 * (out + out.T)
    return out * np.sqrt(masses)[None, :] / np.sqrt(masses)[:, None]


def _lines(vertices: Vertices) -> list[np.ndarray] | None:
    """The coordinates of the vertices' grid in each direction; None where they form none."""
    comm, mesh = vertices.comm, vertices.mesh
    if mesh.geometry.dim != mesh.topology.dim or vertices.geometry_degree > 1:
        return None
    x = np.concatenate(comm.allgather(vertices.x))
    extent = np.ptp(x, axis=0)
    lines = []
    for along, length in zip(x.T, extent, strict=True):
        ordered = np.unique(along)
        new = np.concatenate([[True], np.diff(ordered) > _SAME * length])
        lines.append(ordered[new])
    full = np.prod([len(line) for line in lines]) == len(x)
    whole = abs(vertices.volume / np.prod(extent) - 1.0) < _SAME
    return lines if full and whole else None
