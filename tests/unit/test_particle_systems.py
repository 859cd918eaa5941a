"""Each finite-N system against a plain NumPy reference that sees the same random numbers."""

import jax
import numpy as np
import pytest
from recursions import (
    DATA_SET,
    EPS,
    RNG,
    Well,
    a_problem,
    euler,
    full_drift,
    gradients,
    key_of,
    run,
    slower,
)
from scipy.integrate import solve_ivp

from ddpde.particles import (
    SGD,
    Conic,
    Diffusion,
    GradientFlow,
    Langevin,
    LawPath,
    Regime,
    backend,
    predict,
    risk,
)
from ddpde.particles import forces as forces_module
from ddpde.particles.birth_death import _survivors, log_density
from ddpde.particles.randomness import DATA, GRADIENT_NOISE, draw, minibatches, step_keys
from ddpde.problem import GaussianInputs, Problem, RidgeUnit, catalogue, tanh


def test_reshuffled_passes_see_every_sample_once():
    with backend.precision("float64"):
        pieces = [
            minibatches(DATA_SET, "reshuffled", key_of(4), np.uint32(first), count, 3, float)
            for first, count in ((0, 4), (4, 1), (5, 9))  # cut into chunks anyhow
        ]
        x, y = (np.concatenate([np.asarray(p[j]) for p in pieces]) for j in (0, 1))
    passes = y.reshape(-1)[: 6 * 7].reshape(6, 7)
    np.testing.assert_array_equal(np.sort(passes), np.broadcast_to(np.sort(DATA_SET.y), (6, 7)))
    assert len({tuple(p) for p in passes}) == 6  # each in a new order
    pairs = {(*row, label) for row, label in zip(x.reshape(-1, 2), y.reshape(-1), strict=True)}
    assert pairs == {(*row, label) for row, label in zip(DATA_SET.x, DATA_SET.y, strict=True)}


def test_places_in_a_data_set_do_not_overflow():
    from ddpde.particles.randomness import _divide

    first, batch, size = 2**31 + 5, 100, 1797
    passes, place = _divide(np.uint32(first), batch, size)
    assert int(place) == first * batch % size
    assert int(passes) == first * batch // size % 2**32


def test_multi_pass_sgd_is_the_numpy_recursion():
    problem = a_problem()
    path = run(problem, SGD(sampling="reshuffled")).theta[:, 0]
    with backend.precision("float64"):
        key = key_of(5)
        x, y = minibatches(DATA_SET, "reshuffled", key, np.uint32(0), 9, 3, np.float64)
    x, y = np.asarray(x), np.asarray(y)
    expected = euler(problem, path, lambda k, theta: full_drift(theta, x[k], y[k]))
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("system", [SGD(sampling="full"), Langevin()])
@pytest.mark.parametrize("entries", [2**24, 15])
def test_full_batches_are_the_numpy_recursion(system, entries, monkeypatch):
    monkeypatch.setattr(forces_module, "ENTRIES", entries)  # 15: blocks of three samples
    backend._kept.cache_clear()
    problem = a_problem()
    path = run(problem, system).theta[:, 0]
    expected = euler(problem, path, lambda k, theta: full_drift(theta))
    np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-13)
    backend._kept.cache_clear()


@pytest.mark.parametrize("entries", [2**24, 2 * 5 * 3])
def test_own_samples_are_the_numpy_recursion(entries, monkeypatch):
    monkeypatch.setattr("ddpde.particles.gradient_noise.ENTRIES", entries)
    backend._kept.cache_clear()
    problem = a_problem(data=GaussianInputs(2, lambda x: x[:, 0], label_noise=0.1))
    path = run(problem, SGD(noise="independent")).theta[:, 0]
    with backend.precision("float64"):
        keys = step_keys(key_of(5), DATA, np.uint32(0), 9)
        x, y = draw(problem.data, keys, 5 * 3, np.float64)
    x, y = np.asarray(x).reshape(9, 5, 3, 2), np.asarray(y).reshape(9, 5, 3)

    def drift(k, theta):
        return np.stack([full_drift(theta, x[k, i], y[k, i])[i] for i in range(5)])

    np.testing.assert_allclose(path, euler(problem, path, drift), rtol=1e-12, atol=1e-13)
    backend._kept.cache_clear()


@pytest.mark.parametrize("noise", ["common", "independent"])
def test_the_diffusion_is_the_numpy_recursion(noise):
    problem, scale = a_problem(), 0.3
    path = run(problem, Diffusion(scale, noise)).theta[:, 0]
    with backend.precision("float64"):
        keys = step_keys(key_of(5), GRADIENT_NOISE, np.uint32(0), 9)
        shape = (1 if noise == "common" else 5,)
        fold = jax.random.fold_in
        xi = np.array([[jax.random.normal(fold(k, m), shape) for m in range(7)] for k in keys])
    p = 1.0 / 7

    def drift(k, theta):
        x, y = DATA_SET.x, DATA_SET.y
        f = np.tanh(theta @ x.T).mean(axis=0)
        g = 2.0 * (f - y)[None, :, None] * gradients(theta, x)  # (N, M, D)
        centred = g - g.mean(axis=1, keepdims=True)
        normal = np.einsum("mi,imd->id", np.broadcast_to(xi[k], (7, 5)), np.sqrt(p) * centred)
        return g.mean(axis=1) + np.sqrt(scale / EPS) * normal

    np.testing.assert_allclose(path, euler(problem, path, drift), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("entries", [2**24, 8 * 5 * 2])
def test_all_pairs_are_the_numpy_recursion(entries, monkeypatch):
    monkeypatch.setattr(forces_module, "ENTRIES", entries)
    backend._kept.cache_clear()
    problem = a_problem(
        unit=None, data=None, potential=lambda t: (t**4).sum(axis=1) / 4, interaction=Well()
    )
    path = run(problem, Langevin()).theta[:, 0]

    def drift(k, theta):
        difference = theta[:, None] - theta[None]
        weight = np.exp(-0.5 * (difference**2).sum(axis=2))
        return theta**3 + (weight[:, :, None] * difference).mean(axis=1)

    np.testing.assert_allclose(path, euler(problem, path, drift), rtol=1e-12, atol=1e-13)
    backend._kept.cache_clear()


@pytest.mark.parametrize("problem", [catalogue.dawson(), catalogue.kuramoto()])
def test_factors_are_the_interaction_and_give_its_forces(problem):
    theta, other = RNG.standard_normal((2, 6, 1))
    left, right = problem.interaction.factors(theta)[0], problem.interaction.factors(other)[1]
    np.testing.assert_allclose(left @ right.T, problem.interaction(theta, other), atol=1e-14)

    def pairs(theta, other, w=problem.interaction):
        return w(theta, other)

    slow = Problem(
        name="pairs",
        initial=problem.initial,
        potential=problem.potential,
        interaction=pairs,
        temperature=problem.temperature,
    )
    fast = run(problem, None, width=20).theta
    np.testing.assert_allclose(run(slow, None, width=20).theta, fast, atol=1e-12)


@pytest.mark.parametrize("rtol", [None, 1e-9])
def test_gradient_flow_is_that_of_scipy(rtol):
    problem = a_problem(temperature=0.0)
    path = run(problem, GradientFlow(rtol), steps=20).theta[:, 0]

    def velocity(t, flat):
        theta = flat.reshape(5, 2)
        return -slower(t) * (full_drift(theta) + 0.6 * theta).ravel()

    exact = solve_ivp(velocity, (0, 1), path[0].ravel(), rtol=1e-12, atol=1e-12).y[:, -1]
    # fourth order: the steps of 0.05 are good for some 1e-6
    error = np.abs(path[-1].ravel() - exact).max()
    assert error < (2e-5 if rtol is None else 2e-8)
    if rtol is None:
        constant = a_problem(temperature=0.0, schedule=lambda t: 1.0)
        errors = []
        for step in (0.1, 0.05, 0.025):
            end = run(constant, GradientFlow(), step_size=step, times=[1.0]).theta[0, 0]
            fine = run(constant, GradientFlow(1e-12), times=[1.0]).theta[0, 0]
            errors.append(np.abs(end - fine).max())
        slopes = np.diff(np.log(errors)) / np.log(0.5)
        assert (np.abs(slopes - 4.0) < 0.3).all()


@pytest.mark.parametrize("sampling", ["full", "reshuffled"])
def test_weight_position_particles_are_the_numpy_recursion(sampling):
    problem = a_problem(temperature=0.0, interaction=Well(), potential=lambda t: t[:, 0])
    system = Conic(0.7, 0.4, mass=2.0, signed=True, penalty=0.1, sampling=sampling)
    made = run(problem, system)
    with backend.precision("float64"):
        x, y = minibatches(DATA_SET, "reshuffled", key_of(5), np.uint32(0), 9, 3, np.float64)
    x, y = np.asarray(x), np.asarray(y)
    theta, r, signs = made.theta[0, 0], np.full(5, np.sqrt(2.0)), np.array([1, -1, 1, -1, 1])
    for k in range(9):
        s = EPS * slower(k * EPS)
        xk, yk = (DATA_SET.x, DATA_SET.y) if sampling == "full" else (x[k], y[k])
        mass = signs * r**2 / 5
        slope = 2.0 * (mass @ np.tanh(theta @ xk.T) - yk) / len(yk)
        difference = theta[:, None] - theta[None]
        well = np.exp(-0.5 * (difference**2).sum(axis=2))
        value = np.tanh(theta @ xk.T) @ slope + theta[:, 0] - well @ mass
        gradient = np.einsum("m,imd->id", slope, gradients(theta, xk)) + [1.0, 0.0]
        gradient += np.einsum("ij,ijd->id", well * mass, difference)
        ridge = 0.3 * (theta**2).sum(axis=1)
        r = r * np.exp(-2 * 0.7 * s * (signs * value + 0.1 + ridge))
        theta = theta - 0.4 * s * (signs[:, None] * gradient + 0.6 * theta)
        np.testing.assert_allclose(made.theta[k + 1, 0], theta, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(made.weights[k + 1, 0], signs * r**2, rtol=1e-12)
    f = predict(problem, made.theta, DATA_SET.x, weights=made.weights)
    np.testing.assert_allclose(f[-1, 0], signs * r**2 @ np.tanh(theta @ DATA_SET.x.T) / 5)
    loss = ((f - DATA_SET.y) ** 2).mean(axis=-1)
    np.testing.assert_allclose(risk(problem, made.theta, DATA_SET, weights=made.weights)[0], loss)


@pytest.mark.parametrize("copies", [[1, 2, 0, 1], [2, 2, 0, 1], [0, 0, 2, 0], [0, 1, 0, 0]])
def test_the_population_is_brought_back_to_its_number(copies):
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(jax.vmap(lambda k: _survivors(k, np.array(copies)))(keys))
    counts = (drawn[:, :, None] == np.arange(4)).sum(axis=1)  # (draws, particle)
    total, copies = sum(copies), np.array(copies)
    if total >= 4:  # a part of the living, each kept with the same probability
        assert (counts <= copies).all()
    else:  # all of them, and some once more
        assert (counts >= copies).all() and (counts[:, copies == 0] == 0).all()
    expected = 4 * copies / total
    np.testing.assert_allclose(counts.mean(axis=0), expected, atol=4 * 0.5 / np.sqrt(4000))


@pytest.mark.parametrize("entries", [2**24, 3 * 7 * 2])
def test_the_density_of_the_cloud_is_smoothed(entries, monkeypatch):
    monkeypatch.setattr("ddpde.particles.birth_death.ENTRIES", entries)  # 42: three at a time
    theta, h = RNG.standard_normal((2, 7)), 0.4
    squares = ((theta[:, :, None] - theta[:, None]) ** 2).sum(axis=0)
    expected = np.log(np.exp(-squares / (2 * h**2)).sum(axis=1))
    with backend.precision("float64"):
        np.testing.assert_allclose(log_density(theta, h), expected, rtol=1e-12, atol=1e-14)


def test_regimes_are_the_papers_recursion():
    regime, width, batch = Regime(gamma=0.5, alpha=0.25, beta=0.75), 6, 2
    problem = a_problem(
        ridge=0.0, temperature=0.0, schedule=regime.schedule, unit=RidgeUnit(tanh, 2)
    )
    step = regime.step_size(width)
    times = regime.nearest(step * np.arange(13), width)
    path = run(problem, SGD(), width, batch=batch, step_size=step, times=times).theta[:, 0]
    with backend.precision("float64"):
        keys = step_keys(key_of(width), DATA, np.uint32(0), 12)
        x, y = draw(DATA_SET, keys, batch, np.float64)
    x, y = np.asarray(x), np.asarray(y)
    gbar = 0.5 ** (1 / 0.75) * width ** ((0.75 - 1) / 0.75)
    theta = path[0]
    for n in range(12):
        gradient = full_drift(theta, x[n], y[n]) / width  # of the empirical risk
        theta = theta - 0.5 * width**0.75 * (n + 1 / gbar) ** -0.25 * gradient
        np.testing.assert_allclose(path[n + 1], theta, rtol=1e-12)
    assert regime.limit_scale(2) == 0.0
    assert Regime(0.5, 0.25).limit_scale(2) == pytest.approx(0.5 ** (4 / 3) / 2)
    assert Regime(0.5, 0.25).step_size(10) == Regime(0.5, 0.25).step_size(1000)


def test_a_copy_in_the_particles_own_law_is_the_particle():
    # the law path is made of the particles' own path: particle and copy are one
    for problem in (a_problem(), a_problem(interaction=Well(), unit=None, data=None)):
        system = SGD() if problem.unit else Langevin()
        made = run(problem, system, width=30)
        path = LawPath(made.times, made.theta[:, 0], np.ones(30))
        copy = run(problem, system, width=30, law=path)
        np.testing.assert_allclose(copy.theta, made.theta, rtol=1e-9, atol=1e-12)
        still = LawPath([0.0], made.theta[0, 0], np.ones(30))
        assert np.abs(run(problem, system, width=30, law=still).theta - made.theta).max() > 1e-4


def test_a_fixed_mesh_with_changing_masses_makes_a_law():
    problem = a_problem(temperature=0.0)
    points, weights = RNG.standard_normal((8, 2)), RNG.random((2, 8))
    copy = run(problem, SGD(sampling="full"), law=LawPath([0.0, 0.45], points, weights)).theta
    weights = weights / weights.sum(axis=1, keepdims=True)

    def drift(k, theta):
        part = k * EPS / 0.45
        f = ((1 - part) * weights[0] + part * weights[1]) @ np.tanh(points @ DATA_SET.x.T)
        return np.einsum("m,imd->id", 2 * (f - DATA_SET.y), gradients(theta, DATA_SET.x)) / 7

    np.testing.assert_allclose(copy[:, 0], euler(problem, copy[:, 0], drift), rtol=1e-12)
