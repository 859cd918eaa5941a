"""A validation that cannot fail proves nothing: break the mean-field side, see red.

Only the comparison with particles judges here: no reference table, no second method. They know
nothing of the mean-field side, and are trained once.
"""

import numpy as np
import pytest
from mpi4py import MPI

from ddpde.energy import Energy, HermiteRadialFeatures
from ddpde.problem.catalogue import isotropic_gaussians
from ddpde.problem.problem import Problem
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe
from ddpde.validate import Case, ParticlePlan, validate, validation
from ddpde.validate.experiments import run_experiments


@pytest.fixture(scope="module")
def experiments():
    truth = case()
    return run_experiments(
        truth.problem, truth.particles, np.array([0.0, *truth.times]), MPI.COMM_SELF
    )


@pytest.fixture(autouse=True)
def trained(monkeypatch, experiments):
    monkeypatch.setattr(validation, "run_experiments", lambda *_: experiments)


def case() -> Case:
    return Case(
        name="mutation",
        title="mutation",
        problem=isotropic_gaussians(),
        mesh=BoxRecipe((0.0,), (6.0,), (192,)),
        options=SolverOptions(),
        times=(0.1, 0.5, 1.0),
        particles=ParticlePlan(
            widths=(100, 200, 400), replicas=24, step_size=5e-4, seed=3, batch=16
        ),
    )


def test_the_truth_is_green():
    verdict = validate(case())
    assert verdict.passed, verdict.reasons


def test_lost_factor_two_in_the_drift(monkeypatch):
    dual = Energy.dual
    monkeypatch.setattr(Energy, "dual", lambda self, f: 0.5 * dual(self, f))
    assert not validate(case()).passed


def test_one_percent_error_in_U(monkeypatch):
    values = HermiteRadialFeatures.values
    monkeypatch.setattr(
        HermiteRadialFeatures, "values", lambda self, p: 1.01**0.5 * values(self, p)
    )
    verdict = validate(case())
    assert not verdict.passed, verdict.reasons


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_wrong_kappa(monkeypatch, factor):
    density = Problem.initial_density
    monkeypatch.setattr(
        Problem, "initial_density", lambda self, x: density(self, x / factor) / factor
    )
    assert not validate(case()).passed
