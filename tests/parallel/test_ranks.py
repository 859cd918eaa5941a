"""Any number of ranks gives the serial result, written once by rank 0."""

import json
from pathlib import Path

import numpy as np
import pytest
from on_ranks import needs_mpirun, python, saved

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


def ddpde_run(folder, text, ranks):
    """`ddpde run` of a case in `folder`; its standard output."""
    (folder / "case.toml").write_text(text)
    return python(ranks, "-m", "ddpde", "run", "case.toml", "--out", "out", folder=folder)


def scalars(folder):
    """The history's rows at the output times, by name, and the number of its rows."""
    steps, rows = (
        [json.loads(line) for line in (folder / "out" / name).read_text().splitlines()]
        for name in ("history.jsonl", "outputs.jsonl")
    )
    assert [row["t"] for row in rows] == [law.time for law in laws(folder)]
    return {name: np.array([row[name] for row in rows]) for name in SCALARS}, len(steps)


def laws(folder):
    from ddpde.space import Law

    return [Law.load(file) for file in sorted((folder / "out/laws").glob("*.npz"))]


def difference(a, b):
    """Largest difference relative to the largest entry; that of a network's absence is 0."""
    return np.abs(a - b).max() / (np.abs(b).max() or 1.0)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The folder and the output of a case's run without mpirun, made when first asked for."""
    done = {}

    def of(case):
        if case not in done:
            folder = tmp_path_factory.mktemp(case)
            done[case] = folder, ddpde_run(folder, CASES[case], 0)
        return done[case]

    return of


@needs_mpirun
@pytest.mark.parametrize(
    ("case", "ranks"), [("line", 1), *((case, ranks) for case in CASES for ranks in (2, 3))]
)
def test_ranks_agree(case, ranks, serial, tmp_path):
    reference, expected_words = serial(case)
    said = ddpde_run(tmp_path, CASES[case], ranks)
    assert len(said.splitlines()) == len(expected_words.splitlines())  # rank 0 alone speaks
    assert {f.name for f in (tmp_path / "out").iterdir()} == {
        "case.used.toml",
        "history.jsonl",
        "laws",
        "outputs.jsonl",
        "run.json",
    }
    assert json.loads((tmp_path / "out/run.json").read_text())["ranks"] == ranks

    ours, steps = scalars(tmp_path)
    theirs, expected_steps = scalars(reference)
    assert steps == expected_steps
    for name in SCALARS:
        assert difference(ours[name], theirs[name]) < RTOL, name
    for law, expected in zip(laws(tmp_path), laws(reference), strict=True):
        assert law.time == expected.time
        assert difference(law.geometry, expected.geometry) < RTOL
        assert difference(law.values, expected.values) < RTOL


FLUCTUATIONS = """
from mpi4py import MPI
import ddpde
mesh = ddpde.box([-4, -4], [4, 4], cells=[8, 7])
found = ddpde.fluctuations(ddpde.problems.digits_pca(), mesh, times=[0.2], degree=2, rtol=1e-4,
                           observables={"product": lambda w: w[:, 0] * w[:, 1]})
if MPI.COMM_WORLD.rank == 0:
    print(found.covariance(10, step_size=0.1)[-1].ravel().tolist())
"""
DISTANCES = """
from mpi4py import MPI
import numpy as np
import ddpde
from ddpde.compare import NegativeSobolev
run = ddpde.solve(ddpde.problems.digits_pca(), ddpde.box([-4, -4], [4, 4], cells=[8, 7]), times=[0])
law = run.laws[0] if run.laws else None
cloud = np.random.default_rng(0).random((3000, 2)).round(2)  # many points on facets
distances = [NegativeSobolev(law, ddpde.box([-4, -4], [4, 4], cells=[16, 16], cell=cell))(cloud)
             for cell in ("quadrilateral", "triangle")]
if MPI.COMM_WORLD.rank == 0:
    print(distances)
"""


@needs_mpirun
@pytest.mark.parametrize("script", [FLUCTUATIONS, DISTANCES], ids=["fluctuations", "distances"])
def test_scripts_agree(script):
    found = []
    for ranks in (1, 2, 3):
        found.append(np.array(json.loads(python(ranks, "-c", script))))
    assert difference(found[1], found[0]) < RTOL
    assert difference(found[2], found[0]) < RTOL


SIGNED = """
from mpi4py import MPI
import numpy as np
import ddpde
from ddpde.problem import DensityLaw, Problem
problem = Problem(
    "signed",
    DensityLaw(3, lambda t: np.exp(-((t[:, :2] - 0.3) ** 2).sum(axis=1) / 0.18) / (0.36 * np.pi)),
    interaction=lambda a, b: (a[:, :2] @ b[:, :2].T) * a[:, 2:] * b[:, 2],
    potential=lambda a: -a[:, 2] * a[:, 0],
    birth_death=2.0,
    mass=0.5,
    conserved=False,
    temperature=0.02,
)
mesh = ddpde.signed(ddpde.box([-2, -2], [2, 2], cells=[9, 8], cell="triangle"))
run = ddpde.solve(problem, mesh, times=[0.2], degree=2, rtol=1e-4)
if MPI.COMM_WORLD.rank == 0:
    law = run.laws[-1]
    signed = law.expectation(lambda x: x[:, 2] * x[:, 0])
    print(run.free_energy()[-1], run.history["mass"][-1], signed)
"""


@needs_mpirun
def test_signed_measures_on_ranks():
    found = []
    for ranks in (1, 2, 3):
        found.append([float(word) for word in python(ranks, "-c", SIGNED).split()])
    assert np.allclose(found[1:], found[0], rtol=1e-10)


CIRCLES = """
from mpi4py import MPI
import sys
import numpy as np
import ddpde
from ddpde.problem import DensityLaw, Problem
from ddpde.problem.classics import TURN, kuramoto

def coupling(a, b):
    return -np.cos(a[:, None] - b[None]).sum(axis=2)

start = DensityLaw(2, lambda x: (1 + 0.5 * np.cos(x[:, 0]) * np.cos(x[:, 1] - 1)) / TURN**2)
torus = Problem("torus", start, interaction=coupling, temperature=0.3, periods=(TURN, TURN))
start = DensityLaw(2, lambda x: (1 + 0.5 * np.cos(x[:, 0])) / TURN)
band = Problem("band", start, potential=lambda x: x[:, 1] * np.cos(x[:, 0]), temperature=0.3,
               periods=(TURN, None))
square = [0, 0], [TURN, TURN]
rough = dict(times=[0.2], degree=2, rtol=1e-3)
runs = [
    ddpde.solve(kuramoto(0.1, 1.5), ddpde.interval(0, TURN, cells=6), **rough, adapt=1e-1),
    ddpde.solve(torus, ddpde.box(*square, cells=[8, 6]), **rough),
    ddpde.solve(torus, ddpde.box(*square, cells=[4, 3], cell="triangle"), **rough),
    ddpde.solve(band, ddpde.box([0, 0], [TURN, 1], cells=[5, 2], cell="triangle"), **rough),
]
if MPI.COMM_WORLD.rank == 0:
    found = [np.append(run.laws[-1].values, run.free_energy()) for run in runs]
    np.save(sys.argv[1], np.concatenate(found))
"""


@needs_mpirun
def test_periodic_coordinates_on_ranks(tmp_path):
    """Intervals that adapt, quadrilaterals, triangles; one period and two."""
    found = saved(CIRCLES, tmp_path)
    assert difference(found[1], found[0]) < RTOL
    assert difference(found[2], found[0]) < RTOL


DESCENT = """
from mpi4py import MPI
import ddpde
problem = ddpde.problems.ornstein_uhlenbeck((2.0,), (0.7,), 0.5)
mesh = ddpde.interval(-6, 6, cells=12)
run = ddpde.solve(problem, mesh, times=[10.0], degree=2, rtol=1e-2)
assert run.history["corrected"].max() > 0
if MPI.COMM_WORLD.rank == 0:
    print(len(run.history["t"]), run.free_energy()[-1], *run.mean()[-1])
"""


@needs_mpirun
def test_laws_kept_from_rising_on_ranks():
    found = []
    for ranks in (1, 2, 3):
        found.append([float(word) for word in python(ranks, "-c", DESCENT).split()])
    assert np.allclose(found[1:], found[0], rtol=1e-9, atol=1e-9)
