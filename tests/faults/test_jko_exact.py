"""Quantile and entropic JKO refuse what they cannot do, with a name and a remedy."""

import numpy as np
import pytest

import ddpde
from ddpde.errors import MeshError, ProblemError, SolverError
from ddpde.flow.entropic import EntropicFlow
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.catalogue import dawson, erf_teacher, kuramoto, ornstein_uhlenbeck
from ddpde.problem.internal import Congestion
from ddpde.step.entropic import EntropicProximal

LINE = ddpde.interval(-5, 5, cells=40)
TURN = 2 * np.pi


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"method": "jko-quantile"}, "needs dt"),
        ({"method": "jko-entropic", "dt": 0.1, "space": "lagrangian"}, "its own way"),
        ({"method": "jko-entropic", "dt": 0.1, "adapt": 1e-3}, "its own way"),
        ({"method": "jko", "dt": 0.1, "inner_steps": 2}, "jko-dynamic"),
        ({"inner_steps": 2}, "jko-dynamic"),
        ({"method": "jko-dynamic", "dt": 0.1, "inner_steps": 0}, "from 1 to"),
        ({"method": "jko-sinkhorn", "dt": 0.1}, "jko-entropic"),
    ],
)
def test_options(settings, words):
    with pytest.raises(ProblemError, match=words):
        ddpde.solve(erf_teacher(), LINE, t_end=1.0, **settings)


def test_periodic_coordinates():
    mesh = ddpde.interval(0, TURN, cells=20)
    with pytest.raises(ProblemError, match="periodic"):
        ddpde.solve(kuramoto(), mesh, t_end=1.0, method="jko-quantile", dt=0.1)


def test_quantile_functions_are_for_one_dimension():
    mesh = ddpde.box((-6, -6), (6, 6), cells=(8, 8))
    with pytest.raises(ProblemError, match="quantile"):
        ddpde.solve(ornstein_uhlenbeck(), mesh, t_end=1.0, method="jko-quantile", dt=0.1)


def test_a_crowd_that_does_not_fit():
    problem = Problem(name="crowd", initial=GaussianLaw((0.0,), (0.05,)), internal=Congestion(0.5))
    mesh = ddpde.interval(-0.5, 0.5, cells=20)
    with pytest.raises(ProblemError, match="does not fit"):
        ddpde.solve(problem, mesh, t_end=1.0, method="jko-quantile", dt=0.1)


def test_obtuse_elements_have_no_positive_kernel():
    mesh = ddpde.box((0, 0), (8, 1), cells=(8, 8), cell="triangle")
    x = mesh.geometry.x
    x[:, 0] += 3.0 * x[:, 1]  # sheared: no grid, and obtuse
    with pytest.raises(MeshError, match="obtuse"):
        EntropicFlow(ornstein_uhlenbeck(), mesh)


def test_a_kernel_wider_than_the_law_is_refused():
    """A step of 1 without noise narrows the law to a point; solve() takes shorter ones."""
    flow = EntropicFlow(dawson(0.0), ddpde.interval(-4, 4, cells=200))
    with pytest.raises(SolverError, match="too wide for the law"):
        EntropicProximal(flow)(flow.state.getArray().copy(), 1.0)


def test_a_newton_iteration_that_is_cut_short_is_named(monkeypatch):
    monkeypatch.setattr("ddpde.step.quantile._MOST_ITERATIONS", 1)
    with pytest.raises(SolverError, match="did not converge: residual"):
        ddpde.solve(erf_teacher(), LINE, times=[1.0], method="jko-quantile", dt=0.5)


def test_a_path_that_is_not_found_is_named(monkeypatch):
    monkeypatch.setattr("ddpde.step.dynamic_newton._MOST_ITERATIONS", 3)
    with pytest.raises(SolverError, match="did not converge: residual"):
        ddpde.solve(erf_teacher(), LINE, times=[1.0], method="jko-dynamic", dt=0.5)
