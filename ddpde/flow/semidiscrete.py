"""The interface between space and time."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.energy import Energy
from ddpde.flow.diffusion import Diffusion
from ddpde.space import Law


class NonlinearDiffusion(Protocol):
    """Diffusion on the density's coefficients (owned cells, nd) that depends on them."""

    def solver(self) -> PETSc.KSP:
        """For what `jacobian` gives, shifted."""
        ...

    def rate(self, u: np.ndarray) -> np.ndarray:
        """The rate of loss of density."""
        ...

    def jacobian(self, u: np.ndarray) -> PETSc.Mat:
        """∂rate/∂u, or near it."""
        ...


class SemiDiscrete(Protocol):
    """du/ds = transport(u) − temperature · diffusion u: a problem discretised in space.

    With `nonlinear`, du/ds = transport(u) − nonlinear.rate(u).
    """

    @property
    def comm(self) -> MPI.Comm: ...

    @property
    def state(self) -> PETSc.Vec:
        """u, at first the initial law; time integrators advance it in place."""
        ...

    @property
    def local_shape(self) -> tuple[int, ...]:
        """How this rank's part of u is laid out."""
        ...

    @property
    def energy(self) -> Energy: ...

    @property
    def feature_error(self) -> float:
        """What was measured to be lost in compressing the energy's features, relative."""
        ...

    @property
    def temperature(self) -> float: ...

    @property
    def diffusion(self) -> Diffusion | None:
        """None at temperature 0."""
        ...

    @property
    def truncated_mass(self) -> float:
        """The part of the initial law that the mesh misses."""
        ...

    now: float
    """s at which what follows is asked for; time integrators set it."""

    @property
    def nonlinear(self) -> NonlinearDiffusion | None:
        """Diffusion that is not linear, in place of `diffusion`, which is then not used."""
        ...

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        """Everything but diffusion."""
        ...

    def stabilise(self, u: PETSc.Vec) -> bool:
        """After an accepted step: mend u where it needs it; True if it was changed."""
        ...

    def lower(self, u: PETSc.Vec, before: PETSc.Vec, goal: float) -> float:
        """Change u, to a free energy of no more than `goal`, that of `before`, which is returned.

        SolverError where there is no such u.
        """
        ...

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]:
        """Risk, free energy, mass, least density and mass at the boundary; on all ranks."""
        ...

    def law(self, t: float, u: PETSc.Vec) -> Law | None:
        """The law that u stands for, on rank 0 (None elsewhere)."""
        ...
