"""Distances between clouds and laws against closed forms, each with its floor."""

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom, norm, wasserstein_distance

import ddpde
from ddpde.compare import (
    QuadraticInteraction,
    SlicedW1,
    SlicedW2,
    energy_kernel,
    floor,
    gaussian_entropy,
    gaussian_kernel,
    gaussian_w2,
    mmd_squared,
    sinkhorn_divergence,
    wasserstein,
)
from ddpde.compare.distances import _Quantiles
from ddpde.errors import ProblemError, SolverError
from ddpde.problem import Problem
from ddpde.problem.initial import DensityLaw


def half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


def one_dimensional(density, lower, upper, cells=60):
    problem = Problem("law", DensityLaw(1, density), potential=half_square)
    return ddpde.solve(problem, ddpde.interval(lower, upper, cells=cells), times=[0.0]).laws[0]


@pytest.fixture(scope="module")
def uniform():
    return one_dimensional(lambda x: np.ones(len(x)), 0, 1)


@pytest.fixture(scope="module")
def normal():
    return one_dimensional(lambda x: norm.pdf(x[:, 0]), -7, 7, cells=120)


@pytest.mark.parametrize("count", [1, 7, 300])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_w2_on_the_line_agrees_with_assignment(count, offset):
    """Equal weights: sorted points against sorted points."""
    rng = np.random.default_rng(count)
    x, c = rng.standard_normal(300) + offset, 2 * rng.standard_normal(count) + offset
    refined, coarse = np.sort(np.repeat(c, 300)), np.sort(np.repeat(x, count))
    expected = np.sqrt(np.mean((refined - coarse) ** 2))
    found = _Quantiles(x, np.full(300, 1 / 300)).distance(c, 2)
    assert found == pytest.approx(expected, rel=1e-7)


def test_floor_of_the_uniform_law(uniform):
    """N E W₂² = 1/6 for every N; √N E W₁ → 0.3133285343289."""
    rng, n = np.random.default_rng(0), 100
    w2 = floor(uniform, SlicedW2(uniform), n, repeats=4000, rng=rng) ** 2
    assert n * w2.mean() == pytest.approx(1 / 6, abs=4 * n * w2.std() / np.sqrt(4000))
    w1 = floor(uniform, SlicedW1(uniform), 1600, repeats=600, rng=rng)
    assert 40 * w1.mean() == pytest.approx(0.3133285343289, abs=4 * 40 * w1.std() / np.sqrt(600))


def test_floor_of_the_normal_law(normal):
    """E W₁ = ∫ E|F_N − F|, a binomial's mean deviation (De Moivre); √N of it → 1.288379190303."""

    def expected(n):
        x = np.linspace(-8, 8, 40_001)
        F = norm.cdf(x)
        m = np.floor(n * F) + 1
        deviation = 2 * (1 - F) * m * binom.pmf(m, n, F) / n
        return trapezoid(np.nan_to_num(deviation), x)

    assert 1e4 * expected(10**8) == pytest.approx(1.288379190303, rel=1e-3)
    draws = floor(normal, SlicedW1(normal), 400, repeats=2000, rng=np.random.default_rng(1))
    spread = 4 * draws.std() / np.sqrt(2000)
    assert draws.mean() == pytest.approx(expected(400), abs=spread)
    assert spread < 0.05 * expected(400)


def test_w2_of_a_dilation(normal):
    """W₂ between N(0, 1) and N(m, s²) is √(m² + (s − 1)²)."""
    quantiles = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    found = SlicedW2(normal)((0.3 + 1.5 * quantiles)[:, None])
    assert found == pytest.approx(np.hypot(0.3, 0.5), rel=1e-4)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_floor_of_mmd(dim):
    """N E MMD² = 1 − 3^{−d/2}, Gaussian kernel of width 1, N(0, I)."""
    z, w = np.polynomial.hermite_e.hermegauss(14)
    index = np.stack(np.meshgrid(*[np.arange(14)] * dim, indexing="ij"), -1).reshape(-1, dim)
    points, masses = z[index], (w / w.sum())[index].prod(axis=1)
    points, masses = points[masses > 1e-9], masses[masses > 1e-9]
    rng, n = np.random.default_rng(dim), 40
    values = np.array(
        [
            mmd_squared(rng.standard_normal((n, dim)), points, gaussian_kernel(), b=masses)
            for _ in range(80)
        ]
    )
    spread = 4 * n * values.std() / np.sqrt(len(values))
    assert n * values.mean() == pytest.approx(1 - 3 ** (-dim / 2), abs=spread)


def test_energy_distance_on_the_line():
    """2 ∫ (F − G)² dx (Székely and Rizzo)."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 1)), rng.standard_normal((70, 1)) + 0.5
    grid = np.sort(np.concatenate([x, y]).ravel())
    F, G = (np.searchsorted(np.sort(c.ravel()), grid, side="right") / len(c) for c in (x, y))
    expected = 2 * ((F - G)[:-1] ** 2 * np.diff(grid)).sum()
    assert mmd_squared(x, y, energy_kernel) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("order", [1, 2])
def test_exact_transport(order):
    rng = np.random.default_rng(order)
    x, y = rng.standard_normal((60, 3)), rng.standard_normal((60, 3)) + 0.3
    cost = np.sqrt(((x[:, None] - y) ** 2).sum(axis=2)) ** order
    pairs = linear_sum_assignment(cost)
    expected = cost[pairs].mean() ** (1 / order)
    assert wasserstein(x, y, order=order) == pytest.approx(expected, rel=1e-9)
    if order == 1:
        a = rng.random(60)
        a /= a.sum()
        line = wasserstein_distance(x[:, 0], y[:, 0], a)
        assert wasserstein(x[:, :1], y[:, :1], a, order=1) == pytest.approx(line, rel=1e-9)


def test_transport_without_an_optimum_is_an_error():
    rng = np.random.default_rng(0)
    with pytest.raises(SolverError, match="not optimal"):
        wasserstein(rng.standard_normal((200, 2)), rng.standard_normal((200, 2)), iterations=3)


def test_sinkhorn_between_gaussians():
    """Closed form of Janati et al. 2020, ε = 2σ²; Gauss–Hermite points stand for the laws."""
    z, w = np.polynomial.hermite_e.hermegauss(40)
    w = w / w.sum()
    means, stds, blur = (0.0, 0.7), (1.0, 0.6), 0.9
    found = sinkhorn_divergence(
        means[0] + stds[0] * z[:, None], means[1] + stds[1] * z[:, None], w, w, blur=blur
    )
    half = blur**2 / 2  # σ²
    D = {(i, j): np.sqrt(4 * stds[i] ** 2 * stds[j] ** 2 + half**2) for i in (0, 1) for j in (0, 1)}
    expected = (means[0] - means[1]) ** 2
    expected += 0.5 * (D[0, 0] + D[1, 1] - 2 * D[0, 1])
    expected += 0.5 * half * np.log((D[0, 1] + half) ** 2 / (D[0, 0] + half) / (D[1, 1] + half))
    assert found == pytest.approx(expected, rel=1e-6)


def test_sinkhorn_without_an_end_is_an_error():
    x = np.linspace(0, 1, 20)[:, None]
    assert sinkhorn_divergence(x, x, blur=0.5) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(SolverError, match="still moves"):
        sinkhorn_divergence(x, x + 3, blur=0.02, iterations=5)


def test_bad_clouds():
    x = np.zeros((3, 2))
    with pytest.raises(ProblemError, match="shapes"):
        wasserstein(x, np.zeros((3, 1)))
    with pytest.raises(ProblemError, match="weights"):
        wasserstein(x, x, np.array([1.0, 1.0, -1.0]))
    with pytest.raises(ProblemError, match="order"):
        wasserstein(x, x, order=3)
    with pytest.raises(ProblemError, match="blur"):
        sinkhorn_divergence(x, x, blur=0.0)
    with pytest.raises(ProblemError, match="do not fit"):
        wasserstein(np.zeros((10_000, 1)), np.zeros((10_000, 1)))


def test_quadratic_interaction():
    """λ = κ = 1, T = 0.5, s₀ = 0.25, t = 1."""
    system = QuadraticInteraction(1.0, 1.0, 0.5, 0.25)
    a, s = system.free_variance(1.0), system.mean_field_variance(1.0)
    assert (a, s) == pytest.approx((0.466166179191, 0.25), rel=1e-11)
    assert system.marginal_entropy(1.0, 10) == pytest.approx(0.00176790522835, rel=1e-10)
    assert system.marginal_entropy(1.0, 100) == pytest.approx(1.8584077009e-5, rel=1e-9)
    assert system.marginal_entropy(1.0, 10, 2) == pytest.approx(0.00671277105384, rel=1e-10)
    assert system.marginal_entropy(1.0, 100, 2) == pytest.approx(7.39135844842e-5, rel=1e-9)
    square = 1e10 * system.marginal_w2(1.0, 100_000) ** 2
    assert square == pytest.approx(0.046727817026, rel=1e-5)
    # the same from the covariance of two particles
    C = np.full((2, 2), (a - s) / 10) + s * np.eye(2)
    zero = np.zeros(2)
    entropy = gaussian_entropy(zero, C, zero, s * np.eye(2))
    assert entropy == pytest.approx(system.marginal_entropy(1.0, 10, 2), rel=1e-10)
    w2 = gaussian_w2(zero, C, zero, s * np.eye(2))
    assert w2 == pytest.approx(system.marginal_w2(1.0, 10, 2), rel=1e-7)
    with pytest.raises(ProblemError, match="k = 11"):
        system.marginal_entropy(1.0, 10, 11)


def test_gaussians():
    """Two laws on a line: ½(v − 1 − log v + m²), √(m² + (s − 1)²)."""
    one, m, v = np.ones((1, 1)), np.array([0.4]), 1.7
    assert gaussian_entropy(m, v * one, 0 * m, one) == pytest.approx(
        0.5 * (v - 1 - np.log(v) + 0.16)
    )
    assert gaussian_w2(m, v * one, 0 * m, one) == pytest.approx(np.hypot(0.4, np.sqrt(v) - 1))
