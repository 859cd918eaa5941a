"""Entropic JKO: its bias and how it is removed; closed forms on boxes."""

import numpy as np
import pytest

import ddpde
from ddpde.flow.entropic import EntropicFlow
from ddpde.flow.heat import ImplicitHeat
from ddpde.problem import Problem
from ddpde.problem.catalogue import kuramoto, ornstein_uhlenbeck
from ddpde.problem.initial import DensityLaw
from ddpde.problem.internal import PorousMedium
from ddpde.step.entropic import EntropicProximal


def stationary_variance(debias, kernel_variance, tau=0.1):
    """Of OU at T = 0.5, by steps with a kernel of the given variance."""
    problem = ornstein_uhlenbeck((0.0,), (np.sqrt(0.5),), 0.5)
    flow = EntropicFlow(problem, ddpde.interval(-6, 6, cells=400))
    step = EntropicProximal(flow, debias)
    density = flow.state.getArray().copy()
    for _ in range(100):
        density = step(density, tau, gamma=kernel_variance / tau)
    return flow.sum(density * flow.points[:, 0] ** 2)


# entropic parameter, stationary variance with the entropy of plans (T + ε/4τ to O(ε²))
@pytest.mark.parametrize(
    "epsilon, biased", [(0.001, 0.50250062), (0.01, 0.52505952), (0.04, 0.60083212)]
)
def test_bias_of_both_signs_and_none(epsilon, biased):
    assert stationary_variance("none", epsilon / 2) == pytest.approx(biased, abs=1e-6)
    shrunk = stationary_variance("marginals", epsilon / 2)
    assert shrunk == pytest.approx(0.5 - epsilon / 0.4, abs=0.1 * epsilon)
    assert stationary_variance("divergence", epsilon / 2) == pytest.approx(0.5, abs=1e-8)
    assert abs(stationary_variance("first order", epsilon / 2) - 0.5) < epsilon**2


def test_heat_on_a_circle():
    """A Gaussian wrapped around, at the ends of the mesh: it stays one, its variance 2t wider."""

    def wrapped(x, variance):
        away = x - 0.2 + 2 * np.pi * np.arange(-5, 6)
        return np.exp(-(away**2) / (2 * variance)).sum(axis=1) / np.sqrt(2 * np.pi * variance)

    flow = EntropicFlow(kuramoto(), ddpde.interval(0, 2 * np.pi, cells=200))
    x, start, t = flow.points, wrapped(flow.points, 0.1), 0.15
    flow.heat.set_time(t)
    assert np.abs(flow.heat(start) - wrapped(x, 0.1 + 2 * t)).max() < 1e-3
    # four implicit steps, with factors: as that much of each frequency is left
    implicit = ImplicitHeat(flow)
    implicit.set_time(t)
    out, wave = implicit(start), np.exp(1j * x[:, 0])
    h = 2 * np.pi / 200
    left = (1 + t / 4 * (2 - 2 * np.cos(h)) / h**2) ** -4
    assert np.abs(flow.sum(out * wave.real) - left * flow.sum(start * wave.real)) < 1e-12
    assert np.abs(flow.sum(out * wave.imag) - left * flow.sum(start * wave.imag)) < 1e-12
    assert abs(flow.sum(out) - flow.sum(start)) < 1e-12


def ou_exact(x, t):
    mean = np.array([2.0, 1.0]) * np.exp(-t)
    variance = np.array([0.5, 0.3]) * np.exp(-2 * t) + 0.5 * (1 - np.exp(-2 * t))
    norm = 2 * np.pi * np.sqrt(variance.prod())
    return np.exp(-((x - mean) ** 2 / (2 * variance)).sum(axis=1)) / norm


def test_ornstein_uhlenbeck_in_the_plane():
    """Where POT and ott-jax stall at 2.5e-2."""
    mesh = ddpde.box((-6, -6), (6, 6), cells=(96, 96))
    run = ddpde.solve(ornstein_uhlenbeck(), mesh, times=[1.0], method="jko-entropic", dt=1 / 48)
    reference = run.laws[-1]
    x, density, volume = reference.at(np.array([[0.5, 0.5]]))
    error = np.sum(np.abs(density - ou_exact(x.reshape(-1, 2), 1.0)[:, None]) * volume)
    assert error < 1.2e-2
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert run.history["residual"].max() < 1e-8


def test_barenblatt_in_the_plane():
    C = np.sqrt(1 / (8 * np.pi))

    def exact(x, t):
        return np.maximum(C - (x**2).sum(axis=1) / 16 / np.sqrt(t), 0.0) / np.sqrt(t)

    problem = Problem(
        name="barenblatt",
        initial=DensityLaw(2, lambda x: exact(x, 1.0)),
        internal=PorousMedium(2.0),
    )
    mesh = ddpde.box((-3.2, -3.2), (3.2, 3.2), cells=(64, 64))
    run = ddpde.solve(problem, mesh, times=[1.0], method="jko-entropic", dt=1 / 16)
    x, density, volume = run.laws[-1].at(np.array([[0.5, 0.5]]))
    error = np.sum(np.abs(density - exact(x.reshape(-1, 2), 2.0)[:, None]) * volume)
    assert error < 6e-3
    assert run.history["minimum"].min() >= 0
