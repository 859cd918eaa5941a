"""Dynamic JKO: exact iterates of W₂, the lagged step as one inner step, meshes of every kind."""

from dataclasses import replace

import numpy as np
import pytest
from jko_iterates import barenblatt, barenblatt_radius, gaussian_std
from jko_orders import eighth

import ddpde
from ddpde.flow.vertices import VertexFlow
from ddpde.problem.catalogue import erf_teacher, ornstein_uhlenbeck
from ddpde.step.dynamic import DynamicProximal
from ddpde.step.dynamic_bdf2 import DynamicBdf2
from ddpde.step.dynamic_newton import DynamicNewton
from ddpde.step.lagged import LaggedProximal


def dynamic(problem, mesh, tau, inner_steps, count=1, method="jko-dynamic"):
    return ddpde.solve(
        problem,
        mesh,
        times=[count * tau],
        method=method,
        dt=tau,
        inner_steps=inner_steps,
    )


def moments(law):
    """Mean and standard deviation of the masses at the vertices of equal cells on a line."""
    x, density, volume = law.at(np.array([[0.0], [1.0]]))
    masses, x = 0.5 * density * volume, x[..., 0]
    mean = np.sum(masses * x)
    return mean, np.sqrt(np.sum(masses * (x - mean) ** 2))


@pytest.mark.parametrize("upwind", (False, True))
@pytest.mark.parametrize(
    "problem",
    [
        ornstein_uhlenbeck((1.0,), (0.5,), 0.5),
        erf_teacher(0.1, ridge=0.1),
        barenblatt(2),
        replace(erf_teacher(0.1, ridge=0.1), birth_death=1.0),
        replace(erf_teacher(0.0, ridge=0.1), birth_death=1.0),
    ],
    ids=lambda problem: f"{problem.name}, {problem.birth_death}, {problem.temperature}",
)
def test_one_inner_step_is_the_lagged_step(problem, upwind):
    flow = VertexFlow(problem, ddpde.interval(-5, 5, cells=150))
    start = flow.state.getArray().copy()
    lagged = LaggedProximal(flow, upwind=upwind)(start, 0.1)
    found = DynamicNewton(flow, 1, upwind=upwind).solve(start, 0.1)
    # at temperature 0 the barrier lifts a law's ends by about the root of the gap
    rounding = 1e-10 if problem.temperature > 0 else 1e-7
    assert np.abs(found.density - lagged).max() < rounding


@pytest.mark.parametrize("tau", (0.5, 0.1))
def test_gaussian_iterates(tau):
    problem, errors = ornstein_uhlenbeck((1.0,), (0.5,)), []
    for inner_steps, cells in ((2, 150), (4, 300), (8, 600)):
        run = dynamic(problem, ddpde.interval(-4, 5, cells=cells), tau, inner_steps)
        mean, std = moments(run.laws[-1])
        errors.append((mean - 1 / (1 + tau), std - gaussian_std(0.5, tau, 1)))
    assert np.abs(errors[-1]).max() < 4e-4 * tau
    assert np.all(np.abs(errors[1]) > 3.0 * np.abs(errors[2])), errors


@pytest.mark.parametrize("tau", (0.5, 0.1))
def test_barenblatt_iterates(tau):
    problem, errors = barenblatt(2), []
    for inner_steps, cells in ((2, 250), (4, 500), (8, 1000)):
        run = dynamic(problem, ddpde.interval(-3, 3, cells=cells), tau, inner_steps)
        (_, before), (_, after) = (moments(law) for law in run.laws)
        wider = barenblatt_radius(2, tau, 1) / barenblatt_radius(2, tau, 0)
        errors.append(abs(after / before / wider - 1))
    assert errors[-1] < 3e-5 * tau
    assert errors[0] > 9.0 * errors[2]


BDF2_STD = {  # exact: variational BDF2 from std 0.5 to t = 1, the first step an ordinary one
    0.2: 0.68199711758048,
    0.1: 0.68271020397272,
    0.05: 0.68275177136941,
    0.025: 0.68276015158435,
    0.0125: 0.68276266277357,
}


@pytest.mark.parametrize(
    "tau", [0.2, 0.1, *(pytest.param(tau, marks=pytest.mark.slow) for tau in (0.05, 0.025, 0.0125))]
)
def test_bdf2_iterates(tau):
    problem, mesh = ornstein_uhlenbeck((0.0,), (0.5,)), ddpde.interval(-3.6, 3.6, cells=240)
    run = dynamic(problem, mesh, tau, 6, round(1 / tau), "jko-dynamic-bdf2")
    assert abs(moments(run.laws[-1])[1] - BDF2_STD[tau]) < 1e-4


def test_short_steps_of_bdf2_are_found_in_space():
    """Beyond the front paths answer anything that falls by (cell)²/τ: not what is carried on."""
    flow = VertexFlow(eighth(), ddpde.box((0,) * 3, (2.25,) * 3, cells=(8,) * 3))
    step, ordinary = DynamicBdf2(flow, 3), DynamicProximal(flow, 3)
    u = step(flow.state.getArray().copy(), 1 / 256)
    second, first = step(u, 1 / 256), ordinary(u, 1 / 256)
    assert np.abs(second - first).max() > 1e-4 * u.max()  # else the latter was taken for it
    assert abs(flow.masses @ second - 1) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("tau, inner_steps", [(0.1, 32), (0.05, 16), (0.025, 16)])
def test_gaussian_iterates_to_a_millionth(tau, inner_steps):
    problem, mesh = ornstein_uhlenbeck((0.0,), (0.5,)), ddpde.interval(-4, 4, cells=3200)
    _, std = moments(dynamic(problem, mesh, tau, inner_steps).laws[-1])
    assert abs(std - gaussian_std(0.5, tau, 1)) < 1e-6


@pytest.mark.slow
def test_a_long_step_extrapolated_to_a_millionth():
    """At once finer in time and space the error falls as a square: extrapolated it is at 1e-6."""
    problem, found = ornstein_uhlenbeck((0.0,), (0.5,)), []
    for inner_steps, cells in ((4, 300), (8, 600), (16, 1200)):
        run = dynamic(problem, ddpde.interval(-4, 4, cells=cells), 0.5, inner_steps)
        found.append(moments(run.laws[-1])[1])
    errors = np.array(found) - gaussian_std(0.5, 0.5, 1)
    assert abs(np.log2(errors[1] / errors[2]) - 2.0) < 0.2, errors
    assert abs(errors[2] - (errors[1] - errors[2]) / 3) < 1e-6, errors


@pytest.mark.slow
@pytest.mark.parametrize("tau, inner_steps", [(0.2, 16), (0.1, 16), (0.05, 16)])
def test_barenblatt_radii_to_a_millionth(tau, inner_steps):
    run = dynamic(barenblatt(2), ddpde.interval(-3, 3, cells=3000), tau, inner_steps)
    (_, before), (_, after) = (moments(law) for law in run.laws)
    radius, found = barenblatt_radius(2, tau, 1), barenblatt_radius(2, tau, 0) * after / before
    assert abs(found - radius) < 1e-6


def test_first_order_in_tau():
    problem = ornstein_uhlenbeck((0.0,), (0.5,), 0.5)
    mesh, errors = ddpde.interval(-5, 5, cells=200), []
    for count in (5, 10, 20):
        run = dynamic(problem, mesh, 1 / count, 2, count)
        _, std = moments(run.laws[-1])
        errors.append(std - 0.68276363347124)
    slopes = np.diff(np.log(np.abs(errors))) / np.log(0.5)
    assert np.abs(slopes - 1.0).max() < 0.1, slopes
