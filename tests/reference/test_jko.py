"""Lagged H⁻¹ JKO steps: accuracy at each τ."""

import numpy as np
import pytest
from gaussians import exact, linear_neuron

import ddpde
from ddpde.problem import Problem
from ddpde.problem.initial import DensityLaw

MASS = 2 * np.pi * np.sinh(0.5)


def gravity_solution(x, t):
    """Cancès, Gallouët & Todeschi 2020, g = 1, on [0, 1]; its mass is MASS."""
    decay = np.exp(-(np.pi**2 + 0.25) * t + x / 2)
    wave = np.pi * np.cos(np.pi * x) + 0.5 * np.sin(np.pi * x)
    return decay * wave + np.pi * np.exp(x - 0.5)


def gravity_error(tau, cells=400, method="jko"):
    """∫ |error| after t = 0.2 from the exact law at t = 0.1."""
    problem = Problem(
        name="gravity",
        initial=DensityLaw(1, lambda x: gravity_solution(x[:, 0], 0.1) / MASS),
        potential=lambda x: -x[:, 0],
        temperature=1.0,
    )
    mesh = ddpde.interval(0, 1, cells=cells)
    run = ddpde.solve(problem, mesh, times=[0.2], dt=tau, method=method)
    at, masses = run.laws[-1].points(2)
    volumes = np.full(len(at), 0.5 / cells)
    return np.abs(MASS * masses - volumes * gravity_solution(at[:, 0], 0.3)).sum()


@pytest.mark.parametrize(("tau", "expected"), [(0.05, 5.91748e-2), (0.025, 3.06284e-2)])
def test_gravity(tau, expected):
    """With a centred mobility the mesh's error is of second order and small beside τ's."""
    assert gravity_error(tau) == pytest.approx(expected, rel=1e-3)


def test_upwind_mobility_is_of_first_order_in_space():
    coarse, fine = (gravity_error(0.05, n, "jko-upwind") for n in (100, 200))
    assert coarse - 5.91748e-2 == pytest.approx(2 * (fine - 5.91748e-2), rel=0.1)


def test_first_order_in_time():
    assert np.log2(gravity_error(0.0125) / gravity_error(0.00625)) == pytest.approx(1.0, abs=0.1)


def test_noisy_network_tends_to_its_closed_form():
    """A non-local energy: sparse plus low rank in Newton's method."""
    problem = linear_neuron(1, temperature=0.5, ridge=0.4)
    mean = exact(problem, 0.5)[0][0]
    errors = []
    for tau in (0.05, 0.025):
        mesh = ddpde.interval(-4, 4, cells=160)
        run = ddpde.solve(problem, mesh, times=[0.5], dt=tau, method="jko")
        errors.append(abs(run.mean()[-1, 0] - mean))
    assert errors[0] < 0.03
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.15)
