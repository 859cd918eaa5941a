"""Meshes and finite-element spaces. DOLFINx enters the house here and nowhere before."""

try:
    from mpi4py import MPI  # noqa: F401, I001  (loads the MPI library that DOLFINx links to)
    import dolfinx  # noqa: F401
except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py without an MPI library
    from ddpde.errors import MissingDependencyError

    raise MissingDependencyError(
        f"DOLFINx is not usable here ({error})",
        "pip install dolfinx-solver-real   (Python >= 3.12), or "
        "conda install -c conda-forge fenics-dolfinx",
    ) from error

from ddpde.space.adaptive import AdaptiveMesh, adaptive_mesh
from ddpde.space.difference import l1_distance
from ddpde.space.facets import Facets
from ddpde.space.law import Law, gathered
from ddpde.space.meshes import BoxRecipe, FileRecipe, Recipe, box, from_gmsh, interval
from ddpde.space.periodic import bounding_box, end_facets
from ddpde.space.points import PointLoads
from ddpde.space.quadrature import CellQuadrature
from ddpde.space.screened import ScreenedPoisson
from ddpde.space.shapes import annulus, ball, disc, sphere, torus
from ddpde.space.signed import signed
from ddpde.space.slabs import Slabs
from ddpde.space.spaces import Space
from ddpde.space.tensor import TensorGrid, tensor_grid

__all__ = [
    "AdaptiveMesh",
    "BoxRecipe",
    "CellQuadrature",
    "Facets",
    "FileRecipe",
    "Law",
    "PointLoads",
    "Recipe",
    "ScreenedPoisson",
    "Slabs",
    "Space",
    "TensorGrid",
    "adaptive_mesh",
    "annulus",
    "ball",
    "bounding_box",
    "box",
    "disc",
    "end_facets",
    "from_gmsh",
    "gathered",
    "interval",
    "l1_distance",
    "signed",
    "sphere",
    "tensor_grid",
    "torus",
]
