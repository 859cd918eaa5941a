"""Exact JKO iterates: families that a step of exact W₂ does not leave."""

from itertools import pairwise

import numpy as np
from scipy.optimize import brentq

from ddpde.problem import Problem
from ddpde.problem.initial import DensityLaw
from ddpde.problem.internal import PorousMedium

# C of Barenblatt's profiles of mass one in one dimension, by exponent
BARENBLATT = {2: 0.3605623925768521, 3: 0.1837762984739307}


def gaussian_std(std, tau, count, temperature=0.5, stiffness=1.0):
    """After `count` steps on stiffness |x|²/2 + T Ent: backward Euler for the scale."""
    for _ in range(count):
        grown = 1 + stiffness * tau
        std = (std + np.sqrt(std**2 + 4 * tau * temperature * grown)) / (2 * grown)
    return std


def bdf2(step, scale, taus):
    """A scale after steps of variational BDF2, the first an ordinary one; step(scale, τ)."""
    before, scale = scale, step(scale, taus[0])
    for last, tau in pairwise(taus):
        r = tau / last
        far = scale + r**2 / (1 + 2 * r) * (scale - before)
        before, scale = scale, step(far, tau * (1 + r) / (1 + 2 * r))
    return scale


def barenblatt(m):
    """The problem ∂_t ρ = ∂_xx ρ^m from its source solution at time 1."""
    k, C = (m - 1) / (2 * m * (m + 1)), BARENBLATT[m]

    def density(x):
        return np.maximum(C - k * x[:, 0] ** 2, 0.0) ** (1 / (m - 1))

    return Problem(name="barenblatt", initial=DensityLaw(1, density), internal=PorousMedium(m))


def first_radius(m):
    """Of Barenblatt's profile at time 1."""
    return np.sqrt(BARENBLATT[m] * 2 * m * (m + 1) / (m - 1))


def barenblatt_radius(m, tau, count, radius=None):
    """After `count` steps, from time 1: (R' − R)/τ = β R₁^{1/β} R'^{1−1/β}."""
    beta, first = 1 / (m + 1), first_radius(m)
    radius = radius or first
    for _ in range(count):

        def excess(r, old=radius):
            return (r - old) / tau - beta * first ** (1 / beta) * r ** (1 - 1 / beta)

        radius = brentq(excess, radius, radius + 5, xtol=1e-15)
    return radius


GRAVITY_MASS = 3.2741383671185713


def gravity_density(x, t):
    """∂_t u = u'' + u' on [0, 1], of mass GRAVITY_MASS (Cancès, Gallouët & Todeschi 2020)."""
    a = np.pi**2 + 0.25
    decaying = np.exp(-a * t + x / 2) * (np.pi * np.cos(np.pi * x) + np.sin(np.pi * x) / 2)
    return decaying + np.pi * np.exp(x - 0.5)


def gravity():
    """The potential −x with temperature 1 from that solution at time 0.1, of mass one."""
    return Problem(
        name="gravity",
        initial=DensityLaw(1, lambda x: gravity_density(x[:, 0], 0.1) / GRAVITY_MASS),
        potential=lambda theta: -theta[:, 0],
        temperature=1.0,
    )
