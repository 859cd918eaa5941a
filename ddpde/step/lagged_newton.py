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
        self._systems = {kind: LaggedSystem(flow, frozen=kind) for kind in (False, True)}

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
        everywhere = upwind or self._upwind
        weights = np.ones(len(self._i)) if everywhere else upwinding(flow, mu, peak)
        # with a logarithm φ overshoots where ρ does
        limit, best, latest = _MOST_CHANGE * temperature or np.inf, np.inf, 0
        if barrier:
            limit = max(limit, _MOST_CHANGE_CROWDED)
        for iteration in range(_MOST_ITERATIONS):
            self.iterations = iteration
            with np.errstate(over="ignore", invalid="ignore"):  # seen to by the residual
                at = self._residuals(mu, density, phi, tau, weights, fixed, frozen)
                beside = graph.point(graph.scale * density + at.pressure)[0]
            gap = np.abs(density - beside)
            if barrier:  # which is steep: P itself can be no more exact
                gap = np.minimum(gap, density * np.abs(at.pressure - pressure))
            needed = ringed(flow, np.maximum(np.abs(density), mu) > _NOTHING * peak)
            off = np.abs(at.moved).sum() + (m * gap)[needed].sum()
            residual = float(sum_over_ranks(flow.comm, np.array([off]))[0])
            allowed = (_STALLED if residual > 0.5 * best else 1.0) * _TOLERANCE
            if residual <= (_ROUGH * (1 + iteration) if roughly else allowed):
                cold_end = temperature == 0 and not roughly
                drained = self._drained(density, weights) if cold_end else None
                if drained is None:
                    carried = tau * at.mobility * at.jump
                    died = density * at.reaction.growth if at.reaction else 0.0
                    return Found(density, phi, carried, died, iteration, residual)
                if flow.comm.allreduce(np.any(drained != weights), MPI.LOR):
                    weights, best = drained, np.inf
                    continue
            hopeless = not barrier and iteration - latest > _PATIENCE
            if hopeless or not np.isfinite(residual):
                break
            if residual < 0.5 * best:
                latest = iteration
            best = min(best, residual)
            along, across = graph.tangent(density, pressure)
            drift = tau * flow.transmissibility * at.jump
            linear = Linearised(
                along,
                across,
                moved=at.moved,
                gap=at.pressure - pressure,
                stiff=tau * flow.transmissibility * at.mobility,
                by_first=drift * at.by_i,
                by_second=drift * at.by_j,
                of_first=drift * at.from_i,
                of_second=drift * (1.0 - at.from_i),
                f=at.f if fixed is None and flow.energy.interacting else None,
                reaction=at.reaction,
            )
            step, change = self._systems[frozen].solve(linear, needed)
            fine = bool(np.isfinite(step).all() and np.isfinite(change).all())
            if not flow.comm.allreduce(fine, MPI.LAND):
                break
            phi += np.clip(change, -limit, limit)
            density, pressure = graph.moved(density, pressure, along * step, across * step)
            if iteration < draws:
                density, pressure = graph.at(front.drawn(flow, mu, density, phi, tau))
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
        """Free matrices and their factors."""
        for system in self._systems.values():
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
        field = self._field(f) if fixed is None else fixed
        pressure = phi - field
        if not frozen:
            pressure += 0.5 * tau * square / flow.masses
        moved = flow.masses * (density - mu) + divergence
        reaction = self._reaction(density, phi, tau)
        if reaction is not None:
            moved += flow.masses * density * reaction.growth
            if not frozen:
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
