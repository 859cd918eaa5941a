"""Potentials to the digits of closed forms, and F' as the derivative of F."""

import numpy as np
import pytest

from ddpde.energy import Energy, HermiteRadialFeatures, InteractionFeatures, entropy
from ddpde.errors import ProblemError
from ddpde.problem import HalfSquared, Logistic, Squared
from ddpde.problem.catalogue import DENTED_RAMP, RAMP, digits_pca, erf_teacher, isotropic_gaussians


def test_hermite_potentials_of_mei2018():
    features = HermiteRadialFeatures(40, 0.8, RAMP)
    S = features.values(np.array([1.0, 1.5, 0.3, 2.0, 0.5])[:, None])

    def u(i, j):
        return (features.weights * S[i]) @ S[j]

    v = -S @ (features.weights * features.targets)
    assert u(0, 0) == pytest.approx(3.223811929898625, abs=1e-13)
    assert u(0, 1) == pytest.approx(3.283723712723296, abs=1e-13)
    assert u(2, 3) == pytest.approx(1.480739229092003, abs=1e-13)
    assert v[[4, 0, 3]] == pytest.approx(
        [-0.726152412610565, -1.456370115975373, -1.853534862721667], abs=1e-13
    )
    assert features.truncation_error < 1e-12


def test_hermite_potentials_are_averages_over_raw_data():
    """u(r, r') = E σ(⟨w, x⟩) σ(⟨w', x⟩): against the unit itself, by Monte Carlo."""
    problem = isotropic_gaussians(dim=20, delta=0.6, activation="dented_ramp")
    rng = np.random.default_rng(0)
    from ddpde.problem.data import sample

    x, y = sample(problem.data, rng, 200_000)
    w = np.zeros((2, 20))
    w[:, 0] = 0.7, 1.3
    raw = problem.unit(x, w)
    features = HermiteRadialFeatures(20, 0.6, DENTED_RAMP)
    S = features.values(np.array([[0.7], [1.3]]))
    assert raw[0] @ y / len(y) == pytest.approx(
        S[0] @ (features.weights * features.targets), abs=0.04
    )
    # different directions: average over rotations of the second weight
    w = rng.standard_normal((400, 20))
    w *= 1.3 / np.linalg.norm(w, axis=1, keepdims=True)
    mean = problem.unit(x[:50_000], w).mean(axis=0)
    assert raw[0, :50_000] @ mean / 50_000 == pytest.approx(
        (features.weights * S[0]) @ S[1], abs=0.08
    )


@pytest.mark.parametrize("problem", [isotropic_gaussians(), erf_teacher(), digits_pca()])
def test_feature_gradients(problem):
    energy, h = Energy(problem), 1e-6
    points = np.random.default_rng(0).random((6, problem.mesh_dim)) + 0.2
    values, gradients = energy.features_and_gradients(points)
    assert np.allclose(values, energy.features(points), atol=1e-13)
    for j in range(problem.mesh_dim):
        step = h * np.eye(problem.mesh_dim)[j]
        slope = (energy.features(points + step) - energy.features(points - step)) / (2 * h)
        assert np.allclose(gradients[:, j], slope, atol=2e-8)


def test_hermite_features_at_zero_radius():
    values, gradients = HermiteRadialFeatures(40, 0.8, DENTED_RAMP).values_and_gradients(
        np.array([[0.0], [1e-12]])
    )
    assert np.isfinite(values).all() and np.isfinite(gradients).all()
    assert values[0, 0] == DENTED_RAMP.values[0]  # σ(0)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_first_variation_is_the_derivative_of_the_energy(loss):
    """Taylor remainder of F along a perturbation of the law falls as its square."""
    problem = digits_pca(loss=loss)
    energy = Energy(problem)
    rng = np.random.default_rng(1)
    points = rng.standard_normal((50, 2))
    masses, change = rng.random(50) / 50, rng.standard_normal(50) / 50
    S, r = energy.features(points), energy.local(points)

    def value(m):
        return energy.nonlocal_energy(energy.predictions(S, m)) + r @ m

    variation = S @ energy.dual(energy.predictions(S, masses)) + r
    sizes = 0.5 ** np.arange(4, 9)
    remainders = [
        abs(value(masses + s * change) - value(masses) - s * variation @ change) for s in sizes
    ]
    slopes = np.diff(np.log(remainders)) / np.diff(np.log(sizes))
    assert np.allclose(slopes, 2.0, atol=0.05)


def test_entropy_of_a_gaussian():
    x = np.linspace(-9, 9, 4001)
    density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    weights = np.full_like(x, x[1] - x[0])
    assert entropy(density, weights) == pytest.approx(-0.5 * np.log(2 * np.pi * np.e), abs=1e-9)
    assert entropy(np.array([-1e-17, 0.0]), np.ones(2)) == 0.0


def test_slow_hermite_series_is_refused():
    with pytest.raises(ProblemError, match="dimension 3"):
        HermiteRadialFeatures(3, 0.5, RAMP)


@pytest.mark.parametrize(
    "kernel",
    [
        lambda a, b: -np.exp(-0.5 * ((a[:, None] - b[None]) ** 2).sum(axis=-1)),
        lambda a, b: 0.5 * ((a[:, None] - b[None]) ** 2).sum(axis=-1),
    ],
)
def test_interactions_are_compressed_to_tolerance(kernel):
    box = np.array([-4.0, -4.0]), np.array([4.0, 4.0])
    features = InteractionFeatures(kernel, box, tolerance=1e-7)
    assert features.error <= 1e-7
    rng = np.random.default_rng(5)
    a, b = rng.uniform(-4, 4, (2, 300, 2))
    found = (features.values(a) * features.signs) @ features.values(b).T
    assert np.abs(found - kernel(a, b)).max() <= 2e-7 * np.abs(kernel(a, b)).max()


@pytest.mark.slow
def test_an_interaction_shorter_than_the_box_takes_more_features():
    box = np.array([-3.0, -3.0]), np.array([3.0, 3.0])
    features = InteractionFeatures(
        lambda a, b: 1.0 / (1.0 + ((a[:, None] - b[None]) ** 2).sum(axis=-1)), box, tolerance=1e-8
    )
    assert 1440 < len(features.signs) < 4320
    assert features.error <= 1e-8


def test_rough_interactions_are_refused(monkeypatch):
    monkeypatch.setattr("ddpde.energy.interaction._SAMPLES", (150,))
    box = np.array([-1.0, -1.0]), np.array([1.0, 1.0])
    with pytest.raises(ProblemError, match="known to 1e-08 by 120 features"):
        InteractionFeatures(lambda a, b: np.abs(a[:, None] - b[None]).sum(axis=-1), box)


def test_asymmetric_interactions_are_refused():
    box = np.array([-1.0]), np.array([1.0])
    with pytest.raises(ProblemError, match="symmetric"):
        InteractionFeatures(lambda a, b: a - 2 * b.T, box)


@pytest.mark.parametrize("loss", [Squared(), HalfSquared(), Logistic()])
def test_data_nodes_are_compressed_to_tolerance(loss):
    """A thousand samples as a few pivots: the same predictions, duals and risk."""
    from dataclasses import replace

    from ddpde.problem import DataSet

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 2))
    data = DataSet(x, np.sign(x[:, 0] + 0.1))
    problem = replace(digits_pca(loss="logistic"), data=data, loss=loss)
    box = np.array([-3.0, -3.0]), np.array([3.0, 3.0])
    exact, few = Energy(problem), Energy(problem, box, tolerance=1e-8, points=10_000)
    assert few.size < 400 and exact.size == 1000
    assert 0 < few.compression_error < 1e-6
    points, masses = rng.uniform(-3, 3, (200, 2)), rng.random(200) / 200
    S, s = exact.features(points), few.features(points)
    f, g = exact.predictions(S, masses), few.predictions(s, masses)
    assert np.allclose(f, g, atol=1e-6)
    assert few.risk(g) == pytest.approx(exact.risk(f), abs=1e-6)
    assert np.allclose(S @ exact.dual(f), s @ few.dual(g), atol=1e-6)
    # where the dual is linear it is formed without the samples, the same but for rounding
    field = s @ few.dual(g)
    assert np.abs(s @ few.dual_from(s.T @ masses) - field).max() < 1e-12 * np.abs(field).max()
