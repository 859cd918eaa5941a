"""How meshes that are not DOLFINx's own are cut into parts, one a rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dolfinx import mesh as dmesh


def with_neighbours() -> Callable[..., Any]:
    """A partitioner whose parts know the cells beyond their facets.

    DOLFINx's readers and `create_mesh` leave them out unless told: the parts would then be bodies
    of their own, with no flux between them.
    """
    return dmesh.create_cell_partitioner(dmesh.GhostMode.shared_facet, 2)  # type: ignore[call-arg]
