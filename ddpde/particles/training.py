"""Training of finite networks: many replicas, saved at requested times."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from ddpde.errors import ProblemError, SolverError
from ddpde.particles.backend import compiled, cores, groups, precision
from ddpde.particles.ensemble import Ensemble, Interrupted
from ddpde.particles.recursion import chunk, initial_parameters, network, replica_keys
from ddpde.problem import Problem

DTYPES = ("float32", "float64")
# parts of a problem that SGD cannot follow
BEYOND = ("potential", "interaction", "internal", "birth_death")


def train(
    problem: Problem,
    width: int,
    *,
    replicas: int,
    step_size: float,
    times: Sequence[float] | np.ndarray,
    seed: int,
    batch: int = 1,
    dtype: str = "float32",
    progress: Callable[[int], object] | None = None,
    first_replica: int = 0,
) -> Ensemble:
    """One-pass SGD of `replicas` independent networks of `width` neurons.

    Parameters stand at their initial law at t = 0; step k of size s_k = step_size · ξ(k step_size)
    leads to t = (k + 1) step_size. Every step sees `batch` fresh samples of `problem.data` (of a
    data set: drawn with replacement). Noise and regularisation are the problem's.

    times: save times, increasing multiples of step_size; 0 is allowed.
    seed, width and a replica's number determine its initial parameters and its random numbers:
    neither the other replicas nor the save times matter. `first_replica` numbers them, so that
    several processes can share the work.
    progress: called with the number of steps done, several times a second.

    Ctrl-C raises `Interrupted` (a KeyboardInterrupt) with the times reached in `.ensemble`.
    """
    start = time.perf_counter()
    width, replicas = _integer("width", width), _integer("replicas", replicas)
    batch = _integer("batch", batch)
    seed, first_replica = _integer("seed", seed, 0), _integer("first_replica", first_replica, 0)
    if str(dtype) not in DTYPES:
        raise ProblemError(f"dtype = {dtype!r}: one of {', '.join(DTYPES)}")
    network(problem)
    for name in BEYOND:
        if getattr(problem, name, None):
            raise ProblemError(f"SGD does not know the {name} of problem {problem.name!r}")
    times, saves = _save_steps(times, step_size)
    saved = np.empty((len(saves), replicas, width, problem.initial.dim), dtype)
    reached = 0
    crew: _Crew | None = None

    def ensemble() -> Ensemble:
        return Ensemble(
            problem=problem.name,
            width=width,
            step_size=float(step_size),
            batch=batch,
            seed=seed,
            times=times[:reached],
            theta=saved[:reached],
            wall=time.perf_counter() - start,
            compile=crew.compile if crew is not None else 0.0,
        )

    try:
        crew = _Crew(problem, width, replicas, first_replica, seed, batch, dtype, saves)
        done = 0
        for save in saves:
            while done < save:
                steps = min(crew.length, save - done)
                finite = crew.advance(done, steps, _rates(problem, step_size, done, steps))
                done += steps
                _check(finite, first_replica, done, step_size)
                if progress is not None:
                    progress(done)
            crew.copy_to(saved[reached])
            reached += 1
    except KeyboardInterrupt:
        raise Interrupted(ensemble()) from None
    return ensemble()


class _Crew:
    """All replicas at one time, and the compiled function that moves them on."""

    def __init__(
        self,
        problem: Problem,
        width: int,
        replicas: int,
        first_replica: int,
        seed: int,
        batch: int,
        dtype: str,
        saves: list[int],
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._groups = groups(replicas)
        self.length = _chunk_length(problem, width, batch, saves)
        parts = *network(problem), problem.loss, problem.ridge, problem.temperature
        with precision(self._dtype):
            keys = replica_keys(seed, width, first_replica, replicas)
            self._keys = [keys[g] for g in self._groups]
            together = isinstance(self._groups[0], slice)
            begin = compiled(_initial, together, problem.initial, width, self._dtype)
            self._move = compiled(_move, together, *parts, batch, self.length)
            start = time.perf_counter()
            self._theta = [begin(key) for key in self._keys]
            if saves[-1] > 0:
                still = (np.uint32(0), np.uint32(0), np.zeros(self.length, self._dtype))
                jax.block_until_ready(self._move(self._theta[0], self._keys[0], *still))
            self.compile = time.perf_counter() - start

    def advance(self, first: int, steps: int, rates: np.ndarray) -> np.ndarray:
        """Make the steps first … first + steps − 1; whether each replica (R,) stayed finite."""
        padded = np.zeros(self.length, self._dtype)
        padded[:steps] = rates

        def one(theta: jax.Array, key: jax.Array) -> tuple[jax.Array, np.ndarray]:
            with precision(self._dtype):
                theta, finite = self._move(theta, key, np.uint32(first), np.uint32(steps), padded)
                return theta, np.atleast_1d(finite)  # waits for the result, in this thread

        with ThreadPoolExecutor(min(cores(), len(self._groups))) as pool:
            results = list(pool.map(one, self._theta, self._keys))
        self._theta = [theta for theta, _ in results]
        return np.concatenate([finite for _, finite in results])

    def copy_to(self, out: np.ndarray) -> None:
        """Write the parameters to out (R, N, D)."""
        for g, theta in zip(self._groups, self._theta, strict=True):
            out[g] = np.swapaxes(np.asarray(theta), -1, -2)


def _initial(together: bool, *parts: Any) -> Callable[..., Any]:
    initial = initial_parameters(*parts)
    return jax.vmap(initial) if together else initial


def _move(together: bool, *parts: Any) -> Callable[..., Any]:
    move = chunk(*parts)
    return jax.vmap(move, in_axes=(0, 0, None, None, None)) if together else move


def _chunk_length(problem: Problem, width: int, batch: int, saves: list[int]) -> int:
    """Steps a call: long enough to hide its cost, short enough for Ctrl-C and memory."""
    unit, law = network(problem)
    work = width * batch * (unit.dim + 8)
    if problem.temperature:
        work += 20 * width * unit.dim  # a normal costs as much as 20 multiplications
    memory = batch * (law.normals + law.uniforms + law.input_dim + 1)
    longest = max(b - a for a, b in zip([0, *saves], saves, strict=False))
    return max(1, min(longest, 4096, 300_000_000 // work, 4_000_000 // memory))


def _rates(problem: Problem, step_size: float, first: int, steps: int) -> np.ndarray:
    """s_k = ε ξ(kε) (steps,) for k = first … first + steps − 1."""
    t = [k * step_size for k in range(first, first + steps)]
    xi = np.array([problem.schedule(s) for s in t], dtype=float)
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
            f"SGD diverged: non-finite parameters in replica {replica} by t = {done * step_size:g}",
            f"reduce step_size (it is {step_size:g})",
        )


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
