"""Wrong input ends in one message, exit code 2 and no traceback, on one rank and on several."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ddpde.cli import app

ROOT = Path(__file__).parents[2]
GOOD = """
title = "a case"
[problem]
name = "erf_teacher"
[mesh]
lower = [-2.0]
upper = [3.0]
cells = [8]
[solver]
degree = 2
rtol = 1e-3
times = [0.05]
"""

BAD = {
    "unknown problem": ('"erf_teacher"', '"erf_student"', "problem.name"),
    "no such module": ('"erf_teacher"', '"elsewhere:build"', "problem.name"),
    "unknown key": ("degree", "degre", "solver.degre"),
    "wrong type": ("degree = 2", 'degree = "2"', "solver.degree"),
    "impossible value": ("rtol = 1e-3", "rtol = -1", "solver.rtol"),
    "not a number": ("rtol = 1e-3", "rtol = nan", "solver.rtol"),
    "negative temperature": (
        "[mesh]",
        "parameters = { temperature = -0.1 }\n[mesh]",
        "problem.parameters.temperature",
    ),
    "mesh of another dimension": ("lower = [-2.0]", "lower = [-2.0, 0.0]", "mesh.lower"),
    "empty mesh": ("upper = [3.0]", "upper = [-2.0]", "mesh.upper[0]"),
    "missing mesh file": ("cells = [8]", 'file = "x.msh"', "mesh.file"),
    "times that decrease": ("[0.05]", "[0.05, 0.01]", "solver.times[1]"),
    "no neurons": (
        "[mesh]",
        "[particles]\nwidths = [0]\nreplicas = 2\nstep_size = 0.01\n[mesh]",
        "particles.widths[0]",
    ),
    "half a line": ("cells = [8]", "cells = ", "not valid TOML"),
    "a table twice": ("[solver]", "[mesh]", "not valid TOML"),
}


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def assert_one_message(code: int, out: str, err: str, expected: str) -> None:
    assert code == 2, out + err
    assert err.startswith("error: case.toml:\n  - ")
    assert err.count("error:") == 1
    assert expected in err
    assert out == ""
    assert "Traceback" not in err


def assert_stopped_by(process: subprocess.CompletedProcess, cause: str) -> None:
    assert process.returncode != 0
    assert cause in process.stderr


def command(*arguments, cwd, ranks=1):
    """`ddpde` as a process, or as several ranks."""
    line = [sys.executable, "-m", "ddpde", *arguments]
    if ranks > 1:
        beside = Path(sys.prefix) / "bin" / "mpirun"  # the one that DOLFINx was built with
        mpirun = str(beside) if beside.exists() else shutil.which("mpirun")
        line = [mpirun, "-n", str(ranks), *line]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


@pytest.mark.parametrize("verb", ["run", "validate"])
@pytest.mark.parametrize(("old", "new", "expected"), BAD.values(), ids=BAD)
def test_bad_case(tmp_path, monkeypatch, verb, old, new, expected):
    monkeypatch.chdir(tmp_path)
    Path("case.toml").write_text(changed(old, new))
    result = CliRunner().invoke(app, [verb, "case.toml"])
    assert_one_message(result.exit_code, result.stdout, result.stderr, expected)
    assert list(tmp_path.iterdir()) == [tmp_path / "case.toml"]


@pytest.mark.parametrize("bad", ["wrong type", "missing mesh file", "half a line"])
def test_bad_case_as_a_process(tmp_path, bad):
    old, new, expected = BAD[bad]
    (tmp_path / "case.toml").write_text(changed(old, new))
    done = command("run", "case.toml", cwd=tmp_path)
    assert_one_message(done.returncode, done.stdout, done.stderr, expected)


def test_bad_case_on_two_ranks(tmp_path):
    """… and an error that only the solver finds, on all ranks alike."""
    (tmp_path / "case.toml").write_text(changed("degree = 2", "degree = 20"))
    done = command("run", "case.toml", cwd=tmp_path, ranks=2)
    assert_one_message(done.returncode, done.stdout, done.stderr, "solver.degree: 20 is not <= 12")

    (tmp_path / "case.toml").write_text(changed("lower = [-2.0]", "lower = [0.5]"))
    done = command("run", "case.toml", cwd=tmp_path, ranks=2)
    assert done.returncode == 2
    assert done.stderr.count("of the initial law's mass") == 1
    assert "Abort" not in done.stderr

    (tmp_path / "case.toml").write_text(changed("cells = [8]", "cells = [1]"))
    done = command("run", "case.toml", cwd=tmp_path, ranks=2)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 1 cells on 2 ranks") and "Abort" not in done.stderr


LONE = """
from dataclasses import dataclass, replace
import ddpde
from ddpde.errors import ProblemError
from mpi4py import MPI

LONE = MPI.COMM_WORLD.rank == 1

def refuse():
    if LONE:
        raise ProblemError("not here")
    return ddpde.problems.erf_teacher()

def crash():
    return 1 / (0 if LONE else 1) and ddpde.problems.erf_teacher()

def later():
    problem = ddpde.problems.erf_teacher()
    calls = []

    def schedule(t):
        calls.append(t)
        if LONE and len(calls) > 5:
            raise ValueError("the schedule broke")
        return 1.0

    return replace(problem, schedule=schedule)

def unit():
    problem = ddpde.problems.erf_teacher()

    @dataclass(frozen=True)
    class Broken:
        dim = input_dim = 1

        def __call__(self, x, theta):
            if LONE:
                raise ValueError("the unit broke")
            return problem.unit(x, theta)

    return replace(problem, unit=Broken())
"""


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        ("refuse", "error: on rank 1: case.toml:\n  - problem.parameters: not here"),
        ("crash", "raised ZeroDivisionError: division by zero (lone.py, line 15)"),
        ("unit", "rank 1: the unit broke"),
        ("later", "rank 1: the schedule broke"),
    ],
)
def test_one_rank_stops_all(tmp_path, function, cause):
    (tmp_path / "lone.py").write_text(LONE)
    (tmp_path / "case.toml").write_text(changed("erf_teacher", f"lone:{function}"))
    assert_stopped_by(command("run", "case.toml", cwd=tmp_path, ranks=2), cause)


NEGATIVE = """
import numpy as np
from ddpde.problem import DensityLaw, Problem

def build():
    return Problem(
        "p",
        DensityLaw(1, lambda x: 0.25 * (1 + 1.05 * np.sin(np.pi / 2 * x[:, 0]))),
        potential=lambda x: (x * x).sum(axis=1),
    )
"""


def test_a_law_negative_on_one_rank(tmp_path):
    (tmp_path / "own.py").write_text(NEGATIVE)
    (tmp_path / "case.toml").write_text(changed("erf_teacher", "own:build"))
    done = command("run", "case.toml", cwd=tmp_path, ranks=2)
    assert done.returncode == 2
    assert done.stderr.count("the initial law's density is negative") == 1
    assert "Abort" not in done.stderr and "Traceback" not in done.stderr


def test_folder_that_cannot_be_written(tmp_path):
    """Rank 0 alone notices; all leave with its message."""
    (tmp_path / "case.toml").write_text(GOOD)
    (tmp_path / "taken").write_text("")
    done = command("run", "case.toml", "--out", "taken/here", cwd=tmp_path, ranks=2)
    assert done.returncode == 2
    assert "cannot write taken" in done.stderr
    assert done.stderr.count("error:") == 1
