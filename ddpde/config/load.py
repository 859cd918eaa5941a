"""load(): from a case file to a Case."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path

from ddpde.config.build import read_problem
from ddpde.config.keys import CaseSection, Table
from ddpde.config.particles import read_particles
from ddpde.config.reader import Reader
from ddpde.config.sections import (
    read_acceptance,
    read_cross_check,
    read_mesh,
    read_methods,
    read_solver,
)
from ddpde.errors import ConfigError
from ddpde.validate.case import Case


def load(path: str | Path) -> Case:
    """The case in a TOML file. Raises ConfigError with a line for every mistake in it."""
    path = Path(path)
    data = _parse(path)
    reader = Reader(path.resolve().parent)
    try:
        case = _case(reader, data, path)
    except RecursionError:
        raise ConfigError(str(path), ["lists or tables are nested too deeply"]) from None
    if case is None:
        raise ConfigError(str(path), reader.problems)
    return case


def _case(reader: Reader, raw: Table, path: Path) -> Case | None:
    data = reader.clean(raw, "")
    file = reader.read(CaseSection, data, "")
    reader.need(data, "", "title", "problem", "mesh", "solver")
    problem = read_problem(reader, file.problem)
    mesh = read_mesh(reader, file.mesh, problem)
    options, times = read_solver(reader, file.solver, problem)
    cross_check = read_cross_check(reader, file.cross_check, mesh, problem, times)
    methods = read_methods(reader, file.methods, mesh, problem, times)
    listed = file.solver is not None and "times" in file.solver
    others = [cross_check.options] if cross_check is not None else []
    fixed = any(o.space == "eulerian" for o in [options, *others])
    particles = read_particles(reader, file.particles, times, listed, problem, options, fixed)
    acceptance, reference = read_acceptance(reader, file.acceptance, times)
    if reader.problems or problem is None or mesh is None:
        return None
    return Case(
        name=file.name or _name(path),
        title=file.title,
        problem=problem,
        mesh=mesh,
        options=options,
        times=tuple(times),
        particles=particles,
        cross_check=cross_check,
        methods=methods,
        acceptance=acceptance,
        reference=reference,
        source=path,
    )


def _name(path: Path) -> str:
    """The file's own name, or its folder's where that is plain case.toml."""
    own = path.stem if path.stem != "case" else path.resolve().parent.name
    return re.sub(r"[^\w.-]", "_", own).lstrip(".-") or "case"


def _parse(path: Path) -> Table:
    def wrong(what: str) -> ConfigError:
        return ConfigError(str(path), [what])

    try:
        if path.is_dir():
            inside = path / "case.toml"
            hint = f"did you mean {inside}?" if inside.is_file() else "give the case file in it"
            raise wrong(f"is a folder; {hint}")
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        near = difflib.get_close_matches(str(path), map(str, path.parent.glob("*.toml")), n=1)
        hint = f"did you mean {near[0]}?" if near else "`ddpde init DIR` makes one to start from"
        raise wrong(f"no such file; {hint}") from None
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise wrong(f"not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise wrong("lists or tables are nested too deeply") from None
    except ValueError as error:  # tomllib says line and column
        raise wrong(f"not valid TOML: {error}") from None
