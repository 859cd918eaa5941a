"""Meshes that close on themselves: which facets face each other across a period.

The mesh is that of a box with two ends; what faces whom across them is told by positions. On
several ranks a cell at one end has to know the cell at the other, as it knows its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem, graph
from dolfinx import mesh as dmesh
from mpi4py import MPI
from scipy.spatial import cKDTree

from ddpde.errors import MeshError

Periods = tuple[float | None, ...]

NEAR = 1e-7  # of a period: how exactly the two ends match
_TAG = 1  # of the messages in which ranks learn who knows their cells


def bounding_box(mesh: dmesh.Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinates (gdim,) of the whole mesh, on all ranks."""
    x = mesh.geometry.x[:, : mesh.geometry.dim]
    lower, upper = np.empty(x.shape[1]), np.empty(x.shape[1])
    mesh.comm.Allreduce(x.min(axis=0, initial=np.inf), lower, MPI.MIN)
    mesh.comm.Allreduce(x.max(axis=0, initial=-np.inf), upper, MPI.MAX)
    return lower, upper


def across(
    points: np.ndarray, periods: Periods, box: tuple[np.ndarray, np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each period the pairs (low, high) of the points (n, gdim) that are one point.

    low (k,), high (k,): indices of points at the two ends of the `box` in this coordinate.
    """
    found = []
    for axis, period in enumerate(periods):
        if period is None:
            continue
        near = NEAR * period
        low, high = (np.flatnonzero(np.abs(points[:, axis] - end[axis]) < near) for end in box)
        if not (len(low) and len(high)):
            continue
        flat = points.copy()
        flat[:, axis] = 0.0
        distance, partner = cKDTree(flat[high]).query(flat[low], distance_upper_bound=near)
        matched = np.isfinite(distance)
        found.append((low[matched], high[partner[matched]]))
    return found


def end_facets(mesh: dmesh.Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Facets (n,) of owned cells that no other cell has, and these cells (n,)."""
    topology, tdim = mesh.topology, mesh.topology.dim
    topology.create_connectivity(tdim - 1, tdim)
    topology.create_connectivity(tdim, tdim - 1)
    owned = topology.index_map(tdim).size_local
    links = topology.connectivity(tdim, tdim - 1)
    facets = links.array[: links.offsets[owned]]
    cells = np.repeat(np.arange(owned, dtype=np.int32), np.diff(links.offsets[: owned + 1]))
    alone = np.diff(topology.connectivity(tdim - 1, tdim).offsets)[facets] == 1
    return facets[alone], cells[alone]


def check_ends(points: np.ndarray, periods: Periods, box: tuple[np.ndarray, np.ndarray]) -> None:
    """MeshError where a midpoint (n, gdim) at an end of a period faces none."""
    pairs = iter(across(points, periods, box))
    for axis, period in enumerate(periods):
        if period is None:
            continue
        ends = [np.abs(points[:, axis] - end[axis]) < NEAR * period for end in box]
        low, high = next(pairs, (np.zeros(0, int),) * 2)
        if not len(np.unique(high)) == len(low) == ends[0].sum() == ends[1].sum():
            raise MeshError(
                f"the mesh does not match itself across the period of coordinate {axis}",
                "use equal facets on both ends",
            )


@dataclass(frozen=True)
class Numbering:
    """Vertices of a mesh, those that are one across a period counted once.

    reached (r,): global numbers of those that this rank knows, its own before others'; number (n,):
    where among these each vertex of the mesh is that this rank knows; chosen (size,): the mesh's
    vertex of each own one. Own ones count from `first`, all are `total`.
    """

    reached: np.ndarray
    number: np.ndarray
    chosen: np.ndarray
    first: int
    total: int


def numbered(space: fem.FunctionSpace, periods: Periods) -> Numbering:
    """The vertices of a space of degree one. MeshError where the ends of a period do not match."""
    index, comm = space.dofmap.index_map, space.mesh.comm
    count = index.size_local
    everyone = index.local_to_global(np.arange(count + index.num_ghosts, dtype=np.int32))
    if not any(periods):
        here = np.arange(len(everyone))
        return Numbering(everyone, here, here[:count], index.local_range[0], index.size_global)
    points = space.tabulate_dof_coordinates()[:count, : space.mesh.geometry.dim]
    box = bounding_box(space.mesh)
    at_end = np.zeros(count, dtype=bool)
    for axis, period in enumerate(periods):
        if period is None:
            continue
        for end in box:
            at_end |= np.abs(points[:, axis] - end[axis]) < NEAR * period
    # vertices at ends alone: a small part of the mesh
    ends, places = (
        np.concatenate(comm.allgather(part[at_end])) for part in (everyone[:count], points)
    )
    check_ends(places, periods, box)
    same = np.arange(len(ends))
    for low, high in across(places, periods, box):
        same[high] = same[low]
    while np.any(same != same[same]):  # corners go along one period after another
        same = same[same]
    order = np.argsort(ends)
    left_out = ends[same != np.arange(len(ends))]
    chosen = np.flatnonzero(~np.isin(everyone[:count], left_out))
    first, total = comm.exscan(len(chosen)) or 0, comm.allreduce(len(chosen))
    new = fem.Function(space, dtype=np.float64)
    new.x.array[chosen] = first + np.arange(len(chosen))
    new.x.scatter_forward()
    numbers = new.x.array.astype(np.int64)
    of_ends = np.concatenate(comm.allgather(numbers[:count][at_end]))[same]
    at = order[np.minimum(np.searchsorted(ends[order], everyone), len(ends) - 1)]
    numbers = np.where(ends[at] == everyone, of_ends[at], numbers)
    own = first + np.arange(len(chosen))
    others = np.setdiff1d(numbers, own)
    reached = np.concatenate([own, others])
    sorter = np.argsort(reached)
    number = sorter[np.searchsorted(reached[sorter], numbers)]
    return Numbering(reached, number, chosen, first, total)


def closed(mesh: dmesh.Mesh, periods: Periods) -> tuple[dmesh.Mesh, np.ndarray]:
    """The mesh, its ranks knowing the cells across the periods too, and where its cells are from.

    The latter: of each owned cell its index (n_cells,) in the order in which `mesh` was made.
    Raises MeshError (on all ranks) where the ends do not match.
    """
    comm, tdim, gdim = mesh.comm, mesh.topology.dim, mesh.geometry.dim
    owned = mesh.topology.index_map(tdim)
    original = mesh.topology.original_cell_index[: owned.size_local]
    if not any(periods):
        return mesh, original
    facets, cells = end_facets(mesh)
    middle = dmesh.compute_midpoints(mesh, tdim - 1, facets)[:, :gdim]
    here = np.full(len(cells), comm.rank)
    # facets at ends alone: a small part of the mesh
    middles, ranks, everyone = (
        np.concatenate(comm.allgather(part)) for part in (middle, here, cells)
    )
    box = bounding_box(mesh)
    check_ends(middles, periods, box)
    if comm.size == 1:
        return mesh, original
    links = owned.index_to_dest_ranks(_TAG)
    starts = links.offsets[: owned.size_local + 1]  # without those of the ghosts
    known = np.repeat(np.arange(owned.size_local), np.diff(starts)), links.array[: starts[-1]]
    pairs = [np.stack(known, axis=1)]
    for low, high in across(middles, periods, box):
        for own, other in ((low, high), (high, low)):
            missing = (ranks[own] == comm.rank) & (ranks[other] != comm.rank)
            pairs.append(np.stack([everyone[own[missing]], ranks[other[missing]]], axis=1))
    shared = _shared(mesh, np.unique(np.concatenate(pairs), axis=0))
    places = shared.topology.original_cell_index[: owned.size_local] - owned.local_range[0]
    return shared, original[places]


def _shared(mesh: dmesh.Mesh, pairs: np.ndarray) -> dmesh.Mesh:
    """The mesh once more, its owned cells also known to the ranks in pairs (cell, rank) (n, 2)."""
    comm, nodes = mesh.comm, mesh.geometry.index_map()
    count = mesh.topology.index_map(mesh.topology.dim).size_local
    # a cell's owner comes first
    owners = np.stack([np.arange(count), np.full(count, -1)], axis=1)
    pairs = np.concatenate([owners, pairs])
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    ranks = np.where(pairs[:, 1] < 0, comm.rank, pairs[:, 1]).astype(np.int32)
    offsets = np.searchsorted(pairs[:, 0], np.arange(count + 1)).astype(np.int32)
    destinations = graph.adjacencylist(ranks, offsets)
    dofs, domain = mesh.geometry.dofmaps[0][:count], mesh.ufl_domain()
    assert domain is not None
    return dmesh.create_mesh(
        comm,
        nodes.local_to_global(dofs.ravel()).reshape(dofs.shape),
        domain,
        mesh.geometry.x[: nodes.size_local, : mesh.geometry.dim],
        partitioner=lambda *_: destinations._cpp_object,
    )
