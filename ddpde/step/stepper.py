"""What the time loop needs of any integrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from petsc4py import PETSc

OnStep = Callable[[float, float, PETSc.Vec], bool]


class Stepper(Protocol):
    """Advances a flow's state in place."""

    @property
    def status(self) -> dict[str, float]:
        """What to record of the latest step besides the state: of an inner solver, say."""
        ...

    def advance(self, t_end: float, on_step: OnStep) -> bool:
        """Go on to `t_end`, calling on_step(t, dt, u) after each step.

        Returns False if on_step asked to stop. Raises SolverError where the computation fails.
        """
        ...

    def close(self) -> None:
        """Free what PETSc holds."""
        ...
