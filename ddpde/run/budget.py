"""The error budget of a run: each part estimated by a second computation that has less of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI

from ddpde.problem import GaussianInputs, Problem
from ddpde.run.options import SolverOptions
from ddpde.run.solver import solve
from ddpde.run.trajectory import Trajectory
from ddpde.space import Recipe, l1_distance
from ddpde.step import JKO_METHODS, METHODS

_TIGHTER = 0.1  # of a tolerance
_TIGHTEST = 1e-13  # rtol of a companion: below it steps fail by rounding
_HIGHEST = 12  # degree of SolverOptions
_QUANTITIES = ("energy", "mean", "second_moment", "density")
_MOST_POINTS = 300  # of a Gauss–Hermite rule: NumPy's overflows with 400

_NO_MASS = 1e-12  # at the ends of a box
Companion = tuple[Problem, Recipe, SolverOptions]


@dataclass(frozen=True, eq=False)
class Budget:
    """Estimated errors of the run `main` at its output times, by part.

    Parts: "mesh", "time", "data" (the data law's quadrature; only where the law is replaced by
    one) and "truncation" (of space to the mesh). energy: of the risk, or of the free energy where
    there is no network (n_times,); mean, second_moment: of ∫ θ_j dρ and ∫ θ_j² dρ (n_times, k).
    Each the main run's value minus the better one, on all ranks; nan where a part has no companion.
    density: of ρ in L1 (n_times,), the distance of the two laws, which has no sign; nan on
    surfaces and moving meshes.
    Features are compressed to a tolerance that follows `rtol`: that error counts as "time".
    """

    main: Trajectory
    energy: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    second_moment: dict[str, np.ndarray]
    density: dict[str, np.ndarray]

    def estimate(self, quantity: str = "energy") -> np.ndarray:
        """Size of the error of "energy", "mean", "second_moment" or "density"; parts with a sign
        may cancel."""
        return np.abs(np.nansum(list(getattr(self, quantity).values()), axis=0))

    def bound(self, quantity: str = "energy") -> np.ndarray:
        """Sum of the sizes of the measured parts."""
        return np.nansum(np.abs(list(getattr(self, quantity).values())), axis=0)


def error_budget(
    problem: Problem,
    recipe: Recipe,
    *,
    options: SolverOptions | None = None,
    times: Sequence[float] | None = None,
    t_end: float | None = None,
    main: Trajectory | None = None,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Budget:
    """Errors of the run of `problem` on the recipe's mesh, each by an actual second computation.

    The second computation is always the better one: its difference is the error of the main run
    up to the companion's own, whatever the order of convergence.

    time: a tenth of `rtol`; or half of `dt`, and then the difference times 1/(1 − 2^−k) for a
    method of order k. mesh: more cells (`finer`); one degree more on a mesh from a file; a tenth
    of `adapt` where the mesh adapts. data: four times the quadrature points (half as many again in
    each direction where x has several). truncation: a box an eighth longer at each end; no run, and
    no error, where nothing is cut off: no end but those of periods, or no mass near one. Where
    steps are adaptive these three are compared at a tenth of `rtol`: else they would show the
    errors in time of two runs whose steps differ.

    `main`: the run itself, where it exists already. The companions cost four to seven such runs.
    Raises what `solve` raises, and KeyboardInterrupt where a run was interrupted.
    """
    options = options or SolverOptions()

    def run(label: str, problem: Problem, recipe: Recipe, options: SolverOptions) -> Trajectory:
        mesh = recipe.build(comm)
        found = solve(problem, mesh, times=times, t_end=t_end, options=options, label=label)
        if not found.finished:
            raise KeyboardInterrupt
        return found

    if main is None:
        main = run("main run", problem, recipe, options)
    base = main
    errors: dict[str, dict[str, np.ndarray]] = {quantity: {} for quantity in _QUANTITIES}

    def record(part: str, better: Trajectory | None, scale: float = 1.0) -> None:
        for quantity, found in _differences(base, better, comm).items():
            errors[quantity][part] = scale * found

    tighter, scale = _in_time(options, main.settings["method"])
    better = run("error in time", problem, recipe, tighter) if tighter else None
    record("time", better, scale)
    if better is not None and tighter is not None and options.dt is None:
        base, options = better, tighter  # what the other parts are compared with
    for part, companion in _in_space_and_data(problem, recipe, options).items():
        if part == "truncation" and _cuts_nothing_off(main, recipe, companion):
            record(part, base)
        else:
            record(part, run(f"error in {part}", *companion) if companion else None)
    return Budget(main, **errors)


def _in_time(options: SolverOptions, method: str) -> tuple[SolverOptions | None, float]:
    """The options of a run of smaller error in time, and the factor on its difference."""
    if options.dt is not None:
        order = (METHODS | JKO_METHODS)[method].order
        return replace(options, dt=options.dt / 2), 1 / (1 - 0.5**order)
    rtol = _TIGHTER * options.rtol
    return (replace(options, rtol=rtol) if rtol >= _TIGHTEST else None), 1.0


def _in_space_and_data(
    problem: Problem, recipe: Recipe, options: SolverOptions
) -> dict[str, Companion | None]:
    """Companions by part; None where there is none to be had."""
    finer, wider = recipe.finer(), recipe.wider(problem.lower, problem.periods)
    found: dict[str, Companion | None] = {"mesh": None}
    if options.adapt is not None:
        found["mesh"] = problem, recipe, replace(options, adapt=_TIGHTER * options.adapt)
    elif finer is not None:
        found["mesh"] = problem, finer, options
    elif not options.jko and options.degree < _HIGHEST:
        found["mesh"] = problem, recipe, replace(options, degree=options.degree + 1)
    data = problem.data
    if isinstance(data, GaussianInputs) and problem.reduction is None:
        points = data.quadrature_points
        more = min(_MOST_POINTS, 4 * points if data.dim == 1 else (3 * points + 1) // 2)
        better = replace(problem, data=replace(data, quadrature_points=more))
        found["data"] = (better, recipe, options) if more > points else None
    found["truncation"] = None if wider is None else (problem, wider, options)
    return found


def _cuts_nothing_off(main: Trajectory, recipe: Recipe, companion: Companion | None) -> bool:
    """Whether a wider box is the same, or the law never comes near its ends."""
    if companion is None:
        return False
    most = max(main.truncated_mass, np.abs(main.history["boundary_mass"]).max())
    return companion[1] == recipe or bool(most < _NO_MASS)


def _differences(
    run: Trajectory, better: Trajectory | None, comm: MPI.Comm
) -> dict[str, np.ndarray]:
    """What `run` has more than the better one, by quantity, and how far apart their laws are; on
    all ranks. nan without a better one."""
    if better is None:
        shapes = _observed(run, comm) | {"density": run.energy()}
        return {name: np.full(value.shape, np.nan) for name, value in shapes.items()}
    values, others = _observed(run, comm), _observed(better, comm)
    found = {name: value - others[name] for name, value in values.items()}
    pairs = zip(run.laws, better.laws, strict=True)
    apart = [l1_distance(law, other) for law, other in pairs] if comm.rank == 0 else None
    return found | {"density": np.array(comm.bcast(apart, root=0))}


def _observed(run: Trajectory, comm: MPI.Comm) -> dict[str, np.ndarray]:
    """Energy (n_times,), means and second moments (n_times, k), on all ranks."""
    moments = None
    if comm.rank == 0:
        points = [law.points() for law in run.laws]
        moments = [np.array([masses @ x**power for x, masses in points]) for power in (1, 2)]
    mean, second = comm.bcast(moments, root=0)
    return {"energy": run.energy(), "mean": mean, "second_moment": second}
