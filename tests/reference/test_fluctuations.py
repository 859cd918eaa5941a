"""Predicted fluctuations of N neurons: closed forms, the discrete transpose, and replicas."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

import ddpde
from ddpde.errors import ProblemError
from ddpde.flow import Adjoint, EulerianFlow
from ddpde.problem import GaussianInputs, GaussianLaw, Problem, RidgeUnit
from ddpde.problem.catalogue import digits_pca, erf_teacher, isotropic_gaussians


def half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


def attraction(theta, other):
    return 0.5 * (theta[:, :1] - other[:, 0]) ** 2


def identity(z):
    return z


def square(z):
    return z * z


def first(theta):
    return theta[:, 0]


def first_squared(theta):
    return theta[:, 0] ** 2


def test_quadratic_interaction():
    """N Var of the mean is an OU variance without the interaction; ∫θ² feels both."""
    s0, T = 0.25, 0.5
    problem = Problem(
        name="quadratic interaction",
        potential=half_square,
        interaction=attraction,
        temperature=T,
        initial=GaussianLaw((0.0,), (s0**0.5,)),
    )
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-5, 5, cells=24),
        times=[0.5, 1.0],
        observables={"mean": first, "square": first_squared},
        degree=6,
    )
    assert found.names == ("mean", "square") and found.sgd is None
    for t, C in zip(found.times, found.covariance(1), strict=True):
        a = s0 * np.exp(-2 * t) + T * (1 - np.exp(-2 * t))
        noise = quad(
            lambda r, t=t: 8 * T * (s0 * np.exp(-4 * r) + T * (1 - np.exp(-4 * r)) / 2)
            * np.exp(-8 * (t - r)), 0, t,
        )[0]  # fmt: skip
        assert C[0, 0] == pytest.approx(a, rel=1e-7)
        assert C[1, 1] == pytest.approx(2 * s0**2 * np.exp(-8 * t) + noise, rel=1e-6)
        assert abs(C[0, 1]) < 1e-7
    assert found.covariance(1)[-1, 0, 0] == pytest.approx(0.466166179191, rel=1e-7)


@pytest.mark.parametrize("xi", [1.0, 0.7, 0.5])  # stops apart by rounding in the last
def test_linear_neuron(xi):
    """N Var of the mean s₀e^{−4s}; SGD's part σ²(1 − e^{−4s}) + 8e₀²s e^{−4s} times ξ."""
    noise, s0, e0 = 0.7, 0.25, 0.8
    problem = Problem(
        name="linear neuron",
        unit=RidgeUnit(identity, 1),
        data=GaussianInputs(1, first, noise, 8),
        initial=GaussianLaw((1 - e0,), (s0**0.5,)),
        schedule=(lambda t: xi) if xi != 1 else Problem.__dataclass_fields__["schedule"].default,
    )
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-4, 5, cells=24),
        times=[0.1, 1.0],
        observables={"mean": first},
        inputs=np.array([[2.0]]),
        degree=6,
    )
    assert found.names == ("risk", "mean", "f0")
    for t, initial, sgd in zip(found.times, found.initial, found.sgd, strict=True):
        s = xi * t
        variance, error = s0 * np.exp(-4 * s), e0 * np.exp(-2 * s)
        assert initial[1, 1] == pytest.approx(variance, rel=1e-6)
        assert initial[2, 2] == pytest.approx(4 * variance, rel=1e-6)
        assert initial[0, 0] == pytest.approx(4 * error**2 * variance, rel=1e-6)
        expected = noise**2 * (1 - np.exp(-4 * s)) + 8 * e0**2 * s * np.exp(-4 * s)
        assert sgd[1, 1] == pytest.approx(xi * expected, rel=1e-5, abs=1e-14)
    whole = found.variance(50, step_size=0.01, batch=4)
    assert whole[-1, 1] == pytest.approx(
        found.initial[-1, 1, 1] / 50 + 0.01 / 4 * found.sgd[-1, 1, 1], rel=1e-12
    )


def test_quadratic_network():
    """σ = w²x²: M_N(0) = M₀ χ²_N/N is carried by a scalar equation."""
    problem = Problem(
        name="quadratic network",
        unit=RidgeUnit(square, 1),
        data=GaussianInputs(1, first_squared, 0.0, 8),
        initial=GaussianLaw((0.0,), (0.5,)),
    )
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-7, 7, cells=48),
        times=[0.02, 0.1],
        observables={"M": first_squared},
        degree=6,
    )
    for t, C in zip(found.times, found.initial, strict=True):
        growth, M0 = np.exp(24 * t), 0.25
        M = M0 * growth / (1 + M0 * (growth - 1))
        variance = 2 * M0**2 * (growth / (1 + M0 * (growth - 1)) ** 2) ** 2
        assert C[1, 1] == pytest.approx(variance, rel=1e-7)
        assert C[0, 0] == pytest.approx((6 * (M - 1)) ** 2 * variance, rel=1e-7)


def test_initial_neurons_carried_along():
    """Quadratic network: R_N − R without its first order is of second order."""
    problem = Problem(
        name="quadratic network",
        unit=RidgeUnit(square, 1),
        data=GaussianInputs(1, first_squared, 0.0, 8),
        initial=GaussianLaw((0.0,), (0.5,)),
    )
    found = ddpde.fluctuations(problem, ddpde.interval(-7, 7, cells=48), times=[0.05], degree=6)
    start = 0.5 * np.random.default_rng(0).standard_normal((40, 500, 1))
    M0, growth = (start**2).mean(axis=(1, 2)), np.exp(24 * 0.05)
    M, slope = growth / 4 / (1 + (growth - 1) / 4), growth / (1 + (growth - 1) / 4) ** 2
    carried = found.carried(start)[1, 0]
    assert carried == pytest.approx(6 * (M - 1) * slope * (M0 - 0.25), abs=1e-6)
    exact = 3 * (M0 * growth / (1 + M0 * (growth - 1)) - 1) ** 2
    gap = exact - 3 * (M - 1) ** 2
    assert (gap - carried).std() < 0.2 * gap.std()


@pytest.mark.parametrize(
    ("problem", "mesh"),
    [
        (erf_teacher(temperature=0.01, ridge=0.02), ddpde.interval(-2, 4, cells=20)),
        (digits_pca(), ddpde.box([-3, -3], [3, 3], cells=[6, 5])),
        (digits_pca(), ddpde.box([-3, -3], [3, 3], cells=[4, 3], cell="triangle")),
        (replace(erf_teacher(), birth_death=3.0), ddpde.interval(-2, 4, cells=9)),
        (
            Problem(
                name="birth and death",
                potential=half_square,
                interaction=attraction,
                birth_death=2.0,
                initial=GaussianLaw((0.5,), (0.5,)),
            ),
            ddpde.interval(-3, 4, cells=9),
        ),
        (
            replace(erf_teacher(std=1.2, temperature=0.3), birth_death=3.0),
            ddpde.interval(-4.5, 5.5, cells=9),
        ),
    ],
)
def test_adjoint_is_the_transpose_of_the_discrete_flow(problem, mesh):
    flow = EulerianFlow(problem, mesh, 3)
    adjoint, rng = Adjoint(flow), np.random.default_rng(0)
    u = flow.coefficients(flow.state).copy()
    w, g = np.abs(u).max() * rng.standard_normal(u.shape), rng.standard_normal(u.shape)
    state, out = flow.state.duplicate(), flow.state.duplicate()

    def rate(coefficients):
        state.setArray(coefficients.ravel())
        flow.transport(state, out)
        return out.getArray().reshape(u.shape).copy()

    step = 1e-7
    change = (rate(u + step * w) - rate(u - step * w)) / (2 * step)
    volumes = 1 / flow.space.divide_by_mass(np.ones_like(u))
    adjoint.at(u)
    expected = (volumes * g * change).sum()
    assert (volumes * adjoint.transport(g[None])[0] * w).sum() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("temperature", "step_size", "batch"), [(0.0, 0.01, 1), (0.05, 0.01, 1), (0.0, 0.01, 8)]
)
def test_replicas_of_the_erf_network(temperature, step_size, batch):
    """500 networks of 100 neurons; a variance then has a relative error of 6 %."""
    from ddpde.particles import predict, train

    problem = erf_teacher(temperature=temperature, ridge=0.1 * (temperature > 0), label_noise=0.5)
    x, times, width, replicas = np.array([[0.5], [2.0]]), [0.5, 1.0], 100, 500
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-4, 6, cells=40),
        times=times,
        observables={"mean": first, "square": first_squared},
        inputs=x,
    )
    expected = found.variance(width, step_size=step_size, batch=batch)[1:, 1:]
    trained = train(
        problem,
        width,
        replicas=replicas,
        step_size=step_size,
        times=times,
        seed=1,
        batch=batch,
    )
    theta = trained.theta[..., 0].astype(float)
    outputs = predict(problem, trained.theta, x).astype(float)
    seen = np.stack([theta.mean(-1), (theta**2).mean(-1), outputs[..., 0], outputs[..., 1]], -1)
    ratio = seen.var(axis=1, ddof=1) / expected
    assert np.abs(ratio - 1).max() < 4 * np.sqrt(2 / replicas), ratio


def test_what_cannot_be_known_is_refused():
    mesh = ddpde.interval(0, 4, cells=32)
    reduced = isotropic_gaussians()
    with pytest.raises(ProblemError, match="without reduction"):
        ddpde.fluctuations(reduced, mesh, times=[0.1], inputs=np.zeros((1, 40)))
    found = ddpde.fluctuations(reduced, mesh, times=[0.1], observables={"r": first})
    assert found.initial[0, 1, 1] == pytest.approx(0.8**2 * 0.0124, rel=0.01)  # of χ₄₀/√40
    with pytest.raises(ProblemError, match="reduced"):
        found.covariance(100, step_size=0.01)
    drifting = Problem(name="drift", initial=GaussianLaw((0.0,), (0.5,)), potential=half_square)
    with pytest.raises(ProblemError, match="observe"):
        ddpde.fluctuations(drifting, ddpde.interval(-4, 4, cells=8), times=[0.1])
    with pytest.raises(ProblemError, match="inputs of shape"):
        ddpde.fluctuations(erf_teacher(), mesh, times=[0.1], inputs=np.zeros(3))


def test_births_and_deaths_make_noise():
    """1000 systems of 40 particles: a variance has a relative error of 4.5 %, the prediction one of
    some per cent, at this width and step."""
    from ddpde.particles import train

    problem = Problem(
        name="births", initial=GaussianLaw((0.5,), (0.6,)), potential=half_square, birth_death=3.0
    )
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-5, 5, cells=30),
        times=[0.5],
        observables={"mean": first, "square": first_squared},
        rtol=1e-6,
    )
    theta = train(problem, 40, replicas=1000, step_size=0.01, times=[0.5], seed=0).theta[0, ..., 0]
    measured = 40 * np.array([theta.mean(axis=1).var(), (theta**2).mean(axis=1).var()])
    predicted = 40 * found.variance(40)[-1]
    assert measured == pytest.approx(predicted, rel=0.15)
    # a third to a half of it are births and deaths: without them it would not do
    births = np.einsum("kk->k", found.diffusion[-1])
    assert (births > 0.3 * predicted).all()


def test_births_and_deaths_at_rest():
    """At the Gibbs state nothing is born or dies in the limit, but a change of the law is brought
    back at the rate αT more than by diffusion."""
    T, alpha, t = 0.5, 3.0, 0.4
    problem = Problem(
        name="at rest",
        initial=GaussianLaw((0.0,), (T**0.5,)),
        potential=half_square,
        birth_death=alpha,
        temperature=T,
    )
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-4.2, 4.2, cells=28),
        times=[t],
        observables={"mean": first, "square": first_squared},
    )
    for k, chance in ((1, T), (2, 2 * T**2)):  # Hermite functions, of variance `chance`
        rate = k + alpha * T
        gone = np.exp(-2 * rate * t)
        # 2T ∫|∇g|² dμ = 2 k chance e^{-2 rate (t - s)}
        expected = chance * (gone + k / rate * (1 - gone))
        assert found.covariance(1)[-1, k - 1, k - 1] == pytest.approx(expected, rel=1e-5)


def test_hot_births_and_deaths_against_replicas():
    """800 systems of 200 particles, their density smoothed: a variance has a relative error of
    5 %, and the bandwidth adds some per cent."""
    from ddpde.particles import Langevin, train

    problem = Problem(
        name="hot",
        initial=GaussianLaw((0.5,), (0.8,)),
        potential=half_square,
        birth_death=3.0,
        temperature=0.5,
    )
    found = ddpde.fluctuations(
        problem,
        ddpde.interval(-4, 4.5, cells=30),
        times=[0.5],
        observables={"mean": first, "square": first_squared},
        rtol=1e-6,
    )
    predicted = found.variance(1)[-1]
    without = ddpde.fluctuations(
        replace(problem, birth_death=0.0),
        ddpde.interval(-4, 4.5, cells=30),
        times=[0.5],
        observables={"mean": first, "square": first_squared},
        rtol=1e-6,
    ).variance(1)[-1]
    made = train(
        problem,
        200,
        replicas=800,
        step_size=0.01,
        times=[0.5],
        seed=0,
        system=Langevin(bandwidth=0.2),
    )
    theta = made.theta[0, ..., 0].astype(float)
    measured = 200 * np.array([theta.mean(axis=1).var(), (theta**2).mean(axis=1).var()])
    assert measured == pytest.approx(predicted, rel=0.2)
    assert (without > 1.5 * predicted).all()
