"""The command line: parses, calls, and says in one message what went wrong.

What is heavy (DOLFINx, JAX) is imported by the commands that need it, so that help is quick.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import shutil
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

import ddpde
from ddpde.comm import all_ranks_stop, log, rank
from ddpde.errors import DdpdeError

if TYPE_CHECKING:
    from ddpde.validate import Case

_PATIENCE = 5.0  # seconds between the failures of the first and the last rank, if all fail
# what a run leaves in its folder; an earlier run's would pass for the new one's
_PRODUCTS = (
    *("run.json", "history.jsonl", "laws/*.npz"),
    *("summary.json", "arrays.npz", "verdict.json", "report.html"),
)

app = typer.Typer(
    help="The distributional dynamics of wide neural networks, solved and checked.\n\n\b\n"
    "Example:\n  ddpde init first\n  ddpde validate first/case.toml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CaseFile = Annotated[Path, typer.Argument(metavar="CASE.TOML", help="The case file.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder for the results [default: runs/NAME]."),
]


def main() -> None:
    """The `ddpde` command."""
    app(prog_name="ddpde")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ddpde {ddpde.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which version."),
    ] = False,
) -> None:
    pass


@app.command("list", short_help="List problems and bundled cases.")
def list_() -> None:
    """List the problems that can be named in a case file, and the bundled cases.

    \b
    Example:
      ddpde list
    """
    with _reported():
        from ddpde.problem.catalogue import CATALOGUE

        typer.echo('Problems (name = "..." in [problem], the rest in [problem.parameters]):')
        for name, build in CATALOGUE.items():
            typer.echo(f"\n  {name}\n    {_first_line(build)}")
            for parameter in inspect.signature(build, eval_str=True).parameters.values():
                typer.echo(f"      {_described(parameter)}")
        typer.echo("\nCases (`ddpde init DIR --case NAME` copies one):\n")
        for name, folder in _cases().items():
            text = (folder / "case.toml").read_text(encoding="utf-8")
            typer.echo(f"  {name}\n    {tomllib.loads(text)['title']}")


@app.command(short_help="Copy a bundled case into a folder.")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    case: Annotated[
        str, typer.Option("--case", metavar="NAME", help="A case that `ddpde list` names.")
    ] = "mei2018_isotropic",
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Copy a bundled case into a folder, to run it or to start from it.

    \b
    Example:
      ddpde init digits --case digits_pca
    """
    with _reported():
        cases = _cases()
        if case not in cases:
            raise _error(f"no bundled case {case!r}", 2, f"one of: {', '.join(cases)}")
        sources = [f for f in sorted(cases[case].iterdir()) if f.is_file()]
        there = [f.name for f in sources if (folder / f.name).exists()]
        if there and not force:
            raise _error(f"{folder} already has {', '.join(there)}", 2, "--force overwrites them")
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for source in sources:
                shutil.copyfile(source, folder / source.name)
        typer.echo(f"{folder} now has {', '.join(f.name for f in sources)}")
        typer.echo(f"Next:  ddpde validate {folder / 'case.toml'}")


@app.command(short_help="Solve the PDE of a case.")
def run(case: CaseFile, out: Out = None) -> None:
    """Solve the PDE of a case; write laws and history to a folder.

    \b
    Example:
      ddpde run case.toml --out runs/first
      mpirun -n 2 ddpde run case.toml
    """
    with _reported() as state:
        loaded, folder = _begin(case, out)
        state.folder = folder
        from ddpde.run import solve

        done = solve(
            loaded.problem,
            loaded.mesh.build(),
            times=loaded.times,
            options=loaded.options,
            folder=folder,
            label="PDE",
        )
        if rank() == 0:
            columns = ("risk", "free_energy", "mass", "minimum")
            typer.echo(f"{'t':>9}" + "".join(f"{c.replace('_', ' '):>17}" for c in columns))
            for t, row in zip(done.times, done._outputs, strict=True):
                values = "".join(f" {done.history[c][row]:16.9g}" for c in columns)
                typer.echo(f"{t:9.4g}{values}")
            if done.finished:
                typer.echo(f"written to {folder}")
        if not done.finished:
            raise KeyboardInterrupt


@app.command(short_help="Solve, train, compare and judge a case; report.")
def validate(case: CaseFile, out: Out = None) -> None:
    """Solve, train, compare and judge a case; write an HTML report. Exit code 1: not passed.

    \b
    Example:
      ddpde validate case.toml
      ddpde validate case.toml --out runs/second
    """
    with _reported() as state:
        loaded, folder = _begin(case, out)
        state.folder = folder
        from ddpde.report import write
        from ddpde.validate import validate as judge

        verdict = judge(loaded, folder)
        page = _on_root(lambda: write(folder))
        if rank() == 0:
            for reason in verdict.reasons:
                typer.echo(reason)
            typer.echo(f"{loaded.name}: {'PASSED' if verdict.passed else 'NOT PASSED'}")
            typer.echo(f"report: {page}")
    if not verdict.passed:
        raise typer.Exit(1)


@app.command(short_help="Write the HTML report of a folder again.")
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
) -> None:
    """Write the HTML report of a run's or a validation's folder again.

    \b
    Example:
      ddpde report runs/mei2018_isotropic
    """
    with _reported():
        from ddpde.report import write

        typer.echo(f"report: {write(folder)}")


class _State:
    """Where results go, for the message after an interruption."""

    folder: Path | None = None


@contextlib.contextmanager
def _reported() -> Iterator[_State]:
    """Around a command: errors end it with one message, whichever ranks they come from."""
    _log_to_stderr()
    state = _State()
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
    if not _all_ranks_failed():
        with contextlib.suppress(BaseException), all_ranks_stop():
            raise error
    elif rank() == 0:
        typer.echo(message, err=True)
    raise typer.Exit(code) from error


def _all_ranks_failed() -> bool:
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


def _start_mpi() -> None:
    global _watch
    from ddpde.space import MPI  # which says how to install DOLFINx where it is missing

    if _watch is None:
        _watch = MPI.COMM_WORLD.Dup()


def _begin(path: Path, out: Path | None) -> tuple[Case, Path]:
    """The case on every rank, and its emptied folder. What fails on one rank fails on all."""
    _start_mpi()
    from ddpde.config import load

    case = _agreed(lambda: load(path))
    folder = out or Path("runs") / case.name
    _on_root(lambda: _prepare(folder, path))
    return case, folder


def _prepare(folder: Path, case: Path) -> None:
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "run.json").exists():
            for old in [f for pattern in _PRODUCTS for f in folder.glob(pattern)]:
                old.unlink()
        shutil.copyfile(case, folder / "case.used.toml")


def _agreed[T](action: Callable[[], T]) -> T:
    """`action` on every rank; where it fails on some, all raise the first one's error."""
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
            raise _error(f"on rank {source}: {what}" if None in failures else what, code)
    return result


def _on_root[T](action: Callable[[], T]) -> T | None:
    return _agreed(lambda: action() if rank() == 0 else None)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        at = error.filename or folder
        raise _error(f"cannot write {at}: {error.strerror}", 2, "choose another folder") from None


def _error(what: str, code: int, remedy: str = "") -> DdpdeError:
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


def _cases() -> dict[str, Path]:
    """Bundled cases by name."""
    home = Path(str(files("ddpde") / "cases"))
    return {f.parent.name: f.parent for f in sorted(home.glob("*/case.toml"))}


def _described(parameter: inspect.Parameter) -> str:
    """'loss = "squared"  (or "logistic")', as a case file would have it."""
    line = f"{parameter.name} = {json.dumps(parameter.default)}"
    if get_origin(parameter.annotation) is Literal:
        others = [json.dumps(c) for c in get_args(parameter.annotation) if c != parameter.default]
        line += f"   (or {', '.join(others)})"
    return line


def _first_line(build: Callable[..., Any]) -> str:
    return (inspect.getdoc(build) or "").partition("\n")[0]
