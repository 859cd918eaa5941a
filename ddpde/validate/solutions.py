"""The PDE's side of a validation: the solution, its cross-check, its error budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from ddpde.run import Trajectory, error_budget, solve
from ddpde.validate.case import Case, CrossCheck, OtherMethod


@dataclass(frozen=True, eq=False)
class Solutions:
    """The main solution, the cross-check, and the error of its risk at each output time.

    (Of the free energy, where there is no network.)

    errors: of the risk by part, as `ddpde.error_budget` estimates them; nan: not measured.
    """

    main: Trajectory
    cross: Trajectory | None
    errors: dict[str, np.ndarray]
    methods: tuple[Trajectory, ...] = ()

    def differences(self, other: Trajectory) -> np.ndarray:
        """Of another method's energy (n_times,) from the main one's, over its largest."""
        main = self.main.energy()
        return (other.energy() - main) / np.abs(main).max()


def solve_case(case: Case, folder: Path | None = None) -> Solutions:
    """Solve the case's PDE and everything its error budget needs; collective."""
    comm = MPI.COMM_WORLD

    def run(label: str, part: Case | CrossCheck | OtherMethod, folder: Path | None) -> Trajectory:
        mesh, options = part.mesh.build(comm), part.options
        found = solve(
            case.problem, mesh, times=case.times, options=options, folder=folder, label=label
        )
        if not found.finished:  # Ctrl-C: what the main run reached is in its folder
            raise KeyboardInterrupt
        return found

    main = run("PDE", case, folder)
    cross = None
    if case.cross_check is not None:
        cross = run("PDE, second method", case.cross_check, None)
    methods = tuple(run(f"PDE, {method.label}", method, None) for method in case.methods)
    budget = error_budget(
        case.problem, case.mesh, options=case.options, times=case.times, main=main, comm=comm
    )
    errors = {part: np.abs(error) for part, error in budget.energy.items()}
    return Solutions(main, cross, errors, methods)
