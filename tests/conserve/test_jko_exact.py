"""JKO steps keep mass, sign and descent, whatever the step and the temperature."""

import numpy as np
import pytest

import ddpde
from ddpde.problem.catalogue import dawson, erf_teacher, ornstein_uhlenbeck

STEPS = (1e-4, 1e-2, 1.0, 10.0)
PROBLEMS = {
    "potential": lambda T: (ornstein_uhlenbeck((1.0,), (0.5,), T), ddpde.interval(-6, 6, cells=48)),
    "network": lambda T: (
        erf_teacher(T, ridge=0.1 if T else 0.0),
        ddpde.interval(-5, 5, cells=48),
    ),
    "double well": lambda T: (dawson(T), ddpde.interval(-4, 4, cells=48)),
}


def check(run):
    mass, energy = run.history["mass"], run.history["free_energy"]
    assert np.abs(np.diff(mass)).max() < 1e-12
    assert run.history["minimum"].min() >= 0
    assert np.diff(energy).max() <= 1e-10 * max(1.0, np.abs(energy).max())
    assert np.isfinite(run.history["residual"]).all()


@pytest.mark.parametrize("method", ("jko-quantile", "jko-quantile-midpoint"))
@pytest.mark.parametrize("tau", STEPS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_quantile(name, tau, method):
    for T in (0.0, 0.01, 1.0):
        problem, mesh = PROBLEMS[name](T)
        check(ddpde.solve(problem, mesh, times=[3 * tau], degree=3, method=method, dt=tau))


@pytest.mark.parametrize("tau", STEPS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_entropic(name, tau):
    for T in (0.0, 0.01, 1.0) if tau < 1 else (0.01, 1.0):
        problem, _ = PROBLEMS[name](T)
        mesh = ddpde.interval(-5, 5, cells=200)
        check(ddpde.solve(problem, mesh, times=[3 * tau], method="jko-entropic", dt=tau))


@pytest.mark.parametrize("method", ("jko", "jko-upwind"))
@pytest.mark.parametrize("tau", (1e-4, 1e-3, *STEPS[1:]))
@pytest.mark.parametrize("name", ("potential", "network"))
def test_lagged(name, tau, method):
    for T in (0.0, 0.5, 1.0):
        problem, _ = PROBLEMS[name](T)
        mesh = ddpde.interval(-6, 6, cells=200)
        check(ddpde.solve(problem, mesh, times=[3 * tau], method=method, dt=tau))


@pytest.mark.parametrize("tau", (1e-4, 1e-3, *STEPS[1:]))
@pytest.mark.parametrize("name", ("potential", "network"))
def test_dynamic(name, tau):
    for T in (0.0, 0.5, 1.0):
        problem, _ = PROBLEMS[name](T)
        mesh = ddpde.interval(-6, 6, cells=100)
        check(ddpde.solve(problem, mesh, times=[3 * tau], method="jko-dynamic", dt=tau))


@pytest.mark.parametrize("tau", STEPS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_bdf2(name, tau):
    for T in (0.0, 0.5, 1.0):
        problem, _ = PROBLEMS[name](T)
        mesh = ddpde.interval(-6, 6, cells=200)
        check(ddpde.solve(problem, mesh, times=[5 * tau], method="jko-bdf2", dt=tau))


@pytest.mark.parametrize("tau", STEPS)
def test_lagged_in_the_plane(tau):
    mesh = ddpde.box((-6, -6), (6, 6), cells=(24, 24))
    for T in (0.0, 0.5, 1.0):
        problem = ornstein_uhlenbeck(temperature=T)
        check(ddpde.solve(problem, mesh, times=[3 * tau], method="jko", dt=tau))
