"""Sparse matrices from those of the cells, on the potential's nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from petsc4py import PETSc
from scipy.spatial import cKDTree

from ddpde.space.periodic import NEAR, Periods, bounding_box
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


def closing(space: Space, periods: Periods) -> Mat:
    """The matrix (n_nodes, n_kept) that gives the nodes at the ends of periods one value.

    Functions on the circle, or the torus, have a value at each node that is kept: all but those
    at upper ends. A matrix A of the open mesh is PᵀAP there.
    """
    index = space.potential.dofmap.index_map
    x = space.nodes[: index.size_local].copy()
    lower, upper = bounding_box(space.mesh)
    upper_end, end = np.zeros((2, len(x)), bool)
    for axis, period in enumerate(periods):
        if period is None:
            continue
        near = NEAR * period
        high = x[:, axis] > upper[axis] - near
        x[high, axis] = lower[axis]
        upper_end |= high
        end |= x[:, axis] < lower[axis] + near
    kept = np.flatnonzero(~upper_end)
    first = space.comm.exscan(len(kept)) or 0
    columns = np.zeros(len(x), PETSc.IntType)
    columns[kept] = first + np.arange(len(kept))
    # nodes at ends alone: a small part of the mesh
    partners = end & ~upper_end
    positions, places = (
        np.concatenate(space.comm.allgather(part)) for part in (x[partners], columns[partners])
    )
    if upper_end.any():
        columns[upper_end] = places[cKDTree(positions).query(x[upper_end])[1]]
    matrix: Mat = PETSc.Mat()
    rows = np.arange(len(x) + 1, dtype=PETSc.IntType)
    matrix.createAIJ(
        ((len(x), None), (len(kept), None)), csr=(rows, columns, np.ones(len(x))), comm=space.comm
    )
    return matrix
