"""Order in τ of the JKO methods; each declares its own."""

import numpy as np
import pytest
from gaussians import linear_neuron

import ddpde
from ddpde.problem.catalogue import erf_teacher, ornstein_uhlenbeck
from ddpde.problem.classics import porous_medium
from ddpde.step import JKO_METHODS

STEPS = (8, 16, 32, 64)


def slopes(errors):
    return np.log2(np.divide(errors[:-1], errors[1:]))


QUANTILE = ("jko-quantile", "jko-quantile-midpoint", "jko-quantile-bdf2")


@pytest.mark.parametrize("name", QUANTILE)
@pytest.mark.parametrize("temperature", (0.0, 0.3))
def test_quantile_order(name, temperature):
    """The risk of a noisy linear neuron, against what small steps of second order tend to."""
    # wide: where the law's ends touch a wall, the midpoint rule takes first-order steps
    problem, mesh = linear_neuron(1, temperature, ridge=0.2), ddpde.interval(-9, 9, cells=24)

    def risk(count, method=name):
        run = ddpde.solve(problem, mesh, times=[1.0], degree=4, method=method, dt=1 / count)
        return run.risk()[-1]

    coarse, fine = (risk(n, "jko-quantile-midpoint") for n in (128, 256))
    exact = (4 * fine - coarse) / 3
    found = slopes([abs(risk(n) - exact) for n in STEPS])
    assert np.all(np.abs(found[-2:] - JKO_METHODS[name].order) < 0.1), found


def test_quantile_order_for_a_network_that_is_not_convex():
    problem, mesh = erf_teacher(), ddpde.interval(-3, 5, cells=24)

    def risk(count, method):
        run = ddpde.solve(problem, mesh, times=[1.0], degree=5, method=method, dt=1 / count)
        return run.risk()[-1]

    for name in QUANTILE:
        order = JKO_METHODS[name].order
        found = slopes([abs(risk(n, name) - 0.062320490652) for n in (16, 32, 64)])
        assert np.all(np.abs(found - order) < 0.1), (name, found)


@pytest.mark.parametrize("dim, cells, last", [(1, 200, 128), (2, 40, 64)])
def test_entropic_order(dim, cells, last):
    """In τ alone: differences of steps on one mesh, on a line and in the plane."""
    problem = ornstein_uhlenbeck((1.0, 0.5)[:dim], (0.5, 0.6)[:dim])
    mesh = ddpde.box((-6,) * dim, (6,) * dim, cells=(cells,) * dim)

    def mean(count):
        run = ddpde.solve(problem, mesh, times=[1.0], method="jko-entropic", dt=1 / count)
        return run.mean()[-1, 0]

    values = [mean(n) for n in (*STEPS, 128) if n <= last]
    found = slopes(np.abs(np.diff(values)))
    assert np.all(np.abs(found[-2:] - JKO_METHODS["jko-entropic"].order) < 0.1), found


def variance(run):
    x, density, volume = run.laws[-1].at(np.full((1, run.laws[-1].geometry.shape[-1]), 0.5))
    return np.sum(np.sum(x**2, axis=-1) * density * volume)


@pytest.mark.parametrize(
    "problem, mesh, counts",
    [
        (ornstein_uhlenbeck((0.7,), (0.5,)), lambda: ddpde.interval(-6, 6, cells=200), STEPS),
        (porous_medium(1), lambda: ddpde.interval(-3.6, 3.6, cells=200), STEPS),
        (porous_medium(2), lambda: ddpde.box((-2.4,) * 2, (2.4,) * 2, cells=(28, 28)), STEPS),
    ],
    ids=("Ornstein–Uhlenbeck", "Barenblatt", "Barenblatt in the plane"),
)
def test_bdf2_order(problem, mesh, counts):
    """In τ alone: differences of steps on one mesh."""
    values = []
    for count in (*counts, 2 * counts[-1]):
        run = ddpde.solve(problem, mesh(), times=[1.0], method="jko-bdf2", dt=1 / count)
        values.append(variance(run))
    found = slopes(np.abs(np.diff(values)))
    assert np.all(np.abs(found[-1:] - JKO_METHODS["jko-bdf2"].order) < 0.1), found


def test_bdf2_on_finer_meshes():
    """Barenblatt's profile in L1: nearly second order, in spite of its front."""
    later, errors = porous_medium(1, start=1.5), []
    for cells in (40, 80, 160):
        mesh = ddpde.interval(-3.6, 3.6, cells=cells)
        run = ddpde.solve(porous_medium(1), mesh, times=[0.5], method="jko-bdf2", dt=0.5 / 64)
        x, density, volume = run.laws[-1].at(np.linspace(0.05, 0.95, 10)[:, None])
        exact = later.initial_density(x.reshape(-1, 1)).reshape(density.shape)
        errors.append((np.abs(density - exact) * volume).sum() / 10)
    assert np.all(slopes(errors) > 1.7), errors
    assert errors[-1] < 5e-4
