"""The features of an energy on the nodes of a mesh, or on a lattice that stands for them.

With S the features on the lattice and I its interpolation to the nodes, the means of a law with
nodal masses μ are f = Sᵀ(Iᵀμ), and F' there is I(S ∂G/∂f) + r: the exact derivative of the energy
so discretised, as with features on the nodes themselves (FACTS, trap 9).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddpde.energy.compression import Box
from ddpde.energy.functional import Energy
from ddpde.energy.lattice import Interpolation, Lattice, resolve, share_lines

_CHEAP = 200_000  # numbers in S: with fewer, its products are not what a step costs
_MOST = 20_000  # features: their values on the first lines are dense
_SAVES = 0.5  # of the work with the nodes' own features: a lattice that takes more is not used
_SURE = 10.0  # tolerances that the measured error may reach


@dataclass(frozen=True, eq=False)
class OnLattice:
    """Features S (lattice points, r); `lines`: how nodes are reached; the measured error."""

    lattice: Lattice
    S: np.ndarray
    lines: bool
    error: float


def on_lattice(energy: Energy, nodes: np.ndarray, box: Box, tolerance: float) -> OnLattice | None:
    """The energy's features on a lattice, to `tolerance` of the largest; None where that is not
    accurate, or does not pay. Collective: nodes (n, k) are this rank's, all ranks decide alike.
    """
    count, scattered = energy.reduce(np.array([len(nodes), not share_lines(nodes, box)], float))
    if count * energy.size < _CHEAP or energy.size > _MOST:
        return None
    lattice = resolve([term.generators for term in energy.terms], box, tolerance)
    if lattice is None:
        return None
    work = len(lattice.points) * energy.size + lattice.work(int(count), lines=not scattered)
    if work > _SAVES * count * energy.size:
        return None
    S = energy.features(lattice.points)
    points, found = lattice.probe(S, lines=not scattered)
    error = energy.difference(found, energy.features(points))
    if not error <= _SURE * tolerance:
        return None
    return OnLattice(lattice, S, not scattered, error)


class NodalFeatures:
    """Means and field of an energy on nodes (n, k); with features on a lattice if `found`."""

    def __init__(self, energy: Energy, nodes: np.ndarray, found: OnLattice | None) -> None:
        self._energy = energy
        self._interpolation: Interpolation | None = None
        if found is None:
            self._S = energy.features(nodes)
        else:
            self._S = found.S
            self._interpolation = Interpolation(found.lattice, nodes, found.lines)

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self._S).all())

    def predictions(self, masses: np.ndarray) -> np.ndarray:
        """f_m = ∫ S_m dρ from the nodes' masses (n,), added over the ranks."""
        if self._interpolation is not None:
            masses = self._interpolation.transposed(masses)
        return self._energy.predictions(self._S, masses)

    def field(self, dual: np.ndarray) -> np.ndarray:
        """S ∂G/∂f at the nodes (n,), the nonlocal part of F'."""
        values = self._S @ dual
        return values if self._interpolation is None else self._interpolation(values)
