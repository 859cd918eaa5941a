"""A small change of a law that brings its free energy down to a given value.

Along the exact flow the free energy falls. In a step it may rise: by the error of the step, or,
close to rest, because the law at which the scheme rests is not quite the discrete energy's
minimum. What such a step has too much is taken from it along a direction in which F_T falls and
mass does not go far: within each cell by birth and death, −ρ (F_T' − m), where m is the cell's mean
of F_T'; between neighbours i, j by an exchange M_i M_j/(M_i + M_j) (m_i − m_j) of their masses M,
the cells growing and shrinking as they are. F_T then falls at the rate

    Σ_cells ∫ ρ (F_T' − m)² + Σ_facets M_i M_j/(M_i + M_j) (m_i − m_j)² .

Birth and death over the whole mesh would do as well, but moves mass from well to well through any
barrier, which laws at low temperature take exponential times to cross: seen in a double well. It is
used where a pressure alone diffuses: there the exchange costs accuracy at the front (L1 errors at
rest 3.4e-3 instead of 2.4e-4 on a line of 106 cells), but wells then are not told apart. The
idea is that of Abgrall's entropy correction (J. Comput. Phys. 372, 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.flow.limiter import PositivityLimiter
from ddpde.flow.reaction import BirthDeath
from ddpde.problem import Problem
from ddpde.space import Facets, Space

_PATIENCE = 10  # evaluations of the free energy
_NEAR = 5e-11  # above the goal, relative to max(1, |F|): reached
_LONGEST = 10.0  # factor of a, where the free energy falls more slowly than to first order


class Lowering:
    """Acts on the density's coefficients (owned cells, nd), positive ones.

    potential: coefficients -> F' at the nodes (n_nodes,), without entropy and internal energy;
    energy: coefficients -> F_T, with the entropy by the rule of degree 2p + 2.
    """

    def __init__(
        self,
        space: Space,
        problem: Problem,
        limiter: PositivityLimiter,
        potential: Callable[[np.ndarray], np.ndarray],
        energy: Callable[[np.ndarray], float],
        facets: Facets,
        with_ghosts: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self._space, self._problem, self._limiter = space, problem, limiter
        self._potential, self._energy = potential, energy
        self._pairs, self._with_ghosts = facets.pairs, with_ghosts

    @cached_property
    def _reaction(self) -> BirthDeath:
        """Made when first needed: most runs never do."""
        # the entropy's own rule, at whose points the limited law is positive
        return BirthDeath(self._space, self._problem, 2 * self._space.degree + 2)

    def __call__(self, u: np.ndarray, goal: float) -> tuple[np.ndarray, float] | None:
        """A law of a free energy of no more than `goal`, but for rounding, and this energy.

        None if there is none to be found.
        """
        energy, stretch = self._energy(u), 1.0
        enough = goal + _NEAR * max(1.0, abs(goal))
        for _ in range(_PATIENCE):
            if energy <= enough:
                return u, energy
            direction, rate = self._steepest(u)
            if not rate > 0.0:
                return None
            expected = stretch * (energy - goal)
            change = direction * (expected / rate)
            lowered = self._limiter(u + change)
            fallen = energy - self._energy(lowered)
            if fallen > 0.0:
                u, energy = lowered, energy - fallen
                stretch = min(max(stretch * expected / fallen, 1.0), _LONGEST)
            else:
                stretch *= 0.25
        return None

    def _steepest(self, u: np.ndarray) -> tuple[np.ndarray, float]:
        """Coefficients of the direction, and the rate at which F_T then falls."""
        masses, variation = self._reaction.variation(u, self._potential(u))
        if self._problem.temperature == 0:
            rate = (masses * variation**2).sum()
            moments = (masses * variation) @ self._reaction.basis
            return -self._space.divide_by_mass(moments), self._sum(rate)
        mass = masses.sum(axis=1)
        mean = np.divide(
            (masses * variation).sum(axis=1), mass, out=np.zeros_like(mass), where=mass > 0.0
        )
        inside = masses * (variation - mean[:, None])
        change = -self._space.divide_by_mass(inside @ self._reaction.basis)
        # between neighbours: cells grow and shrink as they are
        table = np.zeros_like(u)
        table[:, 0], table[:, 1] = mass, mean
        table = self._with_ghosts(table)
        first, second = self._pairs.T
        weight = _harmonic(table[first, 0], table[second, 0])
        moved = weight * (table[first, 1] - table[second, 1])
        gain = np.bincount(second, moved, len(table)) - np.bincount(first, moved, len(table))
        gain = gain[: len(u)]
        change += u * np.divide(gain, mass, out=np.zeros_like(mass), where=mass > 0.0)[:, None]
        local = (inside * variation).sum() - gain @ mean
        return change, self._sum(local)

    def _sum(self, local: float) -> float:
        return float(sum_over_ranks(self._space.comm, np.array([local]))[0])


def _harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b/(a + b), 0 where both are."""
    total = a + b
    return np.divide(a * b, total, out=np.zeros_like(a), where=total > 0.0)
