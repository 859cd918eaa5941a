"""What ranks do together: logging on rank 0, progress, stopping when one fails or on Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

log = logging.getLogger("ddpde")


def rank() -> int:
    """This process's rank; 0 where there is no MPI."""
    if "mpi4py.MPI" not in sys.modules:
        return 0
    from mpi4py import MPI

    return MPI.COMM_WORLD.rank


def sum_over_ranks(comm: MPI.Comm, partial: np.ndarray) -> np.ndarray:
    """The sum of each rank's array, on all ranks."""
    if comm.size == 1:
        return partial
    total = np.empty_like(partial)
    comm.Allreduce(partial, total)
    return total


class Progress:
    """Progress of one task: a bar on a terminal, a plain line every ten seconds elsewhere.

    Rank 0 only. `to(fraction)` is called with the part done, from 0 to 1.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._start = self._last = time.monotonic()
        self._bar = None
        self._show = rank() == 0
        if self._show and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=1.0,
                desc=label,
                bar_format="{desc:<34} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}",
            )

    def to(self, fraction: float) -> None:
        fraction = min(max(fraction, 0.0), 1.0)
        if self._bar is not None:
            self._bar.update(fraction - self._bar.n)
        elif self._show and time.monotonic() - self._last > 10.0:
            self._last = time.monotonic()
            spent = self._last - self._start
            left = f", about {spent * (1 / fraction - 1):.0f} s left" if fraction > 0.02 else ""
            log.info("%s: %.0f %% after %.0f s%s", self.label, 100 * fraction, spent, left)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A `Progress` that is closed whatever happens; says how long the task took."""
    bar = Progress(label)
    try:
        yield bar
    finally:
        bar.close()
        log.debug("%s: %.1f s", label, time.monotonic() - bar._start)


@contextlib.contextmanager
def all_ranks_stop() -> Iterator[None]:
    """Around a parallel computation: an exception on one rank ends every rank.

    The failing rank prints its error, then aborts the communicator; without this the other
    ranks would wait for it in their next reduction for ever.
    """
    try:
        yield
    except BaseException as error:
        if "mpi4py.MPI" in sys.modules:
            from mpi4py import MPI

            if MPI.COMM_WORLD.size > 1:
                print(f"rank {MPI.COMM_WORLD.rank}: {error}", file=sys.stderr, flush=True)
                MPI.COMM_WORLD.Abort(getattr(error, "exit_code", 1))
        raise


@contextlib.contextmanager
def interruptible(comm: MPI.Comm) -> Iterator[Callable[[], bool]]:
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
        yield lambda: bool(sum_over_ranks(comm, np.array(int(hit)))) if comm.size > 1 else hit
    finally:
        if main:
            signal.signal(signal.SIGINT, previous)
