"""JKO steps where grids cannot go: on a sphere, and on an L-shaped mesh from gmsh."""

from pathlib import Path

import numpy as np
import pytest

import ddpde
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.initial import DensityLaw
from ddpde.step import JKO_METHODS

METHODS = [name for name in JKO_METHODS if not name.startswith("jko-quantile")]
# upwind mobilities are of first order in the mesh: where they are, or where laws are steep
SPHERE = {"jko-upwind": 0.08}
L_SHAPE = {"jko": 0.02, "jko-upwind": 0.05}


@pytest.fixture(scope="module")
def sphere():
    return ddpde.sphere(1.0, size=0.3)


@pytest.fixture(scope="module")
def l_shape():
    """A mesh, a problem on it, and what the method of lines finds at t = 1."""
    from dolfinx.mesh import refine

    problem = Problem(
        name="slope",
        initial=GaussianLaw((-0.5, 1.0), (0.5, 0.5)),
        potential=lambda theta: theta[:, 0] - 0.5 * theta[:, 1],
        temperature=0.5,
    )
    mesh = ddpde.from_gmsh(Path(__file__).parents[2] / "meshes" / "l_shape.msh")
    mesh.topology.create_entities(1)
    exact = ddpde.solve(problem, mesh, times=[1.0], degree=3, rtol=1e-5)
    return refine(mesh)[0], problem, exact


def keeps(run):
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert run.history["minimum"].min() >= 0
    assert np.diff(run.history["free_energy"]).max() <= 0


@pytest.mark.parametrize("method", METHODS)
def test_heat_on_a_sphere(method, sphere):
    """The first spherical harmonics decay like exp(−2Tt)."""
    norm = 2 * np.pi * np.sinh(2.0)
    problem = Problem(
        name="sphere",
        initial=DensityLaw(3, lambda x: np.exp(2 * x[:, 0]) / norm),
        temperature=0.5,
    )
    off = []
    for count in (5, 10):
        run = ddpde.solve(problem, sphere, times=[0.5], method=method, dt=0.5 / count)
        keeps(run)
        mean = run.mean()[:, 0]
        off.append(mean[-1] / mean[0] / np.exp(-0.5) - 1)
    order = JKO_METHODS[method].order
    left = (2**order * off[1] - off[0]) / (2**order - 1)  # the mesh's error
    assert abs(off[1]) < abs(off[0]) or method == "jko-upwind"
    assert abs(left) < SPHERE.get(method, 0.01), (left, off)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "jko-dynamic-bdf2" else ())
        for name in METHODS
    ],
)
def test_an_l_shape_against_the_method_of_lines(method, l_shape):
    mesh, problem, exact = l_shape
    run = ddpde.solve(problem, mesh, times=[1.0], method=method, dt=0.05)
    keeps(run)
    off = [*(run.mean()[-1] - exact.mean()[-1]), run.free_energy()[-1] - exact.free_energy()[-1]]
    assert np.abs(off).max() < L_SHAPE.get(method, 6e-3), off
