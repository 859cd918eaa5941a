"""A case file that is right, changed in parts and written."""

import copy
import json
import math
from datetime import date
from pathlib import Path

import pytest

from ddpde.config import load
from ddpde.errors import ConfigError

ROOT = Path(__file__).parents[1]


VALID = {
    "title": "a case",
    "problem": {"name": "erf_teacher", "parameters": {"mean": 0.4, "std": 0.3}},
    "mesh": {"lower": [-2.0], "upper": [3.0], "cells": [16]},
    "solver": {"degree": 2, "rtol": 1e-5, "times": [0.1, 0.2]},
    "cross_check": {"space": "lagrangian", "lower": -2, "upper": 3, "cells": 8},
    "particles": {"widths": [5, 10], "replicas": 3, "step_size": 0.005},
    "acceptance": {"reference": "reference.json"},
}


REFERENCE = {"source": "a book", "times": [0.0, 0.1], "risk": [0.2, 0.1], "mean": [0.4, 0.5]}


def toml(value) -> str:
    """A value in TOML's inline notation."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def write(folder: Path, data: dict, reference: object = REFERENCE) -> Path:
    (folder / "reference.json").write_text(json.dumps(reference))
    file = folder / "case.toml"
    lines = [f"{json.dumps(k)} = {toml(v)}" for k, v in data.items()]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def changed(**tables) -> dict:
    """VALID with the keys of some tables replaced (None: removed)."""
    data = copy.deepcopy(VALID)
    for table, new in tables.items():
        if not isinstance(new, dict):
            data[table] = new
            continue
        data.setdefault(table, {}).update(new)
        data[table] = {k: v for k, v in data[table].items() if v is not None}
    return {k: v for k, v in data.items() if v is not None}


def mistakes(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}:\n")
    assert caught.value.exit_code == 2
    return caught.value.problems
