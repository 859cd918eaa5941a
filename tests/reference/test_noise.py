"""½ ∂_i∂_j(Σ_ij ρ): noise whose strength depends on the place and on the law."""

import basix
import numpy as np
import pytest
from scipy.integrate import quad

import ddpde
from ddpde.errors import ProblemError
from ddpde.problem import (
    DensityLaw,
    GaussianInputs,
    GaussianLaw,
    GivenNoise,
    HalfSquared,
    PorousMedium,
    Problem,
    RidgeUnit,
    SGDNoise,
    erf,
    identity,
)


def mean_variance(law):
    mean = law.expectation(lambda x: x[:, 0])
    return mean, law.expectation(lambda x: (x[:, 0] - mean) ** 2)


def keeps_mass_and_sign(run):
    peak = max(law.peak() for law in run.laws)
    assert np.abs(run.history["mass"] - 1).max() < 1e-10
    assert run.history["minimum"].min() >= -1e-14 * peak


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_linear_neuron(alpha):
    """F = wx, y = bx + σn: e = mean − b decays, the spread grows by γ(t+1)^{−2α}(2e² + σ²)."""
    b, sigma, gamma, mean, std, t_end = 0.8, 0.5, 0.3, -0.4, 0.4, 1.5
    problem = Problem(
        "linear_neuron",
        GaussianLaw((mean,), (std,)),
        unit=RidgeUnit(identity, input_dim=1),
        data=GaussianInputs(1, lambda x: b * x[:, 0], sigma, quadrature_points=4),
        loss=HalfSquared(),
        noise=SGDNoise(gamma),
        schedule=(lambda t: (t + 1) ** -alpha) if alpha else (lambda t: 1.0),
    )
    run = ddpde.solve(problem, ddpde.interval(-4, 5, cells=40), times=[t_end], degree=4, rtol=1e-8)

    def s(t):
        return quad(lambda r: (r + 1) ** -alpha, 0, t)[0]

    def growth(t):
        e = (mean - b) * np.exp(-s(t))
        return gamma * (t + 1) ** (-2 * alpha) * (2 * e**2 + sigma**2)

    expected = b + (mean - b) * np.exp(-s(t_end)), std**2 + quad(growth, 0, t_end)[0]
    assert mean_variance(run.laws[-1]) == pytest.approx(expected, abs=1e-6)
    keeps_mass_and_sign(run)


def sinh_density(theta, start, variance):
    """Law of sinh(Y), Y ~ N(start, variance)."""
    x = theta[:, 0]
    z = np.exp(-((np.arcsinh(x) - start) ** 2) / (2 * variance))
    return z / np.sqrt(2 * np.pi * variance * (1 + x**2))


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_order_on_a_line(degree):
    """X = sinh(y₀ + σB): dX = ½σ²X dt + σ√(1 + X²) dB, so V = −σ²x²/4 and Σ = σ²(1 + x²)."""
    sigma, start, variance, t_end = 0.6, 0.2, 0.06, 0.15
    problem = Problem(
        "sinh",
        DensityLaw(1, lambda theta: sinh_density(theta, start, variance)),
        potential=lambda theta: -0.25 * sigma**2 * theta[:, 0] ** 2,
        noise=GivenNoise(lambda theta: sigma**2 * (1 + theta[:, :, None] ** 2)),
    )
    errors = []
    for cells in (40, 80, 160):
        mesh = ddpde.interval(-5, 6, cells=cells)
        run = ddpde.solve(problem, mesh, times=[t_end], degree=degree, rtol=1e-9)
        law = run.laws[-1]
        reference, weights = basix.make_quadrature(basix.CellType[law.cell], 2 * degree + 8)
        x, density, volume = law.at(reference)
        truth = sinh_density(x.reshape(-1, 1), start, variance + sigma**2 * t_end)
        errors.append((np.abs(density - truth.reshape(density.shape)) * volume * weights).sum())
        keeps_mass_and_sign(run)
    assert np.log2(errors[1] / errors[2]) > degree + 1 - 0.15, errors


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
def test_tensor_on_the_plane(cell):
    """dX = −X dt + S₀^{1/2} dB + CX dB': M' = −2M + S₀ + C M Cᵀ for M = ⟨x xᵀ⟩."""
    base = np.array([[0.5, 0.2], [0.2, 0.3]])
    C = np.array([[0.2, -0.4], [0.3, 0.1]])
    start, t_end = np.diag([0.3, 0.2]), 0.5

    def covariance(theta):
        moved = theta @ C.T
        return base + moved[:, :, None] * moved[:, None, :]

    problem = Problem(
        "tensor",
        GaussianLaw((0.0, 0.0), tuple(np.sqrt(np.diag(start)))),
        potential=lambda theta: 0.5 * (theta * theta).sum(axis=1),
        noise=GivenNoise(covariance),
    )
    mesh = ddpde.box([-4, -4], [4, 4], cells=[12, 12], cell=cell)
    run = ddpde.solve(problem, mesh, times=[t_end], degree=3, rtol=1e-5)
    M, steps = start.copy(), 2000
    for _ in range(steps):
        half = M + 0.5 * t_end / steps * (-2 * M + base + C @ M @ C.T)
        M = M + t_end / steps * (-2 * half + base + C @ half @ C.T)
    for i in (0, 1):
        for j in (0, 1):
            found = run.laws[-1].expectation(lambda x, i=i, j=j: x[:, i] * x[:, j])
            assert found == pytest.approx(M[i, j], abs=2e-4)
    keeps_mass_and_sign(run)


@pytest.mark.parametrize(("gamma", "spread", "within"), [(0.5, 0.1593, 6e-3), (0.1, 0.0648, 5e-4)])
def test_erf_neuron(gamma, spread, within):
    """Within-network variance of SGD whose neurons draw their own samples.

    SGD makes steps of γ, ten of them at γ = 0.5: it is 3 % off its diffusion limit, 0.1539.
    """
    problem = Problem(
        "erf_neuron",
        GaussianLaw((0.5,), (0.3,)),
        unit=RidgeUnit(erf, input_dim=1),
        data=GaussianInputs(
            1, lambda x: 0.5 * (erf(x[:, 0]) + erf(3 * x[:, 0])), 0.5, quadrature_points=100
        ),
        loss=HalfSquared(),
        noise=SGDNoise(gamma),
    )
    run = ddpde.solve(problem, ddpde.interval(-2.5, 4.5, cells=48), times=[5.0], rtol=1e-5)
    assert mean_variance(run.laws[-1])[1] == pytest.approx(spread, abs=within)
    keeps_mass_and_sign(run)


def test_what_noise_does_not_go_with():
    given = GivenNoise(lambda theta: np.ones((len(theta), 1, 1)))
    law, mesh = GaussianLaw((0.0,), (1.0,)), ddpde.interval(-5, 5, cells=8)
    with pytest.raises(ProblemError, match="internal"):
        Problem("both", law, noise=given, internal=PorousMedium(2))
    with pytest.raises(ProblemError, match="network"):
        Problem("no network", law, noise=SGDNoise(0.1))
    for wrong, said in [
        (lambda theta: np.ones(len(theta)), "shape"),
        (lambda theta: -np.ones((len(theta), 1, 1)), "negative"),
    ]:
        with pytest.raises(ProblemError, match=said):
            ddpde.solve(Problem("wrong", law, noise=GivenNoise(wrong)), mesh, t_end=1.0)
    singular = Problem("singular", law, noise=given, schedule=lambda t: t**-0.25)
    with pytest.raises(ProblemError, match="finite at t = 0"):
        ddpde.solve(singular, mesh, t_end=1.0)
    with pytest.raises(ProblemError, match="> 0"):
        SGDNoise(-1.0)
