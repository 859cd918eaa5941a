"""The error budget of a run: each part estimated by a second computation that has less of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mpi4py import MPI

from ddpde.errors import MeshError
from ddpde.problem import GaussianInputs, Problem
from ddpde.run.options import SolverOptions
from ddpde.run.solver import solve
from ddpde.run.trajectory import Trajectory
from ddpde.space import Recipe, l1_distance
from ddpde.step import JKO_METHODS, METHODS

_TIGHTER = 0.1  # of a tolerance
_TIGHTEST = 1e-13  # rtol of a companion: below it steps fail by rounding
_HIGHEST = 12  # degree of SolverOptions
_FINER = 1.25  # times as many cells each way, with one degree more
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
    moving meshes. missing: why there is nan, by part, and for "density".
    Features are compressed to a tolerance that follows `rtol`: that error counts as "time".
    """

    main: Trajectory
    energy: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]
    second_moment: dict[str, np.ndarray]
    density: dict[str, np.ndarray]
    missing: dict[str, str]

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
    **settings: Any,
) -> Budget:
    """Errors of the run of `problem` on the recipe's mesh, each by an actual second computation.

    Solver settings are keywords or an `options` object, as those of `solve`.

    The second computation is always the better one: its difference is the error of the main run
    up to the companion's own, whatever the order of convergence.

    time: a tenth of `rtol`; or half of `dt`, and then the difference times 1/(1 − 2^−k) for a
    method of order k. mesh: a quarter more cells each way (`finer`), one degree more and a tenth of
    `rtol` again; two degrees more on a mesh from a file, whose shape is taken as it is; half as
    many cells again for JKO steps; a tenth of `adapt` where the mesh adapts. data: four times the
    quadrature points (half as many again in each direction where x has several). truncation: a box
    an eighth longer at each end; no run, and no error, where nothing is cut off: no end but those
    of periods, or no mass near one. These three are compared with the run in a tenth of `rtol`, or
    in half of `dt`: else they would show the errors in time of two runs whose steps differ, or
    would take steps too long for a finer mesh.

    `main`: the run itself, where it exists already. The companions cost six to nine such runs.
    Raises what `solve` raises, and KeyboardInterrupt where a run was interrupted.
    """
    if not hasattr(recipe, "build"):
        raise MeshError(
            f"an error budget on a {type(recipe).__name__}",
            "its meshes differ from the run's: give ddpde.BoxRecipe(lower, upper, cells) or "
            "ddpde.FileRecipe(path)",
        )
    options = options or SolverOptions.of(settings)

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
    missing: dict[str, str] = {}

    def record(part: str, better: Trajectory | str, scale: float = 1.0) -> None:
        if isinstance(better, str):
            missing[part] = better
        for quantity, found in _differences(base, better, comm, missing).items():
            errors[quantity][part] = scale * found

    tighter, scale = _in_time(options, main.settings["method"])
    if isinstance(tighter, str):
        record("time", tighter)
    else:
        better = run("error in time", problem, recipe, tighter)
        record("time", better, scale)
        if not options.jko:
            base, options = better, tighter  # what the other parts are compared with
    for part, companion in _in_space_and_data(problem, recipe, options).items():
        if part == "truncation" and _cuts_nothing_off(main, recipe, companion):
            record(part, base)
        elif isinstance(companion, str):
            record(part, companion)
        else:
            record(part, run(f"error in {part}", *companion))
    return Budget(main, **errors, missing=missing)


def _in_time(options: SolverOptions, method: str) -> tuple[SolverOptions | str, float]:
    """The options of a run of smaller error in time, or why there are none; and the factor on its
    difference."""
    if options.dt is not None:
        order = (METHODS | JKO_METHODS)[method].order
        features = 1e2 * _TIGHTER * options.feature_tolerance
        tighter = replace(options, dt=options.dt / 2, rtol=min(options.rtol, features))
        return tighter, 1 / (1 - 0.5**order)
    rtol = _TIGHTER * options.rtol
    if rtol < _TIGHTEST:
        return f"with rtol below {_TIGHTEST:g} steps fail by rounding", 1.0
    return replace(options, rtol=rtol), 1.0


def _in_space_and_data(
    problem: Problem, recipe: Recipe, options: SolverOptions
) -> dict[str, Companion | str]:
    """Companions by part, or why there is none."""
    found: dict[str, Companion | str] = {"mesh": _on_mesh(problem, recipe, options)}
    wider = recipe.wider(problem.lower, problem.periods)
    data = problem.data
    if isinstance(data, GaussianInputs) and problem.reduction is None:
        points = data.quadrature_points
        more = min(_MOST_POINTS, 4 * points if data.dim == 1 else (3 * points + 1) // 2)
        better = replace(problem, data=replace(data, quadrature_points=more))
        found["data"] = (better, recipe, options) if more > points else "no better Gauss rule"
    found["truncation"] = (problem, wider, options) if wider else "the mesh has no wider one"
    return found


def _on_mesh(problem: Problem, recipe: Recipe, options: SolverOptions) -> Companion | str:
    """A run of smaller error on its mesh, or why there is none."""
    if options.adapt is not None:
        return problem, recipe, replace(options, adapt=_TIGHTER * options.adapt)
    if options.jko or options.degree == _HIGHEST:
        finer = recipe.finer()
        if finer is None:
            return "the mesh has no finer one, nor the method a higher degree"
        return problem, finer, options
    finer = recipe.finer(_FINER)
    degree = options.degree + 1 if finer else min(options.degree + 2, _HIGHEST)
    better = replace(options, degree=degree)
    if options.dt is None and _TIGHTER * options.rtol >= _TIGHTEST:
        # at one tolerance a higher degree takes longer steps, whose error is not the mesh's
        better = replace(better, rtol=_TIGHTER * options.rtol)
    return problem, finer or recipe, better


def _cuts_nothing_off(main: Trajectory, recipe: Recipe, companion: Companion | str) -> bool:
    """Whether a wider box is the same, or the law never comes near its ends."""
    if isinstance(companion, str):
        return False
    most = max(main.truncated_mass, np.abs(main.history["boundary_mass"]).max())
    return companion[1] == recipe or bool(most < _NO_MASS)


def _differences(
    run: Trajectory, better: Trajectory | str, comm: MPI.Comm, missing: dict[str, str]
) -> dict[str, np.ndarray]:
    """What `run` has more than the better one, by quantity, and how far apart their laws are; on
    all ranks. nan without a better one; where laws cannot be compared, `missing` gets to know."""
    values = _observed(run, comm)
    if isinstance(better, str):
        shapes = values | {"density": run.energy()}
        return {name: np.full(value.shape, np.nan) for name, value in shapes.items()}
    others = _observed(better, comm)
    found = {name: value - others[name] for name, value in values.items()}
    return found | {"density": _apart(run, better, comm, missing)}


def _apart(
    run: Trajectory, better: Trajectory, comm: MPI.Comm, missing: dict[str, str]
) -> np.ndarray:
    """L1 distances of the laws (n_times,)."""
    apart, why = np.full(len(run.times), np.nan), ""
    if comm.rank == 0:
        try:
            pairs = zip(run.laws, better.laws, strict=True)
            apart = np.array([l1_distance(law, other) for law, other in pairs])
        except MeshError as error:
            why = error.what
    apart, why = comm.bcast((apart, why), root=0)
    if why:
        missing["density"] = why
    return apart


def _observed(run: Trajectory, comm: MPI.Comm) -> dict[str, np.ndarray]:
    """Energy (n_times,), means and second moments (n_times, k), on all ranks."""
    moments = None
    if comm.rank == 0:
        points = [law.points() for law in run.laws]
        moments = [np.array([masses @ x**power for x, masses in points]) for power in (1, 2)]
    mean, second = comm.bcast(moments, root=0)
    return {"energy": run.energy(), "mean": mean, "second_moment": second}
