"""A law near one whose free energy is too high, such that it is not.

Along the exact flow the free energy falls. After a step it may have risen: by the step's error; by
the limiter; close to rest, because the law at which the scheme rests is not the discrete energy's
minimum. Then a monotone flow of low order is followed from the new law, on which F_T falls, until
it is down to its value before the step. Within each cell it is birth and death, −ρ (F_T' − m),
where m is the cell's mean of F_T'; between neighbours i, j an exchange M_i M_j/(M_i + M_j) (m_i −
m_j) of their masses M, the cells growing and shrinking as they are. F_T falls at the rate

    Σ_cells ∫ ρ (F_T' − m)² + Σ_facets M_i M_j/(M_i + M_j) (m_i − m_j)² ,

most of it where the law is furthest from its own local equilibrium; and mass does not jump from
well to well, as it would by birth and death over the whole mesh. Each step along it is a convex
combination of positive laws in every cell times a positive number, so it needs no limiter. The idea
is that of Abgrall's entropy correction (J. Comput. Phys. 372, 2018).

Where that does not get far enough, as on a mesh that does not resolve the law, the law goes from
where it was towards the new one as far as its free energy allows: at the worst it stays.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from mpi4py import MPI

from ddpde.comm import sum_over_ranks
from ddpde.flow.limiter import PositivityLimiter
from ddpde.flow.reaction import BirthDeath
from ddpde.problem import Problem
from ddpde.space import Facets, Space

_PATIENCE = 12  # evaluations of the free energy along the flow
_HALVINGS = 10  # of the way back
_NEAR = 5e-11  # above the goal, relative to max(1, |F|): reached
_LONGEST = 10.0  # factor of a step, where the free energy falls more slowly than to first order
_MOST = 0.5  # part of a cell's mass that a step may take


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

    def __call__(self, u: np.ndarray, before: np.ndarray, goal: float) -> tuple[np.ndarray, float]:
        """A law of a free energy of no more than `goal`, but for rounding, and this energy.

        `before` is such a law, from which a step led to u.
        """
        u, energy = self._descended(u, goal)
        if energy <= _enough(goal):
            return u, energy
        part = part_of_the_way(lambda part: self._energy(before + part * (u - before)), goal)
        law = before + part * (u - before)
        return law, self._energy(law)

    def _descended(self, u: np.ndarray, goal: float) -> tuple[np.ndarray, float]:
        """Where the flow leads from u, and the free energy there."""
        energy, stretch, part = self._energy(u), 1.0, 1.0
        change, growth = u, np.zeros(0)
        for _ in range(_PATIENCE):
            if energy <= _enough(goal):
                break
            if part == 1.0:
                excess = energy - goal
                change, growth = self._along(u, stretch * excess)
            law = (u + part * change) * (1.0 + part * growth)[:, None]
            fallen = energy - self._energy(law)
            if fallen > 0.0:
                stretch = min(max(stretch * part * excess / fallen, 1.0), _LONGEST)
                u, energy, part = law, energy - fallen, 1.0
            else:
                part *= 0.25
        return u, energy

    def _along(self, u: np.ndarray, fall: float) -> tuple[np.ndarray, np.ndarray]:
        """Change of coefficients (owned cells, nd) inside the cells, and growth (owned cells,) of
        the cells, by which F_T falls by about `fall`."""
        masses, variation = self._reaction.variation(u, self._potential(u))
        mass = masses.sum(axis=1)
        mean = _ratio((masses * variation).sum(axis=1), mass)
        apart = variation - mean[:, None]
        inside = masses * apart
        # between neighbours: cells grow and shrink as they are
        table = np.zeros_like(u)
        table[:, 0], table[:, 1] = mass, mean
        table = self._with_ghosts(table)
        first, second = self._pairs.T
        moved = _harmonic(table[first, 0], table[second, 0])
        moved *= table[first, 1] - table[second, 1]
        gain = np.bincount(second, moved, len(table)) - np.bincount(first, moved, len(table))
        gain = gain[: len(u)]
        growth = _ratio(gain, mass)

        comm = self._space.comm
        rate = float(sum_over_ranks(comm, np.array([(inside * apart).sum() - gain @ mean]))[0])
        step = fall / rate if rate > 0.0 else 0.0
        loss = comm.allreduce(float(-growth.min(initial=0.0)), MPI.MAX)
        basis = self._reaction.basis
        goal = self._limiter(u - step * self._space.divide_by_mass(inside @ basis))
        change = goal - u
        # projected and limited, a cell's change may raise F_T: then its shape stays
        weights = self._reaction.weights
        change[(weights * apart * (change @ basis.T)).sum(axis=1) >= 0.0] = 0.0
        return change, growth * min(step, _MOST / loss if loss > 0.0 else step)


def part_of_the_way(energy: Callable[[float], float], goal: float) -> float:
    """The greatest part of a way, if less than all, to which the energy is no more than `goal`."""
    least, most = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (least + most)
        if energy(middle) <= _enough(goal):
            least = middle
        else:
            most = middle
    return least


def _enough(goal: float) -> float:
    return goal + _NEAR * max(1.0, abs(goal))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a/b, 0 where b is."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0.0)


def _harmonic(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a b/(a + b), 0 where both are."""
    return _ratio(a * b, a + b)
