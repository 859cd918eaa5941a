"""Every JKO method keeps mass, sign and descent, whatever the step and the temperature."""

import numpy as np
import pytest

import ddpde
from ddpde.problem.catalogue import dawson, erf_teacher, ornstein_uhlenbeck
from ddpde.step import JKO_METHODS

STEPS = (1e-4, 1e-2, 1.0, 10.0)
TEMPERATURES = (0.0, 0.01, 1.0)
PROBLEMS = {
    "potential": lambda T: ornstein_uhlenbeck((1.0,), (0.5,), T),
    "network": lambda T: erf_teacher(T, ridge=0.1 if T else 0.0),
    "double well": dawson,
}


def dear(method, *others):
    """Two paths a step: what takes minutes in all is marked slow."""
    slow = method == "jko-dynamic-bdf2" and others != ("potential",)
    return pytest.param(method, *others, marks=pytest.mark.slow if slow else ())


def check(run):
    mass, energy = run.history["mass"], run.history["free_energy"]
    assert np.abs(mass - mass[0]).max() < 1e-12
    assert run.history["minimum"].min() >= 0
    assert np.diff(energy).max() <= 1e-10 * max(1.0, np.abs(energy).max())
    assert np.isfinite(run.history["residual"]).all()


def solved(method, problem, tau):
    """Quantile functions move with the law; a heat kernel has to resolve F'; paths cost more."""
    ends, cells = (5, 48) if "quantile" in method else (5, 200)
    if method.startswith("jko-dynamic"):
        ends, cells = 4, 64
    mesh = ddpde.interval(-ends, ends, cells=cells)
    return ddpde.solve(problem, mesh, times=[3 * tau], degree=3, method=method, dt=tau)


@pytest.mark.parametrize("tau", STEPS)
@pytest.mark.parametrize(
    "method, name", [dear(method, name) for method in JKO_METHODS for name in PROBLEMS]
)
def test_a_line(method, name, tau):
    for T in TEMPERATURES:
        check(solved(method, PROBLEMS[name](T), tau))


@pytest.mark.slow
@pytest.mark.parametrize("tau", (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0))
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", JKO_METHODS)
def test_more_temperatures_on_a_line(method, name, tau):
    for T in (1e-4, 1e-3, 0.1):
        check(solved(method, PROBLEMS[name](T), tau))


@pytest.mark.parametrize("tau", STEPS)
@pytest.mark.parametrize("method", [dear(name) for name in JKO_METHODS if "quantile" not in name])
def test_the_plane(method, tau):
    cells = 16 if method.startswith("jko-dynamic") else 24
    mesh = ddpde.box((-6, -6), (6, 6), cells=(cells, cells))
    for T in (0.0, 0.5, 1.0):
        problem = ornstein_uhlenbeck(temperature=T)
        check(ddpde.solve(problem, mesh, times=[3 * tau], method=method, dt=tau))
