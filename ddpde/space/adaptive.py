"""Meshes that can be refined and coarsened, whatever their cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from ddpde.errors import MeshError
from ddpde.space.graded import GradedBox
from ddpde.space.nested import NestedSimplices
from ddpde.space.spaces import Space


class AdaptiveMesh(Protocol):
    """A mesh made from the user's by halving *pieces*: slabs of a box, or single cells.

    Arrays over the pieces hold this rank's; `total` adds them up over the ranks.
    """

    @property
    def space(self) -> Space:
        """The density's space on the present mesh."""
        ...

    @property
    def gain(self) -> int:
        """A halved piece is 2^gain pieces."""
        ...

    @property
    def room(self) -> np.ndarray:
        """How often each piece may still be halved."""
        ...

    def errors(self, u: np.ndarray) -> np.ndarray:
        """Estimated L1 error in each piece, of the coefficients u (own cells, nd)."""
        ...

    def crowds(self, points: np.ndarray) -> np.ndarray:
        """The part of the points (n, gdim) that lies in each piece."""
        ...

    def total(self, values: np.ndarray) -> float:
        """The sum of numbers given for the pieces."""
        ...

    def changed(self, halvings: np.ndarray) -> Self:
        """The mesh with its pieces halved so many times; negative: coarsened where possible.

        The same object where nothing changes.
        """
        ...

    def cells(self, halvings: np.ndarray) -> float:
        """About how many cells `changed` would leave."""
        ...

    def transfer(self, u: np.ndarray, new: Self) -> np.ndarray:
        """Coefficients on `new`, another mesh made from the same one; mass is kept."""
        ...

    @property
    def may_grow(self) -> bool:
        """Whether the following three are available."""
        ...

    def rims(self, u: np.ndarray) -> np.ndarray:
        """About the mass (d, 2) in the cells at either end of each coordinate."""
        ...

    def grown(self, counts: np.ndarray, least: Sequence[float]) -> Self:
        """Longer by so many coarsest cells at each end (d, 2), not below `least`."""
        ...

    def reaching(self, points: np.ndarray, least: Sequence[float]) -> Self:
        """Grown until it holds the points (n, d)."""
        ...


def adaptive_mesh(space: Space, depth: int) -> AdaptiveMesh:
    """From the space on a mesh of the user's, whose cells may be halved `depth` times."""
    mesh = GradedBox.coarsest(space, depth) or NestedSimplices.coarsest(space, depth)
    if mesh is None:
        raise MeshError(
            f"no adaptive mesh from this one of {space.cell}s",
            "take a box, or a mesh of straight triangles or tetrahedra",
        )
    return mesh  # type: ignore[return-value]  # simplices have nothing for `may_grow`
