"""Lagged H⁻¹ JKO: the gravity test of its authors, closed forms, networks."""

import numpy as np
import pytest
from jko_iterates import GRAVITY_MASS, gravity, gravity_density

import ddpde
from ddpde.problem.catalogue import erf_teacher, ornstein_uhlenbeck
from ddpde.problem.classics import porous_medium


def l1_error(law, exact, points=6):
    nodes, weights = np.polynomial.legendre.leggauss(points)
    nodes, weights = 0.5 + 0.5 * nodes, 0.5 * weights
    if law.cell != "interval":
        nodes = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        weights = np.outer(weights, weights).ravel()
    x, density, volume = law.at(nodes.reshape(len(weights), -1))
    found = np.abs(density - exact(x.reshape(-1, x.shape[-1])).reshape(density.shape))
    return np.sum(found * volume * weights)


def gravity_run(tau, method):
    """From t = 0.1 to 0.3: the run, and its L1 error at mass MASS."""
    mesh = ddpde.interval(0, 1, cells=800)
    run = ddpde.solve(gravity(), mesh, times=[0.2], method=method, dt=tau)
    error = l1_error(run.laws[-1], lambda x: gravity_density(x[:, 0], 0.3) / GRAVITY_MASS)
    return run, GRAVITY_MASS * error


# fully resolved in space
@pytest.mark.parametrize(
    "tau, error", [(0.05, 5.91748431e-2), (0.025, 3.06283973e-2), (0.0125, 1.55752053e-2)]
)
def test_gravity(tau, error):
    run, found = gravity_run(tau, "jko")
    assert found == pytest.approx(error, rel=2e-5)
    assert run.history["iterations"].max() <= 4


def test_gravity_to_second_order():
    errors = np.array([gravity_run(tau, "jko-bdf2")[1] for tau in (0.025, 0.0125, 0.00625)])
    assert np.abs(np.log2(errors[:-1] / errors[1:]) - 2.0).max() < 0.1
    assert errors[-1] < 5e-4  # the first-order scheme: 8e-3


def test_bdf2_near_its_exact_iterates():
    """The standard deviation of the exact W₂ scheme with τ = 0.0125."""
    problem, mesh = ornstein_uhlenbeck((0.0,), (0.5,), 0.5), ddpde.interval(-5, 5, cells=800)
    run = ddpde.solve(problem, mesh, times=[1.0], method="jko-bdf2", dt=0.0125)
    x, density, volume = run.laws[-1].at(np.array([[0.5]]))
    assert np.sqrt(np.sum(x[..., 0] ** 2 * density * volume)) == pytest.approx(0.68276266, abs=1e-4)


def test_first_order_in_tau():
    problem = ornstein_uhlenbeck((0.0,), (0.5,), 0.5)
    mesh = ddpde.interval(-5, 5, cells=800)
    errors = []
    for tau in (0.05, 0.025, 0.0125):
        run = ddpde.solve(problem, mesh, times=[1.0], method="jko", dt=tau)
        x, density, volume = run.laws[-1].at(np.array([[0.5]]))
        errors.append(np.sqrt(np.sum(x[..., 0] ** 2 * density * volume)) - 0.68276363347124)
    slopes = np.diff(np.log(np.abs(errors))) / np.log(0.5)
    assert np.abs(slopes - 1.0).max() < 0.1


@pytest.mark.parametrize("dim, cells, bound", [(1, 400, 0.01), (2, 64, 0.04)])
def test_barenblatt(dim, cells, bound):
    problem = porous_medium(dim)
    low, high = (-3.2,) * dim, (3.2,) * dim
    mesh = ddpde.box(low, high, cells=(cells,) * dim)
    later = porous_medium(dim, start=1.5)
    run = ddpde.solve(problem, mesh, times=[0.5], method="jko", dt=0.5 / 32)
    assert l1_error(run.laws[-1], later.initial_density) < bound
    assert run.history["minimum"].min() >= 0
    assert np.diff(run.history["free_energy"]).max() < 0
    assert run.history["iterations"].mean() <= 8


def test_newton_iterations_do_not_grow_with_what_a_front_passes():
    """Its first steps go over 4, 15 and 30 vertices; begun without them they took 8 on average."""
    counts = []
    for cells in (100, 400, 800):
        mesh = ddpde.interval(-3.2, 3.2, cells=cells)
        run = ddpde.solve(porous_medium(1), mesh, times=[1.0], method="jko-bdf2", dt=0.1)
        counts.append(run.history["iterations"][2:].mean())
    assert max(counts) < 6.5
    assert counts[-1] <= counts[0] + 2


def test_newton_iterations_where_a_front_goes_over_vertices():
    """In the plane; with what fronts miss left to whole iterations 128² cells took one more."""
    counts = []
    for cells in (64, 128):
        mesh = ddpde.box((-2.4, -2.4), (2.4, 2.4), cells=(cells, cells))
        run = ddpde.solve(porous_medium(2), mesh, times=[0.6], method="jko", dt=0.1)
        assert run.history["iterations"].max() <= 5
        counts.append(run.history["iterations"][1:].mean())
    assert counts[1] <= counts[0] + 0.5


@pytest.mark.parametrize("temperature", (0.0, 0.1))
def test_a_network_against_the_method_of_lines(temperature):
    problem = erf_teacher(temperature, ridge=0.1)
    exact = ddpde.solve(problem, ddpde.interval(-4, 5, cells=64), times=[1.0], rtol=1e-7)
    gaps = []
    for cells, tau in ((200, 0.05), (400, 0.025)):
        mesh = ddpde.interval(-4, 5, cells=cells)
        run = ddpde.solve(problem, mesh, times=[1.0], method="jko", dt=tau)
        gaps.append(abs(run.free_energy()[-1] - exact.free_energy()[-1]))
    assert gaps[1] < 0.7 * gaps[0]
    assert gaps[1] < 2e-3


def test_newton_iterations_do_not_grow_with_the_mesh():
    counts = []
    for cells in (16, 32, 64):
        mesh = ddpde.box((-6, -6), (6, 6), cells=(cells, cells))
        run = ddpde.solve(ornstein_uhlenbeck(), mesh, times=[0.5], method="jko", dt=0.05)
        counts.append(run.history["iterations"][1:].mean())
    assert max(counts) <= 8
    assert counts[-1] <= counts[0] + 2
