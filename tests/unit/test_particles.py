"""Finite-N training: its recursion against NumPy, its random numbers, its errors."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ddpde.errors import ProblemError, SolverError
from ddpde.particles import SGD, Interrupted, backend, one_sample, train
from ddpde.particles.forces import Terms
from ddpde.particles.randomness import DATA, NOISE, draw, replica_keys, step_keys
from ddpde.problem import (
    DataSet,
    GaussianInputs,
    GaussianLaw,
    Logistic,
    PiecewiseLinear,
    Problem,
    RidgeUnit,
    identity,
    tanh,
)


def teacher(x):
    return x[:, 0] - 0.5 * x[:, 1]


def slower(t):
    return (1.0 + t) ** -0.5


def a_problem(**changes):
    settings = dict(
        name="tanh",
        unit=RidgeUnit(tanh, 2),
        data=GaussianInputs(2, teacher, label_noise=0.1),
        initial=GaussianLaw((0.3, -0.2), (0.7, 0.5)),
        ridge=0.3,
        temperature=0.2,
        schedule=slower,
    )
    return Problem(**(settings | changes))


def sgd_in_numpy(theta, x, y, g, step_size, problem):
    """σ = tanh⟨w, x⟩, squared loss, one replica: plain loops over the steps, θ (steps + 1, N, d).

    x (steps, B, d), y (steps, B), g (steps, N, d).
    """
    path = [theta]
    for k in range(len(x)):
        s = step_size * problem.schedule(k * step_size)
        gradient = np.zeros_like(theta)
        for b in range(x.shape[1]):
            h = np.tanh(theta @ x[k, b])
            gradient += 2.0 * (h.mean() - y[k, b]) * np.outer(1.0 - h**2, x[k, b]) / x.shape[1]
        drift = gradient + 2.0 * problem.ridge * theta
        theta = theta - s * drift + np.sqrt(2.0 * problem.temperature * s) * g[k]
        path.append(theta)
    return np.stack(path)


def numbers_seen(problem, width, seed, replica, steps, batch):
    """The samples x, y and the noise g of one replica's steps."""
    with backend.precision("float64"):
        key = replica_keys(seed, width, replica, 1)[0]
        x, y = draw(problem.data, step_keys(key, DATA, np.uint32(0), steps), batch, np.float64)
        shape = (problem.unit.dim, width)
        noise = [jax.random.normal(k, shape) for k in step_keys(key, NOISE, np.uint32(0), steps)]
        return np.asarray(x), np.asarray(y), np.stack([np.asarray(g).T for g in noise])


class Plain:
    """tanh⟨w, x⟩ without the parts that a RidgeUnit offers."""

    dim = input_dim = 2

    def __call__(self, x, theta):
        return theta.__array_namespace__().tanh(theta @ x.T)


@pytest.mark.parametrize("unit", [RidgeUnit(tanh, 2), Plain()])
@pytest.mark.parametrize("batch", [1, 3])
def test_every_step_is_that_of_the_numpy_reference(batch, unit):
    problem, width, steps, eps = a_problem(unit=unit), 8, 12, 0.05
    times = eps * np.arange(steps + 1)
    run = train(
        problem,
        width,
        replicas=2,
        step_size=eps,
        times=times,
        seed=3,
        batch=batch,
        dtype="float64",
    )
    for replica in range(2):
        numbers = numbers_seen(problem, width, 3, replica, steps, batch)
        expected = sgd_in_numpy(run.theta[0, replica], *numbers, eps, problem)
        np.testing.assert_allclose(run.theta[:, replica], expected, rtol=1e-12, atol=1e-13)


def test_the_fast_recursion_is_the_general_one():
    unit = RidgeUnit(tanh, 2, bias=True, output_weight=True)
    fast = a_problem(unit=unit, initial=GaussianLaw.isotropic(4, 1.0))
    general = dataclasses.replace(fast, potential=lambda theta: 0.0 * theta[:, 0])
    settings = dict(replicas=2, step_size=0.05, times=[0, 1.0], seed=3, batch=4, dtype="float64")
    ends = [train(p, 12, **settings).theta for p in (fast, general)]
    np.testing.assert_allclose(*ends, rtol=1e-11)


@pytest.mark.parametrize(
    "dim, bias, output_weight",
    [
        (2, True, True),
        (2, False, False),
        (7, True, True),
        (7, False, True),
        (7, True, False),
        (7, False, False),
    ],
)
def test_steps_on_one_sample_share_passes_and_stay_the_same(dim, bias, output_weight, monkeypatch):
    monkeypatch.setattr("ddpde.particles.one_sample.SMALL", 0)
    backend._kept.cache_clear()
    unit = RidgeUnit(tanh, dim, bias=bias, output_weight=output_weight)
    fast = a_problem(
        unit=unit,
        initial=GaussianLaw.isotropic(unit.dim, 1.0),
        data=GaussianInputs(dim, teacher, label_noise=0.1),
        temperature=0.0,
        ridge=0.0,
    )
    assert one_sample.applies(Terms.of(fast), 1, 12)
    general = dataclasses.replace(fast, potential=lambda theta: 0.0 * theta[:, 0])
    # groups of steps, and what is left over
    settings = dict(replicas=1, step_size=0.5, times=[0, 10.0, 21.5], seed=3, dtype="float64")
    ends = [train(p, 12, **settings).theta for p in (fast, general)]
    assert np.abs(ends[0][2] - ends[0][0]).max() > 0.1
    np.testing.assert_allclose(*ends, rtol=1e-10, atol=1e-12)


def test_logistic_loss_follows_its_gradient():
    problem = a_problem(
        loss=Logistic(),
        temperature=0.0,
        data=DataSet(np.array([[1.0, -2.0]]), np.array([1.0])),
    )
    run = train(problem, 4, replicas=1, step_size=0.1, times=[0, 0.1], seed=0, dtype="float64")
    before, after = run.theta[:, 0]
    x, eps = problem.data.x[0], 1e-6

    def objective(theta):
        loss = np.logaddexp(0.0, -np.tanh(theta @ x).mean())
        return len(theta) * loss + problem.ridge * (theta**2).sum()

    for i, j in np.ndindex(*before.shape):
        shift = np.zeros_like(before)
        shift[i, j] = eps
        slope = (objective(before + shift) - objective(before - shift)) / (2 * eps)
        assert (before - after)[i, j] == pytest.approx(0.1 * slope, rel=1e-6)


def test_a_replica_does_not_depend_on_those_beside_it_nor_on_the_save_times():
    problem, settings = a_problem(), dict(step_size=0.01, seed=5)
    four = train(problem, 10, replicas=4, times=[0, 0.1, 0.3], **settings)
    last = train(problem, 10, replicas=1, first_replica=3, times=[0.3], **settings)
    np.testing.assert_array_equal(four.theta[-1, 3], last.theta[-1, 0])
    assert len(np.unique(four.theta[0, :, 0, 0])) == 4  # and replicas differ


def test_replicas_in_one_call_as_on_an_accelerator(monkeypatch):
    problem = a_problem()
    settings = dict(step_size=0.01, seed=5, times=[0, 0.2], dtype="float64")
    one_by_one = train(problem, 10, replicas=3, **settings)
    monkeypatch.setattr("ddpde.particles.crew.groups", lambda replicas: [slice(0, replicas)])
    together = train(problem, 10, replicas=3, **settings)
    np.testing.assert_allclose(together.theta, one_by_one.theta, rtol=1e-11)


def test_step_sizes_share_the_initial_parameters_and_other_seeds_do_not():
    problem = a_problem()
    coarse = train(problem, 10, replicas=2, step_size=0.02, times=[0], seed=5)
    fine = train(problem, 10, replicas=2, step_size=0.01, times=[0], seed=5)
    other = train(problem, 10, replicas=2, step_size=0.01, times=[0], seed=6)
    np.testing.assert_array_equal(coarse.theta, fine.theta)
    assert not np.any(fine.theta == other.theta)


@pytest.mark.parametrize("mine", [False, True])
def test_precision_is_what_was_asked_and_the_users_configuration_stays(mine):
    with jax.enable_x64(mine):
        for dtype in ("float32", "float64"):
            run = train(a_problem(), 3, replicas=2, step_size=0.1, times=[0.1], seed=0, dtype=dtype)
            assert run.theta.dtype == dtype
        assert jnp.ones(1).dtype == ("float64" if mine else "float32")


def test_ensemble_says_what_was_run():
    seen = []
    run = train(
        a_problem(),
        3,
        replicas=2,
        step_size=0.1,
        times=[0, 0.3, 0.7],
        seed=9,
        batch=2,
        progress=seen.append,
    )
    assert run.theta.shape == (3, 2, 3, 2) and run.replicas == 2
    assert (run.problem, run.width, run.batch, run.seed) == ("tanh", 3, 2, 9)
    np.testing.assert_array_equal(run.times, [0, 0.3, 0.7])
    assert run.wall > run.compile > 0
    assert seen == sorted(seen) and seen[-1] == 7


def test_ctrl_c_keeps_the_times_that_were_reached():
    def stop(done):
        if done > 2:
            raise KeyboardInterrupt

    settings = dict(replicas=2, step_size=0.1, seed=0)
    with pytest.raises(Interrupted) as caught:
        train(a_problem(), 3, times=[0, 0.2, 0.4], progress=stop, **settings)
    assert isinstance(caught.value, KeyboardInterrupt)
    kept = caught.value.ensemble
    np.testing.assert_array_equal(kept.times, [0, 0.2])
    full = train(a_problem(), 3, times=[0, 0.2, 0.4], **settings)
    np.testing.assert_array_equal(kept.theta, full.theta[:2])


def test_a_data_set_is_sampled_without_bias():
    size, count = 7, 70_000
    law = DataSet(np.arange(size, dtype=float)[:, None], np.arange(size, dtype=float))
    with backend.precision("float32"):
        x, y = draw(law, step_keys(jax.random.key(0), DATA, np.uint32(0), 1000), 70, np.float32)
    np.testing.assert_array_equal(x[..., 0], y)
    counts = np.bincount(np.asarray(y, dtype=int).ravel(), minlength=size)
    chi_square = ((counts - count / size) ** 2 / (count / size)).sum()
    assert len(counts) == size and 0.3 < chi_square < 22.5  # 99.9 % of χ² with 6 degrees


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width = 0: must be an integer >= 1"),
        ({"width": 2.5}, "width = 2.5: must be an integer >= 1"),
        ({"replicas": -1}, "replicas = -1"),
        ({"batch": 0}, "batch = 0"),
        ({"seed": -1}, "seed = -1: must be an integer >= 0"),
        ({"dtype": "float16"}, "one of float32, float64"),
        ({"step_size": 0.0}, "step_size = 0.0: must be finite and > 0"),
        ({"step_size": float("nan")}, "step_size = nan"),
        ({"times": []}, "at least one save time"),
        ({"times": [-0.1, 0.1]}, ">= 0"),
        ({"times": [0.2, 0.1]}, "must increase"),
        ({"times": [0.1, 0.25]}, r"times\[1\] = 0.25: not a multiple of step_size = 0.1"),
        ({"times": [0.1, 0.26]}, "the nearest that is: 0.3"),
        ({"problem": a_problem(unit=None, data=None), "system": SGD()}, "no network"),
        ({"problem": a_problem(birth_death=1.0)}, "needs the density"),
        ({"problem": a_problem(schedule=lambda t: -1.0)}, r"ξ\(0\) = -1"),
        ({"problem": a_problem(schedule=lambda t: float("inf"))}, "finite and >= 0 from t = 0"),
    ],
)
def test_wrong_arguments_are_named(changes, message):
    settings = dict(
        problem=a_problem(), width=3, replicas=1, step_size=0.1, times=[0, 0.1], seed=0, batch=1
    )
    with pytest.raises(ProblemError, match=message):
        train(**(settings | changes))


def test_rounding_of_save_times_is_forgiven():
    run = train(a_problem(), 2, replicas=1, step_size=1e-4, times=[0.1 * 3, 0.7], seed=0)
    assert len(run.times) == 2


def test_divergence_names_replica_time_and_remedy():
    problem = a_problem(unit=RidgeUnit(identity, 2), schedule=lambda t: 1.0)
    with pytest.raises(SolverError, match=r"(?s)replica 4 by t = .*reduce step_size") as caught:
        train(problem, 3, replicas=1, first_replica=4, step_size=50.0, times=[1e4], seed=0)
    assert "non-finite" in caught.value.what


def test_particles_need_no_mesh_library():
    code = "import ddpde.particles, sys; sys.exit(any(m in sys.modules for m in {0}))"
    forbidden = ["dolfinx", "petsc4py", "mpi4py", "ddpde.energy", "ddpde.space"]
    assert subprocess.run([sys.executable, "-c", code.format(forbidden)]).returncode == 0


@pytest.mark.parametrize("knots", [(0.5, 1.5), (0.0, 0.5, 1.5), (-1.0, 0.0, 2.0, 2.5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_piecewise_linear_units_in_numpy_and_jax(knots, dtype):
    values = (-2.5, -4.0, 7.5, 1.0)[: len(knots)]
    activation = PiecewiseLinear(knots, values)
    z = np.linspace(-3.0, 4.0, 1001).astype(dtype)
    expected = np.interp(z, knots, values)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(activation(z), expected, atol=tolerance)
    assert activation(z).dtype == dtype
    assert np.isnan(activation(np.array([np.nan])))
    with backend.precision(dtype):
        np.testing.assert_allclose(activation(jnp.asarray(z)), expected, atol=tolerance)
        slopes = jax.vmap(jax.grad(activation))(jnp.asarray(z))
    piece = np.searchsorted(knots, z)
    inside = np.min(np.abs(z[:, None] - np.array(knots)), axis=1) > 1e-6
    exact = np.array([0.0, *activation.slopes, 0.0])[piece]
    np.testing.assert_allclose(slopes[inside], exact[inside], rtol=1e-6)
