"""Birth and death: −α ρ (F_T' − ⟨F_T'⟩), which moves mass without transport, ⟨·⟩ the mean over ρ.

Without the mean, where mass is not conserved, −α ρ F_T' makes and destroys it.

Rotskoff, Jelassi, Bruna & Vanden-Eijnden 2019; the Fisher–Rao part of a WFR gradient flow.
"""

from __future__ import annotations

import numpy as np

from ddpde.comm import sum_over_ranks
from ddpde.problem import Problem
from ddpde.space import Space
from ddpde.space.quadrature import lagrange, tabulate

_LEAST = 1e-290  # ρ log ρ vanishes with ρ; the floor keeps the logarithm finite


class BirthDeath:
    """Moments of the reaction against the density's basis.

    Where mass is conserved, it is so to rounding. degree: of the rule, 3p + 1 unless given.
    """

    def __init__(self, space: Space, problem: Problem, degree: int | None = None) -> None:
        self._comm = space.comm
        self._rate, self._temperature = problem.birth_death, problem.temperature
        self._internal, self._conserved = problem.internal, problem.conserved
        self._rule = space.quadrature(degree or 3 * space.degree + 1)
        self.basis, self.weights = self._rule.basis(space.degree), self._rule.weights
        element = lagrange(space.cell, space.degree + 1)
        self._shape = tabulate(element, self._rule.reference)
        self._dofs = space.potential_dofs[: space.n_cells]

    def moments(self, u: np.ndarray, potential: np.ndarray) -> np.ndarray:
        """(n_cells, nd) from the density's coefficients u (n_cells, nd) and F' at the nodes
        (n_nodes,), without entropy and internal energy."""
        masses, variation = self.variation(u, potential)
        return -self._rate * ((masses * variation) @ self.basis)

    def variation(self, u: np.ndarray, potential: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """At the rule's points (n_cells, q): masses, and F_T' without its mean."""
        density, variation = self._at_points(u, potential)
        if self._internal is not None:
            variation = variation + self._internal.derivative(density)
        masses = self._rule.weights * density
        if self._conserved:
            first, mass = sum_over_ranks(
                self._comm, np.array([(masses * variation).sum(), masses.sum()])
            )
            variation = variation - first / mass
        return masses, variation

    def transposed(
        self, u: np.ndarray, potential: np.ndarray, g: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of ∫ g times the reaction the derivative by the density, as moments (n_cells, nd), and by
        F' at the nodes, (n_nodes,), ghost nodes with this rank's part. Mass conserved; with
        V = F' + T log ρ

            −α (V − V̄ + T)(g − ḡ) ,    −α ρ (g − ḡ) .
        """
        density, variation = self._at_points(u, potential)
        values, masses = g @ self.basis.T, self._rule.weights * density
        excess, apart = self._centred(masses, np.stack([variation, values]))
        excess += self._temperature * (density > _LEAST)
        by_density = -self._rate * ((self._rule.weights * excess * apart) @ self.basis)
        parts = -self._rate * ((masses * apart) @ self._shape)
        return by_density, np.bincount(self._dofs.ravel(), parts.ravel(), len(potential))

    def noise(self, u: np.ndarray, potential: np.ndarray, g: np.ndarray) -> np.ndarray:
        """N times the rate at which births and deaths of N particles add to the covariance of the
        means of g (K, n_cells, nd): (K, K), over s.

        A particle dies or is doubled at the rate α |V − V̄|, and one chosen uniformly is doubled or
        dies for it: ∫ α |V − V̄| {(g − ḡ)² + Var g} dρ.
        """
        density, variation = self._at_points(u, potential)
        masses = self._rule.weights * density
        excess, *apart = self._centred(masses, np.stack([variation, *(g @ self.basis.T)]))
        rates = self._rate * np.abs(excess) * masses
        functions = np.reshape(apart, (len(g), -1))
        sums = [(functions * m.ravel()) @ functions.T for m in (rates, masses)]
        total = sum_over_ranks(self._comm, np.array([rates.sum(), *np.ravel(sums)]))
        events, (own, uniform) = total[0], total[1:].reshape(2, len(g), len(g))
        return own + events * uniform

    def _at_points(self, u: np.ndarray, potential: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density ρ and F' + T log ρ at the points of the rule (n_cells, q)."""
        density, variation = u @ self.basis.T, potential[self._dofs] @ self._shape.T
        if self._temperature > 0:
            variation += self._temperature * np.log(np.maximum(density, _LEAST))
        return density, variation

    def _centred(self, masses: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (K, n_cells, q) less their means over the law."""
        sums = np.array([masses.sum(), *(values * masses).sum(axis=(1, 2))])
        mass, *firsts = sum_over_ranks(self._comm, sums)
        return values - np.reshape(firsts, (-1, 1, 1)) / mass
