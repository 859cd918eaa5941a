"""A small problem on seven samples, its systems run with every step saved, and NumPy's forces."""

import jax
import numpy as np

from ddpde.particles import backend, train
from ddpde.particles.randomness import NOISE, replica_keys, step_keys
from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit, tanh

RNG = np.random.default_rng(1)
DATA_SET = DataSet(RNG.standard_normal((7, 2)), RNG.standard_normal(7))
EPS = 0.05


def slower(t):
    return (1.0 + t) ** -0.5


def a_problem(**changes):
    settings = dict(
        name="tanh",
        unit=RidgeUnit(tanh, 2),
        data=DATA_SET,
        initial=GaussianLaw((0.3, -0.2), (0.7, 0.5)),
        ridge=0.3,
        temperature=0.2,
        schedule=slower,
    )
    return Problem(**(settings | changes))


def run(problem, system, width=5, steps=9, batch=3, **changes):
    """θ (steps + 1, N, D) of one replica, every step saved."""
    settings = dict(
        replicas=1,
        step_size=EPS,
        times=EPS * np.arange(steps + 1),
        seed=3,
        batch=batch,
        dtype="float64",
        system=system,
    )
    return train(problem, width, **(settings | changes))


def key_of(width, replica=0, seed=3):
    return replica_keys(seed, width, replica, 1)[0]


def noise_seen(problem, width, steps):
    with backend.precision("float64"):
        keys = step_keys(key_of(width), NOISE, np.uint32(0), steps)
        shape = (problem.initial.dim, width)
        return [np.asarray(jax.random.normal(k, shape)).T for k in keys]


def gradients(theta, x):
    """∇σ(x_m; θ_i) (N, M, D) of σ = tanh⟨w, x⟩."""
    return (1.0 - np.tanh(theta @ x.T)[:, :, None] ** 2) * x[None]


def euler(problem, path, drift):
    """θ (steps + 1, …) by θ − s_k (drift(k, θ) + 2 ridge θ) + √(2 T s_k) g from path[0]."""
    theta, out = path[0], [path[0]]
    g = noise_seen(problem, len(theta), len(path) - 1)
    for k in range(len(path) - 1):
        s = EPS * problem.schedule(k * EPS)
        theta = theta - s * (drift(k, theta) + 2.0 * problem.ridge * theta)
        theta = theta + np.sqrt(2.0 * problem.temperature * s) * g[k]
        out.append(theta)
    return np.stack(out)


def full_drift(theta, x=DATA_SET.x, y=DATA_SET.y):
    f = np.tanh(theta @ x.T).mean(axis=0)
    return np.einsum("m,imd->id", 2.0 * (f - y), gradients(theta, x)) / len(y)


class Well:
    """−exp(−|θ − θ'|²/2): no factors, hence all pairs."""

    def __call__(self, theta, other):
        xp = theta.__array_namespace__()
        return -xp.exp(-0.5 * ((theta[:, None] - other[None]) ** 2).sum(axis=2))
