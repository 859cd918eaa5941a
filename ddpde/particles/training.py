"""Finite-N training: many replicas, saved at requested times."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddpde.errors import ProblemError, SolverError
from ddpde.particles.checkpoint import Keeper
from ddpde.particles.crew import Crew
from ddpde.particles.ensemble import Ensemble, Interrupted
from ddpde.particles.gradient_flow import integrals
from ddpde.particles.meanfield import LawPath
from ddpde.particles.ranks import Ranks
from ddpde.particles.systems import SGD, Langevin, System
from ddpde.problem import Problem
from ddpde.problem.schedules import at, constant

if TYPE_CHECKING:
    from mpi4py import MPI

DTYPES = ("float32", "float64")


def train(
    problem: Problem,
    width: int,
    *,
    replicas: int,
    step_size: float,
    times: Sequence[float] | np.ndarray,
    seed: int,
    system: System | None = None,
    batch: int = 1,
    dtype: str = "float32",
    law: LawPath | None = None,
    start: np.ndarray | None = None,
    comm: MPI.Comm | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 60.0,
    progress: Callable[[int], object] | None = None,
    first_replica: int = 0,
) -> Ensemble:
    """`replicas` independent systems of `width` particles.

    system: what is simulated, see `ddpde.particles`; by default `SGD()` for a network,
    `Langevin()` for a problem without one. Noise and regularisation are the problem's.

    Particles stand at their initial law at t = 0, or at `start` ((replicas,) N, D); step k of
    size s_k = step_size · ξ(k step_size) leads to t = (k + 1) step_size. `batch`: samples a step.
    times: save times, increasing multiples of step_size; 0 is allowed. Only these are kept.
    seed, width and a replica's number determine its initial parameters and its random numbers:
    neither the other replicas nor the save times nor the number of ranks matter.
    law: takes the place of the particles' own law in every force: mean-field copies, with the
    samples and the noise that the particles of the same seed, width and replica see.
    comm: the replicas are spread over its ranks; all ranks get them all.
    checkpoint: a file that the state is written to every `checkpoint_every` seconds and after
    Ctrl-C; where it exists already, the training goes on from there, bit by bit.
    first_replica: number of the first one. progress: called with the number of steps done.

    Ctrl-C raises `Interrupted` (a KeyboardInterrupt) with the times reached in `.ensemble`.
    """
    start_clock = time.perf_counter()
    width, replicas = _integer("width", width), _integer("replicas", replicas)
    batch = _integer("batch", batch)
    seed, first_replica = _integer("seed", seed, 0), _integer("first_replica", first_replica, 0)
    if str(dtype) not in DTYPES:
        raise ProblemError(f"dtype = {dtype!r}: one of {', '.join(DTYPES)}")
    if system is None:
        system = SGD() if problem.unit is not None else Langevin()
    times, saves = _save_steps(times, step_size)
    system = system.resolved(problem)
    system.check(problem, batch, step_size)
    dim = problem.initial.dim
    _check_law(system, law, dim)
    start = _start(start, replicas, width, dim)
    ranks = Ranks(comm, replicas)
    mine, first = ranks.mine, first_replica + ranks.mine.start
    numbers = {
        "width": width, "replicas": replicas, "first_replica": first_replica, "seed": seed,
        "batch": batch, "dtype": str(dtype), "step_size": float(step_size),
        "times": times.tolist(),
    }  # fmt: skip
    keeper = Keeper(
        checkpoint, checkpoint_every, _described(problem, system, law, start, numbers), ranks
    )
    crew: Crew | None = None
    saved: list[np.ndarray] = []

    def ensemble(parts: list[np.ndarray]) -> Ensemble:
        states = np.stack(parts) if parts else np.empty((0, replicas, dim, width), dtype)
        return Ensemble(
            problem=problem.name,
            width=width,
            step_size=float(step_size),
            batch=batch,
            seed=seed,
            times=times[: len(parts)],
            theta=np.ascontiguousarray(np.swapaxes(states[:, :, :dim], 2, 3)),
            weights=system.weights(states, dim) if parts else None,
            wall=time.perf_counter() - start_clock,
            compile=crew.compile if crew is not None else 0.0,
        )

    try:
        with ranks.agree():
            crew = Crew(
                problem, system, width, len(range(replicas)[mine]), first, seed, batch, dtype,
                step_size, _chunk_length(problem, system, width, batch, saves), law,
                None if start is None else start[mine], in_place=checkpoint is None,
            )  # fmt: skip
        saved += keeper.resume(crew)
        for save in saves[len(saved) :]:
            while crew.done < save:
                steps = min(crew.length, save - crew.done)
                with ranks.agree():
                    rates = _rates(problem, system, step_size, crew.done, steps)
                    _check(crew.advance(steps, rates), first, crew.done, step_size)
                if progress is not None:
                    progress(crew.done)
                keeper.keep(crew, saved, due=False)
            saved.append(crew.states)
        keeper.keep(crew, saved)
    except KeyboardInterrupt:
        if crew is not None and ranks.alone:
            keeper.keep(crew, saved)
        raise Interrupted(ensemble(saved)) from None
    return ensemble([ranks.gather(s) for s in saved])


def _described(
    problem: Problem,
    system: System,
    law: LawPath | None,
    start: np.ndarray | None,
    numbers: dict[str, Any],
) -> dict[str, Any]:
    """What a checkpoint has to have in common with the training that goes on from it."""
    return {
        "problem": problem.name,
        "parameters": repr(problem.parameters),
        "system": repr(system),
        "law": law is not None,
        "start": None if start is None else float(start.sum()),
        "temperature": problem.temperature,
        "ridge": problem.ridge,
        "birth_death": problem.birth_death,
        **numbers,
    }


def _chunk_length(
    problem: Problem, system: System, width: int, batch: int, saves: list[int]
) -> int:
    """Steps a call: long enough to hide its cost, short enough for Ctrl-C and memory."""
    dim, memory = problem.initial.dim, 1
    work = width * system.samples(problem, batch, width) * (dim + 8)
    if problem.temperature:
        work += 20 * width * dim  # a normal costs as much as 20 multiplications
    if problem.interaction is not None and not hasattr(problem.interaction, "factors"):
        work += 10 * width**2
    if problem.data is not None:
        law = problem.data
        memory = batch * (law.normals + law.uniforms + law.input_dim + 1)
    longest = max(b - a for a, b in zip([0, *saves], saves, strict=False))
    return max(1, min(longest, 4096, 3_000_000_000 // work, 4_000_000 // memory))


def _rates(
    problem: Problem, system: System, step_size: float, first: int, steps: int
) -> np.ndarray:
    """s_k = ε ξ(kε), or ∫ ξ over the step, (steps,) for k = first … first + steps − 1."""
    if problem.schedule is constant:
        return np.full(steps, step_size)
    if system.integral_rates:
        return integrals(problem.schedule, step_size, first, steps)
    t = [k * step_size for k in range(first, first + steps)]
    xi = np.array([at(problem.schedule, s) for s in t])
    wrong = ~(np.isfinite(xi) & (xi >= 0))
    if wrong.any():
        j = int(np.argmax(wrong))
        raise ProblemError(
            f"the schedule gives ξ({t[j]:g}) = {xi[j]}", "it must be finite and >= 0 from t = 0 on"
        )
    return step_size * xi


def _check(finite: np.ndarray, first_replica: int, done: int, step_size: float) -> None:
    if not finite.all():
        replica = first_replica + int(np.argmin(finite))
        raise SolverError(
            f"training diverged: non-finite parameters in replica {replica} "
            f"by t = {done * step_size:g}",
            f"reduce step_size (it is {step_size:g})",
        )


def _check_law(system: System, law: LawPath | None, dim: int) -> None:
    if law is None:
        return
    if not system.follows_law:
        raise ProblemError(f"{system} cannot follow a given law", "use SGD, Langevin or Diffusion")
    if law.dim != dim:
        raise ProblemError(f"the law lives in R^{law.dim}, the particles in R^{dim}")


def _start(start: Any, replicas: int, width: int, dim: int) -> np.ndarray | None:
    """Initial parameters (replicas, N, D), or None."""
    if start is None:
        return None
    start = np.asarray(start, dtype=float)
    if start.shape not in ((width, dim), (replicas, width, dim)):
        raise ProblemError(
            f"start of shape {start.shape}: must be ({width}, {dim}), or that for each of "
            f"{replicas} replicas"
        )
    if not np.isfinite(start).all():
        raise ProblemError("start holds NaN or infinity")
    return np.broadcast_to(start, (replicas, width, dim))


def _integer(name: str, value: Any, least: int = 1) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or number >= 2**32:
        raise ProblemError(f"{name} = {value!r}: must be an integer >= {least}, below 2**32")
    return number


def _save_steps(times: Any, step_size: float) -> tuple[np.ndarray, list[int]]:
    """The save times as floats, and as numbers of steps."""
    if not (np.isfinite(step_size) and step_size > 0):
        raise ProblemError(f"step_size = {step_size}: must be finite and > 0")
    times = np.array(times, dtype=float, ndmin=1)
    if times.ndim != 1 or times.size == 0:
        raise ProblemError(f"times of shape {times.shape}: give a list of at least one save time")
    if not np.isfinite(times).all() or times[0] < 0:
        raise ProblemError(f"times = {times.tolist()}: must be finite and >= 0")
    if (np.diff(times) <= 0).any():
        raise ProblemError(f"times = {times.tolist()}: must increase")
    ratio = times / step_size
    steps = np.rint(ratio)
    off = np.abs(ratio - steps) > 1e-6 + 1e-12 * steps
    if off.any():
        j = int(np.argmax(off))
        raise ProblemError(
            f"times[{j}] = {times[j]:g}: not a multiple of step_size = {step_size:g}",
            f"the nearest that is: {steps[j] * step_size:.12g}",
        )
    if steps[-1] >= 2**32:
        raise ProblemError(f"times[-1] = {times[-1]:g}: more than 2**32 steps of {step_size:g}")
    if (np.diff(steps) == 0).any():
        raise ProblemError(f"times = {times.tolist()}: closer than step_size = {step_size:g}")
    return times, steps.astype(int).tolist()
