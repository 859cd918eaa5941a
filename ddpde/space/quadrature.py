"""Quadrature on every local cell of a mesh at once: points, weights, basis values."""

from __future__ import annotations

from functools import cache
from typing import Any

import basix
import basix.ufl
import numpy as np


def gauss(cell: str, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Reference points (q, tdim) and weights (q,) of a rule exact to `degree`."""
    points, weights = basix.make_quadrature(basix.CellType[cell], degree)
    return np.asarray(points), np.asarray(weights)


@cache
def legendre(cell: str, degree: int) -> basix.ufl._ElementBase:
    """Discontinuous polynomials of `degree`, orthonormal on the reference cell.

    Coefficient 0 is the constant: on an affine cell the mass matrix is |det J| times the
    identity, and the mean of a function is its first coefficient.
    """
    return basix.ufl.element(
        "DG", cell, degree, lagrange_variant=basix.LagrangeVariant.legendre, dtype=np.float64
    )


@cache
def lagrange(cell: str, degree: int) -> basix.ufl._ElementBase:
    """Continuous polynomials of `degree`.

    Simplices have equispaced nodes, which lie on few lines in each direction (`energy.lattice`), as
    those of boxes do anyway; and so their geometry has.
    """
    kinds = basix.LagrangeVariant
    simplex = cell in ("triangle", "tetrahedron")
    variant = kinds.equispaced if simplex else kinds.gll_warped
    return basix.ufl.element("Lagrange", cell, degree, lagrange_variant=variant)


def tabulate(element: basix.ufl._ElementBase, points: np.ndarray, derivatives: int = 0) -> Any:
    """Basis values (q, nd), or with derivatives=1 also their gradients (tdim, q, nd)."""
    table: Any = element.tabulate(derivatives, points)
    return table[0] if derivatives == 0 else (table[0], table[1:])


def jacobian_determinant(jacobian: np.ndarray) -> np.ndarray:
    """√det(JᵀJ) of matrices (..., gdim, tdim): the volume element, on surfaces too."""
    if jacobian.shape[-1] == jacobian.shape[-2]:
        return np.abs(np.linalg.det(jacobian))
    gram = np.einsum("...ga,...gb->...ab", jacobian, jacobian)
    return np.sqrt(np.linalg.det(gram))


def jacobians(slope: np.ndarray, geometry: np.ndarray) -> np.ndarray:
    """dx/dξ (n_cells, q, gdim, tdim) from slopes (tdim, q, n) and nodes (n_cells, n, gdim).

    Where no cell's Jacobian varies within the cell, only its first value: (n_cells, 1, …).
    """
    out = np.stack([np.matmul(along, geometry) for along in slope], axis=-1)
    if np.ptp(out, axis=1).max(initial=0.0) <= 1e-12 * np.abs(out).max(initial=0.0):
        return out[:, :1]
    return out


class CellQuadrature:
    """A Gauss rule on each of the given cells.

    Parameters: `geometry` (n_cells, n_geometry, gdim), the cells' geometry nodes;
    `geometry_degree`; `degree`, the polynomial degree the rule integrates exactly.

    Attributes: reference (q, tdim), reference_weights (q,), points (n_cells, q, gdim),
    weights (n_cells, q) including the volume element, jacobian (n_cells, q, gdim, tdim), of one
    point where the cells are `affine`.
    """

    def __init__(self, cell: str, geometry: np.ndarray, geometry_degree: int, degree: int) -> None:
        self.cell = cell
        self.reference, self.reference_weights = gauss(cell, degree)
        element = lagrange(cell, geometry_degree)
        shape, slope = tabulate(element, self.reference, derivatives=1)
        self.points = np.matmul(shape, geometry)
        self.jacobian = jacobians(slope, geometry)
        self.weights = jacobian_determinant(self.jacobian) * self.reference_weights

    @property
    def affine(self) -> bool:
        """Whether every cell is an affine image of the reference cell."""
        return self.jacobian.shape[1] == 1

    def element(self, degree: int) -> basix.ufl._ElementBase:
        """The density's element of `degree` on this cell."""
        return legendre(self.cell, degree)

    def metric(self) -> np.ndarray:
        """√g g^{ab} (n_cells, q, tdim, tdim): ∇u·∇v dx = Σ_ab √g g^{ab} ∂_a u ∂_b v dξ.

        Where the cells are `affine` the second axis has length one.
        """
        gram = np.einsum("cqga,cqgb->cqab", self.jacobian, self.jacobian)
        return np.linalg.inv(gram) * np.sqrt(np.linalg.det(gram))[..., None, None]

    def basis(self, degree: int) -> np.ndarray:
        """Values (q, nd) of the orthonormal basis of `degree` at the reference points."""
        return tabulate(legendre(self.cell, degree), self.reference)
