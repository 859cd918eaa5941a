"""How far apart two computed laws are as densities, each on a mesh of its own."""

from __future__ import annotations

import basix.ufl
import numpy as np
import ufl
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.space.law import Law
from ddpde.space.points import PointLoads
from ddpde.space.quadrature import gauss, legendre, tabulate
from ddpde.space.spaces import Space

_SAME = 1e-10  # of the mesh's size: nodes this near are one


def l1_distance(law: Law, finer: Law) -> float:
    """∫ |ρ − ρ'| by a rule on the cells of `finer`; where `law` has no mesh it is zero.

    nan on surfaces, and where a mesh moved with the flow. For one process.
    """
    if law.moved or finer.moved or law.gdim != _dimension(law.cell):
        return np.nan
    reference, weights = gauss(finer.cell, 2 * max(law.degree, finer.degree) + 2)
    x, density, volume = finer.at(reference)
    if law.cell == finer.cell and np.array_equal(law.geometry, finer.geometry):
        other = law.at(reference)[1]
    else:
        other = _at_points(law, x.reshape(-1, law.gdim)).reshape(density.shape)
    return float((np.abs(other - density) * volume * weights).sum())


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
    element = basix.ufl.element("Lagrange", law.cell, law.geometry_degree, shape=(law.gdim,))
    return dmesh.create_mesh(MPI.COMM_SELF, cells, ufl.Mesh(element), nodes[first])


def _dimension(cell: str) -> int:
    return len(basix.topology(basix.CellType[cell])) - 1
