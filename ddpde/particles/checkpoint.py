"""Restart of a training: one file with the states, the step counter and what was saved so far.

Random numbers are counters, so that the step counter is the generator's whole state: a resumed
training is the uninterrupted one bit by bit, on any number of ranks.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddpde.errors import ProblemError
from ddpde.particles.crew import Crew
from ddpde.particles.ranks import Ranks


class Kept(NamedTuple):
    """done steps; states (replicas, rows, N); saved (reached, replicas, rows, N)."""

    done: int
    states: np.ndarray
    saved: np.ndarray


class Keeper:
    """The checkpoint of one training, `run` its description; without a path nothing is kept."""

    def __init__(
        self, path: str | Path | None, every: float, run: dict[str, Any], ranks: Ranks
    ) -> None:
        self._path = None if path is None else Path(path)
        self._every, self._run, self._ranks = every, run, ranks
        self._last = time.monotonic()

    def resume(self, crew: Crew) -> list[np.ndarray]:
        """Put `crew` where the file left it; returns what was saved until then."""
        path, mine = self._path, self._ranks.mine
        kept = None if path is None else self._ranks.together(lambda: read(path, self._run))
        if kept is None:
            return []
        crew.states, crew.done = kept.states[mine], kept.done
        return [states[mine] for states in kept.saved]

    def keep(self, crew: Crew, saved: list[np.ndarray], *, due: bool = True) -> None:
        """Write; where not `due`, if it is time to."""
        if self._path is None:
            return
        if not due and not self._ranks.any(time.monotonic() - self._last > self._every):
            return
        states = self._ranks.gather(crew.states)
        parts = [self._ranks.gather(s) for s in saved]
        if self._ranks.first:
            none = np.empty((0, *states.shape), states.dtype)
            write(
                self._path, self._run, Kept(crew.done, states, np.stack(parts) if parts else none)
            )
        self._last = time.monotonic()


def write(path: Path, run: dict[str, Any], kept: Kept) -> None:
    """Write to a new file, then put it in place of the old one: a kill leaves one of them."""
    new = path.with_name(path.name + ".new")
    with new.open("wb") as file:
        np.savez(file, run=json.dumps(run, sort_keys=True), **kept._asdict())
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read(path: Path, run: dict[str, Any]) -> Kept | None:
    """What `write` left for the same run; None where there is no file."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = json.loads(str(file["run"]))
            kept = Kept(int(file["done"]), file["states"], file["saved"])
    except (OSError, ValueError, KeyError) as error:
        raise ProblemError(
            f"{path} is no checkpoint of a training ({error})", "remove it to start afresh"
        ) from None
    differing = sorted(k for k in stored.keys() | run.keys() if stored.get(k) != run.get(k))
    if differing:
        raise ProblemError(
            f"{path} belongs to another training: {', '.join(differing)} differ",
            "remove it, or name another file",
        )
    return kept
