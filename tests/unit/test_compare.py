"""Distances and statistics against closed forms."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import ddpde
from ddpde.compare import SlicedW1, extrapolate, fit_rate, floor, half_width
from ddpde.compare.distances import _Quantiles
from ddpde.problem.catalogue import erf_teacher


@pytest.fixture(scope="module")
def law():
    """N(0.5, 0.3²) on a mesh."""
    problem = erf_teacher()
    return ddpde.solve(problem, ddpde.interval(-2, 3, cells=40), times=[0.0]).laws[0]


@pytest.mark.parametrize("count", [1, 7, 500, 3000])
def test_w1_agrees_with_scipy(count):
    rng = np.random.default_rng(count)
    x, masses = rng.normal(size=300), rng.random(300)
    masses /= masses.sum()
    cloud = 1.3 * rng.normal(size=count) + 0.2
    expected = wasserstein_distance(cloud, x, v_weights=masses)
    assert _Quantiles(x, masses).distance(cloud) == pytest.approx(expected, rel=1e-10)


def test_w1_of_a_shift_is_the_shift(law):
    points = 0.5 + 0.3 * np.sqrt(2) * _inverse_erf(np.linspace(-1, 1, 20001)[1:-1:2])
    assert SlicedW1(law)((points + 0.25)[:, None]) == pytest.approx(0.25, abs=1e-4)


def _inverse_erf(p):
    from scipy.special import erfinv

    return erfinv(p)


def test_floor_of_a_gaussian(law):
    """√N E W₁ → 1.288379 · sd."""
    draws = floor(law, SlicedW1(law), 400, repeats=400, rng=np.random.default_rng(0))
    assert np.sqrt(400) * draws.mean() == pytest.approx(1.288379 * 0.3, rel=0.06)


def test_sliced_w1_of_a_shift_in_the_plane():
    """Average of |⟨v, shift⟩| over directions: 2/π of its length."""
    from ddpde.problem.catalogue import digits_pca

    plane = ddpde.solve(
        digits_pca(), ddpde.box([-3, -3], [3, 3], cells=[16, 16]), times=[0.0]
    ).laws[0]
    cloud = plane.sample(200_000, np.random.default_rng(0)) + np.array([0.6, 0.8])
    assert SlicedW1(plane)(cloud) == pytest.approx(2 / np.pi, rel=0.01)


def test_law_moments(law):
    assert law.expectation(lambda x: x[:, 0]) == pytest.approx(0.5, abs=1e-9)
    assert law.expectation(lambda x: (x[:, 0] - 0.5) ** 2) == pytest.approx(0.09, abs=1e-8)
    draws = law.sample(100_000, np.random.default_rng(1))
    assert draws.std() == pytest.approx(0.3, rel=0.01)


def test_law_survives_a_file(law, tmp_path):
    law.save(tmp_path / "law.npz")
    again = ddpde.Law.load(tmp_path / "law.npz")
    assert vars(again).keys() == vars(law).keys()
    assert np.array_equal(again.values, law.values) and again.time == law.time
    assert again.cell == law.cell and again.moved is False


def test_extrapolation_finds_limit_and_rate():
    rng = np.random.default_rng(0)
    widths = np.array([50, 100, 200, 400])
    noise = rng.standard_normal((4, 64)) * 0.1 / np.sqrt(widths)[:, None]
    fit = extrapolate(widths, 0.02 + 3.0 / widths[:, None] + noise)
    assert abs(fit.limit - 0.02) < fit.critical(0.001) * fit.limit_se
    assert abs(fit.rate - 3.0) < fit.critical(0.001) * fit.rate_se
    assert fit.limit_se < 0.002


def test_extrapolation_knows_its_error_from_few_replicas():
    """Standard errors are right in the mean square; degrees of freedom are those of the widths."""
    rng, widths, replicas = np.random.default_rng(4), np.array([100, 200, 400, 800]), 4
    noise = rng.standard_normal((1000, 4, replicas)) / np.sqrt(widths)[:, None]
    fits = [extrapolate(widths, 7.4 / widths[:, None] + each) for each in noise]
    squares = np.mean([fit.limit_se**2 for fit in fits])
    assert squares == pytest.approx(np.var([fit.limit for fit in fits]), rel=0.15)
    assert all(replicas - 1 <= fit.dof <= 4 * (replicas - 1) for fit in fits)


def test_extrapolation_raises_few_false_alarms():
    """Null comparisons: the limit is zero, the noise grows as N^{-1/2}."""
    rng = np.random.default_rng(1)
    widths = np.array([100, 200, 400, 800])
    alarms = 0
    for _ in range(1000):
        noise = rng.standard_normal((4, 16)) / np.sqrt(widths)[:, None]
        fit = extrapolate(widths, 7.4 / widths[:, None] + noise)
        alarms += abs(fit.limit) > fit.critical(0.01) * fit.limit_se
    assert alarms <= 20  # 1 % asked for; 20 in 1000 happen by chance once in 300


def test_rate_of_a_power_law_and_of_noise():
    rng = np.random.default_rng(2)
    widths = np.array([100, 200, 400, 800])
    gaps = 5.0 / widths[:, None] * (1 + 0.05 * rng.standard_normal((4, 32)))
    rate = fit_rate(widths, gaps)
    assert rate.resolved and rate.low < -1.0 < rate.high
    assert not fit_rate(widths, rng.standard_normal((4, 32))).resolved


def test_half_width_covers():
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((4000, 8))
    covered = np.abs(samples.mean(axis=1)) <= half_width(samples)
    assert covered.mean() == pytest.approx(0.95, abs=0.015)
