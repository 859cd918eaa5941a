"""Problems at rest that several files look at, and known values."""

import numpy as np
from scipy.special import gamma

import ddpde
from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit
from ddpde.problem.activations import identity


def line(half=3.5, cells=40):
    return ddpde.interval(-half, half, cells=cells)


def quadratic(theta):
    return 0.5 * (theta**2).sum(axis=1)


def ornstein_uhlenbeck(temperature=0.5):
    return Problem("ou", GaussianLaw((1.0,), (0.5,)), potential=quadratic, temperature=temperature)


def second_moment(state):
    return state.expectation(lambda x: x[:, 0] ** 2)


# Dawson, theta = 1: T: m, <x²>, F(m), F(0)
DAWSON = {
    0.1: (0.9410911404346914, 0.9250439316297957, -0.1749808558216355, -0.03658026611695934),
    0.2: (0.851478857176514, 0.8264974316977073, -0.1775423915903718, -0.1078178912619159),
    0.3: (0.705495273208884, 0.7004540895791528, -0.2176667597302203, -0.1921367200009862),
    0.4: (0.4471064266633859, 0.5508023511877192, -0.2882580529967584, -0.2849505005798264),
    0.45: (0.1597584721072392, 0.4686925663644658, -0.3338687513103283, -0.3338199046636479),
}


T_C = {
    0.25: 0.1568884837024832,
    0.5: 0.2645048765534835,
    1.0: 4 * (gamma(0.75) / gamma(0.25)) ** 2,
    2.0: 0.8157865947053232,
    3.0: 1.163004921282326,
    4.0: 1.505412744882946,
}


def linear_problem(mean):
    """y = x, σ = wx: F' = 2E[(f − y)x] w vanishes as soon as the mean weight is one."""
    x = np.array([[-1.0], [0.5], [2.0]])
    return Problem(
        "linear",
        GaussianLaw((mean,), (0.4,)),
        unit=RidgeUnit(identity, 1),
        data=DataSet(x, x[:, 0]),
    )
