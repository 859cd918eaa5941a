"""The command line: parses, calls, and says in one message what went wrong.

What is heavy (DOLFINx, JAX) is imported by the commands that need it, so that help is quick.
"""

from __future__ import annotations

import inspect
import json
import shutil
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer

import ddpde
from ddpde.cli.guard import (
    State,
    agreed,
    all_ranks_failed,
    complaint,
    on_root,
    reported,
    start_mpi,
    writing,
)
from ddpde.comm import rank
from ddpde.errors import DdpdeError

if TYPE_CHECKING:
    from ddpde.validate import Case

# what a run leaves in its folder; an earlier run's would pass for the new one's
_PRODUCTS = (
    *("run.json", "history.jsonl", "outputs.jsonl", "laws/*.npz"),
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
    with reported():
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
    with reported():
        cases = _cases()
        if case not in cases:
            raise complaint(f"no bundled case {case!r}", 2, f"one of: {', '.join(cases)}")
        sources = [f for f in sorted(cases[case].iterdir()) if f.is_file()]
        there = [f.name for f in sources if (folder / f.name).exists()]
        if there and not force:
            raise complaint(
                f"{folder} already has {', '.join(there)}", 2, "--force overwrites them"
            )
        with writing(folder):
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
    with reported() as state:
        loaded, folder = _load(case, out)
        on_root(lambda: _prepare(folder, case))
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
            columns = ["risk"] * (loaded.problem.unit is not None)
            columns += ["free_energy", "mass", "minimum"]
            typer.echo(f"{'t':>9}" + "".join(f"{c.replace('_', ' '):>17}" for c in columns))
            for j, t in enumerate(done.times):
                values = "".join(f" {done.outputs[c][j]:16.9g}" for c in columns)
                typer.echo(f"{t:9.4g}{values}")
            if done.finished:
                typer.echo(f"written to {folder}")
        if not done.finished:
            raise KeyboardInterrupt


@app.command(short_help="Solve, train, compare and judge cases; report.")
def validate(
    cases: Annotated[list[Path], typer.Argument(metavar="CASE.TOML...", help="The case files.")],
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep verdicts on the same files, code and libraries.")
    ] = False,
    index: Annotated[
        Path | None,
        typer.Option("--index", metavar="FILE", help="Write a page with all the verdicts."),
    ] = None,
) -> None:
    """Solve, train, compare and judge cases; write HTML reports. Exit code 1: not all passed.

    Of several cases one that ends in an error does not stop the others.

    \b
    Example:
      ddpde validate case.toml
      ddpde validate case.toml --out runs/second
      ddpde validate */case.toml --resume --index index.html
    """
    folders: list[Path] = []
    troubles: dict[str, str] = {}
    passed = 0
    with reported() as state:
        if out is not None and len(cases) > 1:
            raise complaint(f"--out {out} for {len(cases)} cases", 2, "leave it out: runs/NAME")
        for case in cases:
            try:
                folder, good = _validate(case, out, resume, state, folders)
                folders.append(folder)
                passed += good
            except DdpdeError as error:
                if len(cases) == 1 or not all_ranks_failed():
                    raise
                troubles[str(case)] = str(error)
                if rank() == 0:
                    name = "" if str(error).startswith(str(case)) else f"{case}: "
                    typer.echo(f"error: {name}{error}", err=True)
            if index is not None:  # after each case, for whoever cannot wait
                _index(folders, index, troubles)
        if rank() == 0 and len(cases) > 1:
            typer.echo(f"{passed} of {len(cases)} cases passed")
        if rank() == 0 and index is not None:
            typer.echo(f"index: {index}")
    if passed < len(cases):
        raise typer.Exit(1)


def _validate(
    case: Path, out: Path | None, resume: bool, state: State, taken: list[Path]
) -> tuple[Path, bool]:
    """The folder of one case, none of those `taken`, and whether it passed."""
    loaded, folder = _load(case, out)
    if folder in taken:
        raise complaint(
            f"{folder} holds the results of an earlier case of this command",
            2,
            'give one of the two a name of its own: name = "..." above [problem]',
        )
    from ddpde.particles import keep_compiled
    from ddpde.report import write
    from ddpde.validate import kept_verdict
    from ddpde.validate import validate as judge

    verdict = agreed(lambda: kept_verdict(loaded, folder)) if resume else None
    if verdict is None:
        on_root(lambda: _prepare(folder, case))
        state.folder = folder
        if loaded.particles is not None:
            keep_compiled()
        verdict = judge(loaded, folder)
        kept = ""
    else:
        kept = " (kept from before)"
    page = on_root(lambda: write(folder))
    if rank() == 0:
        for reason in verdict.reasons:
            typer.echo(reason)
        typer.echo(f"{loaded.name}: {'PASSED' if verdict.passed else 'NOT PASSED'}{kept}")
        typer.echo(f"report: {page}")
    return folder, verdict.passed


@app.command(short_help="Write the HTML report of a folder again.")
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
) -> None:
    """Write the HTML report of a run's or a validation's folder again.

    \b
    Example:
      ddpde report runs/mei2018_isotropic
    """
    with reported():
        from ddpde.report import write

        typer.echo(f"report: {write(folder)}")


@app.command(short_help="Write one page with the verdicts of many folders.")
def index(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page to write.")] = Path(
        "index.html"
    ),
) -> None:
    """Write one page with the verdicts of many validations, each with a link to its report.

    \b
    Example:
      ddpde index runs/* --out runs/index.html
    """
    with reported():
        _index(folders, out)
        typer.echo(f"index: {out}")


def _index(folders: list[Path], page: Path, troubles: dict[str, str] | None = None) -> None:
    from ddpde.report import write_index

    on_root(lambda: write_index(folders, page, troubles))


def _load(path: Path, out: Path | None) -> tuple[Case, Path]:
    """The case on every rank, and its folder. What fails on one rank fails on all."""
    start_mpi()
    from ddpde.config import load

    case = agreed(lambda: load(path))
    return case, out or Path("runs") / case.name


def _prepare(folder: Path, case: Path) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "run.json").exists():
            for old in [f for pattern in _PRODUCTS for f in folder.glob(pattern)]:
                old.unlink()
        shutil.copyfile(case, folder / "case.used.toml")


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
