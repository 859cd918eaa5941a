"""The PDE's side of a validation: the solution, its cross-check, its error budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from ddpde.run import SolverOptions, Trajectory, error_budget, solve
from ddpde.space import Recipe
from ddpde.validate.case import Case


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


def solve_case(case: Case, folder=None) -> Solutions:  # type: ignore[no-untyped-def]
    """Solve the case's PDE and everything its error budget needs; collective."""
    comm = MPI.COMM_WORLD

    def run(label: str, mesh: Recipe, options: SolverOptions, **kw: object) -> Trajectory:
        run = solve(
            case.problem, mesh.build(comm), times=case.times, options=options, label=label, **kw
        )
        if not run.finished:  # Ctrl-C: what the main run reached is in its folder
            raise KeyboardInterrupt
        return run

    main = run("PDE", case.mesh, case.options, folder=folder)
    cross = None
    if case.cross_check is not None:
        cross = run("PDE, second method", case.cross_check.mesh, case.cross_check.options)
    methods = tuple(run(f"PDE, {m.label}", m.mesh, m.options) for m in case.methods)
    budget = error_budget(
        case.problem, case.mesh, options=case.options, times=case.times, main=main, comm=comm
    )
    errors = {part: np.abs(error) for part, error in budget.energy.items()}
    return Solutions(main, cross, errors, methods)
