"""The pair of spaces every Eulerian scheme uses.

The density lives in discontinuous polynomials of degree p (orthonormal on the reference cell),
the first variation F' in continuous ones of degree p + 1. With B = ∫ φ_i ψ_j the discrete
energy F_h(ρ) = Σ_m w_m ℓ(Sᵀ B ρ) has F'_h = S(w ∂ℓ) + r as its exact derivative, whatever the
mesh: quadrature is the same on both sides, without which the free energy would rise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import basix
import numpy as np
from dolfinx import fem
from dolfinx import mesh as dmesh
from scipy import sparse

from ddpde.space.facets import Facets
from ddpde.space.periodic import closed
from ddpde.space.quadrature import CellQuadrature, lagrange, legendre, tabulate


class Space:
    """Density and potential spaces on a mesh.

    Owned cells come first in every array: cells (n_cells,), densities (n_cells, nd).
    """

    def __init__(
        self, mesh: dmesh.Mesh, degree: int, periods: tuple[float | None, ...] = ()
    ) -> None:
        self.periods = periods
        mesh, self.original_cells = closed(mesh, periods)
        self.mesh = mesh
        self.comm = mesh.comm
        self.degree = degree
        self.cell = mesh.topology.cell_name()
        self.tdim = mesh.topology.dim
        self.gdim = mesh.geometry.dim
        self.density = fem.functionspace(mesh, legendre(self.cell, degree))
        self.potential = fem.functionspace(mesh, lagrange(self.cell, degree + 1))
        self.n_cells = mesh.topology.index_map(self.tdim).size_local
        self.local_shape = (self.n_cells, self.density.element.space_dimension)

    @cached_property
    def nodes(self) -> np.ndarray:
        """Coordinates (n, gdim) of the potential's nodes, owned ones first, then ghosts."""
        return self.potential.tabulate_dof_coordinates()[:, : self.gdim]

    @cached_property
    def geometry(self) -> np.ndarray:
        """Geometry nodes (n, n_geometry, gdim) of the owned cells, then the ghosts."""
        return self.mesh.geometry.x[self.mesh.geometry.dofmaps[0]][:, :, : self.gdim]

    @cached_property
    def potential_dofs(self) -> np.ndarray:
        """Nodes (n, ng) of the potential on owned and ghost cells."""
        return self.potential.dofmap.list

    @cached_property
    def global_cells(self) -> np.ndarray:
        """Global index (n,) of owned and ghost cells."""
        cells = self.mesh.topology.index_map(self.tdim)
        return cells.local_to_global(np.arange(len(self.geometry), dtype=np.int32))

    @cached_property
    def local_volumes(self) -> np.ndarray:
        """Volume (n,) of owned and ghost cells."""
        return self.quadrature(self.degree + 2, ghosts=True).weights.sum(axis=1)

    @property
    def geometry_degree(self) -> int:
        return self.mesh.geometry.cmaps[0].degree

    @property
    def transport_degree(self) -> int:
        """Of the rules for ∇·(ρ∇φ): exact for low degrees, and as good as the law for high ones."""
        return min(3 * self.degree, 2 * self.degree + 2)

    def quadrature(self, degree: int, *, ghosts: bool = False) -> CellQuadrature:
        """A rule exact to `degree` on the owned cells, and on ghost cells too if asked."""
        cells = self.geometry if ghosts else self.geometry[: self.n_cells]
        return CellQuadrature(self.cell, cells, self.geometry_degree, degree)

    def facets(self) -> Facets:
        """Traces and facing pairs of the local cells."""
        degree = self.transport_degree
        return Facets(self.mesh, self.geometry, self.geometry_degree, degree, self.periods)

    def divide_by_mass(self, moments: np.ndarray, cells: np.ndarray | None = None) -> np.ndarray:
        """M⁻¹ applied to moments (n, nd, …) of the given cells (default: all owned ones)."""
        chosen = slice(None) if cells is None else cells
        if self._rule.affine:  # the basis is orthogonal: M is a number per cell
            return moments / self._scale[chosen].reshape(-1, *(1,) * (moments.ndim - 1))
        inverse = self._inverse_mass[chosen]
        if moments.ndim == 2:
            return np.matmul(inverse, moments[:, :, None])[:, :, 0]
        return np.matmul(inverse, moments)

    @cached_property
    def _rule(self) -> CellQuadrature:
        return self.quadrature(2 * self.degree + 2)

    @cached_property
    def _scale(self) -> np.ndarray:
        """Volumes (n_cells,) of affine cells, relative to the reference cell's."""
        return self._rule.weights[:, 0] / self._rule.reference_weights[0]

    @cached_property
    def _inverse_mass(self) -> np.ndarray:
        phi = self._rule.basis(self.degree)
        products = np.einsum("qi,qj->qij", phi, phi)
        return np.linalg.inv(np.tensordot(self._rule.weights, products, axes=1))

    @cached_property
    def cell_means(self) -> tuple[np.ndarray, np.ndarray]:
        """Functionals (n_cells, nd) that integrate a density over each cell, and the volumes."""
        # the rule of the mass matrix: on curved cells mass is conserved in this rule alone
        return self._rule.weights @ self._rule.basis(self.degree), self._rule.weights.sum(axis=1)

    @cached_property
    def one(self) -> np.ndarray:
        """Coefficients (n_cells, nd) of the constant 1, exactly: a projection is not, on curved
        cells."""
        found = np.zeros(self.local_shape)
        found[:, 0] = 1.0 / self._rule.basis(self.degree)[0, 0]
        return found

    @cached_property
    def check_values(self) -> np.ndarray:
        """Basis values (points, nd) where positivity is enforced and measured.

        Gauss points of the rules used for entropy and laws, and a lattice that reaches facets.
        """
        kind = basix.CellType[self.cell]
        lattice = basix.create_lattice(kind, self.degree + 2, basix.LatticeType.equispaced, True)
        gauss = basix.make_quadrature(kind, 2 * self.degree + 2)[0]
        return tabulate(legendre(self.cell, self.degree), np.vstack([gauss, lattice]))

    def nodal_masses(self, u: np.ndarray) -> np.ndarray:
        """Bρ (n_nodes,) with B = ∫ φ_i ψ_j over the owned cells: the law's mass at each node.

        Ghost nodes hold this rank's part; summed over the ranks they are the masses of the law.
        """
        return self.assembly @ self.local_masses(u)

    def local_masses(self, u: np.ndarray) -> np.ndarray:
        """What each owned cell gives to its nodes (n_cells ng,), before `assembly` adds it up."""
        if self._rule.affine:
            return (u @ self._reference_products).ravel()
        carried = (u @ self._rule.basis(self.degree).T) * self._rule.weights
        return (carried @ self._lagrange).ravel()

    def potential_moments(self, nodal: np.ndarray) -> np.ndarray:
        """Bᵀφ (n_cells, nd, …): moments against the density's basis of φ (n_nodes, …), by its
        nodes."""
        local = nodal[self.potential_dofs[: self.n_cells]]
        basis = self._rule.basis(self.degree)
        product = "ng,qg,nq,qi->ni", "ngm,qg,nq,qi->nim"
        return np.einsum(
            product[nodal.ndim - 1], local, self._lagrange, self._rule.weights, basis, optimize=True
        )

    @cached_property
    def _lagrange(self) -> np.ndarray:
        """The potential's basis at the points of the mass rule."""
        return tabulate(lagrange(self.cell, self.degree + 1), self._rule.reference)

    @cached_property
    def _reference_products(self) -> np.ndarray:
        """∫ φ_i ψ_j (nd, ng) on the reference cell."""
        weighted = self._rule.reference_weights[:, None] * self._rule.basis(self.degree)
        return weighted.T @ self._lagrange

    @cached_property
    def assembly(self) -> sparse.csr_array:
        """Adds up what each owned cell gives to its nodes: affine ones for the reference cell."""
        dofs = self.potential_dofs[: self.n_cells]
        scale = self._scale if self._rule.affine else np.ones(self.n_cells)
        entries = np.repeat(scale, dofs.shape[1]), (dofs.ravel(), np.arange(dofs.size))
        return sparse.csr_array(entries, shape=(len(self.nodes), dofs.size))

    def project(self, density: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """L² projection (n_cells, nd) of a callable (n, gdim) -> (n,)."""
        rule = self.quadrature(max(3 * self.degree, 8) + 4)
        values = density(rule.points.reshape(-1, self.gdim)).reshape(rule.weights.shape)
        moments = (rule.weights * values) @ rule.basis(self.degree)
        return self.divide_by_mass(moments)
