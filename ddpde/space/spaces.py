"""The pair of spaces every Eulerian scheme uses.

The density lives in discontinuous polynomials of degree p (orthonormal on the reference cell),
the first variation F' in continuous ones of degree p + 1. With B = ∫ φ_i ψ_j the discrete
energy F_h(ρ) = Σ_m w_m ℓ(Sᵀ B ρ) has F'_h = S(w ∂ℓ) + r as its exact derivative, whatever the
mesh: quadrature is the same on both sides (FACTS, trap 9).
"""

from __future__ import annotations

from functools import cached_property

import basix
import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from dolfinx import mesh as dmesh
from petsc4py import PETSc

from ddpde.space.quadrature import CellQuadrature, legendre, tabulate


class Space:
    """Density and potential spaces on a mesh.

    Owned cells come first in every array: cells (n_cells,), densities (n_cells, nd).
    """

    def __init__(self, mesh: dmesh.Mesh, degree: int) -> None:
        self.mesh = mesh
        self.comm = mesh.comm
        self.degree = degree
        self.cell = mesh.topology.cell_name()
        self.tdim = mesh.topology.dim
        self.gdim = mesh.geometry.dim
        self.density = fem.functionspace(mesh, legendre(self.cell, degree))
        self.potential = fem.functionspace(mesh, ("Lagrange", degree + 1))
        self.n_cells = mesh.topology.index_map(self.tdim).size_local
        self.local_shape = (self.n_cells, self.density.element.space_dimension)
        self.original_cells = mesh.topology.original_cell_index[: self.n_cells]

    @property
    def nodes(self) -> np.ndarray:
        """Coordinates (n, gdim) of the potential's nodes, owned ones first, then ghosts."""
        return self.potential.tabulate_dof_coordinates()[:, : self.gdim]

    @property
    def owned_nodes(self) -> int:
        """How many of `nodes` this rank owns."""
        return self.potential.dofmap.index_map.size_local

    @cached_property
    def geometry(self) -> np.ndarray:
        """Geometry nodes (n_cells, n_geometry, gdim) of the owned cells."""
        dofs = self.mesh.geometry.dofmaps[0][: self.n_cells]
        return self.mesh.geometry.x[dofs][:, :, : self.gdim]

    @property
    def geometry_degree(self) -> int:
        return self.mesh.geometry.cmaps[0].degree

    def quadrature(self, degree: int) -> CellQuadrature:
        """A rule exact to `degree` on the owned cells."""
        return CellQuadrature(self.cell, self.geometry, self.geometry_degree, degree)

    @cached_property
    def inverse_mass(self) -> np.ndarray:
        """Inverse (n_cells, nd, nd) of each owned cell's mass matrix."""
        rule = self.quadrature(2 * self.degree + 2)
        phi = rule.basis(self.degree)
        return np.linalg.inv(np.einsum("cq,qi,qj->cij", rule.weights, phi, phi))

    @cached_property
    def cell_means(self) -> tuple[np.ndarray, np.ndarray]:
        """Functionals (n_cells, nd) that integrate a density over each cell, and the volumes."""
        rule = self.quadrature(self.degree + 2)
        return rule.weights @ rule.basis(self.degree), rule.weights.sum(axis=1)

    @cached_property
    def check_values(self) -> np.ndarray:
        """Basis values (points, nd) where positivity is enforced and measured.

        Gauss points of the rules used for entropy and laws, and a lattice that reaches facets.
        """
        kind = basix.CellType[self.cell]
        lattice = basix.create_lattice(kind, self.degree + 2, basix.LatticeType.equispaced, True)
        gauss = basix.make_quadrature(kind, 2 * self.degree + 2)[0]
        return tabulate(legendre(self.cell, self.degree), np.vstack([gauss, lattice]))

    @cached_property
    def coupling(self) -> PETSc.Mat:
        """B (potential × density): ∫ φ_i ψ_j, so that Bρ are the nodes' masses."""
        form = fem.form(ufl.TrialFunction(self.density) * ufl.TestFunction(self.potential) * ufl.dx)
        matrix = dolfinx.fem.petsc.assemble_matrix(form)
        matrix.assemble()
        return matrix

    def project(self, density) -> np.ndarray:
        """L² projection (n_cells, nd) of a callable (n, gdim) -> (n,)."""
        rule = self.quadrature(max(3 * self.degree, 8) + 4)
        values = density(rule.points.reshape(-1, self.gdim)).reshape(rule.weights.shape)
        moments = (rule.weights * values) @ rule.basis(self.degree)
        return np.einsum("cij,cj->ci", self.inverse_mass, moments)
