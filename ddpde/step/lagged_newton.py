"""One lagged H⁻¹ movement as a saddle point of densities and potentials, by Newton's method.

With pairs of vertices of transmissibilities a and mobilities M(ρ), linear in ρ,

    min over ρ ≥ 0, max over φ of
        E(ρ) − Σ_i m_i (ρ_i − μ_i) φ_i − τ/2 Σ_ij a_ij M_ij(ρ) (φ_i − φ_j)²

is the step of Cancès, Gallouët & Todeschi (Numer. Math. 146, 2020): W₂²(ρ, μ)/(2τ) with the norm
of H⁻¹ weighted by ρ in its place. Optimality: m (ρ − μ) = τ div(M ∇φ), and the pressure

    P = φ + τ/2 |∇φ|² − F'[ρ]

is that of the local energy at ρ. With the norm *frozen*, its weight ρ not varied, |∇φ|² is missing
from P: an implicit Euler step of the flow. M is the mean of both ends' densities where μ is smooth,
and that of the end the flux leaves where it is not; there ρ ≥ 0 whatever φ is. On the way
densities may be below 0, which count as 0 in M: with M < 0 mass would gather where there is most.

At a front Newton's method is slow: it converges by the square of errors relative to the density,
and near the front these are large on every mesh, at the more vertices the finer it is. So after an
iteration the vertices where much of their own mass is missed, and few around them, are iterated
alone, the rest held fixed, while that helps (nonlinear elimination: Cai & Keyes, SIAM J. Sci.
Comput. 24, 2002). They are few: a ring in the plane. `iterations` counts those of all vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.problem.internal import largest_density
from ddpde.step import front
from ddpde.step.crowded import CrowdGraph
from ddpde.step.lagged_linear import LaggedSystem, Linearised, Reaction, ringed
from ddpde.step.mobility import upwinding
from ddpde.step.monotone import Graph

_TOLERANCE = 1e-11  # mass that continuity misses, and mass off the graph
_ROUGH = 4e-3  # the same, of a start for another movement: a varied norm changes as much; more,
# the longer it takes
_STALLED = 100.0  # times the tolerance: good enough where rounding allows no better
_LACK = 1e-13  # mass below zero
_NOTHING = 1e-30  # of the peak: vertices with less, and nothing around them, stay as they are
_MOST_ITERATIONS = 40
_PATIENCE = 16  # iterations in which the least residual is not halved
_TAIL = 1e-12  # of the peak: where the first guess ends
_SHARP = 0.1  # of a vertex's mass, missed: the front has not settled there
_SHARE = 0.1  # of the residual; more of it where that is so is seen to alone
_FEW = 0.15  # of the vertices: more are not cheap enough
_SETTLES = 0.9  # times as much is left there, or it is seen to no more
_NEGLIGIBLE = 1e-16  # mass
_MOST_CHANGE = 30.0  # of φ in an iteration, in temperatures
_MOST_CHANGE_CROWDED = 0.3


class Found(NamedTuple):
    """density (n,), potential (n,), what went over the pairs (e,) from first to second end (mass
    per transmissibility), what died (n,) as density, iterations, last residual."""

    density: np.ndarray
    potential: np.ndarray
    carried: np.ndarray
    died: np.ndarray | float
    iterations: int
    residual: float


@dataclass(frozen=True)
class _Aim:
    """What is solved for: from densities μ (n,) of that peak with τ, at a temperature, on a graph,
    in a fixed field (n,) if there is one, with mobilities that are upwind by weights (e,)."""

    mu: np.ndarray
    tau: float
    peak: float
    temperature: float
    graph: Graph | CrowdGraph
    fixed: np.ndarray | None
    weights: np.ndarray
    limit: float  # of what φ changes by in an iteration
    frozen: bool
    barrier: float


@dataclass
class _State:
    """Where Newton's method is: residuals of continuity, pressures P, and of the pairs (e,):
    jumps of φ, how much of the mobility is of the first end, its derivatives by the densities of
    both ends, mobilities; the network's f."""

    moved: np.ndarray
    pressure: np.ndarray
    jump: np.ndarray
    from_i: np.ndarray
    by_i: np.ndarray
    by_j: np.ndarray
    mobility: np.ndarray
    f: np.ndarray
    reaction: Reaction | None


class LaggedNewton:
    """Lagged H⁻¹ movements of a flow. `iterations`: of the latest solve, failed or not."""

    iterations = 0

    def __init__(self, flow: VertexFlow, *, upwind: bool = False) -> None:
        internal = flow.problem.internal
        spreads = flow.temperature > 0 or (internal is not None and internal.smooth)
        self._flow, self._upwind = flow, upwind or not spreads
        self._i, self._j = flow.local_pairs.T
        kinds = (False, True)
        self._systems = {kind: LaggedSystem(flow, frozen=kind) for kind in kinds}
        self._near_front = {kind: LaggedSystem(flow, frozen=kind) for kind in kinds}

    def solve(
        self,
        mu: np.ndarray,
        tau: float,
        start: tuple[np.ndarray, np.ndarray],
        *,
        upwind: bool = False,
        cold: bool = False,
        frozen: bool = False,
        roughly: bool = False,
        draws: int = 0,
        barrier: float = 0.0,
    ) -> Found:
        """The movement from densities μ (n,) with step τ, from a first guess of (ρ, φ).

        `upwind`: with upwind mobilities everywhere, whatever μ is. `cold`: without entropy, and in
        the field of μ, that is F' does not change with ρ. `frozen`: with a norm that is not varied.
        `roughly`: no better than for a first guess, where densities may be below 0.
        `draws`: of the first iterations, after which tails beyond a front are drawn.
        `barrier`: the weight of a barrier that stands for the largest density.
        Raises SolverError where Newton's method does not converge.
        """
        flow, (density, phi) = self._flow, (np.array(part) for part in start)
        aim = self._aim(mu, tau, upwind, cold, frozen, barrier)
        density, pressure = aim.graph.at(density)
        weights, best, latest, sharpest = aim.weights, np.inf, 0, np.inf
        self.iterations = 0
        while True:
            at = self._residuals(aim, density, phi, weights)
            missed, needed = self._missed(aim, at, density, pressure)
            sharp = self._sharp(aim, missed, density)
            parts = np.array([missed.sum(), missed[sharp].sum(), sharp.sum(), needed.sum()])
            residual, at_front, few, all_ = map(float, sum_over_ranks(flow.comm, parts))
            allowed = (_STALLED if residual > 0.5 * best else 1.0) * _TOLERANCE
            if residual <= (_ROUGH * (1 + self.iterations) if roughly else allowed):
                cold_end = aim.temperature == 0 and not roughly
                drained = self._drained(density, weights) if cold_end else None
                if drained is None:
                    carried = tau * at.mobility * at.jump
                    died = density * at.reaction.growth if at.reaction else 0.0
                    return Found(density, phi, carried, died, self.iterations, residual)
                if flow.comm.allreduce(np.any(drained != weights), MPI.LOR):
                    weights, best = drained, np.inf
                    continue
            if residual < 0.5 * best:
                latest = self.iterations
            best = min(best, residual)
            hopeless = not barrier and self.iterations - latest > _PATIENCE
            if hopeless or self.iterations == _MOST_ITERATIONS or not np.isfinite(residual):
                break
            relaxed = self.iterations > 0 and few <= _FEW * all_
            relaxed = relaxed and _SHARE * residual < at_front < _SETTLES * sharpest
            sharpest = at_front if relaxed else np.inf
            if relaxed:
                system, where = self._near_front[frozen], ringed(flow, ringed(flow, sharp))
            else:
                system, where = self._systems[frozen], needed
            along, across = aim.graph.tangent(density, pressure)
            linear = self._linearised(aim, at, along, across, pressure)
            step, change = system.solve(linear, where)
            fine = bool(np.isfinite(step).all() and np.isfinite(change).all())
            if not flow.comm.allreduce(fine, MPI.LAND):
                break
            phi += np.clip(change, -aim.limit, aim.limit)
            density, pressure = aim.graph.moved(density, pressure, along * step, across * step)
            if relaxed:
                continue
            self.iterations += 1
            if self.iterations <= draws:
                density, pressure = aim.graph.at(front.drawn(flow, mu, density, phi, tau))
        raise SolverError(
            f"a JKO step of {tau:.3g} did not converge: residual {residual:.1e} after "
            f"{self.iterations} Newton iterations",
            "take a smaller dt, or a finer mesh",
        )

    def _aim(
        self, mu: np.ndarray, tau: float, upwind: bool, cold: bool, frozen: bool, barrier: float
    ) -> _Aim:
        flow = self._flow
        peak = flow.comm.allreduce(float(mu.max(initial=0.0)), MPI.MAX)
        temperature = max(barrier, 0.0 if cold else flow.temperature)
        scale, internal = self._scale(peak, temperature), flow.problem.internal
        graph = (
            CrowdGraph(temperature, largest_density(internal), scale, barrier)
            if barrier
            else Graph(temperature, internal, scale)
        )
        fixed = self._field(flow.predictions(mu)) if cold else None
        everywhere = upwind or self._upwind
        weights = np.ones(len(self._i)) if everywhere else upwinding(flow, mu, peak)
        # with a logarithm φ overshoots where ρ does
        limit = _MOST_CHANGE * temperature or np.inf
        if barrier:
            limit = max(limit, _MOST_CHANGE_CROWDED)
        return _Aim(mu, tau, peak, temperature, graph, fixed, weights, limit, frozen, barrier)

    def _missed(
        self, aim: _Aim, at: _State, density: np.ndarray, pressure: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mass (n,) that continuity misses or that is off the graph, and where that is asked."""
        with np.errstate(over="ignore", invalid="ignore"):  # seen to by the residual
            beside = aim.graph.point(aim.graph.scale * density + at.pressure)[0]
            gap = np.abs(density - beside)
            if aim.barrier:  # which is steep: P itself can be no more exact
                gap = np.minimum(gap, density * np.abs(at.pressure - pressure))
        needed = ringed(self._flow, np.maximum(np.abs(density), aim.mu) > _NOTHING * aim.peak)
        return np.abs(at.moved) + np.where(needed, self._flow.masses * gap, 0.0), needed

    def _sharp(self, aim: _Aim, missed: np.ndarray, density: np.ndarray) -> np.ndarray:
        """Where (n,) much of a vertex's mass is missed: at a front that has not settled."""
        if not (front.ends(self._flow) and aim.fixed is None):
            return np.zeros(len(density), dtype=bool)
        least = np.maximum(_SHARP * self._flow.masses * density, _NEGLIGIBLE)
        return missed > least

    def _linearised(
        self, aim: _Aim, at: _State, along: np.ndarray, across: np.ndarray, pressure: np.ndarray
    ) -> Linearised:
        stiff = aim.tau * self._flow.transmissibility
        drift = stiff * at.jump
        return Linearised(
            along,
            across,
            moved=at.moved,
            gap=at.pressure - pressure,
            stiff=stiff * at.mobility,
            by_first=drift * at.by_i,
            by_second=drift * at.by_j,
            of_first=drift * at.from_i,
            of_second=drift * (1.0 - at.from_i),
            f=at.f if aim.fixed is None and self._flow.energy.interacting else None,
            reaction=at.reaction,
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
        """Free matrices and their factors."""
        for system in (*self._systems.values(), *self._near_front.values()):
            system.close()

    def _field(self, f: np.ndarray) -> np.ndarray:
        """F' (n,) of the law with the means f, without entropy and internal energy."""
        flow = self._flow
        return flow.features.field(flow.energy.dual(f)) + flow.local_energy

    def _scale(self, peak: float, temperature: float) -> float:
        internal, scale = self._flow.problem.internal, temperature / peak
        if internal is not None and internal.smooth:
            scale += float(internal.pressure_slope(np.float64(peak))) / peak
        return scale or 1.0 / peak

    def _drained(self, density: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
        """Weights (e,) that are upwind around vertices of density < 0 too; None without such.

        Without entropy laws end somewhere, and a mean mobility may draw mass where none is.
        """
        flow = self._flow
        below = flow.shared(np.minimum(density, 0.0))
        lack = -flow.masses @ below[: flow.size]
        if sum_over_ranks(flow.comm, np.array([lack]))[0] <= _LACK:
            return None
        return np.where((below[self._i] < 0) | (below[self._j] < 0), 1.0, weights)

    def _residuals(
        self, aim: _Aim, density: np.ndarray, phi: np.ndarray, upwind: np.ndarray
    ) -> _State:
        flow, tau, i, j, a = self._flow, aim.tau, self._i, self._j, self._flow.transmissibility
        rho, potential = flow.shared(np.stack([density, phi], axis=1)).T
        jump = potential[i] - potential[j]
        from_i = 0.5 + upwind * ((jump > 0) - 0.5)
        there = np.maximum(rho, 0.0)
        mobility = from_i * there[i] + (1.0 - from_i) * there[j]
        # a mean with an empty end would take the more mass there the more there is: overshooting
        full = upwind == 1.0
        by_i, by_j = from_i * (full | (rho[i] > 0)), (1.0 - from_i) * (full | (rho[j] > 0))
        flux, square = tau * a * mobility * jump, a * jump**2
        to_i = np.stack([flux, from_i * square], axis=1)
        to_j = np.stack([-flux, (1.0 - from_i) * square], axis=1)
        divergence, square = flow.scattered(to_i, to_j).T
        f = flow.predictions(density)
        field = self._field(f) if aim.fixed is None else aim.fixed
        pressure = phi - field
        if not aim.frozen:
            pressure += 0.5 * tau * square / flow.masses
        moved = flow.masses * (density - aim.mu) + divergence
        reaction = self._reaction(density, phi, tau)
        if reaction is not None:
            moved += flow.masses * density * reaction.growth
            if not aim.frozen:
                pressure += 0.5 * reaction.growth**2 / reaction.rate
        return _State(moved, pressure, jump, from_i, by_i, by_j, mobility, f, reaction)

    def _reaction(self, density: np.ndarray, phi: np.ndarray, tau: float) -> Reaction | None:
        """Birth and death: mass changes by −τ α ρ (φ − c), c the mean of φ, where it has to cost
        τ α/2 ∫ ρ (φ − c)²: the largest value over φ and the least over c."""
        flow, rate = self._flow, tau * self._flow.problem.birth_death
        if rate == 0:
            return None
        carried = flow.masses * density
        first, mass = sum_over_ranks(flow.comm, np.array([carried @ phi, carried.sum()]))
        return Reaction(rate, rate * (phi - first / mass), density)
