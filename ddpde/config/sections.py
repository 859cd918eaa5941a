"""The other tables: from keys to the objects of a Case, and the checks between keys."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np

from ddpde.config.keys import (
    CELLS,
    AcceptanceSection,
    CrossCheckSection,
    MeshSection,
    MethodsSection,
    OptionsSection,
    ReferenceFile,
    SolverSection,
    Table,
)
from ddpde.config.reader import Reader
from ddpde.config.words import show
from ddpde.errors import ProblemError
from ddpde.problem import Problem
from ddpde.run import SolverOptions
from ddpde.run.clock import output_times
from ddpde.run.options import MOST_STEPS
from ddpde.space import BoxRecipe, FileRecipe, Recipe
from ddpde.step import JKO_METHODS, METHODS
from ddpde.validate.case import Acceptance, CrossCheck, OtherMethod

_MOST_CELLS = 10**8  # more is a slip of the keyboard


def read_mesh(reader: Reader, table: Table | None, problem: Problem | None) -> Recipe | None:
    """[mesh]"""
    if table is None:
        return None
    return _recipe(reader, reader.read(MeshSection, table, "mesh"), table, "mesh", problem)


def read_solver(
    reader: Reader, table: Table | None, problem: Problem | None
) -> tuple[SolverOptions, list[float]]:
    """[solver]: options, and output times that begin with 0 (empty where they are not known)."""
    if table is None:
        return SolverOptions(), []
    section = reader.read(SolverSection, table, "solver")
    if "times" not in table and "t_end" not in table:
        reader.say("solver.times", "missing; give times = [...] or t_end = ...")
    if "times" in table and "t_end" in table:
        reader.say("solver.t_end", "solver.times is given too: keep one of them")
    times = section.times
    if times and max(times) <= 0:
        reader.say("solver.times", f"{show(times)} has no time > 0")
    t_end = section.t_end if "times" not in table else None
    outputs: list[float] = []
    if reader.increasing(times, "solver.times") and (times or t_end):
        try:
            outputs = output_times(times, t_end).tolist()
        except ProblemError:  # so small that eleven times cannot be told apart
            reader.say("solver.t_end", f"{t_end} is too small")
    _fits(reader, section, "solver", problem, outputs)
    return _options(reader, section), outputs


def read_cross_check(
    reader: Reader,
    table: Table | None,
    main: Recipe | None,
    problem: Problem | None,
    times: Sequence[float],
) -> CrossCheck | None:
    """[cross_check]: on the main mesh where it names none."""
    if table is None:
        return None
    section = reader.read(CrossCheckSection, table, "cross_check")
    _fits(reader, section, "cross_check", problem, times)
    mesh = _own_mesh(reader, section, table, "cross_check", main, problem)
    return CrossCheck(mesh, _options(reader, section)) if mesh is not None else None


def read_methods(
    reader: Reader,
    entries: list[Table] | None,
    main: Recipe | None,
    problem: Problem | None,
    times: Sequence[float],
) -> tuple[OtherMethod, ...]:
    """[[methods]]: each on the main mesh where it names none."""
    found = []
    for j, table in enumerate(entries or []):
        path = f"methods[{j}]"
        section = reader.read(MethodsSection, table, path)
        reader.need(table, path, "label", "tolerance")
        _fits(reader, section, path, problem, times)
        mesh = _own_mesh(reader, section, table, path, main, problem)
        if not reader.problems and mesh is not None:
            found.append(
                OtherMethod(section.label, mesh, _options(reader, section), section.tolerance)
            )
    labels = [method.label for method in found]
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        reader.say("methods", f'the label "{label}" is given more than once')
    return tuple(found)


def _own_mesh(
    reader: Reader,
    section: CrossCheckSection,
    table: Table,
    path: str,
    main: Recipe | None,
    problem: Problem | None,
) -> Recipe | None:
    """The mesh of a second discretisation, or the main one."""
    if any(name in table for name in MeshSection.model_fields):
        return _recipe(reader, section, table, path, problem)
    return main


def read_acceptance(
    reader: Reader, table: Table | None, times: Sequence[float]
) -> tuple[Acceptance, Table | None]:
    """[acceptance], with what its reference file holds."""
    section = reader.read(AcceptanceSection, table, "acceptance")
    reference = None
    if section.reference is not None:
        reference = _reference(reader, section.reference, times)
    elif "reference" not in (table or {}) and section.cross_check_rtol is not None:
        reader.say("acceptance.cross_check_rtol", "goes with acceptance.reference")
    accepted = section.model_dump(exclude_unset=True, exclude={"reference"})
    return Acceptance(**accepted), reference


def _options(reader: Reader, section: OptionsSection) -> SolverOptions:
    if reader.problems:  # which will be told; what does not go together would be refused here
        return SolverOptions()
    fields = set(OptionsSection.model_fields)
    return SolverOptions(**section.model_dump(exclude_unset=True, include=fields))


def _fits(
    reader: Reader,
    section: OptionsSection,
    path: str,
    problem: Problem | None,
    times: Sequence[float],
) -> None:
    """Options against each other, the output times and the problem's diffusion."""
    if section.adapt_depth is not None and section.adapt is None:
        reader.say(f"{path}.adapt_depth", "goes with adapt")
    if section.dt is not None and times and not times[-1] < MOST_STEPS * section.dt:
        what = f"{section.dt:g} needs more than 2**30 steps to t = {times[-1]:g}"
        reader.say(f"{path}.dt", what)
    if problem is None:
        return
    diffuses, why = problem.diffuses, f"the problem's temperature is {problem.temperature:g}"
    if problem.internal is not None or problem.noise is not None:
        why = f"the problem has {'noise' if problem.internal is None else 'an internal energy'}"
    if section.space == "lagrangian" and diffuses:
        reader.say(f"{path}.space", f'"lagrangian" is for temperature 0, and {why}')
    for name in ("adapt", "grow"):
        if section.space == "lagrangian" and getattr(section, name) is not None:
            reader.say(f"{path}.{name}", 'not with space = "lagrangian", whose mesh moves')
    scheme = JKO_METHODS.get(section.method)
    if section.inner_steps is not None and not (scheme and scheme.has_inner_steps):
        fitting = ", ".join(f'"{k}"' for k, v in JKO_METHODS.items() if v.has_inner_steps)
        reader.say(f"{path}.inner_steps", f"goes with method = {fitting}")
    if section.method in JKO_METHODS:
        _fits_jko(reader, section, path, problem)
    elif section.method not in (None, "auto") and METHODS[section.method].implicit != diffuses:
        fitting = ", ".join(["auto", *(k for k, m in METHODS.items() if m.implicit == diffuses)])
        reader.say(
            f"{path}.method",
            f'"{section.method}" does not fit: {why}; accepted: {fitting}',
        )


def _fits_jko(reader: Reader, section: OptionsSection, path: str, problem: Problem) -> None:
    """What a JKO method needs, and what does not go with it."""
    if section.dt is None:
        reader.say(f"{path}.dt", f'missing: the step of "{section.method}"')
    for name in ("space", "adapt", "grow"):
        if getattr(section, name) not in (None, "eulerian"):
            reader.say(f"{path}.{name}", f'not with "{section.method}", which holds its own law')
    if section.method.startswith("jko-quantile") and problem.mesh_dim != 1:
        reader.say(f"{path}.method", f'"{section.method}" is for one dimension')


def _recipe(
    reader: Reader,
    section: MeshSection | CrossCheckSection,
    table: Table,
    path: str,
    problem: Problem | None,
) -> Recipe | None:
    if "file" not in table:
        reader.need(table, path, "lower", "upper", "cells")
        return _box(reader, section, path, problem)
    for name in ("lower", "upper", "cells", "cell"):
        if name in table:
            reader.say(f"{path}.{name}", f"{path}.file is given too: a box or a file")
    if section.file is None:
        return None
    return _file(reader, section.file, f"{path}.file", signed=bool(section.signed))


def _file(reader: Reader, name: str, path: str, *, signed: bool) -> Recipe | None:
    file = reader.folder / name
    try:
        with file.open("rb") as stream:
            if b"$MeshFormat" in stream.read(4096):
                return FileRecipe(file, signed)
        reader.say(path, f"{show(name)} is not a gmsh mesh (it has no $MeshFormat)")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        reader.say(path, f"{show(name)}: {why} (looked in {reader.folder})")
    return None


def _box(
    reader: Reader,
    section: MeshSection | CrossCheckSection,
    path: str,
    problem: Problem | None,
) -> Recipe | None:
    ends = {"lower": section.lower, "upper": section.upper, "cells": section.cells}
    given = {name: values for name, values in ends.items() if values is not None}
    before = len(reader.problems)
    dim = max(map(len, given.values()), default=1)
    if problem:
        dim = problem.mesh_dim - bool(section.signed)  # the sign is the last coordinate
    if not 1 <= dim <= 3 - bool(section.signed):
        accepted = "1 or 2 beside the sign" if section.signed else "1, 2 or 3"
        reader.say(path, f"a box in {dim} dimensions; accepted: {accepted}")
        return None
    wanted = f"{dim} as the others"
    if problem:
        wanted = f"{dim}: the problem's coordinates are {', '.join(problem.labels)}"
        if section.signed:
            wanted += ", the last of them the sign"
    for name, values in given.items():
        if len(values) != dim:
            reader.say(f"{path}.{name}", f"{show(values)} has {len(values)} entries, not {wanted}")
    if section.cell is not None and section.cell not in CELLS.get(dim, ()):
        accepted = ", ".join(CELLS.get(dim, ())) or "none, leave it out"
        reader.say(f"{path}.cell", f'"{section.cell}" in {dim}D; accepted: {accepted}')
    if section.cells and math.prod(section.cells) > _MOST_CELLS:
        reader.say(f"{path}.cells", f"{show(section.cells)} is more than {_MOST_CELLS} cells")
    for j, (low, high) in enumerate(zip(section.lower or (), section.upper or (), strict=False)):
        if not low < high:
            reader.say(f"{path}.upper[{j}]", f"{high} is not > {low}, the lower end")
    if problem:
        ranges = zip(section.lower or (), problem.lower, problem.labels, strict=False)
        for j, (low, least, label) in enumerate(ranges):
            if low < least:
                what = f"the least value of {label}"
                reader.say(f"{path}.lower[{j}]", f"{low} is not >= {least:g}, {what}")
    if len(reader.problems) > before or len(given) < len(ends):
        return None
    return BoxRecipe(
        section.lower, section.upper, section.cells, section.cell, bool(section.signed)
    )


def _reference(reader: Reader, name: str, times: Sequence[float]) -> Table | None:
    path = "acceptance.reference"
    try:
        data = json.loads((reader.folder / name).read_text(encoding="utf-8"))
    except OSError as error:
        reader.say(path, f"{show(name)}: {error.strerror} (looked in {reader.folder})")
        return None
    except (ValueError, RecursionError) as error:
        reader.say(path, f"{show(name)} is not valid JSON: {error}")
        return None
    if not isinstance(data, dict):
        reader.say(path, f"{show(name)} does not hold an object {{...}}")
        return None
    section = reader.read(ReferenceFile, reader.clean(data, name), name)
    reader.need(data, name, "source", "times")
    if not {"risk", "mean", "finite_risk", "common_noise"} & set(data):
        reader.say(name, "has neither risk nor mean nor finite_risk nor common_noise")
    for quantity in ("risk", "mean"):
        values = getattr(section, quantity)
        if values is not None and section.times and len(values) != len(section.times):
            what = f"{len(values)} entries for {len(section.times)} times"
            reader.say(f"{name}: {quantity}", what)
    if section.finite_risk is not None:
        reader.need(data, name, "widths")
        table = section.finite_risk
        if section.widths and len(table) != len(section.widths):
            what = f"{len(table)} rows for {len(section.widths)} widths"
            reader.say(f"{name}: finite_risk", what)
        if section.times and any(len(row) != len(section.times) for row in table):
            what = f"a row has not {len(section.times)} entries, one for each time"
            reader.say(f"{name}: finite_risk", what)
    if section.times and times:
        if not any(np.isclose(times, t, rtol=1e-12, atol=1e-14).any() for t in section.times):
            reader.say(f"{name}: times", "none of them is an output time of the solver")
    return data
