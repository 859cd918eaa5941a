"""Mass, positivity, free energy: at every accepted step, hard cases included."""

import numpy as np
import pytest
from gaussians import linear_neuron

import ddpde
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.catalogue import digits_pca, erf_teacher, isotropic_gaussians

CASES = {
    "pure transport": (isotropic_gaussians(), ((0.0,), (6.0,), (64,)), 3, 2.0),
    "collapse to r = 0": (
        isotropic_gaussians(delta=0.5, kappa=0.4, activation="dented_ramp"),
        ((0.0,), (4.0,), (80,)),
        2,
        1.0,
    ),
    "tiny temperature": (erf_teacher(temperature=1e-6), ((-2.0,), (4.0,), (64,)), 3, 2.0),
    "high degree": (linear_neuron(1), ((-5.0,), (5.0,), (8,)), 6, 0.5),
    "coarse and under-resolved": (linear_neuron(1, 0.01, 0.0), ((-3.0,), (3.0,), (24,)), 4, 0.5),
    "two dimensions": (digits_pca(), ((-4.0, -4.0), (4.0, 4.0), (12, 12)), 3, 1.0),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_keeps_what_it_must(name):
    problem, (lower, upper, cells), degree, t_end = CASES[name]
    mesh = ddpde.box(lower, upper, cells=cells)
    run = ddpde.solve(problem, mesh, t_end=t_end, degree=degree, rtol=1e-6)
    mass, energy = run.history["mass"], run.history["free_energy"]
    assert np.abs(np.diff(mass)).max() < 1e-12
    assert np.abs(mass - 1).max() < 1e-10
    peak = max(law.peak() for law in run.laws)
    assert run.history["minimum"].min() >= -1e-14 * peak
    assert np.diff(energy).max() <= 1e-10 * max(1.0, np.abs(energy).max())


def test_lagrangian_keeps_mass_and_decays():
    run = ddpde.solve(
        erf_teacher(), ddpde.interval(-1.9, 2.9, cells=32), t_end=5.0, degree=5, space="lagrangian"
    )
    assert np.abs(run.history["mass"] - 1).max() < 1e-13
    assert run.history["minimum"].min() > 0
    assert np.diff(run.history["free_energy"]).max() <= 1e-12


def test_mass_on_a_finely_graded_line():
    """Rates of diffusion are 1e9 times the law there, and their rounding must make no mass."""
    mesh = ddpde.interval(-4, 4, cells=3000)
    x = mesh.geometry.x
    x[:, 0] = 4 * np.sinh(x[:, 0] / 2) / np.sinh(2)
    law = GaussianLaw((0.5,), (0.5,))
    confined = Problem("confined", law, potential=lambda x: (x * x).sum(axis=1), temperature=0.5)
    run = ddpde.solve(confined, mesh, t_end=0.3, dt=0.1, method="imex4", degree=3)
    assert abs(run.history["mass"] - run.history["mass"][0]).max() < 1e-13
