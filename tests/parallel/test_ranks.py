"""Any number of ranks gives the serial result, written once by rank 0."""

import json
from pathlib import Path

import numpy as np
import pytest
from on_ranks import LONG, launched, needs_mpirun

from ddpde.space import Law

pytestmark = LONG
ROOT = Path(__file__).parents[2]
RTOL = 1e-10
SCALARS = ("risk", "free_energy", "mass")
LINE = """
title = "1D, temperature zero"
[problem]
name = "isotropic_gaussians"
[mesh]
lower = 0.0
upper = 4.0
cells = 64
[solver]
times = [0.1, 0.5]
"""
PLANE = """
title = "2D, positive temperature, digits"
[problem]
name = "digits_pca"
[mesh]
lower = [-4.0, -4.0]
upper = [4.0, 4.0]
cells = [12, 11]
[solver]
degree = 2
times = [0.1, 0.3]
rtol = 1e-5
"""
MOVING = """
title = "1D, a mesh that moves"
[problem]
name = "isotropic_gaussians"
[mesh]
lower = 0.2
upper = 1.6
cells = 32
[solver]
space = "lagrangian"
times = [0.1, 0.5]
"""
FOLLOWING = """
title = "2D, a box whose lines follow the law, and which grows"
[problem]
name = "ornstein_uhlenbeck"
[problem.parameters]
mean = [1.5, 0.5]
std = [0.1, 0.05]
[mesh]
lower = [-1.0, -1.0]
upper = [2.0, 2.0]
cells = [3, 3]
[solver]
times = [0.005, 0.05]
rtol = 1e-3
adapt = 1e-2
grow = 1e-5
"""
BISECTED = """
title = "2D, triangles that follow the law"
[problem]
name = "ornstein_uhlenbeck"
[problem.parameters]
mean = [1.5, 0.5]
std = [0.2, 0.1]
[mesh]
lower = [-4.0, -4.0]
upper = [4.0, 4.0]
cells = [6, 6]
cell = "triangle"
[solver]
times = [0.005, 0.05]
degree = 2
rtol = 1e-3
adapt = 3e-2
"""
FRONT = """
title = "2D, a gas in a porous medium, confined"
[problem]
name = "porous_medium"
[problem.parameters]
dim = 2
confinement = 1.0
[mesh]
lower = [-2.2, -2.2]
upper = [2.2, 2.2]
cells = [8, 7]
cell = "triangle"
[solver]
times = [0.05, 0.1]
degree = 2
rtol = 1e-3
"""
NOISE = """
title = "1D, the noise of SGD"
[problem]
name = "erf_teacher"
[problem.parameters]
loss = "half_squared"
label_noise = 0.5
sgd_noise = 0.3
[mesh]
lower = -2.0
upper = 4.0
cells = 24
[solver]
times = [0.1, 0.2]
rtol = 1e-4
"""
FILE = f"""
title = "2D, a gmsh mesh"
[problem]
name = "ornstein_uhlenbeck"
[problem.parameters]
mean = [-1.0, -1.0]
std = [0.3, 0.3]
[mesh]
file = "{ROOT / "meshes" / "l_shape.msh"}"
[solver]
times = [0.05, 0.1]
degree = 2
rtol = 1e-3
"""
SPACE = """
title = "3D, tetrahedra: solved by iteration"
[problem]
name = "ornstein_uhlenbeck"
[problem.parameters]
mean = [1.0, 0.5, 0.0]
std = [0.9, 0.8, 0.9]
[mesh]
lower = [-4.5, -4.5, -4.5]
upper = [4.5, 4.5, 4.5]
cells = [5, 5, 5]
cell = "tetrahedron"
[solver]
times = [0.1, 0.2]
degree = 3
rtol = 1e-3
"""
CASES = {
    "front": FRONT,
    "noise": NOISE,
    "file": FILE,
    "space": SPACE,
    "line": LINE,
    "plane": PLANE,
    "moving": MOVING,
    "following": FOLLOWING,
    "bisected": BISECTED,
}


FIELDS = ("fluctuations", "distances", "circles")
NUMBERS = ("signed", "descent")
PROGRAMS = FIELDS + NUMBERS


@pytest.fixture(scope="module")
def cases():
    return CASES


def scalars(out):
    """The history's rows at the output times, by name, and the number of its rows."""
    steps, rows = (
        [json.loads(line) for line in (out / name).read_text().splitlines()]
        for name in ("history.jsonl", "outputs.jsonl")
    )
    assert [row["t"] for row in rows] == [law.time for law in laws(out)]
    return {name: np.array([row[name] for row in rows]) for name in SCALARS}, len(steps)


def laws(out):
    return [Law.load(file) for file in sorted((out / "laws").glob("*.npz"))]


def difference(a, b):
    """Largest difference relative to the largest entry; that of a network's absence is 0."""
    return np.abs(a - b).max() / (np.abs(b).max() or 1.0)


def assert_agree(launch, serial, case):
    ours, theirs = launch.run(case), serial.run(case)
    assert {f.name for f in ours.iterdir()} == {
        "case.used.toml",
        "history.jsonl",
        "laws",
        "outputs.jsonl",
        "run.json",
    }
    assert json.loads((ours / "run.json").read_text())["ranks"] == launch.ranks

    found, steps = scalars(ours)
    expected, expected_steps = scalars(theirs)
    assert steps == expected_steps
    for name in SCALARS:
        assert difference(found[name], expected[name]) < RTOL, name
    for law, other in zip(laws(ours), laws(theirs), strict=True):
        assert law.time == other.time
        assert difference(law.geometry, other.geometry) < RTOL
        assert difference(law.values, other.values) < RTOL


@needs_mpirun
@pytest.mark.parametrize("case", CASES)
def test_ranks_agree(case, parallel, serial):
    assert_agree(parallel, serial, case)


@needs_mpirun
def test_one_rank(serial, tmp_path):
    assert_agree(launched(1, tmp_path, {"line": LINE}), serial, "line")


@needs_mpirun
def test_rank_0_alone_speaks(parallel, serial):
    assert len(parallel.said.splitlines()) == len(serial.said.splitlines()) > len(CASES)


@needs_mpirun
@pytest.mark.parametrize("program", FIELDS)
def test_fields_agree(program, parallel, serial):
    assert difference(parallel.array(program), serial.array(program)) < RTOL


@needs_mpirun
@pytest.mark.parametrize("program", NUMBERS)
def test_numbers_agree(program, parallel, serial):
    assert np.allclose(parallel.array(program), serial.array(program), rtol=1e-9, atol=1e-9)
