"""Predictions and risk of finite networks."""

import dataclasses

import numpy as np
import pytest

from ddpde.errors import ProblemError
from ddpde.particles import predict, risk
from ddpde.problem import (
    DataSet,
    GaussianInputs,
    GaussianLaw,
    Logistic,
    Problem,
    RidgeUnit,
    identity,
    tanh,
)

RNG = np.random.default_rng(0)
PROBLEM = Problem(
    name="tanh",
    unit=RidgeUnit(tanh, 3, bias=True, output_weight=True),
    data=GaussianInputs(3, lambda x: x[:, 0], label_noise=0.3),
    initial=GaussianLaw.isotropic(5, 1.0),
)
LINEAR = Problem(
    name="linear",
    unit=RidgeUnit(identity, 2),
    data=GaussianInputs(2, lambda x: x[:, 0], label_noise=0.5),
    initial=GaussianLaw.isotropic(2, 1.0),
)


@pytest.mark.parametrize("count", [1, 512, 700])  # blocks are of 512
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_predictions_are_means_over_neurons(count, leading):
    theta = RNG.standard_normal((*leading, 6, 5))
    x = RNG.standard_normal((count, 3))
    f = predict(PROBLEM, theta, x)
    a, b, w = theta[..., 0], theta[..., 1], theta[..., 2:]
    z = np.einsum("...nd,md->...nm", w, x) + b[..., None]
    np.testing.assert_allclose(f, (a[..., None] * np.tanh(z)).mean(axis=-2), atol=1e-13)
    assert f.shape == (*leading, count) and f.dtype == theta.dtype
    single = predict(PROBLEM, theta.astype(np.float32), x)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, f, atol=1e-5)


def test_wide_networks_are_evaluated_in_parts():
    theta = RNG.standard_normal((2**18, 5)).astype(np.float32)  # 512 samples would take 0.5 GB
    x = RNG.standard_normal((3, 3))
    np.testing.assert_allclose(
        predict(PROBLEM, theta, x), PROBLEM.unit(x, theta).mean(axis=0), atol=2e-5
    )


@pytest.mark.parametrize("loss", [PROBLEM.loss, Logistic()])
def test_risk_on_a_data_set_is_exact(loss):
    x, y = RNG.standard_normal((600, 3)), RNG.choice([-1.0, 1.0], 600)
    theta = RNG.standard_normal((2, 4, 6, 5))
    problem = dataclasses.replace(PROBLEM, data=DataSet(x, y), loss=loss)
    mean, error = risk(problem, theta, problem.data)
    for t, r in np.ndindex(2, 4):
        f = PROBLEM.unit(x, theta[t, r]).mean(axis=0)
        assert mean[t, r] == pytest.approx(loss.value(f, y).mean(), rel=1e-12)
    assert error.shape == (2, 4) and not error.any()


def test_risk_by_samples_has_the_error_it_states():
    theta = np.broadcast_to(RNG.standard_normal((5, 2)), (200, 5, 2))
    mean, error = risk(LINEAR, theta, LINEAR.data, samples=1000, seed=1)
    gap = theta[0].mean(axis=0) - np.array([1.0, 0.0])
    variance = gap @ gap + 0.25  # f − y is Gaussian
    standard_error = variance * np.sqrt(2 / 1000)
    np.testing.assert_allclose(error.mean(), standard_error, rtol=0.03)
    deviations = (mean - variance) / standard_error
    assert abs(deviations.mean()) < 4 / np.sqrt(200)
    assert 0.8 < deviations.std() < 1.2


def test_samples_differ_between_replicas_widths_and_seeds_but_not_times():
    row = np.full((1, 2), 0.5, dtype=np.float32)
    one, two = np.tile(row, (2, 3, 1, 1)), np.tile(row, (2, 3, 2, 1))
    here = risk(LINEAR, one, LINEAR.data, samples=700, seed=0)[0]
    assert len(np.unique(here[0])) == 3
    np.testing.assert_array_equal(here[0], here[1])
    fewer = risk(LINEAR, one[:, :2], LINEAR.data, samples=700, seed=0)[0]
    np.testing.assert_array_equal(here[:, :2], fewer)
    for other in (
        risk(LINEAR, two, LINEAR.data, samples=700, seed=0)[0],
        risk(LINEAR, one, LINEAR.data, samples=700, seed=1)[0],
    ):
        assert not np.any(np.isclose(here, other, rtol=1e-5))
    alone = risk(LINEAR, row, LINEAR.data, samples=700, seed=0)
    assert alone[0].shape == () and alone[0] == here[0, 0] and alone[1] > 0


def test_a_unit_that_cannot_be_hashed_works():
    scale = np.array([1.0, 2.0, 3.0])

    class Scaled:
        dim = input_dim = 3
        __hash__ = None

        def __call__(self, x, theta):
            return (theta * scale.astype(theta.dtype)) @ x.T

    initial = GaussianLaw.isotropic(3, 1.0)
    problem = dataclasses.replace(PROBLEM, unit=Scaled(), initial=initial)
    theta, x = RNG.standard_normal((4, 3)), RNG.standard_normal((5, 3))
    np.testing.assert_allclose(predict(problem, theta, x), x @ (theta * scale).mean(axis=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: predict(PROBLEM, np.zeros((3, 4)), np.zeros((2, 3))), r"theta of shape \(3, 4\)"),
        (lambda: predict(PROBLEM, np.zeros((3, 5)), np.zeros((2, 4))), r"must be \(M, 3\)"),
        (lambda: predict(PROBLEM, np.zeros((3, 5), int), np.zeros((2, 3))), "of type int64"),
        (lambda: risk(PROBLEM, np.zeros((0, 5)), PROBLEM.data), r"\(0, 5\)"),
        (lambda: risk(PROBLEM, np.zeros((3, 5)), PROBLEM.data, samples=1), "samples = 1"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ProblemError, match=message):
        call()
