"""Signed measures as pairs: a mesh for the positive part and one for the negative part.

Both are copies of the given mesh in one more coordinate s = ±1, a manifold of two sheets. A
measure ν = ν₊ − ν₋ is the non-negative measure ρ on it with ν = ∫ s ρ(·, ds): a unit s φ(x; θ) of
parameters (θ, s) sees no more than ν. Nothing flows from sheet to sheet.
"""

from __future__ import annotations

import basix.ufl
import numpy as np
import ufl
from dolfinx import mesh as dmesh

from ddpde.errors import MeshError
from ddpde.space.partition import with_neighbours
from ddpde.space.quadrature import lagrange


def signed(mesh: dmesh.Mesh) -> dmesh.Mesh:
    """Two copies of `mesh`, at s = 1 and at s = −1; s is the last coordinate.

    Raises MeshError where there is no room for one more coordinate.
    """
    gdim = mesh.geometry.dim
    if gdim > 2:
        raise MeshError(
            f"a mesh in {gdim} dimensions has no room for the sign, one more coordinate",
            "signed measures live on meshes in one or two dimensions",
        )
    comm, nodes = mesh.comm, mesh.geometry.index_map()
    starts = np.cumsum([0, *comm.allgather(nodes.size_local)])
    x = mesh.geometry.x[: nodes.size_local, :gdim]
    sheets = [np.column_stack([x, np.full(len(x), sign)]) for sign in (1.0, -1.0)]
    # input nodes are numbered through the ranks: those of a rank's first sheet, then its second
    every = nodes.local_to_global(np.arange(len(mesh.geometry.x), dtype=np.int32))
    owner = np.searchsorted(starts, every, side="right") - 1
    first = every + starts[owner]
    second = first + np.diff(starts)[owner]
    owned = mesh.topology.index_map(mesh.topology.dim).size_local
    dofs = mesh.geometry.dofmaps[0][:owned]
    scalar = lagrange(mesh.topology.cell_name(), mesh.geometry.cmaps[0].degree)
    element = basix.ufl.blocked_element(scalar, shape=(gdim + 1,))
    return dmesh.create_mesh(
        comm,
        np.concatenate([first[dofs], second[dofs]]),
        ufl.Mesh(element),
        np.concatenate(sheets),
        partitioner=with_neighbours(),
    )
