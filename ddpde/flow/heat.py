"""The heat semigroup on the vertices of a mesh: symmetric, positive, mass-preserving.

The generator is that of linear elements with lumped masses, M⁻¹A. Where A has no positive entry
off its diagonal (right or acute angles; in the plane, Delaunay meshes) exp(−t M⁻¹A) and every
power of (I + t/k M⁻¹A)⁻¹ are positive matrices, as the heat kernel is a positive function.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.space import bounding_box

_STAGES = 4  # implicit solves for one application of the kernel
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


def heat_semigroup(flow: VertexFlow) -> Heat:
    """The fastest that the mesh allows."""
    lines = _lines(flow)
    return ImplicitHeat(flow) if lines is None else BoxHeat(flow, lines)


class ImplicitHeat:
    """(I + t/k M⁻¹A)⁻ᵏ on any mesh: k solves with one factorisation.

    On several ranks each has the whole of a small mesh: k solves take one message then, not one
    for every front of the factors.
    """

    def __init__(self, flow: VertexFlow) -> None:
        self._flow = flow
        self._time = -1.0
        self._ksp: PETSc.KSP | None = None
        self._whole = flow.comm.size > 1 and flow.total <= _SMALL
        self._own = slice(flow.first, flow.first + flow.size) if self._whole else slice(None)
        self._masses = self._gathered(flow.masses)

    def set_time(self, t: float) -> None:
        if t == self._time:
            return
        self.close()
        self._time = t
        matrix = self._matrix(t / _STAGES)
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
        return np.concatenate(self._flow.comm.allgather(values)) if self._whole else values

    def _matrix(self, t: float) -> PETSc.Mat:
        """M + t A."""
        flow = self._flow
        (i, j), stiff = flow.pairs.T, t * flow.transmissibility
        own = flow.first + np.arange(flow.size)
        rows, columns = (
            np.concatenate(parts).astype(PETSc.IntType)
            for parts in ((own, i, j, i, j), (own, i, j, j, i))
        )
        matrix = PETSc.Mat().createAIJ(((flow.size, None), (flow.size, None)), comm=flow.comm)
        matrix.setPreallocationCOO(rows, columns)
        matrix.setValuesCOO(np.concatenate([flow.masses, stiff, stiff, -stiff, -stiff]))
        return matrix

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


@dataclass(frozen=True)
class _Line:
    """A direction of a grid: coordinates (n,), lengths of cells (n − 1,), with a period (n,)."""

    places: np.ndarray
    sizes: np.ndarray

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Which coordinates each cell lies between."""
        first = np.arange(len(self.sizes))
        return first, (first + 1) % len(self.places)

    @property
    def masses(self) -> np.ndarray:
        """(n,)"""
        i, j = self.ends
        half, count = 0.5 * self.sizes, len(self.places)
        return np.bincount(i, half, count) + np.bincount(j, half, count)

    def kernel(self, t: float) -> np.ndarray:
        """exp(−t M⁻¹A) (n, n), to rounding in every entry, however small.

        With Q = −M⁻¹A and c its largest rate, e^{tQ} = (e^{−cs} e^{s(Q + c)})^{2^m}, s = t/2^m:
        sums and products of positive numbers only.
        """
        masses, (i, j) = self.masses, self.ends
        rates = np.zeros((len(masses), len(masses)))
        np.add.at(rates, (i, j), 1.0 / self.sizes)
        rates += rates.T
        np.fill_diagonal(rates, 0.0)
        leaving = rates.sum(axis=1) / masses
        rates /= np.sqrt(np.outer(masses, masses))  # symmetric: M^{1/2} Q M^{-1/2}
        largest = leaving.max()
        halvings = max(0, int(np.ceil(np.log2(max(largest * t, 1e-300)))))
        s = t / 2**halvings
        shifted = s * (rates + np.diag(largest - leaving))
        out = term = np.eye(len(masses))
        for k in range(1, 25):
            term = term @ shifted / k
            out = out + term
        out *= np.exp(-largest * s)
        for _ in range(halvings):
            out = out @ out
        out = 0.5 * (out + out.T)
        return out * np.sqrt(masses)[None, :] / np.sqrt(masses)[:, None]


class BoxHeat:
    """exp(−t M⁻¹A) where the vertices form a grid: one dense product a direction."""

    def __init__(self, flow: VertexFlow, lines: list[_Line]) -> None:
        self._comm = flow.comm
        self._shape = tuple(len(line.places) for line in lines)
        self._index = np.ravel_multi_index(_on_grid(flow, lines), self._shape)
        self._kernels_of = lru_cache(_KEPT)(lambda t: [line.kernel(t) for line in lines])

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


def _lines(flow: VertexFlow) -> list[_Line] | None:
    """The grid of the vertices in each direction; None where they form none."""
    comm, mesh = flow.comm, flow.mesh
    if mesh.geometry.dim != mesh.topology.dim or flow.geometry_degree > 1:
        return None
    x = np.concatenate(comm.allgather(flow.points))
    lines = []
    for along, low, high, period in zip(
        x.T, *bounding_box(mesh), flow.problem.periods or (None,) * x.shape[1], strict=True
    ):
        ordered = np.unique(along)
        new = np.concatenate([[True], np.diff(ordered) > _SAME * (high - low)])
        places = ordered[new]
        around = places if period is None else np.append(places, places[0] + period)
        lines.append(_Line(places, np.diff(around)))
    if np.prod([len(line.places) for line in lines]) != len(x):
        return None
    volumes = np.ones(flow.size)
    for line, place in zip(lines, _on_grid(flow, lines), strict=True):
        volumes = volumes * line.masses[place]
    fits = bool(np.all(np.abs(flow.masses / volumes - 1.0) < _SAME))
    return lines if comm.allreduce(fits, MPI.LAND) else None


def _on_grid(flow: VertexFlow, lines: list[_Line]) -> list[np.ndarray]:
    """In each direction, which of the line's coordinates this rank's vertices (n,) have."""
    return [
        np.abs(line.places - flow.points[:, [axis]]).argmin(axis=1)
        for axis, line in enumerate(lines)
    ]
