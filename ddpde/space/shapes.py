"""Round meshes, made by gmsh: disc, annulus, ball, and the closed surfaces sphere and torus.

Cells are simplices with curved sides (geometry of degree 2): the shape's error is of order 3–4
in the cell size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.errors import MeshError, MissingDependencyError
from ddpde.space.partition import with_neighbours


def disc(radius: float = 1.0, *, size: float, comm: MPI.Comm = MPI.COMM_WORLD) -> dmesh.Mesh:
    """The disc |x| <= radius in the plane, in triangles of about `size`.

    Raises MeshError where a length is not positive, MissingDependencyError without gmsh.
    """
    _positive(radius=radius, size=size)
    return _build(lambda occ: occ.addDisk(0, 0, 0, radius, radius), 2, 2, size, comm)


def annulus(
    inner: float, outer: float, *, size: float, comm: MPI.Comm = MPI.COMM_WORLD
) -> dmesh.Mesh:
    """The ring inner <= |x| <= outer in the plane, in triangles of about `size`.

    Raises MeshError where a length is not positive or inner >= outer,
    MissingDependencyError without gmsh.
    """
    _positive(inner=inner, outer=outer - inner, size=size)

    def draw(occ: Any) -> None:
        whole, hole = (occ.addDisk(0, 0, 0, r, r) for r in (outer, inner))
        occ.cut([(2, whole)], [(2, hole)])

    return _build(draw, 2, 2, size, comm)


def ball(radius: float = 1.0, *, size: float, comm: MPI.Comm = MPI.COMM_WORLD) -> dmesh.Mesh:
    """The ball |x| <= radius in space, in tetrahedra of about `size`.

    Raises MeshError where a length is not positive, MissingDependencyError without gmsh.
    """
    _positive(radius=radius, size=size)
    return _build(lambda occ: occ.addSphere(0, 0, 0, radius), 3, 3, size, comm)


def sphere(radius: float = 1.0, *, size: float, comm: MPI.Comm = MPI.COMM_WORLD) -> dmesh.Mesh:
    """The surface |x| = radius in space, in triangles of about `size`: three coordinates.

    Raises MeshError where a length is not positive, MissingDependencyError without gmsh.
    """
    _positive(radius=radius, size=size)
    return _build(lambda occ: occ.addSphere(0, 0, 0, radius), 2, 3, size, comm)


def torus(
    major: float, minor: float, *, size: float, comm: MPI.Comm = MPI.COMM_WORLD
) -> dmesh.Mesh:
    """The surface at distance `minor` from a circle of radius `major` around the third axis.

    In triangles of about `size`; three coordinates.

    Raises MeshError where a length is not positive or minor >= major,
    MissingDependencyError without gmsh.
    """
    _positive(minor=minor, major=major - minor, size=size)
    return _build(lambda occ: occ.addTorus(0, 0, 0, major, minor), 2, 3, size, comm)


def _build(
    draw: Callable[[Any], Any], dim: int, gdim: int, size: float, comm: MPI.Comm
) -> dmesh.Mesh:
    """Mesh the `dim`-dimensional entities of what `draw` adds to gmsh's geometry kernel."""
    try:
        import gmsh
        from dolfinx.io import gmsh as reader
    except (ImportError, OSError) as error:
        raise MissingDependencyError("round meshes need gmsh", "pip install gmsh") from error
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        if comm.rank == 0:
            draw(gmsh.model.occ)
            gmsh.model.occ.synchronize()
            entities = [tag for _, tag in gmsh.model.getEntities(dim)]
            gmsh.model.addPhysicalGroup(dim, entities, 1)
            gmsh.option.setNumber("Mesh.MeshSizeMin", size)
            gmsh.option.setNumber("Mesh.MeshSizeMax", size)
            gmsh.model.mesh.generate(dim)
            gmsh.model.mesh.setOrder(2)
        return reader.model_to_mesh(
            gmsh.model, comm, 0, gdim=gdim, partitioner=with_neighbours()
        ).mesh
    finally:
        gmsh.finalize()


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise MeshError(f"{name} = {value:g}", "lengths must be positive, inner ones smaller")
