"""Quantile JKO against exact iterates of the minimisation and closed forms."""

import numpy as np
import pytest
from jko_iterates import (
    GRAVITY_MASS,
    barenblatt,
    barenblatt_radius,
    bdf2,
    first_radius,
    gaussian_std,
    gravity,
    gravity_density,
)

import ddpde
from ddpde.flow.quantile import QuantileFlow
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.catalogue import isotropic_gaussians, ornstein_uhlenbeck
from ddpde.problem.internal import Congestion
from ddpde.space.quadrature import gauss
from ddpde.step.quantile import QuantileBdf2


def moments(law):
    x, masses = law.points()
    mean = masses @ x[:, 0]
    return mean, np.sqrt(masses @ (x[:, 0] - mean) ** 2)


def quantile(problem, mesh, tau, t_end=1.0, degree=4, method="jko-quantile"):
    return ddpde.solve(problem, mesh, times=[t_end], degree=degree, method=method, dt=tau)


@pytest.mark.parametrize("tau", (0.5, 0.2, 0.1, 0.025))
def test_gaussian_iterates(tau):
    run = quantile(ornstein_uhlenbeck((1.0,), (0.5,)), ddpde.interval(-7, 7, cells=32), tau)
    count = round(1 / tau)
    mean, std = moments(run.laws[-1])
    assert abs(std - gaussian_std(0.5, tau, count)) < 1e-9
    assert abs(mean - (1 + tau) ** -count) < 1e-9


def test_gaussian_iterates_converge_under_refinement():
    problem = ornstein_uhlenbeck((0.0,), (0.5,))
    errors = [
        abs(
            moments(quantile(problem, ddpde.interval(-7, 7, cells=n), 0.2, degree=2).laws[-1])[1]
            - gaussian_std(0.5, 0.2, 5)
        )
        for n in (16, 24, 36)
    ]
    assert errors[0] > 5 * errors[1] > 25 * errors[2], errors
    assert errors[-1] < 1e-6


# implicit midpoint from std 0.5 to t = 1
@pytest.mark.parametrize(
    "tau, std", [(0.2, 0.68358822459969), (0.1, 0.68296799489962), (0.05, 0.68281461396663)]
)
def test_midpoint_iterates(tau, std):
    run = quantile(
        ornstein_uhlenbeck((0.0,), (0.5,)),
        ddpde.interval(-7, 7, cells=32),
        tau,
        method="jko-quantile-midpoint",
    )
    assert abs(moments(run.laws[-1])[1] - std) < 1e-9


# variational BDF2 from std 0.5 to t = 1, the first step an ordinary one
@pytest.mark.parametrize(
    "tau, std",
    [
        (0.2, 0.68199711758048),
        (0.1, 0.68271020397272),
        (0.05, 0.68275177136941),
        (0.025, 0.68276015158435),
        (0.0125, 0.68276266277357),
    ],
)
def test_bdf2_iterates(tau, std):
    run = quantile(
        ornstein_uhlenbeck((0.0,), (0.5,)),
        ddpde.interval(-7, 7, cells=32),
        tau,
        method="jko-quantile-bdf2",
    )
    assert abs(moments(run.laws[-1])[1] - std) < 1e-9


@pytest.mark.parametrize(
    "times, taus",
    [
        ([0.35, 1.0], [0.0875] * 4 + [0.65 / 7] * 7),
        ([0.3, 0.32, 0.52], [0.1] * 3 + [0.02] + [0.025, 0.025, 0.05, 0.1]),  # not too much longer
    ],
)
def test_bdf2_iterates_with_steps_that_change(times, taus):
    problem, mesh = ornstein_uhlenbeck((0.0,), (0.5,)), ddpde.interval(-7, 7, cells=32)
    run = ddpde.solve(problem, mesh, times=times, degree=4, method="jko-quantile-bdf2", dt=0.1)
    exact = bdf2(lambda std, tau: gaussian_std(std, tau, 1), 0.5, taus)
    assert abs(moments(run.laws[-1])[1] - exact) < 1e-9


@pytest.mark.parametrize("tau", (0.2, 0.05))
def test_bdf2_barenblatt_radius(tau):
    run = quantile(barenblatt(2), ddpde.interval(-4, 4, cells=24), tau, method="jko-quantile-bdf2")
    x, _, _ = run.laws[-1].at(np.array([[0.0], [1.0]]))
    taus = [tau] * round(1 / tau)
    radius = bdf2(lambda R, h: barenblatt_radius(2, h, 1, R), first_radius(2), taus)
    assert abs(x.max() - radius) < 1e-9 and abs(x.min() + radius) < 1e-9


def test_bdf2_forgets_what_it_does_not_continue():
    """From another law than it found the step is an ordinary one, as at the start."""
    flow = QuantileFlow(barenblatt(2), ddpde.interval(-4, 4, cells=24), 4)
    Y, step = flow.state.array.copy(), QuantileBdf2(flow)
    X = step(Y, 0.1)
    second = step(X, 0.1)
    assert np.array_equal(step(Y, 0.1), X)
    assert np.array_equal(step(X, 0.1), second)


def test_bdf2_from_positions_that_would_cross():
    """A long step towards a point: those beyond it are one atom, and the energy still falls."""
    problem = ornstein_uhlenbeck((0.0,), (0.5,), 0.0)
    run = quantile(problem, ddpde.interval(-5, 5, cells=16), 4.0, 12.0, method="jko-quantile-bdf2")
    assert np.diff(run.history["free_energy"]).max() <= 0
    # backward Euler by 4, then by 8/3 from a third of the way back through the middle: an atom
    assert moments(run.laws[-1])[1] < 1e-12


@pytest.mark.parametrize("m, degree, tolerance", [(2, 4, 1e-12), (3, 5, 1e-6)])
@pytest.mark.parametrize("tau", (0.2, 0.1))
def test_barenblatt_radius(m, degree, tolerance, tau):
    """Support that is not aligned with the mesh: its ends are free."""
    run = quantile(barenblatt(m), ddpde.interval(-4, 4, cells=24), tau, degree=degree)
    x, _, _ = run.laws[-1].at(np.array([[0.0], [1.0]]))
    radius = barenblatt_radius(m, tau, round(1 / tau))
    assert abs(x.max() - radius) < tolerance and abs(x.min() + radius) < tolerance


# exact JKO: L1 error of the gravity test from t = 0.1 to 0.3, mass 3.274
@pytest.mark.parametrize("tau, error", [(0.05, 5.76482923e-2), (0.0125, 1.52939763e-2)])
def test_gravity(tau, error):
    assert gravity_error("jko-quantile", tau) == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("method", ("jko-quantile-midpoint", "jko-quantile-bdf2"))
def test_gravity_with_second_order(method):
    """Between walls that the law touches."""
    errors = [gravity_error(method, tau) for tau in (0.00625, 0.003125)]
    assert abs(np.log2(errors[0] / errors[1]) - 2.0) < 0.1, errors


def gravity_error(method, tau):
    """L1, of a law of mass 3.274."""
    mesh = ddpde.interval(0, 1, cells=16)
    law = quantile(gravity(), mesh, tau, 0.2, degree=6, method=method).laws[-1]
    reference, weights = gauss("interval", 39)
    x, density, volume = law.at(reference)
    difference = np.abs(GRAVITY_MASS * density - gravity_density(x[:, :, 0], 0.3))
    return np.sum(difference * volume * weights)


@pytest.mark.parametrize("method", ("jko-quantile", "jko-quantile-bdf2"))
def test_crowd_fills_the_lowest_places(method):
    """ρ ≤ 1 in |x|²/2: the crowd keeps its width and its centre does backward Euler, or BDF2."""
    problem = Problem(
        name="crowd",
        initial=GaussianLaw((1.0,), (0.5,)),
        potential=lambda theta: 0.5 * theta[:, 0] ** 2,
        internal=Congestion(1.0),
    )
    run = quantile(problem, ddpde.interval(-6, 6, cells=48), 1.0, 5.0, degree=3, method=method)
    mean, std = moments(run.laws[-1])
    if method == "jko-quantile":
        exact = 2.0**-5
    else:
        exact = bdf2(lambda place, tau: place / (1 + tau), 1.0, [1.0] * 5)
    assert abs(mean - exact) < 1e-4
    assert abs(std - np.sqrt(1 / 12)) < 1e-4
    reference, weights = gauss("interval", 9)
    _, density, volume = run.laws[-1].at(reference)
    assert np.all((density * volume) @ weights <= volume @ weights * (1 + 1e-6) + 1e-10)
    assert np.diff(run.history["free_energy"]).max() < 0


@pytest.mark.parametrize("method", ("jko-quantile", "jko-quantile-bdf2"))
def test_all_mass_becomes_one_atom(method):
    """Mei et al. 2018, Figure 4: every weight collapses to r = 0, where R = 1 + σ(0)² = 7.25."""
    problem = isotropic_gaussians(320, 0.5, 0.1, "dented_ramp")
    run = quantile(problem, ddpde.interval(0, 3, cells=32), 0.1, 0.3, method=method)
    assert run.risk()[-1] == pytest.approx(7.25, abs=1e-12)
    x, masses = run.laws[-1].points()
    assert np.abs(x).max() == 0.0
    assert masses.sum() == pytest.approx(1.0, abs=1e-13)
