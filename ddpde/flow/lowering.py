"""The least change of a law that brings its free energy down to a given value.

Along the exact flow the free energy falls. In a step it may rise: by the error of the step, or,
close to rest, because the law at which the scheme rests is not quite the discrete energy's
minimum. What such a step has too much is taken from it by birth and death,

    ρ ← ρ − a ρ (F_T' − ⟨F_T'⟩) ,    a = (F_T − goal) / ∫ ρ (F_T' − ⟨F_T'⟩)² ,

which to first order is, of all changes δ of equal mass that lower F_T by as much, the one of least
∫ δ²/ρ: the step is projected to those that do not raise F_T. As the exact flow is among them, it is
moved by less than its error. The idea is that of Abgrall's entropy correction (J. Comput. Phys.
372, 2018), in the metric of Fisher and Rao.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from ddpde.flow.limiter import PositivityLimiter
from ddpde.flow.reaction import BirthDeath
from ddpde.problem import Problem
from ddpde.space import Space

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
    ) -> None:
        self._space, self._problem, self._limiter = space, problem, limiter
        self._potential, self._energy = potential, energy

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
            moments, rate = self._reaction.steepest(u, self._potential(u))
            if not rate > 0.0:
                return None
            expected = stretch * (energy - goal)
            change = self._space.divide_by_mass(moments) * (expected / rate)
            lowered = self._limiter(u + change)
            fallen = energy - self._energy(lowered)
            if fallen > 0.0:
                u, energy = lowered, energy - fallen
                stretch = min(max(stretch * expected / fallen, 1.0), _LONGEST)
            else:
                stretch *= 0.25
        return None
