"""A problem whose solution stays Gaussian: noisy linear neuron."""

import numpy as np

from ddpde.problem import GaussianInputs, GaussianLaw, Problem, RidgeUnit, identity

TARGET = (0.7, -0.4, 0.3)
MEAN = (-0.5, 0.4, 0.2)
VARIANCE = 0.2


def linear_neuron(dim=1, temperature=0.5, ridge=0.4):
    """σ = ⟨w, x⟩, x ~ N(0, I), y = ⟨w*, x⟩."""
    target = np.array(TARGET[:dim])
    return Problem(
        name="linear_neuron",
        unit=RidgeUnit(identity, input_dim=dim),
        data=GaussianInputs(dim, lambda x: (x * target).sum(axis=1), quadrature_points=3),
        initial=GaussianLaw(MEAN[:dim], (np.sqrt(VARIANCE),) * dim),
        temperature=temperature,
        ridge=ridge,
    )


def exact(problem, t):
    """Mean (dim,) and variance of the solution at time t."""
    lam, T = problem.ridge, problem.temperature
    target = np.array(TARGET[: problem.mesh_dim])
    start = np.array(MEAN[: problem.mesh_dim])
    decay = np.exp(-2 * (1 + lam) * t)
    mean = decay * start + (1 - decay) * target / (1 + lam)
    if lam == 0:
        return mean, VARIANCE + 2 * T * t
    shrink = np.exp(-4 * lam * t)
    return mean, VARIANCE * shrink + T * (1 - shrink) / (2 * lam)


def l1_error(law, problem):
    """∫ |ρ_h − ρ| over the mesh."""
    mean, variance = exact(problem, law.time)
    import basix

    reference, weights = basix.make_quadrature(basix.CellType[law.cell], 2 * law.degree + 8)
    x, density, volume = law.at(reference)
    z = ((x - mean) ** 2).sum(axis=-1) / variance
    truth = np.exp(-z / 2) / (2 * np.pi * variance) ** (problem.mesh_dim / 2)
    return float((np.abs(density - truth) * volume * weights).sum())
