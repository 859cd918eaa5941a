"""Quadrature on every local cell of a mesh at once: points, weights, basis values."""

from __future__ import annotations

import basix
import basix.ufl
import numpy as np


def legendre(cell: str, degree: int) -> basix.ufl._ElementBase:
    """Discontinuous polynomials of `degree`, orthonormal on the reference cell.

    Coefficient 0 is the constant: on an affine cell the mass matrix is |det J| times the
    identity, and the mean of a function is its first coefficient.
    """
    return basix.ufl.element(
        "DG", cell, degree, lagrange_variant=basix.LagrangeVariant.legendre, dtype=np.float64
    )


def tabulate(element: basix.ufl._ElementBase, points: np.ndarray, derivatives: int = 0):
    """Basis values (q, nd), or with derivatives=1 also their gradients (tdim, q, nd)."""
    table = element.tabulate(derivatives, points)
    return table[0] if derivatives == 0 else (table[0], table[1:])


def jacobian_determinant(jacobian: np.ndarray) -> np.ndarray:
    """√det(JᵀJ) of matrices (..., gdim, tdim): the volume element, on surfaces too."""
    if jacobian.shape[-1] == jacobian.shape[-2]:
        return np.abs(np.linalg.det(jacobian))
    gram = np.einsum("...ga,...gb->...ab", jacobian, jacobian)
    return np.sqrt(np.linalg.det(gram))


class CellQuadrature:
    """A Gauss rule on each of the given cells.

    Parameters: `geometry` (n_cells, n_geometry, gdim), the cells' geometry nodes;
    `geometry_degree`; `degree`, the polynomial degree the rule integrates exactly.

    Attributes: reference (q, tdim), reference_weights (q,), points (n_cells, q, gdim),
    weights (n_cells, q) including the volume element.
    """

    def __init__(self, cell: str, geometry: np.ndarray, geometry_degree: int, degree: int) -> None:
        kind = basix.CellType[cell]
        self.cell = cell
        self.reference, self.reference_weights = basix.make_quadrature(kind, degree)
        element = basix.ufl.element("Lagrange", cell, geometry_degree)
        shape, slope = tabulate(element, self.reference, derivatives=1)
        self.points = np.einsum("qn,cng->cqg", shape, geometry)
        jacobian = np.einsum("aqn,cng->cqga", slope, geometry)
        self.determinant = jacobian_determinant(jacobian)
        self.weights = self.determinant * self.reference_weights

    def basis(self, degree: int) -> np.ndarray:
        """Values (q, nd) of the orthonormal basis of `degree` at the reference points."""
        return tabulate(legendre(self.cell, degree), self.reference)
