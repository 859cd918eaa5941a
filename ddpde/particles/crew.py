"""All replicas of one process at one time, and the compiled function that moves them on."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from ddpde.particles.backend import compiled, cores, groups, precision
from ddpde.particles.forces import Terms
from ddpde.particles.meanfield import LawPath
from ddpde.particles.randomness import replica_keys
from ddpde.particles.recursion import Advance, Chunk
from ddpde.particles.systems import System
from ddpde.problem import InitialLaw, Problem


class Crew:
    """Replicas first_replica … first_replica + replicas − 1 of one system.

    `states` (replicas, rows, N) may be read and set, and with them `done`, the number of steps that
    led there; `compile`: seconds spent before any step.
    in_place: an interrupted call of `advance` leaves no states behind, for it moves them where they
    stand.
    """

    def __init__(
        self,
        problem: Problem,
        system: System,
        width: int,
        replicas: int,
        first_replica: int,
        seed: int,
        batch: int,
        dtype: str,
        step_size: float,
        length: int,
        path: LawPath | None,
        start: np.ndarray | None,
        in_place: bool,
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._groups = groups(replicas) if replicas else []
        self.length, self.done = length, 0
        self._aid = (self._dtype.type(step_size), path and path.arrays(self._dtype))
        self.compile = 0.0
        self._state: list[jax.Array] = []
        if not self._groups:
            return
        with precision(self._dtype):
            keys = replica_keys(seed, width, first_replica, replicas)
            self._keys = [keys[g] for g in self._groups]
            together = isinstance(self._groups[0], slice)
            begin = compiled(_initial, together, system, problem.initial, width, self._dtype)
            terms = Terms.of(problem)
            consumes = (0,) if in_place else ()
            self._move = compiled(_move, together, system, terms, batch, consumes=consumes)
            clock = time.perf_counter()
            self._state = [begin(key) for key in self._keys]
            if start is not None:
                dim = problem.initial.dim
                states = self.states
                states[:, :dim] = np.swapaxes(start, 1, 2)
                self.states = states
            rates = np.zeros(length, self._dtype)
            still = Chunk(np.uint32(0), np.uint32(0), rates, *self._aid)  # type: ignore[arg-type]
            self._state[0], _ = self._move(self._state[0], self._keys[0], still)
            jax.block_until_ready(self._state[0])
            self.compile = time.perf_counter() - clock

    @property
    def states(self) -> np.ndarray:
        if not self._state:
            return np.empty((0, 0, 0), self._dtype)
        parts = map(np.asarray, self._state)
        return np.concatenate([s if s.ndim == 3 else s[None] for s in parts])

    @states.setter
    def states(self, value: np.ndarray) -> None:
        with precision(self._dtype):
            # copies: what the caller holds must not be moved on
            self._state = [jax.numpy.array(value[g], self._dtype) for g in self._groups]

    def advance(self, steps: int, rates: np.ndarray) -> np.ndarray:
        """Make the next steps, at most `length`; whether each replica (R,) stayed finite."""
        padded = np.zeros(self.length, self._dtype)
        padded[:steps] = rates
        chunk = Chunk(np.uint32(self.done), np.uint32(steps), padded, *self._aid)  # type: ignore[arg-type]

        def one(state: jax.Array, key: jax.Array) -> tuple[jax.Array, np.ndarray]:
            with precision(self._dtype):
                state, finite = self._move(state, key, chunk)
                return state, np.atleast_1d(finite)  # waits for the result, in this thread

        if not self._groups:
            self.done += steps
            return np.ones(0, bool)
        if len(self._groups) == 1:  # a thread of its own would take its memory from the system
            results = [one(self._state[0], self._keys[0])]
        else:
            with ThreadPoolExecutor(min(cores(), len(self._groups))) as pool:
                results = list(pool.map(one, self._state, self._keys))
        self._state, self.done = [state for state, _ in results], self.done + steps
        return np.concatenate([finite for _, finite in results])


def _initial(together: bool, system: System, law: InitialLaw, width: int, dtype: Any) -> Any:
    initial = system.initial(law, width, dtype)
    return jax.vmap(initial) if together else initial


def _move(together: bool, system: System, terms: Terms, batch: int) -> Advance:
    move = system.advance(terms, batch)
    return jax.vmap(move, in_axes=(0, 0, None)) if together else move
