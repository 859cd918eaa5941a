"""Variational BDF2 in W₂ on meshes: dynamic JKO steps that go on where the last ones led.

A piece of mass that went from x_{n−1} to x_n, by d_n = x_n − x_{n−1}, goes in a step of BDF2 to

    x_{n+1} = x_n + share d_n − h ∇F_T'[ρ_{n+1}](x_{n+1})

with the weights of `bdf2`. The law x_n + share d_n need not be made, which in W₂ takes a positive
transport over several cells: with −h ∇V(x_{n+1}) = share d_n this is the JKO step from ρ_n itself

    ρ_{n+1} = argmin W₂²(·, ρ_n)/(2h) + F_T + ∫ V dρ,

with a potential more. d_n is the gradient of a function of x_n, the displacement potential D_n, and
D_{n+1} = −h (F_T' + V), where there is no mass as well: what paths answer there is only bound to
draw none, and falls by (cell)²/τ beyond a front. −h V is share D_n, carried to where mass is after
the step by half the velocity ∇W of its way, ∂_t G + ½ ∇W·∇G = 0: that keeps ∇G along ∇W where the
two are parallel, and so, as d_{n+1} − d_n = O(τ²), to the order wanted. W is D_n at first, as if
mass went on, then the D_{n+1} that comes of it, carried back half the way. On a line, where
displacements are proportional, this is BDF2 of Gallouët, Natale & Todeschi with their geodesic
extrapolation.

Birth and death: −h (F_T' + V) is also how much the logarithm of a piece of mass grows, over α, less
its mean. Geodesics have ∂_t φ + ½ |∇φ|² + ½ α φ² = 0 then, and G is carried by
∂_t G + ½ (∇W·∇G + α W G) = 0 in the same way, W and G less their means.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from ddpde.comm import sum_over_ranks
from ddpde.errors import SolverError
from ddpde.flow.vertices import VertexFlow
from ddpde.step.bdf2 import LONGEST, Continuing, weights
from ddpde.step.dynamic import INNER_STEPS, DynamicProximal
from ddpde.step.mobility import upwinding

_ROUNDS = 2  # of a potential carried along a way and the step with it
_COURANT = 1.0  # cells that a stage of Runge and Kutta may go
_MOST_STAGES = 1000
_MOST_GROWTH = 30.0  # of the logarithm of a density, by birth and death, on half a way


@dataclass(frozen=True)
class _Past:
    """A step: the law after it (n,), τ, and the displacement potential (n,)."""

    density: np.ndarray
    tau: float
    way: np.ndarray


class DynamicBdf2(Continuing[_Past, DynamicProximal]):
    """Implements `Proximal` with order 2 in W₂, the action of paths of `inner_steps` inner steps.

    The first step is an ordinary one; so is one from which the free energy would have risen, or
    that is not found. A step much longer than the last is made of shorter ones.
    """

    def __init__(self, flow: VertexFlow, inner_steps: int = INNER_STEPS) -> None:
        super().__init__(DynamicProximal(flow, inner_steps))
        self._flow = flow

    def _ended_at(self, past: _Past, u: np.ndarray) -> bool:
        return self._flow.comm.allreduce(np.array_equal(u, past.density), MPI.LAND)

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._step.close()

    def _to(self, u: np.ndarray, tau: float) -> np.ndarray:
        past = self._past
        if past is None:
            return self._go(u, tau, tau)
        if tau > LONGEST * past.tau:
            return self._to(self._to(u, 0.5 * tau), 0.5 * tau)
        with suppress(SolverError):
            return self._second_order(u, past, tau)
        return self._go(u, tau, tau)

    def _second_order(self, u: np.ndarray, past: _Past, tau: float) -> np.ndarray:
        """The step after the past one; SolverError where there is none."""
        ratio = tau / past.tau
        share, part = weights(ratio)
        peak = self._flow.comm.allreduce(float(u.max(initial=0.0)), MPI.MAX)
        upstream = upwinding(self._flow, u, peak)
        way = ratio * past.way
        for _ in range(_ROUNDS):
            beyond = self._carried(share * past.way, way, upstream)
            density = self._go(u, tau, part * tau, beyond)
            assert self._past is not None
            way = self._carried(self._past.way, -0.5 * self._past.way, upstream)  # half-way
        return density

    def _go(
        self, u: np.ndarray, tau: float, h: float, beyond: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """One movement of h, counted as a step of τ, mass being displaced by ∇ `beyond` before."""
        try:
            density = self._step(u, h, -beyond / h)
        finally:
            self.iterations += self._step.iterations
        found = self._step.latest
        assert found is not None
        self._past = _Past(density, tau, -h * found.variation)
        return density

    def _carried(self, G: np.ndarray, way: np.ndarray, upstream: np.ndarray) -> np.ndarray:
        """G (n,) after ∂_t G + ½ (∇W·∇G + α W G) = 0 for a unit of time; W (n,): `way`.

        With births and deaths W and G count from their means over the past density.

        upstream (e,): how much of a pair's slope is seen from the end downstream alone.
        """
        flow = self._flow
        i, j = flow.local_pairs.T
        everywhere = flow.shared(way)
        speed = flow.transmissibility * (everywhere[j] - everywhere[i])
        at_j = 0.5 + upstream * ((speed > 0) - 0.5)
        to_i, to_j = -0.5 * (1.0 - at_j) * speed, -0.5 * at_j * speed
        cells = 0.25 * flow.scattered(np.abs(speed), np.abs(speed)) / flow.masses
        born = 0.5 * flow.problem.birth_death * self._centred(way)
        far = [float(np.abs(part).max(initial=0.0)) for part in (cells, born)]
        most, grown = (flow.comm.allreduce(part, MPI.MAX) for part in far)
        if not (most <= _COURANT * _MOST_STAGES and grown <= _MOST_GROWTH):
            raise SolverError("mass went too far in a step of BDF2", "take a smaller dt")
        count = max(1, int(np.ceil(max(most / _COURANT, grown))))

        def rate(G: np.ndarray) -> np.ndarray:
            values = flow.shared(G)
            rise = values[j] - values[i]
            moved = flow.scattered(to_i * rise, to_j * rise) / (count * flow.masses)
            return moved - born / count * self._centred(G) if flow.problem.birth_death else moved

        for _ in range(count):  # Kutta's method of order 3
            first = rate(G)
            second = rate(G + 0.5 * first)
            third = rate(G - first + 2.0 * second)
            G = G + (first + 4.0 * second + third) / 6.0
        return G

    def _centred(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) less their mean over the past density."""
        assert self._past is not None
        carried = self._flow.masses * self._past.density
        total, mass = sum_over_ranks(self._flow.comm, np.array([carried @ values, carried.sum()]))
        return values - total / mass
