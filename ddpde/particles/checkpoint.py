"""Restart of a training: one file with the states, the step counter and what was saved so far.

Random numbers are counters, so that the step counter is the generator's whole state: a resumed
training is the uninterrupted one bit by bit, on any number of ranks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddpde.errors import ProblemError


class Kept(NamedTuple):
    """done steps; states (replicas, rows, N); saved (reached, replicas, rows, N)."""

    done: int
    states: np.ndarray
    saved: np.ndarray


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
