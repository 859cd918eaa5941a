"""Laws on an interval as monotone maps of the initial one: W₂ becomes a Hilbert distance.

The unknown is the position X of the mass that was at x at time 0 (so X is the quantile function
in the coordinate x): continuous, of degree p in each cell. Mass sits at the Gauss–Lobatto nodes,
where W₂² = Σ M_i (X_i − Y_i)² is exact for ordered positions (Santambrogio 2015, section 2.2);
the density ρ̂/X' of internal energies is taken at the p Gauss points between them, one for each
slope. Mass is exact, positivity trivial, and there is no smallest width of a peak.
"""

from __future__ import annotations

from dataclasses import dataclass

import basix
import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.energy import TOLERANCE, Energy
from ddpde.errors import MeshError, ProblemError
from ddpde.flow.checks import check_mass, check_mesh, initial_density
from ddpde.problem import Problem
from ddpde.problem.internal import largest_density
from ddpde.space import Law
from ddpde.space.quadrature import gauss, legendre, tabulate

_NEGLIGIBLE = 1e-14  # of the peak: ends with less density are left out, holes are filled with it
_ROOT = (0.1, 0.9)  # exponents with which a density vanishes at an end like a root
_LOOKS = 32  # samples of the initial density in a cell, to find its support
_LOOSE = 0.01  # of the least length: how far from it a crowded step starts
_GUARD = 0.01  # least weight of the barrier, relative to its largest
_RIM = 0.01  # of the interval: mass that near to an artificial end is watched
_NUDGE = 1e-6  # of the interval, for the differences that give F' its second derivative


@dataclass(frozen=True, eq=False)
class Expansion:
    """The energy at X to second order: gradient (n,); Hessian = diag(curvature) + band + J C Jᵀ.

    `band` (p + 1, n): the lower bands of the internal energy's part, as `solveh_banded` wants
    them; J = `coupling` (n, M), C = `weights` (M,): the part of the non-local energy.
    """

    gradient: np.ndarray
    curvature: np.ndarray
    band: np.ndarray
    coupling: np.ndarray
    weights: np.ndarray


class QuantileFlow:
    """A problem on an interval with the nodes' positions as state, equal on all ranks.

    Attributes: masses (n,) of the nodes; lower, upper: the walls.
    """

    def __init__(
        self, problem: Problem, mesh: dmesh.Mesh, degree: int, tolerance: float = TOLERANCE
    ) -> None:
        if problem.mesh_dim != 1 or any(problem.periods):
            raise ProblemError(
                "quantile functions exist on intervals; this problem's coordinates are "
                f"{', '.join(problem.labels)}{' (periodic)' if any(problem.periods) else ''}",
                'use method = "jko" or "jko-entropic"',
            )
        check_mesh(problem, mesh)
        self.comm = mesh.comm
        self.temperature = problem.temperature
        self.internal = problem.internal
        self._degree = p = degree
        vertices = _vertices(mesh)
        self.lower, self.upper = vertices[0], vertices[-1]
        # a natural end of the coordinate (r = 0) is no truncation
        self._artificial = self.lower if self.lower > problem.lower[0] + 1e-12 else -np.inf
        vertices, floor = _support(problem, vertices, mesh.comm)
        graded = self.spreads & (degree > 1) & _root_like(problem, vertices)
        points, weights = basix.make_quadrature(
            basix.CellType.interval, 2 * p - 1, basix.QuadratureType.gll
        )
        order = np.argsort(points[:, 0])
        nodes, weights = points[order], weights[order]
        self._first = p * np.arange(len(vertices) - 1)  # node at the left end of each cell

        def mass(at: np.ndarray, weights: np.ndarray) -> np.ndarray:
            x, slope = _placed(vertices, at[:, 0], graded)
            density = problem.initial_density(x.reshape(-1, 1)).reshape(x.shape)
            return weights * np.maximum(density, floor) * slope

        carried = mass(nodes, weights)
        total = carried.sum()
        self.truncated_mass = check_mass(total)
        self.masses = np.bincount(self._nodes().ravel(), weights=(carried / total).ravel())
        self._per_reference = carried / total / weights
        element = legendre("interval", p)
        self._to_modes = np.linalg.inv(tabulate(element, nodes))
        inner, self._weights = gauss("interval", 2 * p - 1)
        slopes = tabulate(element, inner, derivatives=1)[1][0] @ self._to_modes
        self._slopes = slopes  # (q, p + 1): dX/dξ at the Gauss points from the nodes
        between = mass(inner, self._weights)
        self._between = between / between.sum() / self._weights
        # crowding: as much length as a mass takes at the largest density
        self._least = np.zeros_like(self._between)
        most = largest_density(problem.internal)
        self.crowded = most < np.inf
        if self.crowded:
            self._least = self._between / most
            # by mass, as the pressure is; where there is hardly any, rounding would undo slack
            self._guard = np.maximum(self._between, _GUARD * self._between.max())
            if not float(np.sum(self._least * self._weights)) < self.upper - self.lower:
                raise ProblemError(
                    f"a mass of one does not fit into the mesh at densities below {most:g}",
                    "enlarge the mesh, or the maximum",
                )
        box = (np.array([self.lower]), np.array([self.upper]))
        self.energy = Energy(problem, box, tolerance=tolerance)
        self.feature_error = self.energy.compression_error
        start = np.empty(self._first[-1] + p + 1)
        start[self._nodes()] = _placed(vertices, nodes[:, 0], graded)[0]
        self.local_shape = start.shape
        self.state = PETSc.Vec().createSeq(len(start), comm=PETSc.COMM_SELF)
        self.state.setArray(start)

    @property
    def spreads(self) -> bool:
        """Whether an internal energy keeps positions apart."""
        return self.temperature > 0 or self.internal is not None

    def slack(self, X: np.ndarray) -> np.ndarray:
        """X' over the least that is allowed, at the Gauss points (cells, p)."""
        return self._stretch(X) - self._least

    def density(self, X: np.ndarray) -> np.ndarray:
        """ρ (cells, p) at the Gauss points."""
        return self._between / self._stretch(X)

    def loosened(self, X: np.ndarray) -> np.ndarray:
        """Positions near X, ordered and within the walls, with more than the least slack."""
        least = (1 + _LOOSE) * self._least
        stretch = np.maximum(self._stretch(X), least)
        room = (self.upper - self.lower) - float(np.sum(least * self._weights))
        spare = float(np.sum((stretch - least) * self._weights))
        stretch = least + min(1.0, 0.99 * room / max(spare, 1e-300)) * (stretch - least)
        # a cell's nodes from its first one and its slopes
        system = np.vstack([np.eye(1, self._degree + 1), self._slopes])
        inner = np.pad(stretch, ((0, 0), (1, 0))) @ np.linalg.inv(system).T
        left = np.concatenate([[0.0], np.cumsum(inner[:, -1])])
        out = np.empty_like(X)
        out[self._nodes()] = left[:-1, None] + inner
        mean = self.masses @ (X - out)
        return out + np.clip(mean, self.lower - out[0], self.upper - out[-1])

    def free_energy(self, X: np.ndarray, barrier: float = 0.0) -> float:
        """F_T of the law at positions X (n,), with `slack` where it `spreads`.

        `barrier`: the factor of −∫ log slack, which keeps off a largest density.
        """
        points = X[:, None]
        f = self.energy.predictions(self.energy.features(points), self.masses)
        out = self.energy.nonlocal_energy(f) + float(self.masses @ self.energy.local(points))
        if self.spreads:
            density = self.density(X)
            out += self.temperature * float(np.sum(self._between * np.log(density) * self._weights))
            if self.crowded and barrier:
                out -= barrier * float(np.sum(self._guard * np.log(self.slack(X)) * self._weights))
            elif self.internal is not None and self.internal.smooth:
                per_mass = self.internal.value(density) / density
                out += float(np.sum(self._between * per_mass * self._weights))
        return out

    def expand(self, X: np.ndarray, barrier: float = 0.0) -> Expansion:
        """Gradient and Hessian of `free_energy` at X."""
        points = X[:, None]
        S, slopes = self.energy.features_and_gradients(points)
        f = self.energy.predictions(S, self.masses)
        dual = self.energy.dual(f)
        drift = self.energy.drift(points, slopes, dual)[:, 0]
        # F'' along each position by a difference: it steers Newton's method, no result
        nudge = _NUDGE * (self.upper - self.lower)
        nudged = self.energy.features_and_gradients(points + nudge)[1]
        ahead = self.energy.drift(points + nudge, nudged, dual)[:, 0]
        gradient = -self.masses * drift
        band = np.zeros((self._degree + 1, len(X)))
        if self.spreads:
            stretch = self._stretch(X)
            density = self._between / stretch
            pressure = self.temperature * density
            stiffness = self.temperature * density / stretch
            if self.crowded:
                slack = stretch - self._least
                pressure = pressure + barrier * self._guard / slack
                stiffness = stiffness + barrier * self._guard / slack**2
            elif self.internal is not None:
                pressure = pressure + self.internal.pressure(density)
                convexity = self.internal.second_derivative(density)
                stiffness = stiffness + density**2 * convexity / stretch
            self._push(gradient, pressure)
            self._stiffen(band, stiffness)
        return Expansion(
            gradient,
            self.masses * (drift - ahead) / nudge,
            band,
            self.masses[:, None] * slopes[:, 0],
            self.energy.curvature(f),
        )

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        X = u.getArray(readonly=True)
        f = self.energy.predictions(self.energy.features(X[:, None]), self.masses)
        rim = _RIM * (self.upper - self.lower)
        near = (X > self.upper - rim) | (X < self._artificial + rim)
        return {
            "risk": self.energy.risk(f),
            "free_energy": self.free_energy(X),
            "mass": float(self.masses.sum()),
            "minimum": float(self.density(X).min()) if self.spreads else 0.0,
            "boundary_mass": float(self.masses[near].sum()),
        }

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        if self.comm.rank > 0:
            return None
        X = u.getArray(readonly=True)
        geometry = X[self._nodes()] @ self._to_modes.T
        values = self._per_reference @ self._to_modes.T
        p = self._degree
        return Law(t, "interval", p, p, geometry[:, :, None], values, moved=True)

    def _stretch(self, X: np.ndarray) -> np.ndarray:
        """X' (cells, p) at the Gauss points."""
        return X[self._nodes()] @ self._slopes.T

    def _nodes(self) -> np.ndarray:
        """Nodes (cells, p + 1) of each cell, from left to right."""
        return self._first[:, None] + np.arange(self._degree + 1)

    def _push(self, gradient: np.ndarray, pressure: np.ndarray) -> None:
        """Subtract the force of a pressure (cells, p) from a gradient (n,)."""
        force = (self._weights * pressure) @ self._slopes
        gradient -= np.bincount(self._nodes().ravel(), weights=force.ravel())

    def _stiffen(self, band: np.ndarray, stiffness: np.ndarray) -> None:
        """Add Σ stiffness · slope ⊗ slope to the lower bands."""
        blocks = np.einsum(
            "cq,qi,qj->ijc", stiffness * self._weights, self._slopes, self._slopes, optimize=True
        )
        for i in range(self._degree + 1):
            for j in range(i + 1):  # a cell's nodes are apart: no index occurs twice
                band[i - j, self._first + j] += blocks[i, j]


def _vertices(mesh: dmesh.Mesh) -> np.ndarray:
    """The interval's vertices in order, on all ranks."""
    cells = mesh.topology.index_map(1).size_local
    ends = mesh.geometry.x[mesh.geometry.dofmaps[0][:cells]][:, :, 0]
    return np.unique(np.concatenate(mesh.comm.allgather(ends.ravel())))


def _support(problem: Problem, vertices: np.ndarray, comm: MPI.Comm) -> tuple[np.ndarray, float]:
    """The vertices drawn together to where the initial law is, and the least density kept."""

    def density(x: np.ndarray) -> np.ndarray:
        return initial_density(problem, comm)(x.reshape(-1, 1))

    parts = np.linspace(0.0, 1.0, _LOOKS, endpoint=False)
    looks = (vertices[:-1, None] + np.diff(vertices)[:, None] * parts).ravel()
    looks = np.append(looks, vertices[-1])
    found = density(looks)
    peak = found.max()
    if not peak > 0:
        raise MeshError("the mesh carries nothing of the initial law", "move or enlarge the mesh")
    floor = _NEGLIGIBLE * peak
    inside = np.flatnonzero(found > floor)
    ends = []
    for at, step in ((inside[0], -1), (inside[-1], 1)):
        good, bad = looks[at], looks[np.clip(at + step, 0, len(looks) - 1)]
        for _ in range(60):  # bisection to the last bit
            middle = 0.5 * (good + bad)
            good, bad = (middle, bad) if density(np.array([middle]))[0] > floor else (good, middle)
        ends.append(good)
    lower, upper = ends
    along = (vertices - vertices[0]) / (vertices[-1] - vertices[0])
    return lower + along * (upper - lower), floor


def _root_like(problem: Problem, vertices: np.ndarray) -> np.ndarray:
    """Whether the density vanishes like a root at the lower and at the upper end (2,)."""
    inward = 1e-3 * np.array([vertices[1] - vertices[0], vertices[-2] - vertices[-1]])
    near, far = (
        problem.initial_density((vertices[[0, -1]] + step * inward)[:, None]) for step in (1, 2)
    )
    exponent = np.log2(far / near)
    return (exponent > _ROOT[0]) & (exponent < _ROOT[1])


def _placed(
    vertices: np.ndarray, at: np.ndarray, graded: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and slopes (cells, n) of reference points (n,) at time 0.

    A cell at an end where the density vanishes like a root is `graded` quadratically towards it:
    there the profile of Barenblatt for m = 3 is smooth in the reference coordinate.
    """
    sizes = np.diff(vertices)
    along, slope = np.tile(at, (2, len(sizes), 1))
    slope[:] = 1.0
    for end, towards in ((0, at), (-1, 1.0 - at)):
        if graded[end]:
            along[end] = towards**2 if end == 0 else 1.0 - towards**2
            slope[end] = 2 * towards
    return vertices[:-1, None] + sizes[:, None] * along, sizes[:, None] * slope
