"""Finite-N training against closed forms: step-size factors, noise, and mean-field limits."""

import numpy as np
import pytest

from ddpde.particles import risk, train
from ddpde.problem import (
    DataSet,
    GaussianInputs,
    GaussianLaw,
    Problem,
    RidgeUnit,
    catalogue,
    identity,
    square,
)


def linear(mean=1.0, std=0.5, slope=2.0, **changes):
    """σ = wx, x ~ N(0, 1), y = slope · x + label noise: R = (mean of w − slope)² + noise²."""
    label_noise = changes.pop("label_noise", 0.0)
    return Problem(
        name="linear",
        unit=RidgeUnit(identity, 1),
        data=GaussianInputs(1, lambda x: slope * x[:, 0], label_noise),
        initial=GaussianLaw((mean,), (std,)),
        **changes,
    )


def standard_error(samples):
    return samples.std(ddof=1) / np.sqrt(samples.size)


@pytest.mark.parametrize("width", [1, 30])
def test_one_step_of_a_linear_net_multiplies_its_risk_as_it_should(width):
    # E R(k eps) = R0 (1 − 4 eps + 12 eps²)^k, whatever N; the gradient flow would give e^{−4 eps}
    eps, steps = 0.1, 60
    times = eps * np.arange(steps + 1)
    run = train(
        linear(slope=0.0),  # so that rounding is relative
        width,
        replicas=100,
        step_size=eps,
        times=times,
        seed=1,
        dtype="float64",
    )
    r = run.theta.mean(axis=(2, 3)) ** 2
    factors = r[1:] / r[:-1]  # independent of each other
    expected = 1 - 4 * eps + 12 * eps**2
    error = standard_error(factors)
    assert abs(factors.mean() - expected) < 4 * error
    assert abs(np.exp(-4 * eps) - expected) > 8 * error  # the test can tell


@pytest.mark.parametrize("width", [1, 30])
def test_label_noise_leaves_a_floor_that_no_width_removes(width):
    eps, sigma = 0.05, 1.0
    run = train(
        linear(mean=2.0, label_noise=sigma),
        width,
        replicas=30,
        step_size=eps,
        times=np.arange(2.0, 162.0),  # an autocorrelation time apart: 20 steps
        seed=2,
    )
    squares = (run.theta.mean(axis=(2, 3), dtype=float) - 2.0) ** 2
    floor = eps * sigma**2 / (1 - 3 * eps)
    error = squares.mean(axis=0)
    assert abs(squares.mean() - floor) < 4 * standard_error(error)
    assert standard_error(error) < 0.05 * floor


def test_noise_and_ridge_spread_a_linear_net_as_their_pde_does():
    # about their mean, neurons are Ornstein-Uhlenbeck: with ridge λ and temperature T the spread
    # obeys s' = −4 λ s + 2 T; the noise √(2 T s_k) is Mei et al.'s √(4 s_k τ/D)
    ridge, temperature, eps, s0 = 0.5, 0.6, 0.002, 0.25
    times = np.array([0, 0.2, 0.5, 1.0, 3.0])
    problem = linear(ridge=ridge, temperature=temperature, std=np.sqrt(s0))
    run = train(problem, 20_000, replicas=4, step_size=eps, times=times, seed=3)
    spread = run.theta[..., 0].var(axis=2, dtype=float).mean(axis=1)
    decay = np.exp(-4 * ridge * times)
    expected = s0 * decay + temperature * (1 - decay) / (2 * ridge)
    # four standard deviations of a variance over 80 000 neurons, and the step-size bias
    np.testing.assert_allclose(spread, expected, rtol=4 * np.sqrt(2 / 80_000) + ridge * eps)


def test_stationary_second_moment_of_a_noisy_quadratic_net():
    # σ = w²x², y = x²: M' = −24 (M − 1) M − 4 λ M + 2 T is stationary at M+; the noise √(s_k T)
    # would give 0.9432
    problem = Problem(
        name="quadratic",
        unit=RidgeUnit(square, 1),
        data=GaussianInputs(1, lambda x: x[:, 0] ** 2),
        initial=GaussianLaw((0.0,), (0.98,)),
        ridge=0.5,
        temperature=0.6,
    )
    times = np.arange(0.4, 1.01, 0.2)
    run = train(problem, 2000, replicas=16, step_size=2e-4, times=times, seed=4)
    second = (run.theta[..., 0].astype(float) ** 2).mean(axis=(0, 2))
    error = standard_error(second)
    assert error < 0.003
    assert abs(second.mean() - 0.968303) < 4 * error


def test_a_two_homogeneous_net_follows_its_closed_flow():
    # σ = a w x, y = x, θ ~ N(0, I): p = E aw = sinh 2S, S' = 2 (1 − p), R = (1 − p)²
    problem = Problem(
        name="two-homogeneous",
        unit=RidgeUnit(identity, 1, output_weight=True),
        data=GaussianInputs(1, lambda x: x[:, 0]),
        initial=GaussianLaw((0.0, 0.0), (1.0, 1.0)),
    )
    times = [0.1, 0.25, 0.5]
    run = train(problem, 4000, replicas=16, step_size=5e-4, times=times, seed=5)
    p = run.theta.astype(float).prod(axis=-1).mean(axis=2)
    expected = np.sinh(2 * np.array([0.16453098162868, 0.31057234904041, 0.4068779788696]))
    errors = p.std(axis=1, ddof=1) / 4
    assert (errors < 0.01).all()
    np.testing.assert_array_less(np.abs(p.mean(axis=1) - expected), 4 * errors)


def test_independent_neurons_have_the_exact_excess_risk():
    # N (E R_N − R) = ∫U(w, w) ρ − ∫∫U ρρ = 7.41176207, R = 1.704481708, for any N
    problem, width = catalogue.isotropic_gaussians(), 10
    run = train(problem, width, replicas=250, step_size=1.0, times=[0], seed=6)
    r = risk(problem, run.theta, problem.data, samples=3000, seed=6)[0]
    excess, error = width * (r - 1.704481708), width * standard_error(r)
    assert error < 0.8
    assert abs(excess.mean() - 7.41176207) < 4 * error


def test_sgd_on_isotropic_gaussians_follows_the_mean_field_table():
    problem, width, eps = catalogue.isotropic_gaussians(), 800, 5e-5
    times = np.array([0, 0.1, 0.25, 0.5])
    run = train(problem, width, replicas=8, step_size=eps, times=times, seed=7)
    r = risk(problem, run.theta, problem.data, samples=30_000, seed=7)[0]
    table = np.array([1.704481708, 1.338979564, 1.202827831, 1.127389274])
    errors = r.std(axis=1, ddof=1) / np.sqrt(8)
    assert (errors < 0.01).all()
    # the excess of finite N is positive and at most what it is at the start
    gap = r.mean(axis=1) - table
    assert (-4 * errors < gap).all() and (gap < 7.41176207 / width + 4 * errors).all()
    radii = np.sqrt((run.theta.astype(float) ** 2).sum(axis=-1)).mean(axis=2)
    mean_radius = np.array([0.7950161, 0.9798265, 1.1204062, 1.2562459])
    errors = radii.std(axis=1, ddof=1) / np.sqrt(8)
    # the gradient's noise, in 40 directions, lengthens the weights by about 125 eps
    assert (np.abs(radii.mean(axis=1) - mean_radius) < 4 * errors + 150 * eps).all()


def test_sgd_on_a_data_set_finds_least_squares():
    # with noisy labels the mean weight settles at the least-squares solution of the samples
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2))
    y = x @ [1.0, -1.0] + 0.5 * rng.standard_normal(50)
    problem = Problem(
        name="least squares",
        unit=RidgeUnit(identity, 2),
        data=DataSet(x, y),
        initial=GaussianLaw.isotropic(2, 0.1),
    )
    run = train(problem, 3, replicas=16, step_size=0.005, times=np.arange(5.0, 55.0), seed=8)
    weights = run.theta.mean(axis=(0, 2), dtype=float)
    exact = np.linalg.lstsq(x, y)[0]
    errors = weights.std(axis=0, ddof=1) / 4
    assert (errors < 0.005).all()
    np.testing.assert_array_less(np.abs(weights.mean(axis=0) - exact), 4 * errors)
    best, stated = risk(problem, np.broadcast_to(exact, (3, 2)), problem.data)
    assert best == pytest.approx(((x @ exact - y) ** 2).mean()) and stated == 0
