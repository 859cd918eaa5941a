"""−Δ in discontinuous polynomials: symmetric interior penalty, no flux at the boundary."""

from __future__ import annotations

import dolfinx.fem.petsc
import numpy as np
import ufl
from dolfinx import fem
from petsc4py import PETSc

from ddpde.space import Space


def diffusion_matrix(space: Space) -> PETSc.Mat:
    """M⁻¹K: the rate of loss of density by unit diffusion, K the interior-penalty matrix."""
    u, v = ufl.TrialFunction(space.density), ufl.TestFunction(space.density)
    normal = ufl.FacetNormal(space.mesh)

    def jump(w):
        return (w("+") - w("-")) * normal("+")

    penalty = (space.degree + 1) * (space.degree + space.tdim) / ufl.avg(_height(space))
    form = fem.form(
        ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
        - ufl.inner(ufl.avg(ufl.grad(u)), jump(v)) * ufl.dS
        - ufl.inner(jump(u), ufl.avg(ufl.grad(v))) * ufl.dS
        + penalty * ufl.inner(jump(u), jump(v)) * ufl.dS
    )
    stiffness = dolfinx.fem.petsc.assemble_matrix(form)
    stiffness.assemble()
    return _block_diagonal(space, space.inverse_mass, stiffness).matMult(stiffness)


def _height(space: Space) -> fem.Function:
    """Cell volume over the area of a facet, up to shape: the length in the penalty."""
    h = fem.Function(fem.functionspace(space.mesh, ("DG", 0)))
    volumes = space.cell_means[1]
    diameters = space.mesh.h(space.tdim, np.arange(space.n_cells, dtype=np.int32))
    h.x.array[: space.n_cells] = volumes / diameters ** (space.tdim - 1)
    h.x.scatter_forward()
    return h


def _block_diagonal(space: Space, blocks: np.ndarray, like: PETSc.Mat) -> PETSc.Mat:
    """The parallel matrix with one dense block per owned cell, laid out like `like`."""
    n_cells, size = space.local_shape
    first_row = like.getOwnershipRange()[0]
    pointers = np.arange(0, n_cells * size * size + 1, size, dtype=PETSc.IntType)
    starts = first_row + size * np.arange(n_cells)[:, None, None] + np.zeros((1, size, 1))
    columns = (starts + np.arange(size)).astype(PETSc.IntType)
    matrix = PETSc.Mat().createAIJ(
        (like.getSizes()[0], like.getSizes()[0]),
        csr=(pointers, columns.ravel(), blocks.ravel()),
        comm=space.comm,
    )
    matrix.assemble()
    return matrix
