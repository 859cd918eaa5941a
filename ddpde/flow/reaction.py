"""Birth and death: −α ρ (F_T' − ⟨F_T'⟩), which moves mass without transport, ⟨·⟩ the mean over ρ.

Without the mean, where mass is not conserved, −α ρ F_T' makes and destroys it.

Rotskoff, Jelassi, Bruna & Vanden-Eijnden 2019; the Fisher–Rao part of a WFR gradient flow.
"""

from __future__ import annotations

import basix.ufl
import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.problem import Problem
from ddpde.space import Space
from ddpde.space.quadrature import tabulate


class BirthDeath:
    """Moments of the reaction against the density's basis.

    Where mass is conserved, it is so to rounding. degree: of the rule, 3p + 1 unless given.
    """

    def __init__(self, space: Space, problem: Problem, degree: int | None = None) -> None:
        self._comm = space.comm
        self._rate, self._temperature = problem.birth_death, problem.temperature
        self._internal, self._conserved = problem.internal, problem.conserved
        self._rule = space.quadrature(degree or 3 * space.degree + 1)
        self._basis = self._rule.basis(space.degree)
        element = basix.ufl.element("Lagrange", space.cell, space.degree + 1)
        self._shape = tabulate(element, self._rule.reference)
        self._dofs = space.potential_dofs[: space.n_cells]

    def moments(self, u: np.ndarray, potential: np.ndarray) -> np.ndarray:
        """(n_cells, nd) from the density's coefficients u (n_cells, nd) and F' at the nodes
        (n_nodes,), without entropy and internal energy."""
        masses, variation = self._variation(u, potential)
        return -self._rate * ((masses * variation) @ self._basis)

    def steepest(self, u: np.ndarray, potential: np.ndarray) -> tuple[np.ndarray, float]:
        """The moments at α = 1, and the rate ∫ ρ (F_T' − ⟨F_T'⟩)² at which F_T then falls."""
        masses, variation = self._variation(u, potential)
        carried = masses * variation
        local = np.array([(carried * variation).sum()])
        return -(carried @ self._basis), float(sum_over_ranks(self._comm, local)[0])

    def _variation(self, u: np.ndarray, potential: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At the rule's points (n_cells, q): masses, and F_T' without its mean."""
        density = u @ self._basis.T
        variation = potential[self._dofs] @ self._shape.T
        if self._temperature > 0:
            # ρ log ρ vanishes with ρ; the floor keeps the logarithm finite
            variation = variation + self._temperature * np.log(np.maximum(density, 1e-290))
        if self._internal is not None:
            variation = variation + self._internal.derivative(density)
        masses = self._rule.weights * density
        if self._conserved:
            first, mass = sum_over_ranks(
                self._comm, np.array([(masses * variation).sum(), masses.sum()])
            )
            variation = variation - first / mass
        return masses, variation
