"""How far apart two computed laws are as densities, each on a mesh of its own."""

from __future__ import annotations

from dataclasses import replace

import basix.ufl
import numpy as np
import ufl
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.errors import MeshError
from ddpde.space.law import Law
from ddpde.space.points import PointLoads
from ddpde.space.quadrature import gauss, lagrange, legendre, tabulate
from ddpde.space.spaces import Space

_SAME = 1e-10  # of the mesh's size: nodes this near are one


def l1_distance(law: Law, finer: Law) -> float:
    """∫ |ρ − ρ'| by a rule on the cells of `finer`; where `law` has no mesh it is zero.

    On a surface both laws are on one mesh, or on two of the same two sheets (`signed`); else
    MeshError, and where a mesh moved with the flow. For one process.
    """
    if law.moved or finer.moved:
        raise MeshError(
            "a density on a mesh that moved with the flow has no value at a given point",
            "compare moments and energies",
        )
    reference, weights = gauss(finer.cell, 2 * max(law.degree, finer.degree) + 2)
    if law.cell == finer.cell and np.array_equal(law.geometry, finer.geometry):
        _, density, volume = finer.at(reference)
        other = law.at(reference)[1]
    elif law.gdim == _dimension(law.cell):
        x, density, volume = finer.at(reference)
        other = _at_points(law, x.reshape(-1, law.gdim)).reshape(density.shape)
    else:
        return sum(map(l1_distance, _sheets(law), _sheets(finer)))
    return float((np.abs(other - density) * volume * weights).sum())


def _sheets(law: Law) -> list[Law]:
    """The laws at s = −1 and at s = 1, the last coordinate, each without it; MeshError."""
    heights = law.geometry[:, :, -1]
    flat = law.gdim == _dimension(law.cell) + 1
    if not flat or not np.all(np.abs(heights) == 1.0) or np.ptp(heights, axis=1).any():
        raise MeshError(
            "densities on two meshes of one surface cannot be compared",
            "take the same mesh for both, and another degree",
        )
    cells = [heights[:, 0] == sign for sign in (-1.0, 1.0)]
    return [
        replace(law, geometry=law.geometry[which, :, :-1], values=law.values[which])
        for which in cells
    ]


def _at_points(law: Law, points: np.ndarray) -> np.ndarray:
    """The density (n,) at points (n, gdim)."""
    nodes = law.geometry.reshape(-1, law.gdim)
    lower, upper = nodes.min(axis=0), nodes.max(axis=0)
    close = _SAME * (upper - lower).max()
    inside = np.flatnonzero(((points >= lower - close) & (points <= upper + close)).all(axis=1))
    space = Space(_mesh(law, close), law.degree)
    which, cells, reference = PointLoads(space).locate(points[inside])
    values = law.values[space.original_cells[cells]]
    density = np.zeros(len(points))
    basis = tabulate(legendre(law.cell, law.degree), reference)
    density[inside[which]] = (basis * values).sum(axis=1)
    return density


def _mesh(law: Law, close: float) -> dmesh.Mesh:
    """The law's mesh on this process; its original cells are the law's."""
    nodes = law.geometry.reshape(-1, law.gdim)
    _, first, which = np.unique(
        np.round(nodes / close), axis=0, return_index=True, return_inverse=True
    )
    cells = which.reshape(law.geometry.shape[:2])
    scalar = lagrange(law.cell, law.geometry_degree)
    element = basix.ufl.blocked_element(scalar, shape=(law.gdim,))
    return dmesh.create_mesh(MPI.COMM_SELF, cells, ufl.Mesh(element), nodes[first])


def _dimension(cell: str) -> int:
    return len(basix.topology(basix.CellType[cell])) - 1
