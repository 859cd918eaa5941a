"""JKO steps on one, two and three ranks."""

import json
from pathlib import Path

import numpy as np
import pytest
from on_ranks import LONG, needs_mpirun

from ddpde.space import Law

pytestmark = LONG
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
PROGRAMS = ("jko_circles",)
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


def results(out):
    """Rows of the history, and the laws."""
    rows = (out / "history.jsonl").read_text().splitlines()
    history = [json.loads(row) for row in rows]
    laws = [Law.load(file) for file in sorted((out / "laws").glob("*.npz"))]
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
def test_ranks_agree(case, parallel, serial):
    history, laws = results(parallel.run(case))
    expected, expected_laws = results(serial.run(case))
    for name in ("t", "risk", "free_energy", "mass"):
        assert np.allclose(history[name], expected[name], rtol=1e-8, atol=1e-12), name
    for ours, theirs in zip(laws, expected_laws, strict=True):
        for a, b in ((ours.values, theirs.values), (ours.geometry, theirs.geometry)):
            assert np.abs(a - b).max() < 1e-8 * np.abs(b).max()


@needs_mpirun
def test_periodic_coordinates_on_ranks(parallel, serial):
    """Intervals, quadrilaterals, triangles; one period and two."""
    found, expected = (launch.array("jko_circles") for launch in (parallel, serial))
    assert np.allclose(found, expected, rtol=1e-8, atol=1e-12)
