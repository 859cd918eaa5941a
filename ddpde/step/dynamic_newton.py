"""One minimising movement with a path of its own: the action of Benamou & Brenier, discretised.

From μ = ρ_0 to ρ_K lead K inner steps of lengths δ_k, Σ δ_k = τ. With pairs of vertices of
transmissibilities a and mobilities M(ρ), linear in ρ,

    min over ρ_1 … ρ_K ≥ 0, max over φ_1 … φ_K of  E(ρ_K)
        − Σ_k [ Σ_i m_i (ρ_k − ρ_{k−1})_i φ_ki + δ_k/2 Σ_ij a_ij M_ij(ρ̄_k) (φ_ki − φ_kj)² ]

(Benamou & Brenier 2000; Natale & Todeschi, M2AN 55, 2021). ρ̄_k is the mean of ρ_{k−1} and ρ_k,
but ρ_K in the last inner step, so that one inner step is the lagged movement; inner steps shorten
towards the end (times 1 − (1 − k/K)²), so that many are of second order with a small constant.
The conditions of optimality are continuity and the equation of Hamilton and Jacobi

    m (φ_{k+1} − φ_k) = ½ δ/2 |∇φ|² of both + m δ_k s_k,  s_k ≥ 0,  ρ_k s_k = 0,
    F_T'[ρ_K] = φ_K + δ_K/2 |∇φ_K|² + δ_K s_K.

ρ_k s_k = ε > 0 is followed to ε → 0 by Mehrotra's predictor and corrector (SIAM J. Optim. 2,
1992); with temperature ρ_K moves on its curve of density against pressure instead. M is the mean
of both ends' densities; with temperature, in tails and where μ is steep, that of the end that the
flux leaves. Birth and death add δ_k α/2 Σ_i m_i ρ̄_ki (φ_ki − c_k)², c_k the mean of φ_k over ρ̄_k:
the action of Hellinger and Kantorovich between laws of one mass (Laschos & Mielke 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from scipy import sparse

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.mobility import upwinding
from ddpde.step.monotone import Graph
from ddpde.step.path_matrix import PathMatrix, PathReaction

_TOLERANCE = 1e-11  # mass that continuity misses, and energy that the other conditions do
_GAP = 5e-12  # energy that the barrier may cost
_MOST_ITERATIONS = 100
_PATIENCE = 20  # iterations in which the residual has to halve
_TO_THE_WALL = 0.998  # part of the way to ρ = 0 or s = 0 that a step may take
_START = 0.1  # ε at first
_LEAST_START = 0.1  # of the mean density: at least that is everywhere at first
_TAIL = 1e-12  # of the peak: where the first guess ends
_PIVOTS = (1e-8, 1e-2)  # of the factorisation: few; where those do not do, many


class Found(NamedTuple):
    """density (n,), iterations, what is left: residuals and duality gap.

    The path: potentials φ_k (n, K), parts of τ (K,) of its inner steps. F_T'[ρ_K] + potential (n,).
    """

    density: np.ndarray
    iterations: int
    residual: float
    potential: np.ndarray
    parts: np.ndarray
    variation: np.ndarray


@dataclass
class _Path:
    """ρ_k, φ_k, s_k (n, K), and the pressure of ρ_K (n,)."""

    density: np.ndarray
    potential: np.ndarray
    slack: np.ndarray
    pressure: np.ndarray


@dataclass
class _State:
    """Residuals (n, K): of continuity, and of the rows of ρ_k without s_k. The energy's
    variation at ρ_K (n,). Of the pairs (e, K): jumps of φ, how much of the mobility is of the
    first end, mobilities. The network's f."""

    moved: np.ndarray
    force: np.ndarray
    variation: np.ndarray
    jump: np.ndarray
    from_i: np.ndarray
    mobility: np.ndarray
    f: np.ndarray
    reaction: PathReaction | None


class DynamicNewton:
    """Movements of a flow along paths of K inner steps.

    `upwind`: mobilities of the upper end everywhere.
    """

    def __init__(self, flow: VertexFlow, inner_steps: int, *, upwind: bool = False) -> None:
        K = inner_steps
        self._flow, self._K, self._upwind = flow, K, upwind
        self._parts = -np.diff((1.0 - np.arange(K + 1) / K) ** 2)  # of τ
        new = np.full(K, 0.5)
        new[-1] = 1.0
        self._new, self._old = new, 1.0 - new
        # which ρ_k a barrier keeps positive: 1 or 0
        self._guarded = (np.arange(K) < K - (flow.temperature > 0)).astype(float)
        self._i, self._j = flow.local_pairs.T
        shape, e = (len(flow.reached), len(self._i)), np.arange(len(self._i))
        self._to_i, self._to_j = (
            sparse.csr_array((np.ones(len(e)), (ends, e)), shape=shape)
            for ends in (self._i, self._j)
        )
        self._volume = self._sum(flow.masses)
        self._matrix = PathMatrix(flow, self._new, self._old)

    def solve(self, mu: np.ndarray, tau: float, potential: np.ndarray | float = 0.0) -> Found:
        """The movement from densities μ (n,) with step τ, in a potential (n,) besides E.

        Raises SolverError where Newton's method does not converge.
        """
        local = self._flow.local_energy + potential
        for pivots in _PIVOTS:
            found = self._attempt(mu, tau, local, pivots)
            if found.residual <= _TOLERANCE + 2 * _GAP:
                return found
        raise SolverError(
            f"a JKO step of {tau:.3g} did not converge: residual {found.residual:.1e} after "
            f"{found.iterations} Newton iterations",
            "take a smaller dt, or a finer mesh",
        )

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._matrix.close()

    def _attempt(self, mu: np.ndarray, tau: float, local: np.ndarray, pivots: float) -> Found:
        flow = self._flow
        m, inner = flow.masses[:, None], tau * self._parts
        peak = flow.comm.allreduce(float(mu.max(initial=0.0)), MPI.MAX)
        graph = Graph(flow.temperature, flow.problem.internal, self._scale(peak))
        path = self._first_guess(mu, peak, local, graph)
        upwind = self._upwinding(mu, peak)
        weight = m * inner * self._guarded
        whole = self._sum(weight)
        iterations, best, best_at = 0, np.inf, 0
        while True:
            at = self._residuals(mu, path, local, inner, upwind)
            gap = self._sum(weight * path.density * path.slack)
            force = at.force - weight * path.slack
            missed = self._sum(np.abs(at.moved)) + self._sum(np.abs(path.density * force))
            residual = missed + gap
            done = missed <= _TOLERANCE and gap <= 2 * _GAP
            if residual < 0.5 * best:
                best, best_at = residual, iterations
            stalled = iterations in (_MOST_ITERATIONS, best_at + _PATIENCE)
            if done or stalled or not np.isfinite(residual):
                break
            iterations += 1
            along, across = graph.tangent(path.density[:, -1], path.pressure)
            diagonal = m * inner * path.slack / path.density
            diagonal[:, -1] += flow.masses * across / along
            pairs = at.jump, at.from_i, at.mobility
            self._matrix.fill(diagonal, path.density, inner, *pairs, at.reaction)
            self._matrix.factorise(pivots)
            step = self._direction(path, at, weight, gap / whole if whole else 0.0, whole)
            if not flow.comm.allreduce(bool(np.isfinite(step[0]).all()), MPI.LAND):
                break
            self._move(path, step, graph, across / along)
        residual = residual if np.isfinite(residual) else np.inf
        density = path.density[:, -1]
        return Found(density, iterations, residual, path.potential, self._parts, at.variation)

    def _direction(
        self, path: _Path, at: _State, weight: np.ndarray, level: float, whole: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(δρ, δφ, δs): Mehrotra's corrector, centred by how far his predictor could go."""
        if not whole:
            return self._newton(path, at, weight, np.zeros_like(path.density))
        least, central = _GAP / whole, np.zeros_like(path.density)
        if level <= 1.5 * least:
            return self._newton(path, at, weight, central + least)
        by_rho, _, by_s = self._newton(path, at, weight, central)
        t = self._longest(path, by_rho, by_s)
        after = (path.density + t * by_rho) * (path.slack + t * by_s)
        left = self._sum(weight * after) / whole / level
        target = max(min(left**3, 1.0) * level, least)
        return self._newton(path, at, weight, target - t**2 * by_rho * by_s)

    def _newton(
        self, path: _Path, at: _State, weight: np.ndarray, central: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The Newton step to ρ s = `central` and all other residuals zero."""
        rho, s = path.density, path.slack
        f = at.f if self._flow.energy.interacting else None
        by_rho, by_phi = self._matrix.solve(weight * central / rho - at.force, at.moved, f)
        return by_rho, by_phi, self._guarded * ((central - s * by_rho) / rho - s)

    def _longest(self, path: _Path, by_rho: np.ndarray, by_s: np.ndarray) -> float:
        """The part of a step that keeps guarded densities, and s, positive."""
        guarded, most = self._guarded > 0, np.inf
        for value, by in ((path.density, by_rho), (path.slack, by_s)):
            x, dx = value[:, guarded], by[:, guarded]
            most = min(most, float(np.min(-x[dx < 0] / dx[dx < 0], initial=np.inf)))
        return min(1.0, _TO_THE_WALL * self._flow.comm.allreduce(most, MPI.MIN))

    def _move(
        self,
        path: _Path,
        step: tuple[np.ndarray, np.ndarray, np.ndarray],
        graph: Graph,
        slope: np.ndarray,
    ) -> None:
        by_rho, by_phi, by_s = step
        t = self._longest(path, by_rho, by_s)
        last, by = path.density[:, -1].copy(), t * by_rho[:, -1]
        path.potential += t * by_phi
        path.slack += t * by_s
        path.density += t * by_rho
        if self._flow.temperature > 0:
            path.density[:, -1], path.pressure = graph.moved(last, path.pressure, by, slope * by)
        else:
            path.pressure = graph.pressure(path.density[:, -1])

    def _first_guess(self, mu: np.ndarray, peak: float, local: np.ndarray, graph: Graph) -> _Path:
        """Near μ, but away from ρ = 0: with much more mass than μ has, an energy that is not convex
        would lead astray."""
        flow = self._flow
        mass, volume = sum_over_ranks(flow.comm, np.array([flow.masses @ mu, flow.masses.sum()]))
        inside = np.maximum(mu, _LEAST_START * mass / volume)
        density = np.repeat(inside[:, None], self._K, axis=1)
        if flow.temperature > 0:
            density[:, -1] = np.maximum(mu, _TAIL * peak)
        potential = local + graph.pressure(density[:, -1])
        if flow.energy.interacting:
            potential = potential + flow.features.field(flow.energy.dual(flow.predictions(mu)))
        slack = self._guarded * _START / density
        potential = np.repeat(potential[:, None], self._K, axis=1)
        return _Path(density, potential, slack, graph.pressure(density[:, -1]))

    def _sum(self, values: np.ndarray) -> float:
        return float(sum_over_ranks(self._flow.comm, np.array([values.sum()]))[0])

    def _scale(self, peak: float) -> float:
        problem = self._flow.problem
        scale = self._flow.temperature / peak
        if problem.internal is not None:
            scale += float(problem.internal.pressure_slope(np.float64(peak))) / peak
        return scale or 1.0 / peak

    def _upwinding(self, mu: np.ndarray, peak: float) -> np.ndarray:
        """How much of a pair's mobility (e, 1) is of the end the flux leaves.

        Without entropy the barrier keeps mass from being drawn where none is; one inner step is
        the lagged movement there as well.
        """
        flow = self._flow
        spreads = flow.temperature > 0 or flow.problem.internal is not None
        if self._upwind or (self._K == 1 and not spreads):
            return np.ones((len(self._i), 1))
        if flow.temperature == 0 and self._K > 1:
            return np.zeros((len(self._i), 1))
        return upwinding(flow, mu, peak)[:, None]

    def _residuals(
        self,
        mu: np.ndarray,
        path: _Path,
        local: np.ndarray,
        inner: np.ndarray,
        upwind: np.ndarray,
    ) -> _State:
        flow, K, i, j = self._flow, self._K, self._i, self._j
        m, phi = flow.masses[:, None], path.potential
        before = np.concatenate([mu[:, None], path.density[:, :-1]], axis=1)
        mean = self._new * path.density + self._old * before
        both = flow.shared(np.concatenate([mean, phi], axis=1))
        rho, potential = both[:, :K], both[:, K:]
        jump = potential[i] - potential[j]
        from_i = 0.5 + upwind * ((jump > 0) - 0.5)
        mobility = from_i * rho[i] + (1.0 - from_i) * rho[j]
        a = inner * flow.transmissibility[:, None]
        flux, square = a * mobility * jump, 0.5 * a * jump**2
        to_i = np.concatenate([flux, from_i * square], axis=1)
        to_j = np.concatenate([-flux, (1.0 - from_i) * square], axis=1)
        both = flow.gathered(self._to_i @ to_i + self._to_j @ to_j)
        divergence, square = both[:, :K], both[:, K:]
        moved = m * (path.density - before) + divergence
        reaction = self._reaction(mean, phi, inner)
        if reaction is not None:
            moved += m * mean * reaction.dying
            square = square + 0.5 * m * reaction.dying**2 / reaction.rate
        force = -m * phi - self._new * square
        force[:, :-1] += m * phi[:, 1:] - (self._old * square)[:, 1:]
        f = flow.predictions(path.density[:, -1])
        variation = path.pressure + local
        if flow.energy.interacting:
            variation = variation + flow.features.field(flow.energy.dual(f))
        force[:, -1] += flow.masses * variation
        return _State(moved, force, variation, jump, from_i, mobility, f, reaction)

    def _reaction(
        self, mean: np.ndarray, phi: np.ndarray, inner: np.ndarray
    ) -> PathReaction | None:
        """Birth and death at the cost δ_k α/2 Σ_i m_i ρ̄_ki (φ_ki − c_k)², c_k the mean of φ_k."""
        flow, rate = self._flow, inner * self._flow.problem.birth_death
        if flow.problem.birth_death == 0:
            return None
        carried = flow.masses[:, None] * mean
        parts = np.stack([(carried * phi).sum(axis=0), carried.sum(axis=0)])
        first, mass = sum_over_ranks(flow.comm, parts)
        return PathReaction(rate, rate * (phi - first / mass), mean)
