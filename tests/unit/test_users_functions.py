"""Functions of the user's own: what a problem needs of them, and what is said of wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

import ddpde
from ddpde.errors import ProblemError
from ddpde.particles import train
from ddpde.problem import DataSet, GaussianLaw, Problem
from ddpde.problem.losses import LOSSES, second_derivative


class PseudoHuber:
    """√(1 + (f − y)²) − 1, with no more than its derivative."""

    def value(self, f, y):
        return (1 + (f - y) ** 2) ** 0.5 - 1

    def derivative(self, f, y):
        return (f - y) / (1 + (f - y) ** 2) ** 0.5


class WithSecond(PseudoHuber):
    def second_derivative(self, f, y):
        return (1 + (f - y) ** 2) ** -1.5


class Halved(PseudoHuber):
    """Somebody forgot a factor."""

    def derivative(self, f, y):
        return 0.5 * (f - y)


def erf_net(loss, **changes):
    return replace(ddpde.problems.erf_teacher(), loss=loss, **changes)


MESH = (-4.0, 6.0, 40)


@pytest.mark.parametrize("settings", [{}, {"method": "jko", "dt": 0.1}], ids=["lines", "jko"])
def test_a_loss_needs_no_second_derivative(settings):
    runs = [
        ddpde.solve(
            erf_net(loss, temperature=0.05),
            ddpde.interval(*MESH[:2], cells=MESH[2]),
            times=[0.5],
            **settings,
        )
        for loss in (PseudoHuber(), WithSecond())
    ]
    assert runs[0].risk() == pytest.approx(runs[1].risk(), rel=1e-9)
    assert np.diff(runs[0].history["free_energy"]).max() < 0
    assert runs[0].risk()[1] < 0.99 * runs[0].risk()[0]


def test_its_stationary_state_and_fluctuations():
    mesh = ddpde.interval(*MESH[:2], cells=MESH[2])
    states = [
        ddpde.stationary(erf_net(loss, temperature=0.05), mesh).risk
        for loss in (PseudoHuber(), WithSecond())
    ]
    assert states[0] == pytest.approx(states[1], rel=1e-9)
    variances = [
        ddpde.fluctuations(erf_net(loss), mesh, times=[0.5]).variance(100, step_size=0.01, batch=1)
        for loss in (PseudoHuber(), WithSecond())
    ]
    assert variances[0] == pytest.approx(variances[1], rel=1e-7)


def test_networks_train_on_it():
    runs = train(erf_net(PseudoHuber()), 200, replicas=8, step_size=0.01, times=[0.5], seed=0)
    run = ddpde.solve(erf_net(PseudoHuber()), ddpde.interval(*MESH[:2], cells=MESH[2]), times=[0.5])
    mean = runs.theta[-1].mean(axis=(1, 2))
    assert abs(mean.mean() - run.mean()[-1, 0]) < 4 * mean.std() / np.sqrt(len(mean))


@pytest.mark.parametrize("name", LOSSES)
def test_second_derivatives_by_differences(name):
    loss = LOSSES[name]

    class First:
        value, derivative = loss.value, loss.derivative

    f, y = np.linspace(-3, 3, 21), np.ones(21)
    assert second_derivative(First(), f, y) == pytest.approx(loss.second_derivative(f, y), abs=1e-9)


def test_a_derivative_that_is_not_that_of_the_value():
    with pytest.raises(ProblemError, match="its value has the slope"):
        erf_net(Halved())


class Bent:
    dim = input_dim = 1

    def __init__(self, bend):
        self.bend = bend

    def __call__(self, x, theta):
        return self.bend(x[:, 0] * theta)


def given(**parts):
    return Problem("own", GaussianLaw((0.0,), (0.5,)), **parts)


SAMPLES = DataSet(np.ones((5, 1)), np.ones(5))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (lambda: given(potential=lambda x: x**2), r"potential gave .* \(\d+, 1\)"),
        (lambda: given(unit=Bent(np.transpose), data=SAMPLES), r"unit gave .* \(5, "),
        (lambda: given(interaction=lambda a, b: (a * b)[:, 0]), "interaction gave"),
        (
            lambda: given(interaction=lambda a, b: np.full((len(a), len(b)), np.nan)),
            "interaction is not finite",
        ),
    ],
    ids=["potential", "unit", "interaction", "nan"],
)
@pytest.mark.parametrize("method", ["auto", "jko", "jko-entropic"])
def test_arrays_of_the_wrong_shape(problem, message, method):
    with pytest.raises(ProblemError, match=message):
        ddpde.solve(problem(), ddpde.interval(-3, 3, cells=10), times=[0.1], method=method, dt=0.05)


def test_a_schedule_that_is_infinite_at_first():
    """The mesh integrates it; a first step of particles would be infinite."""
    problem = replace(ddpde.problems.erf_teacher(), schedule=lambda t: t**-0.25)
    with pytest.raises(ProblemError, match="ξ\\(0\\) = inf"):
        train(problem, 10, replicas=2, step_size=0.01, times=[0.1], seed=0)
