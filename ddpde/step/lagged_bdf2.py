"""BDF2 of the flow on meshes, with ρ ≥ 0: lagged H⁻¹ steps from an extrapolated law.

The plan is that of Gallouët, Natale & Todeschi (Math. Comp. 93, 2024), with the weights of `bdf2`,
but not in W₂: the way to extrapolate is that of the densities, made to stay ≥ 0, and the norm of
H⁻¹ has the weight ρⁿ⁺¹, not varied. So the flow's own BDF2 is solved, of order 2, and no W₂
functional minimised: the iterates are not those of variational BDF2, as they are in `dynamic_bdf2`
and on quantile functions. (W₂ and a varied weight add half the divergence of ρ ∇|h∇φ|², of second
order, which extrapolated densities would have to undo explicitly. That was unstable wherever mass
went farther than a cell in a step.) Where F_T is convex in the density it falls from the
extrapolated law to ρⁿ⁺¹.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.flow.vertices import VertexFlow
from ddpde.step.bdf2 import LONGEST, Continuing, weights
from ddpde.step.descent import ALLOWED
from ddpde.step.lagged import LaggedProximal, Trend

_RUN_UP = (0.125, 0.125, 0.25, 0.5)  # parts of a first step
_LACK = 1e-14  # mass that may lack, over all vertices, after extrapolation
_MOST_RETURNS = 200


@dataclass(frozen=True)
class _Past:
    """A step, the free energy after it, what went over the pairs (e,), mass per transmissibility,
    and what died (n,), as density."""

    trend: Trend
    energy: float
    carried: np.ndarray
    died: np.ndarray | float


class LaggedBdf2(Continuing[_Past, LaggedProximal]):
    """Implements `Proximal` with order 2: the flow's BDF2.

    The first step is made of shorter ones, and so is one much longer than the last. Where the free
    energy would rise, the step is an ordinary one.
    """

    def __init__(self, flow: VertexFlow) -> None:
        super().__init__(LaggedProximal(flow))
        self._flow = flow

    def _to(self, u: np.ndarray, tau: float) -> np.ndarray:
        """Several steps where one of τ would be the first, or too long after the last."""
        past = self._past
        parts: tuple[float, ...] = (1.0,)
        if past is None:
            parts = _RUN_UP
        elif tau > LONGEST * past.trend.tau:
            parts = (0.5, 0.5)
        for part in parts:
            u = self._to(u, part * tau) if past and part < 1.0 else self._go(u, part * tau)
        return u

    def _go(self, u: np.ndarray, tau: float) -> np.ndarray:
        """One step from u, where the past one ended, if there is one."""
        past, flow = self._past, self._flow
        if past is not None:
            share, part = weights(tau / past.trend.tau)
            start = self._extrapolated(past, share)
            if start is not None:
                mu, *beyond = start
                near, far = past.trend.ahead(flow, tau), past.trend.went_far(flow)
                density = self._step(mu, part * tau, near=near, frozen=True, far=far)
                reached = self._after(u, density, tau, *beyond)
                if reached.energy <= past.energy + ALLOWED * max(1.0, abs(past.energy)):
                    self._past = reached
                    return reached.trend.density
        self._past = self._after(u, self._step(u, tau), tau)
        return self._past.trend.density

    def close(self) -> None:
        """Free the matrix and its factors."""
        self._step.close()

    def _ended_at(self, past: _Past, u: np.ndarray) -> bool:
        return past.trend.ends_at(u, self._flow.comm)

    def _after(
        self,
        u: np.ndarray,
        density: np.ndarray,
        tau: float,
        beyond: np.ndarray | float = 0.0,
        dead: np.ndarray | float = 0.0,
    ) -> _Past:
        """The step done from u; before its minimisation `beyond` had gone over the pairs, and
        `dead` died."""
        self.iterations += self._step.iterations
        found, past = self._step.latest, self._past
        assert found is not None
        before = past.trend.potential if past else found.potential
        trend = Trend(density, density - u, found.potential, found.potential - before, tau)
        energy = self._flow.free_energy(density)
        return _Past(trend, energy, found.carried + beyond, found.died + dead)

    def _extrapolated(
        self, past: _Past, share: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Densities μ ≥ 0 (n,) beyond the past step by a share of it, what went over the pairs, and
        what died.

        A vertex that would give more than it has gives less to those it goes to, and so on from
        these. None where that finds no end.
        """
        flow, a, beyond = self._flow, self._flow.transmissibility, share * past.carried
        i, j = flow.local_pairs.T
        for _ in range(_MOST_RETURNS):
            mass = flow.masses * past.trend.density - flow.scattered(a * beyond, -a * beyond)
            lack = np.maximum(-mass, 0.0)
            if sum_over_ranks(flow.comm, lack.sum(keepdims=True))[0] <= _LACK:
                moved = np.maximum(mass, 0.0) / flow.masses
                left = self._left(moved, past, share)
                return left, beyond, moved - left
            leaves = flow.scattered(a * np.maximum(beyond, 0.0), a * np.maximum(-beyond, 0.0))
            kept = flow.shared(1.0 - np.divide(lack, leaves, np.zeros_like(lack), where=lack > 0))
            beyond = beyond * np.where(beyond > 0, kept[i], kept[j])
        return None

    def _left(self, moved: np.ndarray, past: _Past, share: float) -> np.ndarray:
        """What births and deaths of a share of the past step leave of densities (n,), of the same
        mass: nearly 1 − x of them, x that share of what died, but more than nothing."""
        if self._flow.problem.birth_death == 0:
            return moved
        x = np.divide(share * past.died, moved, np.zeros_like(moved), where=moved > 0)
        x = np.maximum(x, -1.0)
        left = moved * np.where(x > 0, np.exp(-x - 0.5 * x**2), 1.0 - x)
        parts = np.stack([moved, left]) @ self._flow.masses
        wanted, kept = sum_over_ranks(self._flow.comm, parts)
        return left * (wanted / kept)
