"""The interface between space and time."""

from __future__ import annotations

from typing import Protocol

from mpi4py import MPI
from petsc4py import PETSc

from ddpde.flow.diffusion import Diffusion
from ddpde.space import Law


class SemiDiscrete(Protocol):
    """du/dt = ξ(t) { transport(u) − temperature · diffusion u }: a problem discretised in space.

    `state` is u at time 0; `local_shape` is how this rank's part of it is laid out;
    `diffusion` is None at temperature 0.
    """

    comm: MPI.Comm
    state: PETSc.Vec
    temperature: float
    diffusion: Diffusion | None
    local_shape: tuple[int, ...]

    def schedule(self, t: float) -> float:
        """ξ(t)."""
        ...

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        """Everything but diffusion, at ξ = 1."""
        ...

    def limit(self, u: PETSc.Vec) -> bool:
        """Make u positive without changing its mass; True if it had to be changed."""
        ...

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        """Risk, free energy, mass, least density and mass at the boundary; on all ranks."""
        ...

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        """The law that u stands for, on rank 0 (None elsewhere)."""
        ...
