"""One lagged H⁻¹ movement as a saddle point of densities and potentials, by Newton's method.

With pairs of vertices of transmissibilities a and mobilities M(ρ), linear in ρ,

    min over ρ ≥ 0, max over φ of
        E(ρ) − Σ_i m_i (ρ_i − μ_i) φ_i − τ/2 Σ_ij a_ij M_ij(ρ) (φ_i − φ_j)²

is the step of Cancès, Gallouët & Todeschi (Numer. Math. 146, 2020): W₂²(ρ, μ)/(2τ) with the norm
of H⁻¹ weighted by ρ in its place. Optimality: m (ρ − μ) = τ div(M ∇φ), and the pressure

    P = φ + τ/2 |∇φ|² − F'[ρ]

is that of the local energy at ρ. With the norm *frozen*, its weight ρ not varied, |∇φ|² is missing
from P: an implicit Euler step of the flow. M is the mean of both ends' densities where μ is smooth,
and that of the end the flux leaves where it is not; there ρ ≥ 0 whatever φ is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.crowded import CrowdGraph
from ddpde.step.monotone import Graph, largest_density

_TOLERANCE = 1e-11  # mass that continuity misses, and mass off the graph
_STALLED = 100.0  # times the tolerance: good enough where rounding allows no better
_MOST_ITERATIONS = 40
_PRESENT = 1e-10  # of the peak: less is a tail
_TAIL = 1e-12  # of the peak: where the first guess ends
_MOST_CHANGE = 30.0  # of φ in an iteration, in temperatures
_MOST_CHANGE_CROWDED = 0.3
_MORE_MEMORY = 100  # per cent, for pivots that the analysis does not foresee


class Found(NamedTuple):
    """density (n,), potential (n,), what went over the pairs (e,) from first to second end (mass
    per transmissibility), iterations, last residual."""

    density: np.ndarray
    potential: np.ndarray
    carried: np.ndarray
    iterations: int
    residual: float


@dataclass
class _State:
    """Where Newton's method is: residuals of continuity, pressures P, and of the pairs (e,):
    jumps of φ, how much of the mobility is of the first end, mobilities; the network's f."""

    moved: np.ndarray
    pressure: np.ndarray
    jump: np.ndarray
    from_i: np.ndarray
    mobility: np.ndarray
    f: np.ndarray


class LaggedNewton:
    """Lagged H⁻¹ movements of a flow. `iterations`: of the latest solve, failed or not."""

    iterations = 0

    def __init__(self, flow: VertexFlow, *, upwind: bool = False) -> None:
        # without entropy laws end somewhere, and a mean mobility would draw mass where none is
        self._flow, self._upwind = flow, upwind or flow.temperature == 0
        self._i, self._j = flow.local_pairs.T
        self._low_rank = flow.energy.interacting
        self._build_matrix()

    def solve(
        self,
        mu: np.ndarray,
        tau: float,
        start: tuple[np.ndarray, np.ndarray],
        *,
        upwind: bool = False,
        cold: bool = False,
        frozen: bool = False,
        barrier: float = 0.0,
    ) -> Found:
        """The movement from densities μ (n,) with step τ, from a first guess of (ρ, φ).

        `upwind`: with upwind mobilities everywhere, whatever μ is. `cold`: without entropy, and in
        the field of μ, that is F' does not change with ρ. `frozen`: with a norm that is not varied.
        `barrier`: the weight of a barrier that stands for the largest density.
        Raises SolverError where Newton's method does not converge.
        """
        flow, m = self._flow, self._flow.masses
        density, phi = (np.array(part) for part in start)
        peak = flow.comm.allreduce(float(mu.max(initial=0.0)), MPI.MAX)
        temperature = max(barrier, 0.0 if cold else flow.temperature)
        scale = self._scale(peak, temperature)
        graph = (
            CrowdGraph(temperature, largest_density(flow.problem.internal), scale, barrier)
            if barrier
            else Graph(temperature, flow.problem.internal, scale)
        )
        density, pressure = graph.at(density)
        fixed = self._field(flow.predictions(mu)) if cold else None
        weights = np.ones(len(self._i)) if upwind else self._upwinding(mu, peak)
        # with a logarithm φ overshoots where ρ does
        limit, best = _MOST_CHANGE * temperature or np.inf, np.inf
        if barrier:
            limit = max(limit, _MOST_CHANGE_CROWDED)
        for iteration in range(_MOST_ITERATIONS):
            self.iterations = iteration
            at = self._residuals(mu, density, phi, tau, weights, fixed, frozen)
            beside = graph.point(graph.scale * density + at.pressure)[0]
            gap = np.abs(density - beside)
            if barrier:  # which is steep: P itself can be no more exact
                gap = np.minimum(gap, density * np.abs(at.pressure - pressure))
            off = np.array([np.abs(at.moved).sum(), m @ gap])
            residual = float(sum_over_ranks(flow.comm, off).sum())
            if residual <= (_STALLED if residual > 0.5 * best else 1.0) * _TOLERANCE:
                carried = tau * at.mobility * at.jump
                return Found(density, phi, carried, iteration, residual)
            if not np.isfinite(residual):
                break
            best = min(best, residual)
            along, across = graph.tangent(density, pressure)
            step = self._newton(
                along, across, at, tau, at.pressure - pressure, fixed is None, frozen
            )
            if not flow.comm.allreduce(bool(np.isfinite(step).all()), MPI.LAND):
                break
            phi += np.clip(step[:, 1], -limit, limit)
            density, pressure = graph.moved(
                density, pressure, along * step[:, 0], across * step[:, 0]
            )
        raise SolverError(
            f"a JKO step of {tau:.3g} did not converge: residual {residual:.1e} after "
            f"{iteration} Newton iterations",
            "take a smaller dt, or a finer mesh",
        )

    def first_guess(self, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Densities (n,) near μ with no far tails, which Newton lowers faster than it lifts them,
        and F_T' there: the potential of a short step."""
        flow, density = self._flow, self.lifted(mu)
        graph = Graph(flow.temperature, flow.problem.internal, 1.0)
        return density, self._field(flow.predictions(density)) + graph.pressure(density)

    def lifted(self, density: np.ndarray) -> np.ndarray:
        """Densities (n,) in whose tails there is something, where there is an entropy."""
        if self._flow.temperature == 0:
            return density
        peak = self._flow.comm.allreduce(float(density.max(initial=0.0)), MPI.MAX)
        return np.maximum(density, _TAIL * peak)

    def close(self) -> None:
        """Free the matrix and its factors."""
        for thing in (self._direct, self._matrix, self._x, self._b):
            thing.destroy()

    def _field(self, f: np.ndarray) -> np.ndarray:
        """F' (n,) of the law with the means f, without entropy and internal energy."""
        flow = self._flow
        return flow.features.field(flow.energy.dual(f)) + flow.local_energy

    def _scale(self, peak: float, temperature: float) -> float:
        internal, scale = self._flow.problem.internal, temperature / peak
        if internal is not None and internal.smooth:
            scale += float(internal.pressure_slope(np.float64(peak))) / peak
        return scale or 1.0 / peak

    def _upwinding(self, mu: np.ndarray, peak: float) -> np.ndarray:
        """How much of a pair's mobility (e,) is of the end the flux leaves: 0 where μ is smooth."""
        if self._upwind:
            return np.ones(len(self._i))
        both = self._flow.shared(mu)
        a, b = both[self._i], both[self._j]
        present = np.minimum(a, b) > _PRESENT * peak
        return np.divide(a - b, a + b, out=np.ones_like(a), where=present) ** 2

    def _residuals(
        self,
        mu: np.ndarray,
        density: np.ndarray,
        phi: np.ndarray,
        tau: float,
        upwind: np.ndarray,
        fixed: np.ndarray | None,
        frozen: bool,
    ) -> _State:
        flow, i, j, a = self._flow, self._i, self._j, self._flow.transmissibility
        rho, potential = flow.shared(np.stack([density, phi], axis=1)).T
        jump = potential[i] - potential[j]
        from_i = 0.5 + upwind * ((jump > 0) - 0.5)
        mobility = from_i * rho[i] + (1.0 - from_i) * rho[j]
        flux, square = tau * a * mobility * jump, a * jump**2
        to_i = np.stack([flux, from_i * square], axis=1)
        to_j = np.stack([-flux, (1.0 - from_i) * square], axis=1)
        divergence, square = flow.scattered(to_i, to_j).T
        f = flow.predictions(density)
        field = self._field(f) if fixed is None else fixed
        pressure = phi - field
        if not frozen:
            pressure += 0.5 * tau * square / flow.masses
        moved = flow.masses * (density - mu) + divergence
        return _State(moved, pressure, jump, from_i, mobility, f)

    def _build_matrix(self) -> None:
        """Unknowns of a vertex: v, with δρ = along v, and δφ; rows: continuity, pressure.

        So ordered, neither diagonal is ever zero.
        """
        flow = self._flow
        i, j = 2 * flow.pairs.T
        own = 2 * (flow.first + np.arange(flow.size))
        rows, columns = [own, own + 1, own + 1], [own, own, own + 1]
        for row in (i, j):
            rows += [row, row, row, row, row + 1, row + 1]
            columns += [i, j, i + 1, j + 1, i + 1, j + 1]
        sizes = ((2 * flow.size, None), (2 * flow.size, None))
        self._matrix = matrix = PETSc.Mat().createAIJ(sizes, comm=flow.comm)
        index = PETSc.IntType
        matrix.setPreallocationCOO(
            np.concatenate(rows).astype(index), np.concatenate(columns).astype(index)
        )
        self._x, self._b = matrix.createVecs()
        self._build_solver()

    def _build_solver(self) -> None:
        self._direct = ksp = PETSc.KSP().create(self._flow.comm)
        ksp.setOperators(self._matrix)
        ksp.setType("preonly")
        pc = ksp.getPC()
        pc.setType("lu")
        pc.setFactorSolverType("mumps")
        pc.setFactorSetUpSolverType()
        pc.getFactorMatrix().setMumpsIcntl(14, _MORE_MEMORY)

    def _newton(
        self,
        along: np.ndarray,
        across: np.ndarray,
        at: _State,
        tau: float,
        gap: np.ndarray,
        varies: bool,
        frozen: bool,
    ) -> np.ndarray:
        """(v, δφ) (n, 2) of  δ(continuity) = −moved,  across v − δP = gap.

        Rows of continuity are divided by `along`, so that tails count as much as the bulk.
        `varies`: F' does, with the density.
        """
        flow, m, i, j = self._flow, self._flow.masses, self._i, self._j
        everywhere = flow.shared(along)
        ratio = everywhere[j] / everywhere[i]
        stiff = tau * flow.transmissibility * at.mobility
        drift = tau * flow.transmissibility * at.jump
        by_i, by_j = drift * at.from_i, drift * (1.0 - at.from_i)
        with np.errstate(over="ignore"):  # seen to below
            stiff_i, stiff_j = stiff / everywhere[i], stiff / everywhere[j]
            first = -at.moved / along
        values = [m, m * across, -m]
        up_i, up_j = (0.0 * by_i, 0.0 * by_j) if frozen else (by_i, by_j)
        values += [by_i, by_j * ratio, stiff_i, -stiff_i, -up_i, up_i]
        values += [-by_i / ratio, -by_j, -stiff_j, stiff_j, -up_j, up_j]
        right = np.stack([first, m * gap], axis=1)
        fine = all(np.isfinite(part).all() for part in (*values, right))
        if not flow.comm.allreduce(fine, MPI.LAND):
            return np.full_like(right, np.nan)
        self._matrix.setValuesCOO(np.concatenate(values))
        self._direct.setOperators(self._matrix)
        self._b.setArray(right.ravel())
        try:
            if varies and self._low_rank:
                self._solve_low_rank(along, at.f)
            else:
                self._direct.solve(self._b, self._x)
        except PETSc.Error:  # MUMPS gives a hopeless matrix up
            self._x.set(np.nan)
        if not np.isfinite(self._x.norm()):  # and is of no use afterwards
            self._direct.destroy()
            self._build_solver()
        return self._x.getArray().reshape(-1, 2).copy()

    def _solve_low_rank(self, along: np.ndarray, f: np.ndarray) -> None:
        """Sparse plus low rank: GMRES needs about as many iterations as the network has directions
        that matter; no dense matrix, no solve a feature."""
        shell = PETSc.Mat().createPython(
            self._matrix.getSizes(), _WithNetwork(self._flow, self._matrix, along, f)
        )
        shell.setUp()
        ksp = PETSc.KSP().create(self._flow.comm)
        ksp.setOperators(shell)
        ksp.setType("gmres")
        ksp.setGMRESRestart(60)
        ksp.setTolerances(rtol=1e-10, atol=1e-300, max_it=60)
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(_Direct(self._direct))
        ksp.solve(self._b, self._x)
        ksp.destroy()
        shell.destroy()


class _WithNetwork:
    """The Newton matrix with the non-local part of F'."""

    def __init__(
        self, flow: VertexFlow, matrix: PETSc.Mat, along: np.ndarray, f: np.ndarray
    ) -> None:
        self._flow, self._matrix, self._along, self._f = flow, matrix, along, f

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        flow = self._flow
        self._matrix.mult(x, y)
        by = self._along * x.getArray(readonly=True)[::2]
        change = flow.energy.dual_change(self._f, flow.predictions(by))
        with y as array:
            array[1::2] += flow.masses * flow.features.field(change)


class _Direct:
    """The sparse part's factorisation as preconditioner."""

    def __init__(self, ksp: PETSc.KSP) -> None:
        self._ksp = ksp

    def apply(self, pc: PETSc.PC, b: PETSc.Vec, x: PETSc.Vec) -> None:
        self._ksp.solve(b, x)
