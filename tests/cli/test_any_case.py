"""Every file is a case or one ConfigError: bundled cases, and random ones."""

import copy
import math
import re
from datetime import date

import pytest
from case_files import ROOT, VALID, changed, write
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ddpde.config import load
from ddpde.errors import ConfigError
from ddpde.validate import Case


@pytest.mark.parametrize("file", sorted(ROOT.glob("validation/*/case.toml")), ids=str)
def test_bundled_case(file):
    case = load(file)
    assert case.name == file.parent.name
    assert case.particles is not None
    assert (case.reference is not None) == (file.parent / "reference.json").exists()


def places(value, path=()):
    """The paths to all keys and entries."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in items:
        yield (*path, name)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, name))


NAMES = st.sampled_from(["erf_teacher", "isotropic_gaussians", "digits_pca", "x:y", "", "\x00"])


VALUES = st.one_of(
    st.integers(-3, 40),
    # nothing that would fill the memory; 10**18 entries are refused at once
    st.sampled_from([10**18, 2**63, 10**30]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 5e-324, 1e308, math.nan, math.inf]),
    st.booleans(),
    st.text(max_size=5),
    st.lists(st.one_of(st.integers(-2, 5), st.floats(), st.text(max_size=2)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just(date(2000, 1, 1)),
    st.sampled_from(["eulerian", "lagrangian", "imex4", "float64", "triangle", "case.toml", "."]),
    NAMES,
)


BASES = [
    VALID,
    changed(problem={"name": "isotropic_gaussians", "parameters": None}, mesh={"lower": [0.0]})
    | {"cross_check": {"degree": 2}},
    changed(problem={"name": "digits_pca"}, mesh=None, cross_check=None)
    | {"mesh": {"lower": [-3, -3], "upper": [3, 3], "cells": [8, 8], "cell": "triangle"}},
]


BASES[1]["problem"]["parameters"] = {"dim": 40, "delta": 0.8, "kappa": 0.8, "activation": "ramp"}


BASES[2]["problem"]["parameters"] = {
    **{"classes": [3, 8], "bias": False, "temperature": 0.1, "ridge": 0.0, "std": 0.5},
    **{"loss": "squared", "test_fraction": 0.3, "split_seed": 0},
}


EDITS = st.tuples(
    st.sampled_from(sorted({place for base in BASES for place in places(base)}, key=str)),
    st.sampled_from(["delete", "replace", "rename", "add"]),
    VALUES,
    st.text(max_size=4),
)


def edited(base, edits) -> dict:
    data = copy.deepcopy(base)
    for path, action, value, name in edits:
        inner = data
        try:
            for part in path[:-1]:
                inner = inner[part]
            if action == "delete":
                del inner[path[-1]]
            elif action == "rename" and isinstance(inner, dict):
                inner[name] = inner.pop(path[-1])
            elif action == "add" and isinstance(inner, dict):
                inner[name] = value
            else:
                inner[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier edit took the place away
    return data


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(BASES), st.lists(EDITS, max_size=5))
@example(BASES[0], [])
@example(BASES[1], [])
@example(BASES[2], [])
def test_any_file_is_a_case_or_one_error(tmp_path, base, edits):
    file = write(tmp_path, edited(base, edits))
    case = None
    try:
        case = load(file)
    except ConfigError as error:
        assert error.problems
        assert all(re.match(r"\S.*: .", line) and "\n" not in line for line in error.problems)
        assert not any(word in str(error) for word in ("Traceback", "pydantic", "Input should"))
    else:
        assert isinstance(case, Case)
    assert edits or case  # the bases themselves are valid
