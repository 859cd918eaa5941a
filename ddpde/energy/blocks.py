"""The features of many data nodes on the nodes of a large mesh, block by block.

In space a unit's features on the whole mesh have no low rank, and no lattice is coarser than the
mesh; in a small part of the mesh they have. So the bounding box is cut into blocks, and in each
only the features of its own pivots are kept (`compress`): S ≈ S_b X_b, a block low-rank matrix.
Blocks and pivots depend on the box alone, not on the ranks' parts of the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ddpde.energy.compression import Box, Compressed, compress
from ddpde.energy.features import NodeFeatures
from ddpde.energy.functional import Energy

_LARGE = 50_000_000  # numbers in S: fewer are kept as they are
_SURE = 0.1  # of the tolerance, which `compress` may exceed
_IN_BLOCK = 6_000  # nodes, about: with more the rank grows, with fewer there are more X_b


@dataclass(frozen=True, eq=False)
class Block:
    """places (n_b,): its nodes among this rank's; kept: its pivots and their expansion X_b."""

    places: np.ndarray
    kept: Compressed


@dataclass(frozen=True, eq=False)
class InBlocks:
    """The blocks of this rank's nodes; `error`: the largest that was measured."""

    blocks: list[Block]
    error: float

    @property
    def numbers(self) -> int:
        """That S_b and X_b hold together."""
        return sum(
            len(block.kept.expansion) * (len(block.places) + block.kept.expansion.shape[1])
            for block in self.blocks
        )


def in_blocks(energy: Energy, nodes: np.ndarray, box: Box, tolerance: float) -> InBlocks | None:
    """The blocks in which features need fewer numbers, to `tolerance` of the largest; None where
    S is small, or not that of data nodes alone, or where blocks do not pay.

    Collective: nodes (n, k) are this rank's, all ranks decide alike.
    """
    count = float(energy.reduce(np.array([float(len(nodes))]))[0])
    features = energy.terms[0] if len(energy.terms) == 1 else None
    if not isinstance(features, NodeFeatures) or count * energy.size < _LARGE:
        return None
    lower, upper = box
    cut = max(1, round((count / _IN_BLOCK) ** (1.0 / len(lower))))
    size = (upper - lower) / cut
    cell = np.clip(np.floor((nodes - lower) / size), 0, cut - 1).astype(int)
    which, owner = np.unique(cell, axis=0, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=len(which)))[:-1]
    blocks = []
    for corner, places in zip(which, np.split(order, ends), strict=True):
        start = lower + corner * size
        kept = compress(features, (start, start + size), _SURE * tolerance)
        if kept is None:
            break
        blocks.append(Block(places, kept))
    failed = float(len(blocks) < len(which))
    if energy.reduce(np.array([failed]))[0] > 0:
        return None
    return InBlocks(blocks, max((block.kept.error for block in blocks), default=0.0))


class BlockFeatures:
    """Products with S ≈ S_b X_b on this rank's nodes (n, k)."""

    def __init__(self, nodes: np.ndarray, found: InBlocks, size: int) -> None:
        self._blocks = found.blocks
        self._values = [block.kept.features.values(nodes[block.places]) for block in self._blocks]
        self._shape = len(nodes), size

    @property
    def finite(self) -> bool:
        return all(np.isfinite(values).all() for values in self._values)

    def means(self, masses: np.ndarray) -> np.ndarray:
        """Sᵀ masses (M,), this rank's part."""
        out = np.zeros(self._shape[1])
        for block, values in zip(self._blocks, self._values, strict=True):
            out += (masses[block.places] @ values) @ block.kept.expansion
        return out

    def field(self, dual: np.ndarray) -> np.ndarray:
        """S dual (n,)."""
        out = np.empty(self._shape[0])
        for block, values in zip(self._blocks, self._values, strict=True):
            out[block.places] = values @ (block.kept.expansion @ dual)
        return out
