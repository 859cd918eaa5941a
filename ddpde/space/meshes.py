"""Meshes of parameter space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.errors import MeshError, MissingDependencyError
from ddpde.space.partition import with_neighbours
from ddpde.space.signed import signed


@dataclass(frozen=True)
class BoxRecipe:
    """How to build a box mesh; kept instead of the mesh so that a finer one can be built.

    signed: two sheets of it, for measures that are (`signed`).
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cells: tuple[int, ...]
    cell: str | None = None
    signed: bool = False

    def build(self, comm: MPI.Comm = MPI.COMM_WORLD) -> dmesh.Mesh:
        """The mesh, distributed over `comm`."""
        mesh = box(self.lower, self.upper, cells=self.cells, cell=self.cell, comm=comm)
        return signed(mesh) if self.signed else mesh

    def finer(self, factor: float = 1.5) -> BoxRecipe:
        """The same box with half as many cells again, or `factor` times as many, each way.

        Twice as many would cost far more than the run itself.
        """
        return replace(self, cells=tuple(math.ceil(factor * c) for c in self.cells))

    def wider(self, least: Sequence[float], periods: Sequence[float | None] = ()) -> BoxRecipe:
        """An eighth longer at each end, in cells of the same size.

        Ends at `least` stay put, and so do coordinates that have a period.
        """
        lower, upper, cells = list(self.lower), list(self.upper), list(self.cells)
        for j, count in enumerate(self.cells):
            if periods and periods[j]:
                continue
            extra = max(1, count // 8)
            size = (self.upper[j] - self.lower[j]) / count
            upper[j] += extra * size
            cells[j] += extra
            if self.lower[j] - extra * size >= least[j]:
                lower[j] -= extra * size
                cells[j] += extra
        return replace(self, lower=tuple(lower), upper=tuple(upper), cells=tuple(cells))


@dataclass(frozen=True)
class FileRecipe:
    """A gmsh file; signed: two sheets of its mesh (`signed`)."""

    path: Path
    signed: bool = False

    def build(self, comm: MPI.Comm = MPI.COMM_WORLD) -> dmesh.Mesh:
        """The mesh, distributed over `comm`."""
        mesh = from_gmsh(self.path, comm=comm)
        return signed(mesh) if self.signed else mesh

    def finer(self, factor: float = 1.5) -> None:
        """A file has no finer companion: its error is estimated by a higher degree."""
        return None

    def wider(self, least: Sequence[float], periods: Sequence[float | None] = ()) -> None:
        """A file has no wider companion."""
        return None


Recipe = BoxRecipe | FileRecipe

_CELLS = {
    2: {
        "quadrilateral": dmesh.CellType.quadrilateral,
        "triangle": dmesh.CellType.triangle,
    },
    3: {
        "hexahedron": dmesh.CellType.hexahedron,
        "tetrahedron": dmesh.CellType.tetrahedron,
    },
}


def interval(
    lower: float, upper: float, *, cells: int, comm: MPI.Comm = MPI.COMM_WORLD
) -> dmesh.Mesh:
    """[lower, upper] in `cells` equal cells, distributed over `comm`.

    Raises MeshError where lower >= upper or `cells` is no whole number.
    """
    _check_box([lower], [upper], [cells])
    return dmesh.create_interval(comm, cells, (float(lower), float(upper)))


def box(
    lower: Sequence[float],
    upper: Sequence[float],
    *,
    cells: Sequence[int],
    cell: str | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> dmesh.Mesh:
    """The box Π[lower_j, upper_j] in 1, 2 or 3 dimensions, `cells[j]` cells in direction j.

    `cell`: "quadrilateral" (default) or "triangle" in 2D, "hexahedron" (default) or
    "tetrahedron" in 3D. Raises MeshError where these do not make a box.
    """
    dim = len(lower)
    if dim == 1:
        return interval(lower[0], upper[0], cells=cells[0], comm=comm)
    if dim not in _CELLS:
        raise MeshError(f"a box in dimension {dim}", "boxes exist in 1, 2 and 3 dimensions")
    _check_box(lower, upper, cells)
    kinds = _CELLS[dim]
    if cell is not None and cell not in kinds:
        raise MeshError(f"cell = {cell!r} in {dim}D", f"one of: {', '.join(kinds)}")
    kind = kinds[cell] if cell else next(iter(kinds.values()))
    create = dmesh.create_rectangle if dim == 2 else dmesh.create_box
    corners = np.array([lower, upper], dtype=float)
    return create(comm, corners, [int(c) for c in cells], cell_type=kind)  # type: ignore[arg-type]


def from_gmsh(path: str | Path, *, comm: MPI.Comm = MPI.COMM_WORLD) -> dmesh.Mesh:
    """The mesh in a gmsh file (.msh); its dimension is that of its points' span."""
    path = Path(path)
    if not path.is_file():
        raise MeshError(f"no mesh file {path}", "give the path of a .msh file")
    try:
        import gmsh
        from dolfinx.io import gmsh as reader
    except (ImportError, OSError) as error:
        raise MissingDependencyError("reading gmsh files needs gmsh", "pip install gmsh") from error
    flat, trouble = 3, ""
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        if comm.rank == 0:
            try:
                gmsh.open(str(path))
                flat = _span(gmsh)
            except Exception as error:  # gmsh raises bare Exceptions
                trouble = str(error) or "gmsh cannot read it"
        flat, trouble = comm.bcast((flat, trouble), root=0)
        if trouble:
            remedy = "write it with gmsh, the cells in a physical group"
            raise MeshError(f"mesh file {path}: {trouble}", remedy)
        return reader.model_to_mesh(
            gmsh.model, comm, 0, gdim=flat, partitioner=with_neighbours()
        ).mesh
    finally:
        gmsh.finalize()


def _span(gmsh) -> int:  # type: ignore[no-untyped-def]
    """Dimension of the space that the open model's points need; complains of what is missing."""
    points = gmsh.model.mesh.getNodes()[1].reshape(-1, 3)
    dim = max((d for d, _ in gmsh.model.getPhysicalGroups()), default=0)
    if len(points) == 0:
        raise MeshError("it holds no mesh")
    if dim < 1:
        raise MeshError("it has no physical group, which names the cells to take")
    # a surface in space (a sphere, say) keeps its three coordinates
    while dim < 3 and np.ptp(points[:, dim:]) > 0:
        dim += 1
    return int(dim)


def _check_box(lower: Sequence[float], upper: Sequence[float], cells: Sequence[int]) -> None:
    if not len(lower) == len(upper) == len(cells):
        raise MeshError(
            f"lower, upper and cells have {len(lower)}, {len(upper)} and {len(cells)} entries",
            "give one entry per dimension in each",
        )
    for j, (low, high, count) in enumerate(zip(lower, upper, cells, strict=True)):
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise MeshError(f"direction {j}: [{low}, {high}] is no interval", "need lower < upper")
        if not (isinstance(count, Integral) and count >= 1):
            raise MeshError(f"direction {j}: cells = {count}", "need a whole number of cells")
