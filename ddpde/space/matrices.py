"""Sparse matrices from those of the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from petsc4py import PETSc

from ddpde.space.spaces import Space

Mat = Any  # petsc4py's own annotations refuse much of what it accepts


def nodal_matrix(space: Space, cells: np.ndarray) -> Mat:
    """The matrix that the cells' matrices (n_cells, n, n) on the potential's nodes add up to."""
    nodes = space.potential.dofmap.index_map
    dofs = space.potential_dofs[: space.n_cells]
    index = nodes.local_to_global(dofs.ravel()).reshape(dofs.shape).astype(PETSc.IntType)
    rows = np.broadcast_to(index[:, :, None], cells.shape).ravel()
    columns = np.broadcast_to(index[:, None, :], cells.shape).ravel()
    size = (nodes.size_local, nodes.size_global)
    matrix: Mat = PETSc.Mat()
    matrix.createAIJ((size, size), comm=space.comm)
    matrix.setPreallocationCOO(rows, columns)
    matrix.setValuesCOO(cells.ravel(), PETSc.InsertMode.ADD_VALUES)
    matrix.assemble()
    return matrix
