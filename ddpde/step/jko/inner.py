"""One minimising movement as a saddle point of densities and potentials, by Newton's method.

With N inner steps of length δ = τ/N from ρ_0 = μ, weights w_k = (1 − θ) ρ_{k−1} + θ ρ_k, and
pairs of vertices with transmissibilities a and mobilities M(w),

    min over ρ ≥ 0, max over φ of  E(ρ_N) − Σ_k [ Σ_i m_i (ρ_k − ρ_{k−1}) φ_k
                                                  + δ/2 Σ_ij a_ij M_ij(w_k) (φ_k,i − φ_k,j)² ]

is Benamou & Brenier's W₂²(ρ_N, μ)/(2τ) + E(ρ_N), discrete in time and space; N = θ = 1 is the
lagged H⁻¹ step of Cancès, Gallouët & Todeschi (2020), N = 1, θ = ½ the metric of Gallouët, Natale
& Todeschi (2024). Optimality: continuity in φ_k, and in ρ_k that the pressures

    P_k = φ_k + δθ/2 |∇φ_k|² − (φ_{k+1} − δ(1 − θ)/2 |∇φ_{k+1}|²)        (k < N)
    P_N = φ_N + δθ/2 |∇φ_N|² − F'[ρ_N]                                   (k = N)

lie on the graph of the local energy at ρ_k (that of ρ_k ≥ 0 alone for k < N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc
from scipy import sparse

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.jko.graph import Graph

_TOLERANCE = 1e-11  # of the residuals: mass moved, and pressures where there is mass
_MOST_ITERATIONS = 60
_EMPTY = 1e-13  # of the largest mobility: keeps the potential defined where there is no mass


@dataclass
class Found:
    """densities (n, N) after each inner step, potentials (n, N), iterations, last residual."""

    densities: np.ndarray
    potentials: np.ndarray
    iterations: int
    residual: float


class InnerProblem:
    """Minimising movements of a flow with N = `steps` inner steps and weight θ."""

    def __init__(
        self, flow: VertexFlow, *, steps: int = 1, weight: float = 1.0, upwind: bool = False
    ) -> None:
        self._flow, self._N, self._theta, self._upwind = flow, steps, weight, upwind
        self._m = flow.masses[:, None]
        self._i, self._j = flow.local_pairs.T
        self._a = flow.transmissibility[:, None]
        shape, e = (len(flow.reached), len(self._i)), np.arange(len(self._i))
        self._to_i, self._to_j = (
            sparse.csr_array((np.ones(len(e)), (ends, e)), shape=shape)
            for ends in (self._i, self._j)
        )
        self._low_rank = flow.energy.interacting
        self._build_matrix()

    def solve(
        self,
        mu: np.ndarray,
        tau: float,
        start: tuple[np.ndarray, np.ndarray],
    ) -> Found:
        """The movement from densities μ (n,) with step τ, from a first guess of (ρ, φ) (n, N).

        Raises SolverError where Newton's method does not converge.
        """
        flow, N, m = self._flow, self._N, self._m
        density, phi = (np.array(part) for part in start)
        delta = tau / N
        peak = flow.comm.allreduce(float(mu.max(initial=0.0)), MPI.MAX)
        problem = flow.problem
        last = Graph(flow.temperature, problem.internal, self._scale(peak))
        free = Graph(0.0, None, last.scale)
        graphs = [free] * (N - 1) + [last]
        along, across = np.empty_like(density), np.empty_like(density)
        pressure = np.concatenate(
            [np.zeros_like(density[:, 1:]), last.pressure(density[:, -1])[:, None]], axis=1
        )
        for iteration in range(1, _MOST_ITERATIONS + 1):
            for k, graph in enumerate(graphs):
                along[:, k], across[:, k] = graph.tangent(density[:, k], pressure[:, k])
            moved, P, parts = self._residuals(mu, density, phi, delta)
            gap = P - pressure
            u = last.scale * density + P
            beside = np.stack([graph.point(u[:, k])[0] for k, graph in enumerate(graphs)], axis=1)
            residual = self._size(moved, density - beside)
            if residual <= _TOLERANCE:
                return Found(density, phi, iteration - 1, residual)
            right = np.concatenate([m * along * gap, -moved], axis=1)
            step = self._newton(along, across, parts, delta, density[:, -1], right)
            d_density, d_phi = step[:, :N], step[:, N:]
            phi += d_phi
            # P's own linear change, found from the graph's linearisation
            with np.errstate(divide="ignore", invalid="ignore"):
                d_pressure = np.where(
                    along > 0, across * d_density / np.where(along > 0, along, 1.0), 0.0
                )
            vertical = along <= 0
            if vertical.any():
                change = self._pressure_change(parts, d_phi, d_density[:, -1], delta)
                d_pressure[vertical] = (gap + change)[vertical]
            u = last.scale * (density + d_density) + pressure + d_pressure
            if not flow.comm.allreduce(bool(np.isfinite(u).all()), MPI.LAND):
                break
            if flow.temperature > 0:
                # to less density along the logarithm, to more along the density: no overshoot
                old, change = density[:, -1], d_density[:, -1]
                less = old * np.exp(np.minimum(change, 0.0) / np.maximum(old, 1e-300))
                target = np.where(change > 0, old + change, less)
                u[:, -1] = last.scale * target + last.pressure(target)
            for k, graph in enumerate(graphs):
                density[:, k], pressure[:, k] = graph.point(u[:, k])
        raise SolverError(
            f"a JKO step of {tau:.3g} did not converge: residual {residual:.1e} after "
            f"{iteration} Newton iterations",
            "take a smaller dt, or a finer mesh",
        )

    def first_guess(self, density: np.ndarray) -> np.ndarray:
        """F_T' (n,) at densities (n,): the potential of a short step."""
        flow = self._flow
        field = flow.features.field(flow.energy.dual(flow.predictions(density)))
        graph = Graph(flow.temperature, flow.problem.internal, 1.0)
        return field + flow.local_energy + graph.pressure(density)

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._direct.destroy()
        self._matrix.destroy()

    def _scale(self, peak: float) -> float:
        problem = self._flow.problem
        scale = self._flow.temperature / peak
        if problem.internal is not None and problem.internal.smooth:
            scale += float(problem.internal.pressure_slope(np.float64(peak))) / peak
        return scale or 1.0 / peak

    def _size(self, moved: np.ndarray, off: np.ndarray) -> float:
        """Mass that continuity misses, and mass off the graph."""
        totals = np.array([np.abs(moved).sum(), np.abs(self._m * off).sum()])
        return float(sum_over_ranks(self._flow.comm, totals).sum())

    def _residuals(self, mu, density, phi, delta):  # type: ignore[no-untyped-def]
        """Continuity (n, N), pressures P (n, N), and what the Newton matrix needs of the pairs."""
        flow, theta, i, j = self._flow, self._theta, self._i, self._j
        before = np.concatenate([mu[:, None], density[:, :-1]], axis=1)
        weight = (1 - theta) * before + theta * density
        both = flow.shared(np.concatenate([weight, phi], axis=1))
        w, f = both[:, : self._N], both[:, self._N :]
        jump = f[i] - f[j]
        if self._upwind:
            from_i = (jump > 0).astype(float)
        else:
            from_i = 0.5
        mobility = from_i * w[i] + (1.0 - from_i) * w[j]
        flux = delta * self._a * mobility * jump
        square = self._a * jump**2
        to_i = np.concatenate([flux, from_i * square], axis=1)
        to_j = np.concatenate([-flux, (1.0 - from_i) * square], axis=1)
        out = flow.gathered(self._to_i @ to_i + self._to_j @ to_j)
        slope2 = out[:, self._N :] / self._m  # |∇φ|²
        moved = self._m * (density - before) + out[:, : self._N]
        P = phi + 0.5 * delta * theta * slope2
        P[:, :-1] -= phi[:, 1:] - 0.5 * delta * (1 - theta) * slope2[:, 1:]
        f_means = flow.predictions(density[:, -1])
        P[:, -1] -= flow.local_energy
        if self._low_rank:
            P[:, -1] -= flow.features.field(flow.energy.dual(f_means))
        return moved, P, (jump, from_i, mobility, f_means)

    def _pressure_change(self, parts, d_phi, d_density, delta):  # type: ignore[no-untyped-def]
        """δP (n, N), linear in the changes of the potentials and of ρ_N."""
        flow, theta = self._flow, self._theta
        jump, from_i, _, f_means = parts
        f = flow.shared(d_phi)
        product = self._a * jump * (f[self._i] - f[self._j])
        slope2 = self._to_i @ (from_i * product) + self._to_j @ ((1.0 - from_i) * product)
        slope2 = flow.gathered(slope2) / self._m  # half the change of |∇φ|²
        out = d_phi + delta * theta * slope2
        out[:, :-1] -= d_phi[:, 1:] - delta * (1 - theta) * slope2[:, 1:]
        if self._low_rank:
            out[:, -1] -= self._field_change(f_means, d_density)
        return out

    def _field_change(self, f_means: np.ndarray, d_density: np.ndarray) -> np.ndarray:
        """δF' (n,) of the non-local energy by δρ (n,)."""
        flow = self._flow
        return flow.features.field(flow.energy.dual_change(f_means, flow.predictions(d_density)))

    def _build_matrix(self) -> None:
        """The pattern: (2N) unknowns a vertex, ρ_1 … ρ_N then φ_1 … φ_N; values by COO."""
        N, flow = self._N, self._flow
        gi, gj = flow.pairs.T
        own = flow.first + np.arange(flow.size)
        rows, columns = [], []

        def at(row, r, column, c):  # type: ignore[no-untyped-def]
            rows.append(row * 2 * N + r)
            columns.append(column * 2 * N + c)

        for k in range(N):
            at(own, k, own, k)  # graph: dp/du
            at(own, N + k, own, k)  # continuity: ρ_k
            at(own, N + k, own, N + k)
            at(own, k, own, N + k)  # P_k by φ_k
            if k > 0:
                at(own, N + k, own, k - 1)
            if k < N - 1:
                at(own, k, own, N + k + 1)
            ends = ((gi, gi), (gi, gj), (gj, gi), (gj, gj))
            for row, column in ends:
                at(row, N + k, column, N + k)
                at(row, N + k, column, k)
                at(column, k, row, N + k)
                if k > 0:
                    at(row, N + k, column, k - 1)
                    at(column, k - 1, row, N + k)
        index = PETSc.IntType
        local = 2 * N * flow.size
        self._matrix = matrix = PETSc.Mat().createAIJ(
            ((local, None), (local, None)), comm=flow.comm
        )
        matrix.setPreallocationCOO(
            np.concatenate(rows).astype(index), np.concatenate(columns).astype(index)
        )
        self._x, self._b = matrix.createVecs()
        self._direct = ksp = PETSc.KSP().create(flow.comm)
        ksp.setOperators(matrix)
        ksp.setType("preonly")
        ksp.getPC().setType("lu")
        ksp.getPC().setFactorSolverType("mumps")

    def _newton(self, along, across, parts, delta, density, right):  # type: ignore[no-untyped-def]
        """Solve  across δρ − m along δP = m along gap,  δ(continuity) = −moved."""
        flow, N, theta, m = self._flow, self._N, self._theta, self._m
        jump, from_i, mobility, f_means = parts
        from_i = np.broadcast_to(from_i, jump.shape)
        everywhere = flow.shared(along)
        floor = _EMPTY * max(flow.comm.allreduce(float(mobility.max(initial=0.0)), MPI.MAX), 1e-300)
        values = []
        for k in range(N):
            mass = m[:, 0]
            values += [mass * across[:, k], mass, 0.0 * mass, -mass * along[:, k]]
            if k > 0:
                values.append(-mass)
            if k < N - 1:
                values.append(mass * along[:, k])
            L = delta * self._a[:, 0] * (mobility[:, k] + floor)
            drift = delta * self._a[:, 0] * jump[:, k]
            by_i, by_j = drift * from_i[:, k], drift * (1 - from_i[:, k])
            for row_sign, stiff, column, by in (
                (1, L, self._i, by_i),
                (1, -L, self._j, by_j),
                (-1, -L, self._i, by_i),
                (-1, L, self._j, by_j),
            ):
                values += [
                    stiff,
                    theta * row_sign * by,
                    -theta * everywhere[column, k] * row_sign * by,
                ]
                if k > 0:
                    values += [
                        (1 - theta) * row_sign * by,
                        -(1 - theta) * everywhere[column, k - 1] * row_sign * by,
                    ]
        self._matrix.setValuesCOO(np.concatenate(values))
        self._direct.setOperators(self._matrix)
        self._b.setArray(right.ravel())
        if self._low_rank:
            self._solve_low_rank(along[:, -1], f_means)
        else:
            self._direct.solve(self._b, self._x)
        return self._x.getArray().reshape(right.shape).copy()

    def _solve_low_rank(self, along: np.ndarray, f_means: np.ndarray) -> None:
        """Sparse plus low rank: GMRES needs about as many iterations as the network has directions
        that matter; no dense matrix, no solve a feature."""
        shell = PETSc.Mat().createPython(self._matrix.getSizes(), _Shell(self, along, f_means))
        shell.setUp()
        ksp = PETSc.KSP().create(self._flow.comm)
        ksp.setOperators(shell)
        ksp.setType("gmres")
        ksp.setGMRESRestart(200)
        ksp.setTolerances(rtol=1e-10, atol=1e-300, max_it=400)
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(_Direct(self._direct))
        ksp.solve(self._b, self._x)
        ksp.destroy()
        shell.destroy()


class _Shell:
    """The Newton matrix with the non-local part of F'."""

    def __init__(self, inner: InnerProblem, along: np.ndarray, f_means: np.ndarray) -> None:
        self._inner, self._f = inner, f_means
        self._factor = along * inner._flow.masses

    def mult(self, matrix, x, y):  # type: ignore[no-untyped-def]
        inner = self._inner
        inner._matrix.mult(x, y)
        last = inner._N - 1
        d_density = x.getArray(readonly=True).reshape(-1, 2 * inner._N)[:, last]
        with y as array:
            array.reshape(-1, 2 * inner._N)[:, last] += self._factor * inner._field_change(
                self._f, d_density
            )


class _Direct:
    """The sparse part's factorisation as preconditioner."""

    def __init__(self, ksp: PETSc.KSP) -> None:
        self._ksp = ksp

    def apply(self, pc, b, x):  # type: ignore[no-untyped-def]
        self._ksp.solve(b, x)
