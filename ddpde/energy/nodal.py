"""The features of an energy: on the nodes of a mesh, on a lattice that stands for them, in blocks.

With S the features on the lattice and I its interpolation to the nodes, the means of a law with
nodal masses μ are f = Sᵀ(Iᵀμ), and F' there is I(S ∂G/∂f) + r: the exact derivative of the energy
so discretised, as with features on the nodes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddpde.energy.blocks import BlockFeatures, InBlocks, in_blocks
from ddpde.energy.compression import Box
from ddpde.energy.functional import Energy
from ddpde.energy.lattice import (
    Gather,
    Interpolation,
    Lattice,
    Modes,
    OwnLines,
    expanded,
    own_lines,
    reduced,
    resolve,
    share_lines,
)

_CHEAP = 200_000  # numbers in S: with fewer, its products are not what a step costs
_MOST = 20_000  # features: their values on the first lines are dense
_FORMED = 50_000_000  # numbers in S on the lattice, before it is reduced, at the most
_MOST_WORK = 4.0  # of them, to those on the nodes: more are not worth the time
_HEAVY = 400_000  # numbers in S on the lattice that are worth being reduced
_LEFT_OUT = 0.1  # of the tolerance, in that
_SAVES = 0.6  # of the work with the nodes' own features: a lattice that takes more is not used
_SURE = 10.0  # tolerances that the measured error may reach


@dataclass(frozen=True, eq=False)
class OnLattice:
    """Features S (lattice points, r), or their core where `modes` are given; `lines`: how nodes are
    reached; the measured error."""

    lattice: Lattice
    S: np.ndarray
    modes: Modes | None
    lines: bool
    error: float

    @property
    def numbers(self) -> int:
        """That S holds."""
        return self.S.size


def _alone(lines: list[np.ndarray]) -> list[list[np.ndarray]]:
    return [lines]


def on_lattice(
    energy: Energy, nodes: np.ndarray, box: Box, tolerance: float, gather: Gather = _alone
) -> OnLattice | None:
    """The energy's features on a lattice, to `tolerance` of the largest; None where that is not
    accurate, or does not pay. Collective: nodes (n, k) are this rank's, all ranks decide alike.
    """
    count, scattered = energy.reduce(np.array([len(nodes), not share_lines(nodes, box)], float))
    if count * energy.size < _CHEAP or energy.size > _MOST:
        return None
    lattice = resolve([term.generators for term in energy.terms], box, tolerance)
    if lattice is None:
        return None
    if not scattered:
        own = own_lines(nodes, box, gather)
        lattice = min(own, lattice, key=lambda each: float(np.prod(each.counts)))
    full = count * energy.size
    if energy.size * float(np.prod(lattice.counts)) > min(_FORMED, _MOST_WORK * full):
        return None
    S, modes = energy.features(lattice.points), None
    if S.size > _HEAVY or isinstance(lattice, OwnLines):
        core, modes = reduced(lattice, S, _LEFT_OUT * tolerance)
        S = expanded(core, modes)
    kept = S if modes is None else core
    least = min(lattice.counts if modes is None else modes.counts)
    if kept.size + lattice.work(int(count), lines=not scattered, least=least) > _SAVES * full:
        return None
    points, found = lattice.probe(S, lines=not scattered)
    error = energy.difference(found, energy.features(points))
    if not error <= _SURE * tolerance:
        return None
    return OnLattice(lattice, kept, modes, not scattered, error)


def compact(
    energy: Energy, nodes: np.ndarray, box: Box, tolerance: float, gather: Gather = _alone
) -> OnLattice | InBlocks | None:
    """How features need fewer numbers than on the nodes; None where nothing does. Collective."""
    found = on_lattice(energy, nodes, box, tolerance, gather)
    return found or in_blocks(energy, nodes, box, tolerance)


class NodalFeatures:
    """Means and field of an energy on nodes (n, k); with features as they were `found` to be
    compact.
    """

    def __init__(
        self, energy: Energy, nodes: np.ndarray, found: OnLattice | InBlocks | None
    ) -> None:
        self._energy = energy
        self.interpolation: Interpolation | None = None
        self._S: np.ndarray | BlockFeatures
        if isinstance(found, InBlocks):
            self._S = BlockFeatures(nodes, found, energy.size)
        elif isinstance(found, OnLattice):
            self._S = np.asfortranarray(found.S)  # means and field read it column by column
            self.interpolation = Interpolation(found.lattice, nodes, found.lines, found.modes)
        else:
            self._S = energy.features(nodes)

    @property
    def finite(self) -> bool:
        if isinstance(self._S, BlockFeatures):
            return self._S.finite
        return bool(np.isfinite(self._S).all())

    @property
    def few_on_nodes(self) -> np.ndarray | None:
        """S (n, r), where it is kept as it is and small."""
        if self.interpolation is not None or isinstance(self._S, BlockFeatures):
            return None
        return self._S if self._S.size < _CHEAP else None

    def predictions(self, masses: np.ndarray) -> np.ndarray:
        """f_m = ∫ S_m dρ from the nodes' masses (n,), added over the ranks."""
        return self._energy.expanded(self.means(masses))

    def field(self, dual: np.ndarray) -> np.ndarray:
        """S ∂G/∂f at the nodes (n,), the nonlocal part of F'."""
        if isinstance(self._S, BlockFeatures):
            return self._S.field(dual)
        values = self._S @ dual
        return values if self.interpolation is None else self.interpolation(values)

    def means(self, masses: np.ndarray) -> np.ndarray:
        """Of the features kept (r,), this rank's part."""
        if self.interpolation is not None:
            masses = self.interpolation.transposed(masses)
        return self.means_kept(masses)

    def means_kept(self, masses: np.ndarray) -> np.ndarray:
        """`means` from masses where the features are kept: on a lattice, if they are on one."""
        if isinstance(self._S, BlockFeatures):
            return self._S.means(masses)
        return self._S.T @ masses
