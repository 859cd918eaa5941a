"""[problem]: from a name and parameters to a Problem."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ddpde.config.keys import ProblemSection, Table
from ddpde.config.reader import Reader
from ddpde.config.words import key, nearest, says, show
from ddpde.errors import DdpdeError
from ddpde.problem import Problem
from ddpde.problem.catalogue import CATALOGUE

PARAMETERS = "problem.parameters"


def read_problem(reader: Reader, table: Table | None) -> Problem | None:
    """The problem, or None where its mistakes have been reported."""
    if table is None:
        return None
    section = reader.read(ProblemSection, table, "problem")
    reader.need(table, "problem", "name")
    build = _builder(reader, section.name) if section.name is not None else None
    if build is None:
        return None
    arguments = _arguments(reader, build, section.name, section.parameters or {})
    if any(line.startswith("problem.") for line in reader.problems):
        return None
    try:
        problem = build(**arguments)
    except DdpdeError as error:
        first = re.match(r"\w+(?= = )", error.what)  # "kappa = -1: must be positive"
        named = [first[0]] if first and first[0] in arguments else []
        reader.say(key(PARAMETERS, *named), " -> ".join(filter(None, [error.what, error.remedy])))
    except (Exception, SystemExit) as error:  # a user's function may do anything
        reader.say("problem.name", f'"{section.name}" {_raised(error)}')
    else:
        if isinstance(problem, Problem):
            return problem
        kind = type(problem).__name__
        reader.say("problem.name", f'"{section.name}" returned a {kind}, not a ddpde.Problem')
    return None


def _builder(reader: Reader, name: str) -> Callable[..., Problem] | None:
    """The catalogue's, or "module:function" from beside the case file or sys.path."""
    module_name, colon, function = name.partition(":")
    if not colon:
        if name not in CATALOGUE:
            accepted = f'{nearest(name, CATALOGUE)}, or your own "module:function"'
            reader.say("problem.name", f'"{name}" is unknown{accepted}')
        return CATALOGUE.get(name)
    if not all(part.isidentifier() for part in [*module_name.split("."), function]):
        reader.say("problem.name", f'"{name}" is not of the form "module:function"')
        return None
    try:
        module = _import(module_name, reader.folder)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            where = f"looked in {reader.folder} and on sys.path"
            reader.say("problem.name", f'"{name}": no module {missing} ({where})')
        else:
            reader.say("problem.name", f'"{name}": its import {_raised(error)}')
        return None
    build = getattr(module, function, None)
    if not callable(build):
        own = [k for k, v in vars(module).items() if inspect.isfunction(v)]
        reader.say("problem.name", f'"{name}": no such function{nearest(function, own)}')
        return None
    return build


def _import(name: str, folder: Path) -> ModuleType:
    """Import as a script in `folder` would; a namesake from another case is forgotten."""
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    file = folder / f"{name.replace('.', '/')}.py"
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded and file.is_file() and not (Path(loaded).exists() and file.samefile(loaded)):
        del sys.modules[name]
    return importlib.import_module(name)


def _raised(error: BaseException) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"


def _arguments(reader: Reader, build: Callable[..., Problem], name: str, given: Table) -> Table:
    """Keyword arguments, checked against the signature and its annotations."""
    try:
        signature = inspect.signature(build, eval_str=True)
    except NameError:  # annotations that exist for type checkers only
        signature = inspect.signature(build)
    except (TypeError, ValueError):  # not known, as for some functions written in C
        return given
    kind = inspect.Parameter
    named = (kind.POSITIONAL_OR_KEYWORD, kind.KEYWORD_ONLY)
    taken = {k: p for k, p in signature.parameters.items() if p.kind in named}
    anything = any(p.kind is kind.VAR_KEYWORD for p in signature.parameters.values())
    arguments = {}
    for parameter, value in given.items():
        path = key(PARAMETERS, parameter)
        if parameter in taken:
            arguments[parameter] = _argument(reader, path, value, taken[parameter].annotation)
        elif anything:
            arguments[parameter] = value
        else:
            accepted = nearest(parameter, taken) if taken else "; accepted: none"
            reader.say(path, f'unknown parameter of "{name}"{accepted}')
    for parameter, described in taken.items():
        if described.default is kind.empty and parameter not in given:
            reader.say(key(PARAMETERS, parameter), f'missing; "{name}" needs it')
    return arguments


def _argument(reader: Reader, path: str, value: Any, annotation: Any) -> Any:
    if value is None or annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return value
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
    except Exception:
        return value  # a type that pydantic does not know: the function has to check
    try:
        return adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        mistakes = error.errors()
    if any(isinstance(part, str) for mistake in mistakes for part in mistake["loc"]):
        # pydantic goes through the members of a union: one line for all
        reader.say(path, f"{show(value)} is not {inspect.formatannotation(annotation)}")
        return None
    for mistake in mistakes:
        reader.say(key(path, *mistake["loc"]), says(mistake))
    return None
