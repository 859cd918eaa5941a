"""Laws by their density at the vertices of any mesh, for entropic JKO steps.

The metric enters by the heat semigroup alone, so that boxes, meshes from gmsh, curved surfaces and
circles are treated alike.
"""

from __future__ import annotations

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI

from ddpde.energy import TOLERANCE
from ddpde.flow.heat import heat_semigroup
from ddpde.flow.vertices import VertexFlow
from ddpde.problem import Problem

_PRESENT = 1e-6  # of the peak: where there is less, how steep F' is does not matter


class EntropicFlow(VertexFlow):
    """A problem on the vertices of a mesh, with their `heat` semigroup."""

    numbers = (60, 60, 60)  # a vertex

    def __init__(
        self,
        problem: Problem,
        mesh: dmesh.Mesh,
        degree: int = 1,
        tolerance: float = TOLERANCE,
    ) -> None:
        super().__init__(problem, mesh, degree, tolerance)
        self.heat = heat_semigroup(self)

    def sum(self, values: np.ndarray) -> float:
        """∫ of values (n,) at the vertices, over all ranks."""
        return self.comm.allreduce(float(self.masses @ values))

    def potential(self, density: np.ndarray) -> np.ndarray:
        """F' (n,) without entropy and internal energy."""
        return self.features.field(self.energy.dual(self.predictions(density))) + self.local_energy

    def steepness(self, field: np.ndarray, density: np.ndarray) -> float:
        """Largest difference of a field within a cell, where there is mass."""
        both = self.shared(np.stack([field, density], axis=1))[self.corners]
        peak = self.comm.allreduce(float(density.max(initial=0.0)), MPI.MAX)
        present = both[..., 1].max(axis=1) > _PRESENT * peak
        around = np.ptp(both[present, :, 0], axis=1)
        return self.comm.allreduce(float(around.max(initial=0.0)), MPI.MAX)
