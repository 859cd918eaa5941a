"""JKO steps on meshes: crowds below a largest density."""

import numpy as np
import pytest

import ddpde
from ddpde.errors import ProblemError
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.internal import Congestion


def crowd(mean, std):
    """At most density 1, in |θ|²/2."""
    return Problem(
        name="crowd",
        initial=GaussianLaw(mean, std),
        potential=lambda theta: 0.5 * (theta**2).sum(axis=1),
        internal=Congestion(1.0),
    )


def keeps_below(run):
    assert run.laws[-1].values.max() < 1 + 1e-9  # degree one: modes bound the density
    assert run.history["minimum"].min() >= 0
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert np.diff(run.history["free_energy"]).max() < 0


def test_crowd_on_a_line_tends_to_quantile_steps():
    problem = crowd((1.0,), (0.5,))
    mesh = ddpde.interval(-3, 3, cells=48)
    run = ddpde.solve(problem, mesh, times=[0.5], method="jko-quantile", dt=0.0125, degree=3)
    energy, mean = run.free_energy()[-1], run.mean()[-1, 0]
    gaps = []
    for cells, tau in ((100, 0.1), (200, 0.05)):
        mesh = ddpde.interval(-3, 3, cells=cells)
        run = ddpde.solve(problem, mesh, times=[0.5], method="jko", dt=tau)
        keeps_below(run)
        gaps.append([run.free_energy()[-1] - energy, run.mean()[-1, 0] - mean])
    assert np.all(np.divide(gaps[0], gaps[1]) > 1.6)  # of first order in τ and in the mesh
    assert np.all(np.abs(gaps[1]) < 0.03)


def test_crowd_fills_a_disc():
    """At rest it has density 1 where |θ|² < 1/π: the energy is 1/4π."""
    mesh = ddpde.box((-3, -3), (3, 3), cells=(32, 32))
    run = ddpde.solve(crowd((0.5, 0.0), (0.6, 0.6)), mesh, times=[6.0], method="jko", dt=0.25)
    keeps_below(run)
    assert run.free_energy()[-1] == pytest.approx(0.25 / np.pi, abs=2.5e-3)
    x, masses = run.laws[-1].points()
    assert masses[np.hypot(*(x - run.mean()[-1]).T) < 0.8].sum() > 0.995


@pytest.mark.parametrize("method", ("jko-bdf2", "jko-dynamic"))
def test_methods_without_a_largest_density(method):
    mesh = ddpde.interval(-3, 3, cells=20)
    with pytest.raises(ProblemError, match="no largest density"):
        ddpde.solve(crowd((0.0,), (0.5,)), mesh, times=[0.1], method=method, dt=0.1)
