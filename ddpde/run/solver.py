"""solve(): from a problem and a mesh to a trajectory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from dolfinx import mesh as dmesh

from ddpde.comm import interruptible, log, progress
from ddpde.errors import ProblemError, SolverError
from ddpde.problem import Problem
from ddpde.run.clock import Clock, output_times
from ddpde.run.loop import Loop
from ddpde.run.options import SolverOptions
from ddpde.run.system import System
from ddpde.run.trajectory import Recorder, Trajectory

_MUCH = 1e-3  # change of a law after a fixed step, of its largest coefficient, that is said


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
    if not isinstance(problem, Problem):
        raise ProblemError(f"problem = {problem!r}", "a ddpde.Problem; ddpde.problems has some")
    options = options or SolverOptions.of(settings)
    outputs, clock = output_times(times, t_end), Clock(problem.schedule)
    stops = clock.s_of(outputs)
    options.check_steps(float(stops[-1]))
    started = time.monotonic()
    system = System(problem, mesh, options)
    described = system.settings()
    root = mesh.comm.rank == 0
    recorder = Recorder(Path(folder) if folder and root else None, described)
    descends = problem.noise is None
    loop = Loop(system, recorder, clock, outputs, stops, steady=options.steady, descends=descends)
    with progress(label) as bar, interruptible(mesh.comm) as interrupted:
        try:
            finished = loop.run(bar, interrupted)
        except SolverError as error:
            raise SolverError(error.what + loop.last_good(), error.remedy) from error
        finally:
            system.close()
            recorder.close()
    if not finished:
        log.warning("interrupted: kept the %d output times reached", len(recorder.outputs))
    history = recorder.history()
    most = history["corrected"].max() if "corrected" in history else 0.0
    if root and options.dt is not None and most > _MUCH:
        log.warning(
            "dt = %g is too long: lest the free energy rise, the law was changed by up to "
            "%.1g of its largest coefficient; take shorter steps",
            options.dt,
            most,
        )
    return Trajectory(
        problem=problem,
        settings=described,
        times=outputs[: len(recorder.outputs)],
        laws=recorder.laws,
        history=history,
        truncated_mass=system.flow.truncated_mass,
        wall=time.monotonic() - started,
        finished=finished,
        steady_at=loop.steady_at,
        outputs=recorder.at_outputs(),
    )
