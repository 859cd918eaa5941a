""" "module:function" in a case file: functions of a user's own, and how they may fail."""

import re

import numpy as np
import pytest
from case_files import ROOT, VALID, mistakes, write

from ddpde.config import load
from ddpde.errors import ProblemError
from ddpde.problem import on_components

OWN = """
from __future__ import annotations
from typing import TYPE_CHECKING
import sys
from ddpde import problems
from ddpde.errors import ProblemError
if TYPE_CHECKING:
    from nowhere import Thing

def build(temperature: float = 0.0, *, pair: tuple[int, int] = (1, 2), either: int | bool = 1):
    if temperature > 9:
        raise ProblemError(f"temperature = {temperature}: too hot", "cool it")
    assert isinstance(pair, tuple)
    return problems.erf_teacher(temperature=temperature)

def needs(mean: float): return problems.erf_teacher(mean=mean)
def anything(**parameters): return problems.erf_teacher(**parameters)
def unresolved(mean: Thing): return problems.erf_teacher(mean=mean)
def crash(): return 1 / 0
def leave(): sys.exit(0)
def wrong(): return {"name": "no problem"}
number = 3
"""


@pytest.fixture
def own(tmp_path):
    """`own(name, parameters)` is a case file with a problem from mine.py beside it."""
    (tmp_path / "mine.py").write_text(OWN)
    base = {k: VALID[k] for k in ("title", "mesh", "solver")}

    def case(name, parameters=None):
        problem = {"name": name} | ({"parameters": parameters} if parameters else {})
        return write(tmp_path, base | {"problem": problem})

    return case


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mine:build", {}),
        ("mine:build", {"temperature": 1, "pair": [3, 4], "either": True}),
        ("mine:needs", {"mean": 0.3}),
        ("mine:anything", {"mean": 0.3}),
        ("mine:unresolved", {"mean": 0.3}),
        ("ddpde.problem.catalogue:erf_teacher", {"mean": 0.3}),
    ],
)
def test_own_problem(own, name, parameters):
    assert load(own(name, parameters)).problem.name == "erf_teacher"


@pytest.mark.parametrize(
    ("name", "parameters", "line"),
    [
        ("mine:build", {"temperature": "hot"}, 'temperature: "hot" is not a number'),
        ("mine:build", {"temperature": 10.0}, "too hot -> cool it"),
        ("mine:build", {"pair": [1]}, "parameters.pair[1]: missing"),
        ("mine:build", {"pair": [1, 2.5]}, "parameters.pair[1]: 2.5 is not an integer"),
        ("mine:build", {"either": "x"}, 'parameters.either: "x" is not int | bool'),
        ("mine:needs", {}, 'parameters.mean: missing; "mine:needs" needs it'),
        ("mine:crash", {}, '"mine:crash" raised ZeroDivisionError: division by zero (mine.py, li'),
        ("mine:crash", {"x": 1}, 'x: unknown parameter of "mine:crash"; accepted: none'),
        ("mine:leave", {}, "raised SystemExit"),
        ("mine:wrong", {}, "returned a dict, not a ddpde.Problem"),
        ("mine:number", {}, "no such function"),
        ("mine:biuld", {}, 'did you mean "build"?'),
        ("yours:build", {}, "no module yours (looked in "),
        ("mine:", {}, "is not of the form"),
        (":build", {}, "is not of the form"),
        ("..mine:build", {}, "is not of the form"),
    ],
)
def test_own_problem_that_fails(own, name, parameters, line):
    found = mistakes(own(name, parameters))
    assert len(found) == 1
    assert line in found[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [("def build(:", "SyntaxError"), ("import nowhere", "No module named 'nowhere'")],
)
def test_own_module_that_fails(own, tmp_path, text, line):
    (tmp_path / "broken.py").write_text(text)
    (found,) = mistakes(own("broken:build"))
    assert "its import raised" in found
    assert line in found


def test_namesakes_of_two_cases(tmp_path):
    """Each case gets the module beside it."""
    for folder, mean in (("a", 0.1), ("b", 0.2)):
        (tmp_path / folder).mkdir()
        text = f"import ddpde\ndef build(): return ddpde.problems.erf_teacher(mean={mean})\n"
        (tmp_path / folder / "namesake.py").write_text(text)
        data = {k: VALID[k] for k in ("title", "mesh", "solver")}
        file = write(tmp_path / folder, data | {"problem": {"name": "namesake:build"}})
        assert load(file).problem.parameters["mean"] == mean


def test_a_table_of_ones_own(tmp_path, monkeypatch):
    """The listing of the bundled regression's README, from another folder."""
    folder = ROOT / "validation/real_data_regression"
    (listing,) = re.findall(r"(?ms)^```python\n(.*?)^```$", (folder / "README.md").read_text())
    (tmp_path / "housing.py").write_text(listing)
    rng = np.random.default_rng(0)
    features = rng.lognormal(size=(300, 5)) * [1, 50, 5, 1000, 3]
    table = np.column_stack([features, features[:, 0] + rng.standard_normal(300)])
    np.savetxt(tmp_path / "housing.csv", table, delimiter=",", header="a,b,c,d,e,y", comments="")
    text = (folder / "case.toml").read_text().replace('"tabular_pca"', '"housing:build"')
    for line in ('dataset = "diabetes"\n', "std = 0.5\n"):
        text = text.replace(line, "")
    (tmp_path / "case.toml").write_text(text)
    monkeypatch.chdir("/")
    problem = load(tmp_path / "case.toml").problem
    assert problem.name == "housing" and problem.data.x.shape == (210, 2)
    assert problem.data.y.std() == pytest.approx(0.5) and len(problem.test_data.y) == 90


@pytest.mark.parametrize(
    ("features", "target", "settings", "words"),
    [
        (np.eye(6), np.arange(6), {"components": 7}, "components = 7: from 1 to 6"),
        (np.eye(6), np.arange(6), {"loss": "logistic"}, "loss = 'logistic': one of squared"),
        (np.eye(6), np.arange(6), {"regression": False}, "labels must be -1 or 1"),
        (np.eye(6), np.ones(6), {}, "all numbers are the same"),
        (np.eye(6) * np.nan, np.ones(6), {}, "NaN"),
        (np.eye(1), np.ones(1), {"components": 1}, "cannot be split and projected"),
        ([["a", "b"]] * 6, np.ones(6), {}, "no array of real numbers"),
    ],
)
def test_tables_that_cannot_be_taken(features, target, settings, words):
    with pytest.raises(ProblemError, match=words):
        on_components("table", features, target, **({"regression": True} | settings))
