"""Units, data laws and initial laws: NumPy and JAX alike, with the right moments."""

from dataclasses import replace

import numpy as np
import pytest

from ddpde.errors import ProblemError
from ddpde.problem import (
    Congestion,
    DataSet,
    GaussianInputs,
    GaussianLaw,
    IsotropicGaussians,
    Logistic,
    PiecewiseLinear,
    PorousMedium,
    Problem,
    Radial,
    RidgeUnit,
    Squared,
    erf,
    identity,
    relu,
    square,
    tanh,
)
from ddpde.problem.catalogue import CATALOGUE, RAMP, digits_pca, isotropic_gaussians
from ddpde.problem.data import sample


@pytest.mark.parametrize("activation", [tanh, erf, relu, identity, square, RAMP])
def test_unit_is_the_same_in_numpy_and_jax(activation):
    import jax

    rng = np.random.default_rng(0)
    unit = RidgeUnit(activation, input_dim=3, bias=True, output_weight=True)
    x, theta = rng.standard_normal((7, 3)), rng.standard_normal((5, unit.dim))
    with jax.enable_x64(True):
        ours = np.asarray(unit(jax.numpy.asarray(x), jax.numpy.asarray(theta)))
    expected = theta[:, :1] * activation(theta[:, 2:] @ x.T + theta[:, 1:2])
    assert np.allclose(unit(x, theta), expected, rtol=1e-14)
    assert np.allclose(ours, expected, rtol=1e-13)


def test_ramp_matches_the_paper():
    assert np.allclose(RAMP(np.array([-1.0, 0.5, 1.0, 1.5, 9.0])), [-2.5, -2.5, 2.5, 7.5, 7.5])
    assert RAMP.slopes == (10.0,)
    with pytest.raises(ValueError, match="increase"):
        PiecewiseLinear((1.0, 0.0), (0.0, 1.0))


@pytest.mark.parametrize("loss", [Squared(), Logistic()])
def test_loss_derivatives(loss):
    f, h = np.linspace(-3, 3, 11), 1e-5
    y = np.where(np.arange(11) % 2, 1.0, -1.0)
    slope = (loss.value(f + h, y) - loss.value(f - h, y)) / (2 * h)
    curvature = (loss.derivative(f + h, y) - loss.derivative(f - h, y)) / (2 * h)
    assert np.allclose(loss.derivative(f, y), slope, atol=1e-9)
    assert np.allclose(loss.second_derivative(f, y), curvature, atol=1e-9)


@pytest.mark.parametrize("exponent", [1.5, 2, 3])
def test_internal_energy_derivatives(exponent):
    energy, u, h = PorousMedium(exponent, 0.7), np.array([-2.0, -0.3, 0.2, 1.0, 3.0]), 1e-5
    slope = (energy.value(u + h) - energy.value(u - h)) / (2 * h)
    assert np.allclose(energy.derivative(u), slope, rtol=1e-8)
    curvature = (energy.derivative(u + h) - energy.derivative(u - h)) / (2 * h)
    assert np.allclose(energy.second_derivative(u), curvature, rtol=1e-8)
    assert np.allclose(
        energy.pressure(u), np.sign(u) * (abs(u) * abs(energy.derivative(u)) - energy.value(u))
    )
    assert np.allclose(energy.pressure(u), 0.7 * np.sign(u) * abs(u) ** exponent)


def test_congestion_is_a_constraint():
    assert np.array_equal(Congestion(2.0).value(np.array([0.0, 2.0, 2.1])), [0.0, 0.0, np.inf])


@pytest.mark.parametrize(
    "wrong", [lambda: PorousMedium(1.0), lambda: PorousMedium(2, 0.0), lambda: Congestion(-1.0)]
)
def test_internal_energies_refuse(wrong):
    with pytest.raises(ProblemError):
        wrong()


def test_no_internal_energy_in_a_reduction():
    problem = isotropic_gaussians()
    with pytest.raises(ProblemError, match="internal"):
        replace(problem, internal=PorousMedium(2))


def test_isotropic_gaussians_have_their_widths():
    law = IsotropicGaussians(dim=4, delta=0.5)
    x, y = sample(law, np.random.default_rng(1), 40000)
    assert abs(y.mean()) < 0.02
    assert np.allclose(x[y > 0].std(axis=0), 1.5, rtol=0.02)
    assert np.allclose(x[y < 0].std(axis=0), 0.5, rtol=0.02)


def test_gaussian_nodes_integrate_moments_and_label_noise():
    law = GaussianInputs(2, lambda x: x[:, 0], label_noise=0.5, quadrature_points=12)
    nodes = law.nodes()
    assert nodes.weights.sum() == pytest.approx(1, abs=1e-13)
    assert nodes.weights @ nodes.x[:, 0] ** 4 == pytest.approx(3, rel=1e-12)
    assert nodes.weights @ nodes.y**2 == pytest.approx(1.25, rel=1e-12)


@pytest.mark.parametrize("x", [[["a"]], [[1.0, 2.0], [3.0]], np.ones((1, 2)) * 1j, None])
def test_data_are_arrays_of_real_numbers(x):
    with pytest.raises(ProblemError, match="x of the data is no array of real numbers"):
        DataSet(x, [1.0])
    assert DataSet([[1, 2]], [3]).x.dtype == float


def test_data_set_draws_every_sample_alike():
    law = DataSet(np.arange(5.0)[:, None], np.arange(5.0))
    x, y = law.draw(np.zeros((10000, 0)), np.random.default_rng(0).random((10000, 1)))
    assert np.array_equal(x[:, 0], y)
    assert np.allclose(np.bincount(y.astype(int)) / 10000, 0.2, atol=0.02)


def test_radial_law_is_the_law_of_the_norm():
    problem = isotropic_gaussians()
    r = np.linspace(0, 3, 40001)[:, None]
    density = problem.initial_density(r)
    assert np.trapezoid(density, r[:, 0]) == pytest.approx(1, abs=1e-10)
    assert np.trapezoid(density * r[:, 0], r[:, 0]) == pytest.approx(0.7950161, abs=1e-7)
    w = problem.initial.sample(np.random.default_rng(0).standard_normal((20000, 40)))
    assert problem.coordinates(w).mean() == pytest.approx(0.7950161, abs=3e-3)


def test_digits_keep_train_and_test_apart():
    problem = digits_pca()
    assert np.allclose(problem.data.x.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(problem.data.x.std(axis=0, ddof=1), 1)
    assert len(problem.data.y) == 249 and len(problem.test_data.y) == 108


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_builds_with_its_defaults(name):
    problem = CATALOGUE[name]()
    assert problem.name == name
    assert CATALOGUE[name](**problem.parameters).parameters == problem.parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"ridge": np.nan}, "ridge"),
        ({"initial": GaussianLaw.isotropic(3, 1.0)}, "parameters"),
        ({"reduction": Radial(), "temperature": 0.1}, "reductions"),
    ],
)
def test_ill_posed_problems_are_refused(change, message):
    parts = {
        "name": "x",
        "unit": RidgeUnit(tanh, 2),
        "data": DataSet(np.zeros((3, 2)), np.zeros(3)),
        "initial": GaussianLaw.isotropic(2, 1.0),
    }
    with pytest.raises(ProblemError, match=message):
        Problem(**(parts | change))
