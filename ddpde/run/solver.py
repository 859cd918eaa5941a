"""solve(): the only time loop."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.comm import log, progress
from ddpde.errors import ProblemError, SolverError
from ddpde.flow import EulerianFlow, LagrangianFlow, SemiDiscrete
from ddpde.problem import Problem
from ddpde.run.adaptation import Adaptation
from ddpde.run.clock import Clock
from ddpde.run.trajectory import Recorder, Trajectory
from ddpde.space import Space
from ddpde.step import JKO_METHODS, METHODS, UNSTABLE, Descent, JkoStepper, MethodOfLines, Stepper

SPACES: dict[str, Callable[[Problem, dmesh.Mesh, int, float], SemiDiscrete]] = {
    "eulerian": EulerianFlow,
    "lagrangian": LagrangianFlow,
}

MOST_INNER_STEPS = 1000
_MANY = 50  # output times, beyond which adaptive steps do not end at each
_CALM = 2  # steps in which little changes, before a law counts as steady

_FEATURE_TOLERANCES = (1e-10, 1e-7)  # least and greatest


@dataclass(frozen=True)
class SolverOptions:
    """How a problem is solved.

    space: "eulerian" (fixed mesh) or "lagrangian" (mesh moving with the flow; temperature 0).
    degree: of the polynomials in each cell. method: a key of `ddpde.step.METHODS` or
    `ddpde.step.JKO_METHODS`, or "auto". rtol: tolerance of a time step relative to the largest
    initial density; dt: fixed step instead of an adaptive one, and the τ of a JKO method;
    inner_steps: of the path inside a step of "jko-dynamic" (4 if not given).
    adapt: tolerance of the law's L1 error on its mesh, which then follows the law; adapt_depth:
    how often a cell of the given mesh may be halved. grow: mass in the cells at an end of a box
    beyond which the box grows there. steady: the run is over once the law changes by less than
    this, relative to its peak, in a unit of s = ∫ ξ dt; later output times get the last law.
    """

    space: str = "eulerian"
    degree: int = 3
    method: str = "auto"
    rtol: float = 1e-6
    dt: float | None = None
    inner_steps: int | None = None
    adapt: float | None = None
    adapt_depth: int = 10
    grow: float | None = None
    steady: float | None = None

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ProblemError(f"space = {self.space!r}", f"one of: {', '.join(SPACES)}")
        known = ("auto", *METHODS, *JKO_METHODS)
        if self.method not in known:
            raise ProblemError(f"method = {self.method!r}", f"one of: {', '.join(known)}")
        if self.jko and self.dt is None:
            raise ProblemError(f"method = {self.method!r} needs dt, the step τ", "give dt")
        if self.jko and (self.space != "eulerian" or self.adapt or self.grow):
            raise ProblemError(
                f"method = {self.method!r} holds the law in its own way",
                "leave out space, adapt and grow",
            )
        if self.inner_steps is not None:
            if not (self.jko and JKO_METHODS[self.method].has_inner_steps):
                raise ProblemError(
                    f"method = {self.method!r} has no inner_steps", 'use method = "jko-dynamic"'
                )
            if not 1 <= self.inner_steps <= MOST_INNER_STEPS:
                raise ProblemError(
                    f"inner_steps = {self.inner_steps}", f"from 1 to {MOST_INNER_STEPS}"
                )
        if not 1 <= self.degree <= 12:
            raise ProblemError(f"degree = {self.degree}", "from 1 to 12")
        if not 0 < self.rtol < 1:
            raise ProblemError(f"rtol = {self.rtol}", "between 0 and 1")
        if self.dt is not None and not self.dt > 0:
            raise ProblemError(f"dt = {self.dt}", "a positive step")
        for name in ("adapt", "grow", "steady"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ProblemError(f"{name} = {value}", "between 0 and 1")
        if not 1 <= self.adapt_depth <= 12:
            raise ProblemError(f"adapt_depth = {self.adapt_depth}", "from 1 to 12")

    @property
    def jko(self) -> bool:
        """Whether steps minimise instead of integrating."""
        return self.method in JKO_METHODS

    @property
    def feature_tolerance(self) -> float:
        """To what the energy's features are compressed: well below the error of a time step."""
        return float(np.clip(1e-2 * self.rtol, *_FEATURE_TOLERANCES))


def solve(
    problem: Problem,
    mesh: dmesh.Mesh,
    *,
    t_end: float | None = None,
    times: Sequence[float] | None = None,
    options: SolverOptions | None = None,
    folder: str | Path | None = None,
    label: str = "solve",
    **settings: object,
) -> Trajectory:
    """Solve the distributional dynamics of `problem` on `mesh`.

    Parameters: `times`, increasing output times (0 is always one of them), or `t_end` for eleven
    equally spaced ones; `options`, or its fields as keywords (`degree=4, rtol=1e-8`); `folder`,
    where the run is written as it goes. Ctrl-C ends the run after the present step and returns
    what there is (`finished` is False).

    Raises ProblemError, MeshError (input), SolverError (the computation cannot go on).
    """
    options = options or SolverOptions(**settings)  # type: ignore[arg-type]
    outputs = output_times(times, t_end)
    if options.jko and (problem.noise is not None or not problem.normalised):
        raise ProblemError(
            "JKO steps minimise a free energy among probabilities: no noise of covariance Σ, no "
            "other mass than one",
            f"one of: auto, {', '.join(METHODS)}",
        )
    clock = Clock(problem.schedule)
    stops = clock.s_of(outputs)
    started = time.monotonic()
    adaptation = _adaptation(problem, mesh, options)
    build = JKO_METHODS[options.method].flow if options.jko else SPACES[options.space]
    flow = (
        adaptation.flow
        if adaptation
        else build(problem, mesh, options.degree, options.feature_tolerance)
    )
    method = options.method if options.jko else _method(options, flow)
    stepper = _integrator(options, method, flow)
    described = {
        **asdict(options),
        "method": method,
        "problem": problem.name,
        "parameters": problem.parameters,
        "cells": (adaptation.flow.space.mesh if adaptation else mesh)
        .topology.index_map(mesh.topology.dim)
        .size_global,
        "cell": mesh.topology.cell_name(),
        "unknowns": flow.state.getSize(),
        "features": flow.energy.size,
        "feature_error": flow.feature_error,
        "ranks": mesh.comm.size,
    }
    root = mesh.comm.rank == 0
    recorder = Recorder(Path(folder) if folder and root else None, described)
    finished, steady_at = True, None
    with progress(label) as bar, _interruptible(mesh.comm) as interrupted:
        good, good_t = flow.state.duplicate(), 0.0
        flow.state.copy(good)
        descent: Descent | None = None

        at_rest: list[bool] = []
        # where they are few, ending a step at each is cheap, and more accurate than what is inside
        adaptive = isinstance(stepper, MethodOfLines) and options.dt is None
        dense = adaptive and len(outputs) > _MANY

        def size() -> dict[str, float]:
            return {"cells": adaptation.cells} if adaptation else {}

        def inside(end: float) -> bool:
            """Whether an output time but the last is passed by at s = end."""
            place = len(recorder.outputs)
            return place < len(stops) - 1 and bool(stops[place] < end)

        def pass_by(between: Callable[[float], PETSc.Vec], end: float) -> None:
            """Put out the laws at the output times inside a step."""
            while inside(end):
                place = len(recorder.outputs)
                u = between(stops[place])
                row = {"dt": 0.0} | flow.diagnostics(u) | size() | stepper.status
                recorder.output(outputs[place], flow.law(outputs[place], u), row)

        def on_step(s: float, ds: float, u) -> bool:  # type: ignore[no-untyped-def]
            nonlocal good_t
            row = {"t": clock.t_of(s, t), "dt": ds}
            row |= flow.diagnostics(u) | size()
            if descent:
                if not descent.accepts(u, good, row["free_energy"]):
                    return True
                if stepper.status["corrected"]:
                    row |= flow.diagnostics(u)
            row |= stepper.status
            if problem.noise is None:
                _must_fall(row["free_energy"], recorder.latest("free_energy"), row["t"])
            if dense and inside(s):
                assert isinstance(stepper, MethodOfLines)
                pass_by(stepper.within(good), s)
            if options.steady is not None:
                # good: the state before this step
                good.axpy(-1.0, u)
                at_rest.append(_peak(good) <= options.steady * ds * _peak(u))
            u.copy(good)
            good_t = row["t"]
            recorder.step(row)
            bar.to(s / stops[-1] if stops[-1] else 1.0)
            if adaptation:
                assert isinstance(stepper, MethodOfLines)
                adaptation.consider(u)
                stepper.rescale()  # a law that starts narrow has a peak that soon means nothing
            steady = at_rest[-_CALM:] == [True] * _CALM
            return not (interrupted() or steady or (adaptation and adaptation.due))

        def judge(row: dict[str, float]) -> Descent | None:
            moving = options.space == "lagrangian"
            # on a fixed mesh laws without diffusion condense, and then their energy cannot fall
            falls = problem.noise is None and (problem.diffuses or moving)
            if not isinstance(stepper, MethodOfLines) or not falls:
                return None
            repeats = options.dt is None and (problem.temperature > 0 or moving)
            return Descent(flow, stepper, row["free_energy"], options.rtol if repeats else None)

        def reached(stop: float) -> bool:
            """Advance to `stop`, on as many meshes as it takes; False where interrupted."""
            nonlocal flow, stepper, good, descent
            while not stepper.advance(stop, on_step):
                if not adaptation or not adaptation.due or interrupted():
                    return False
                assert isinstance(stepper, MethodOfLines)
                flow, old = adaptation.follow(), stepper
                good = flow.state.duplicate()
                flow.state.copy(good)
                stepper = _integrator(options, method, flow, previous=old)
                old.close()
                descent = judge(flow.diagnostics(good))  # each mesh has its own free energy
            return True

        first = {"t": 0.0, "dt": 0.0} | flow.diagnostics(flow.state) | size() | stepper.status
        recorder.step(first)
        descent = judge(first)
        try:
            # a run with dense output goes to the end in its own steps
            last = len(outputs) - 1
            for goal in sorted({0, last}) if dense else range(len(outputs)):
                t = outputs[goal]
                if t > 0 and steady_at is None and not reached(stops[goal]):
                    if at_rest[-_CALM:] != [True] * _CALM:
                        finished = False
                        break
                    steady_at = good_t
                    log.info("%s: steady at t = %.6g", label, steady_at)
                for t in outputs[len(recorder.outputs) : goal + 1]:
                    if steady_at is not None:
                        recorder.repeat(t)
                    recorder.output(t, flow.law(t, flow.state))
        except SolverError as error:
            where = recorder.rescue(flow.law(good_t, good))
            raise SolverError(error.what + where, error.remedy) from error
        finally:
            stepper.close()
            recorder.close()
    if not finished:
        log.warning("interrupted: kept the %d output times reached", len(recorder.outputs))
    return Trajectory(
        problem=problem,
        settings=described,
        times=outputs[: len(recorder.outputs)],
        laws=recorder.laws,
        history=recorder.history(),
        truncated_mass=flow.truncated_mass,
        wall=time.monotonic() - started,
        finished=finished,
        steady_at=steady_at,
        outputs=recorder.at_outputs(),
    )


def _peak(u: PETSc.Vec) -> float:
    """Largest absolute value, on all ranks."""
    return u.norm(PETSc.NormType.INFINITY)  # type: ignore[arg-type, return-value]


def _must_fall(energy: float, before: float, t: float) -> None:
    """A gradient flow's free energy cannot rise: where it does by much, the step is unstable."""
    if not energy <= before + UNSTABLE * max(1.0, abs(before)):
        raise SolverError(
            f"the time integration is unstable at t = {t:.6g}: "
            f"the free energy rose from {before:.6g} to {energy:.6g}",
            "take a smaller rtol or dt; if that fails, a finer mesh",
        )


def output_times(times: Sequence[float] | None, t_end: float | None) -> np.ndarray:
    """Increasing output times that begin with 0; ProblemError where they make no sense."""
    if (times is None) == (t_end is None):
        raise ProblemError("output times are not determined", "give either times or t_end")
    if times is None:
        times = list(np.linspace(0.0, float(t_end), 11))  # type: ignore[arg-type]
    wanted = np.asarray(times, dtype=float)
    if wanted.ndim != 1 or wanted.size == 0 or not np.isfinite(wanted).all() or wanted.min() < 0:
        raise ProblemError(f"times = {list(times)}", "give finite times >= 0")
    if np.any(np.diff(wanted) <= 0):
        raise ProblemError(f"times = {list(times)}", "they must increase")
    return wanted if wanted[0] == 0.0 else np.concatenate([[0.0], wanted])


def _adaptation(problem: Problem, mesh: dmesh.Mesh, options: SolverOptions) -> Adaptation | None:
    """What changes the mesh as the law moves; None where it stays."""
    if options.adapt is None and options.grow is None:
        return None
    if options.space != "eulerian":
        raise ProblemError(
            f"adapt and grow do not go with space = {options.space!r}", 'use space = "eulerian"'
        )
    return Adaptation(
        problem,
        Space(mesh, options.degree, problem.periods),
        partial(EulerianFlow, problem, degree=options.degree, tolerance=options.feature_tolerance),
        tolerance=options.adapt,
        depth=options.adapt_depth,
        rim=options.grow,
    )


def _integrator(
    options: SolverOptions, method: str, flow: Any, previous: MethodOfLines | None = None
) -> Stepper:
    if options.jko:
        assert options.dt is not None
        given = {} if options.inner_steps is None else {"inner_steps": options.inner_steps}
        return JkoStepper(flow, JKO_METHODS[method].step(flow, **given), options.dt)
    return MethodOfLines(flow, METHODS[method], rtol=options.rtol, dt=options.dt, previous=previous)


def _method(options: SolverOptions, flow: SemiDiscrete) -> str:
    diffuses = flow.diffusion is not None or flow.nonlinear is not None
    if options.method == "auto":
        if diffuses:
            return "imex4"
        return "rk8" if options.space == "lagrangian" else "rk5"
    if METHODS[options.method].implicit != diffuses:
        fitting = [name for name, m in METHODS.items() if m.implicit == diffuses]
        raise ProblemError(
            f"method = {options.method!r} does not fit: the problem has "
            f"{'' if diffuses else 'no '}diffusion",
            f"one of: auto, {', '.join(fitting)}",
        )
    return options.method


@contextlib.contextmanager
def _interruptible(comm: MPI.Comm) -> Iterator[Callable[[], bool]]:
    """Ctrl-C sets a flag, which all ranks look at after each step; a second one raises."""
    hit = False

    def handler(signum: int, frame: object) -> None:
        nonlocal hit
        if hit:
            raise KeyboardInterrupt
        hit = True

    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, handler) if main else None
    try:
        yield lambda: comm.allreduce(hit, MPI.LOR) if comm.size > 1 else hit
    finally:
        if main:
            signal.signal(signal.SIGINT, previous)
