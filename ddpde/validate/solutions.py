"""The PDE's side of a validation: the solution, its companions, its error budget."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI

from ddpde.problem import Problem
from ddpde.run import SolverOptions, Trajectory, solve
from ddpde.space import Recipe
from ddpde.validate.case import Case


@dataclass(frozen=True, eq=False)
class Solutions:
    """The main solution, the cross-check, and the error of its risk at each output time.

    (Of the free energy, where there is no network.)

    Each error is the difference to an actual second computation (mesh: half the cells or one
    degree less, or ten times the tolerance of one that adapts; time: ten times the tolerance;
    truncation: a wider box), so it bounds the error of the main solution wherever refinement
    helps at all. nan: not measured.
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
    errors = {}
    for name, (mesh, options) in _companions(case.mesh, case.options, case.problem).items():
        if mesh is None:
            errors[name] = np.full(len(main.times), np.nan)
        else:
            companion = run(f"PDE, error in {name}", mesh, options)
            errors[name] = np.abs(companion.energy() - main.energy())
    return Solutions(main, cross, errors, methods)


def _companions(
    mesh: Recipe, options: SolverOptions, problem: Problem
) -> dict[str, tuple[Recipe | None, SolverOptions]]:
    coarse: tuple[Recipe | None, SolverOptions] = (mesh.coarser(), options)
    if options.adapt is not None:
        coarse = (mesh, replace(options, adapt=min(0.5, 10 * options.adapt)))
    if coarse[0] is None:
        lower_degree = replace(options, degree=options.degree - 1) if options.degree > 1 else None
        coarse = (mesh, lower_degree) if lower_degree else (None, options)
    if options.dt is None:
        time = replace(options, rtol=min(0.1, 10 * options.rtol))
    else:
        time = replace(options, dt=2 * options.dt)
    return {
        "mesh": coarse,
        "time": (mesh, time),
        "truncation": (mesh.wider(problem.lower, problem.periods), options),
    }
