"""Every facet of every local cell at once: traces, normals, and who faces whom.

A *slot* is a quadrature point on a facet as one cell sees it, numbered (cell, local facet, q).
A function's traces are its values in all slots (n_cells, slots per cell); an interior facet is
two rows of slots that are the same points in space. With that, numerical fluxes are array
operations on any cell type, in any dimension, on curved surfaces too.
"""

from __future__ import annotations

import basix
import basix.cell
import numpy as np
from dolfinx import mesh as dmesh

from ddpde.space.periodic import Periods, across, bounding_box
from ddpde.space.quadrature import jacobians, lagrange, legendre, tabulate

_FACET = {
    "interval": None,
    "triangle": "interval",
    "quadrilateral": "interval",
    "tetrahedron": "triangle",
    "hexahedron": "quadrilateral",
}


class Facets:
    """Slots of the owned and ghost cells of a mesh.

    Attributes: per_cell, slots a cell has; points (n_cells, per_cell, gdim); weights
    (n_cells, per_cell), quadrature weights times surface element; conormal
    (n_cells, per_cell, tdim), the a with n·∇u = Σ_a conormal_a ∂u/∂reference_a; jacobian
    (n_cells, per_cell, gdim, tdim), of one slot in affine cells; first, second
    (n_facets, q), slots of the two sides of the interior facets that touch an owned cell;
    pairs (n_facets, 2), their cells.
    """

    def __init__(
        self,
        mesh: dmesh.Mesh,
        geometry: np.ndarray,
        geometry_degree: int,
        degree: int,
        periods: Periods = (),
    ) -> None:
        cell = mesh.topology.cell_name()
        self._cell, self._degree = cell, degree
        self._reference, weights, normals, stretch = _reference_slots(cell, degree)
        self.per_cell = len(self._reference)
        element = lagrange(cell, geometry_degree)
        shape, slope = tabulate(element, self._reference, derivatives=1)
        self.points = np.matmul(shape, geometry)
        self.jacobian = jacobian = jacobians(slope, geometry)
        gram = np.matmul(np.swapaxes(jacobian, -1, -2), jacobian)
        raised = np.matmul(np.linalg.inv(gram), normals[:, :, None])[..., 0]
        length = np.sqrt((normals * raised).sum(axis=-1))
        self.conormal = raised / length[..., None]
        # Nanson: surface element = volume element · |J⁻ᵀ N|, relative to the reference facet
        self.weights = np.sqrt(np.linalg.det(gram)) * length * (weights * stretch)
        self._pair(mesh, geometry.shape[0], periods)

    def basis(self, degree: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (slots, nd) and reference gradients (tdim, slots, nd) of the density's basis."""
        return tabulate(legendre(self._cell, degree), self._reference, derivatives=1)

    def polynomials(self, degree: int) -> np.ndarray:
        """Orthonormal polynomials (q, m) on a reference facet, at its points."""
        kind = _FACET[self._cell]
        if kind is None:
            return np.ones((1, 1))
        points = basix.make_quadrature(basix.CellType[kind], self._degree)[0]
        return tabulate(legendre(kind, degree), points)

    @property
    def reference(self) -> np.ndarray:
        """Reference coordinates (per_cell, tdim) of the slots."""
        return self._reference

    def lagrange_gradients(self, degree: int) -> np.ndarray:
        """Reference gradients (tdim, slots, ng) of the continuous basis."""
        element = lagrange(self._cell, degree)
        return tabulate(element, self._reference, derivatives=1)[1]

    def _pair(self, mesh: dmesh.Mesh, n_cells: int, periods: Periods) -> None:
        topology, tdim = mesh.topology, mesh.topology.dim
        topology.create_connectivity(tdim - 1, tdim)
        topology.create_connectivity(tdim, tdim - 1)
        to_cells = topology.connectivity(tdim - 1, tdim)
        facets_of = topology.connectivity(tdim, tdim - 1).array.reshape(n_cells, -1)
        per_facet = self.per_cell // facets_of.shape[1]
        sides = np.diff(to_cells.offsets)

        def seen(facet: np.ndarray, which: int) -> tuple[np.ndarray, np.ndarray]:
            """A cell of each facet, and the facet's first slot in it."""
            cell = to_cells.array[to_cells.offsets[facet] + which]
            local = np.argmax(facets_of[cell] == facet[:, None], axis=1)
            return cell, cell * self.per_cell + local * per_facet

        inner = np.flatnonzero(sides == 2)
        pairs = [(seen(inner, 0), seen(inner, 1))]
        outer = np.flatnonzero(sides == 1)
        if any(periods):
            cell, start = seen(outer, 0)
            centres = self._slot_points(start, per_facet).mean(axis=1)
            for low, high in across(centres, periods, bounding_box(mesh)):
                pairs.append(((cell[low], start[low]), (cell[high], start[high])))
        cells = np.concatenate([np.stack([a[0], b[0]], axis=1) for a, b in pairs])
        starts = np.concatenate([np.stack([a[1], b[1]], axis=1) for a, b in pairs])
        owned = cells.min(axis=1, initial=n_cells) < topology.index_map(tdim).size_local
        self.pairs, starts = cells[owned], starts[owned]
        # points of both sides in the order of one linear functional: the same point, same place
        direction = np.array([1.0, 0.6180339887, 0.4142135624])[: self.points.shape[2]]
        ordered = []
        for start in starts.T:
            heights = self._slot_points(start, per_facet) @ direction
            ordered.append(start[:, None] + np.argsort(heights, axis=1))
        self.first, self.second = ordered

    def _slot_points(self, start: np.ndarray, per_facet: int) -> np.ndarray:
        """Positions (n, q, gdim) of the slots of facets that begin at `start`."""
        flat = self.points.reshape(-1, self.points.shape[2])
        return flat[start[:, None] + np.arange(per_facet)]


def _reference_slots(cell: str, degree: int) -> tuple[np.ndarray, ...]:
    """Points (s, tdim), weights (s,), outward normals (s, tdim), facet stretch (s,)."""
    kind = basix.CellType[cell]
    vertices = basix.geometry(kind)
    facet_kind = _FACET[cell]
    if facet_kind is None:
        rule, rule_weights = np.zeros((1, 0)), np.ones(1)
    else:
        rule, rule_weights = basix.make_quadrature(basix.CellType[facet_kind], degree)
    points, weights, normals, stretch = [], [], [], []
    outward = basix.cell.facet_outward_normals(kind)
    facets = basix.topology(kind)[-2]
    for corner_ids, normal in zip(facets, outward, strict=True):
        corners = vertices[corner_ids]
        edges = corners[1 : 1 + rule.shape[1]] - corners[0]
        points.append(corners[0] + rule @ edges)
        weights.append(rule_weights)
        normals.append(np.tile(normal, (len(rule), 1)))
        stretch.append(np.full(len(rule), np.sqrt(np.linalg.det(edges @ edges.T))))
    return tuple(np.concatenate(part) for part in (points, weights, normals, stretch))
