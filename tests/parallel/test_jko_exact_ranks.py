"""JKO steps on one, two and three ranks."""

import json
from pathlib import Path

import numpy as np
import pytest
from on_ranks import needs_mpirun, python, saved

from ddpde.space import Law

ROOT = Path(__file__).parents[2]

QUANTILE = """
title = "quantile functions"
[problem]
name = "isotropic_gaussians"
[mesh]
lower = 0.0
upper = 5.0
cells = 24
[solver]
method = "jko-quantile"
dt = 0.1
times = [0.1, 0.5]
"""
ENTROPIC = """
title = "entropic"
[problem]
name = "ornstein_uhlenbeck"
parameters.mean = [-0.5, 0.2]
parameters.std = [0.5, 0.6]
parameters.temperature = 0.3
[mesh]
{mesh}
[solver]
method = "jko-entropic"
dt = {dt}
times = [{dt}]
"""
LAGGED = """
title = "lagged, a network"
[problem]
name = "digits_pca"
[mesh]
lower = [-4.0, -4.0]
upper = [4.0, 4.0]
cells = [31, 24]
[solver]
method = "jko-bdf2"
dt = 0.1
times = [0.2]
"""
DYNAMIC = """
title = "dynamic, a network without noise"
[problem]
name = "erf_teacher"
[mesh]
lower = -3.0
upper = 4.0
cells = 70
[solver]
method = "jko-dynamic"
inner_steps = 2
dt = 0.1
times = [0.1]
"""
CIRCLES = """
from dataclasses import replace
from mpi4py import MPI
import sys
import numpy as np
import ddpde
from ddpde.problem import DensityLaw, Problem

TURN = 2 * np.pi

start = DensityLaw(2, lambda x: (1 + 0.5 * np.cos(x[:, 0] + 0.3) * np.cos(x[:, 1] - 1)) / TURN**2)
torus = Problem("torus", start, temperature=0.3, periods=(TURN, TURN),
                potential=lambda x: np.cos(x[:, 0] - x[:, 1]))
start = DensityLaw(2, lambda x: (1 + 0.5 * np.cos(x[:, 0])) / TURN)
band = Problem("band", start, potential=lambda x: x[:, 1] * np.cos(x[:, 0]), temperature=0.3,
               periods=(TURN, None))
start = DensityLaw(1, lambda x: (1 + 0.5 * np.cos(x[:, 0])) / TURN)
circle = Problem("circle", start, potential=lambda x: np.sin(x[:, 0]), temperature=0.3,
                 periods=(TURN,))
square = [0, 0], [TURN, TURN]
bent = ddpde.box(*square, cells=[7, 5], cell="triangle")
at = bent.geometry.x
at[:, 0] += 0.02 * np.sin(at[:, 0]) * np.sin(at[:, 1])  # no grid
runs = [
    ddpde.solve(circle, ddpde.interval(0, TURN, cells=9), times=[0.2], method="jko-dynamic-bdf2",
                dt=0.1, inner_steps=2),
    ddpde.solve(torus, ddpde.box(*square, cells=[7, 5], cell="triangle"), times=[0.2],
                method="jko-bdf2", dt=0.1),
    ddpde.solve(band, ddpde.box([0, 0], [TURN, 1], cells=[5, 3]), times=[0.1],
                method="jko-upwind", dt=0.1),
    ddpde.solve(circle, ddpde.interval(0, TURN, cells=9), times=[0.1], method="jko-entropic",
                dt=0.1),
    ddpde.solve(torus, bent, times=[0.1], method="jko-entropic", dt=0.1),
    ddpde.solve(replace(torus, birth_death=1.0), bent, times=[0.1], method="jko-entropic", dt=0.1),
]
if MPI.COMM_WORLD.rank == 0:
    columns = "risk", "free_energy", "mass", "boundary_mass"
    found = [[run.laws[-1].values, *(run.history[name] for name in columns)] for run in runs]
    np.save(sys.argv[1], np.concatenate([np.ravel(part) for parts in found for part in parts]))
"""
BOX = "lower = [-4.0, -4.0]\nupper = [4.0, 4.0]\ncells = [31, 24]"


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Case files by name; one on a mesh that is no grid."""
    import gmsh

    file = tmp_path_factory.mktemp("mesh") / "l_shape.msh"
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.option.setNumber("Mesh.MeshSizeFactor", 0.5)
    gmsh.open(str(ROOT / "meshes" / "l_shape.geo"))
    gmsh.model.mesh.generate(2)
    gmsh.write(str(file))
    gmsh.finalize()
    return {
        "quantile": QUANTILE,
        "lagged, network": LAGGED,
        "lagged, triangles": ENTROPIC.replace("-entropic", "").format(
            mesh=f'file = "{file}"', dt=0.01
        ),
        "dynamic, network": DYNAMIC,
        "dynamic, triangles": ENTROPIC.replace("-entropic", "-dynamic-bdf2")
        .replace("times = [", "inner_steps = 2\ntimes = [0.005, ")
        .format(mesh=f'file = "{file}"', dt=0.01),
        "grid": ENTROPIC.format(mesh=BOX, dt=0.1),
        "triangles": ENTROPIC.format(mesh=f'file = "{file}"', dt=0.01),
    }


def results(folder, text, ranks):
    """Rows of the history, and the laws, of `ddpde run` of a case in `folder`."""
    folder.mkdir()
    (folder / "case.toml").write_text(text)
    python(ranks, "-m", "ddpde", "run", "case.toml", "--out", "out", folder=folder)
    rows = (folder / "out/history.jsonl").read_text().splitlines()
    history = [json.loads(row) for row in rows]
    laws = [Law.load(file) for file in sorted((folder / "out/laws").glob("*.npz"))]
    return {k: np.array([row[k] for row in history]) for k in history[0]}, laws


@needs_mpirun
@pytest.mark.parametrize(
    "case",
    (
        "quantile",
        "grid",
        "triangles",
        "lagged, network",
        "lagged, triangles",
        "dynamic, network",
        "dynamic, triangles",
    ),
)
def test_ranks_agree(case, cases, tmp_path):
    serial, expected = results(tmp_path / "serial", cases[case], 0)
    for ranks in (2, 3):
        history, laws = results(tmp_path / str(ranks), cases[case], ranks)
        for name in ("t", "risk", "free_energy", "mass"):
            assert np.allclose(history[name], serial[name], rtol=1e-8, atol=1e-12), (ranks, name)
        for ours, theirs in zip(laws, expected, strict=True):
            for a, b in ((ours.values, theirs.values), (ours.geometry, theirs.geometry)):
                assert np.abs(a - b).max() < 1e-8 * np.abs(b).max()


@needs_mpirun
def test_periodic_coordinates_on_ranks(tmp_path):
    """Intervals, quadrilaterals, triangles; one period and two."""
    found = saved(CIRCLES, tmp_path)
    assert np.allclose(found[1:], found[0], rtol=1e-8, atol=1e-12)
