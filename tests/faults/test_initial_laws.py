"""An initial law that is none, and a flow too fast to follow: named, on all ranks."""

import numpy as np
import pytest

import ddpde
from ddpde.errors import MeshError, ProblemError, SolverError
from ddpde.problem import DensityLaw, GaussianLaw, Problem

METHODS = [
    {},
    {"space": "lagrangian"},
    {"adapt": 1e-2},
    {"method": "jko", "dt": 0.05},
    {"method": "jko-quantile", "dt": 0.05},
    {"method": "jko-entropic", "dt": 0.05},
]


def half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


def solve(density, **settings):
    problem = Problem("p", DensityLaw(1, density), potential=half_square)
    return ddpde.solve(problem, ddpde.interval(-2, 2, cells=20), times=[0.1], **settings)


@pytest.mark.parametrize("settings", METHODS, ids=str)
@pytest.mark.parametrize(
    ("density", "message"),
    [
        (lambda x: 0.25 * (1 + 1.05 * np.sin(np.pi / 2 * x[:, 0])), "negative, -0.012"),
        (lambda x: np.where(x[:, 0] > 0, np.nan, 0.5), "not finite"),
        (lambda x: np.where(x[:, 0] > 0, np.inf, 0.5), "not finite"),
        (lambda x: np.full((len(x), 2), 0.25), "shape"),
    ],
    ids=["negative", "nan", "inf", "shape"],
)
def test_no_density(density, message, settings):
    with pytest.raises(ProblemError, match=f"the initial law's density .*{message}"):
        solve(density, **settings)


@pytest.mark.parametrize("settings", METHODS[:3], ids=str)
def test_not_integrable(settings):
    with pytest.raises(MeshError, match="has to be integrable"), np.errstate(all="ignore"):
        solve(lambda x: np.abs(x[:, 0]) ** -1.5, **settings)


def test_rounding_below_zero_passes():
    run = solve(lambda x: 0.25 * (1 + np.cos(np.pi / 2 * x[:, 0])) - 1e-17)
    assert run.history["minimum"].min() >= 0


@pytest.mark.parametrize("steepness", [1e15, 1e30])
@pytest.mark.parametrize("settings", [{}, {"space": "lagrangian"}], ids=str)
def test_a_time_step_below_its_floor(steepness, settings, tmp_path):
    problem = Problem(
        "steep", GaussianLaw((0.0,), (0.3,)), potential=lambda x: steepness * half_square(x)
    )
    mesh = ddpde.interval(-3, 3, cells=30)
    with pytest.raises(SolverError, match="the time step is below its floor") as caught:
        ddpde.solve(problem, mesh, times=[1.0], folder=tmp_path, **settings)
    assert "last.npz" in str(caught.value) and (tmp_path / "laws" / "last.npz").exists()


def test_a_potential_that_jax_cannot_differentiate():
    problem = Problem(
        "p", GaussianLaw((0.0,), (0.3,)), potential=lambda x: np.cos(np.asarray(x[:, 0]))
    )
    with pytest.raises(ProblemError, match="__array_namespace__"):
        ddpde.solve(problem, ddpde.interval(-3, 3, cells=10), times=[1.0], space="lagrangian")
