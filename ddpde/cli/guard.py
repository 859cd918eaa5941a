"""Around every command: errors end it with one message, whichever ranks they come from."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from ddpde.comm import all_ranks_stop, log, rank
from ddpde.errors import DdpdeError

_PATIENCE = 5.0  # seconds between the failures of the first and the last rank, if all fail


class State:
    """Where results go, for the message after an interruption."""

    folder: Path | None = None


@contextlib.contextmanager
def reported() -> Iterator[State]:
    """Around a command: errors end it with one message, whichever ranks they come from."""
    _log_to_stderr()
    state = State()
    try:
        yield state
    except (typer.Exit, BrokenPipeError):
        raise
    except (KeyboardInterrupt, Exception) as error:
        cause = _cause(error)
        if isinstance(cause, KeyboardInterrupt):
            _end(cause, "interrupted" + _left(state.folder), 130)
        if isinstance(cause, DdpdeError):
            _end(cause, f"error: {cause}", cause.exit_code)
        if _size() > 1:
            traceback.print_exc()
            _end(cause, f"error: {type(cause).__name__} on every rank", 1)
        raise  # a mistake of ours: the traceback is what a bug report needs


def _cause(error: BaseException) -> BaseException:
    """PETSc wraps what its callbacks raise."""
    while error.__cause__ is not None and not isinstance(error, (DdpdeError, KeyboardInterrupt)):
        error = error.__cause__
    return error


def _left(folder: Path | None) -> str:
    if folder is None or not (folder / "run.json").exists():
        return ": nothing had been computed"
    return f": what was computed is in {folder}"


def _end(error: BaseException, message: str, code: int) -> None:
    """Say it once and leave, if all ranks got here; otherwise stop the ranks that wait."""
    if not all_ranks_failed():
        with contextlib.suppress(BaseException), all_ranks_stop():
            raise error
    elif rank() == 0:
        typer.echo(message, err=True)
    raise typer.Exit(code) from error


def all_ranks_failed() -> bool:
    """In an error handler: whether every rank arrives here before long."""
    if _size() == 1:
        return True
    from mpi4py import MPI

    # an error handler must not meet the collectives in which the other ranks may wait
    with contextlib.suppress(MPI.Exception):
        request = _watch.Ibarrier()
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if request.Test():
                return True
            time.sleep(0.01)
    return False


def _size() -> int:
    return _watch.size if _watch is not None else 1


_watch: Any = None  # a communicator for failures alone


def start_mpi() -> None:
    """Before a command's first collective call."""
    global _watch
    from ddpde.space import MPI  # which says how to install DOLFINx where it is missing

    if _watch is None:
        _watch = MPI.COMM_WORLD.Dup()


def agreed[T](action: Callable[[], T]) -> T:
    """`action` on every rank; where it fails on some, all raise the first one's error."""
    if _size() == 1:
        return action()
    from mpi4py import MPI

    failure = None
    try:
        result = action()
    except DdpdeError as error:
        failure = (str(error), error.exit_code)
    failures = MPI.COMM_WORLD.allgather(failure)
    for source, failed in enumerate(failures):
        if failed is not None:
            what, code = failed
            raise complaint(f"on rank {source}: {what}" if None in failures else what, code)
    return result


def on_root[T](action: Callable[[], T]) -> T | None:
    """`action` on rank 0; where it fails, all ranks raise its error."""
    return agreed(lambda: action() if rank() == 0 else None)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Around writing to `folder`: what the system refuses is a DdpdeError."""
    try:
        yield
    except OSError as error:
        at = error.filename or folder
        raise complaint(
            f"cannot write {at}: {error.strerror}", 2, "choose another folder"
        ) from None


def complaint(what: str, code: int, remedy: str = "") -> DdpdeError:
    """An error of the command line itself, with its exit code."""
    error = DdpdeError(what, remedy)
    error.exit_code = code
    return error


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(lambda record: rank() == 0)
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
