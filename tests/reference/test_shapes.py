"""Curved meshes: volumes, and flows whose solutions are known on them."""

import numpy as np
import pytest
from scipy.integrate import quad

import ddpde
from ddpde.errors import MeshError, ProblemError
from ddpde.problem import DensityLaw, Problem
from ddpde.space import Space

pytest.importorskip("gmsh")

SHAPES = {
    "disc": (lambda h: ddpde.disc(size=h), np.pi),
    "annulus": (lambda h: ddpde.annulus(0.5, 1.0, size=h), 0.75 * np.pi),
    "ball": (lambda h: ddpde.ball(size=2 * h), 4 / 3 * np.pi),
    "sphere": (lambda h: ddpde.sphere(size=h), 4 * np.pi),
    "torus": (lambda h: ddpde.torus(1.0, 0.4, size=h), 4 * np.pi**2 * 0.4),
}


def tilted(dim, volume, slope):
    return DensityLaw(dim, lambda x: (1 + slope * x[:, -1]) / volume)


@pytest.mark.parametrize("name", SHAPES)
def test_volumes(name):
    build, volume = SHAPES[name]
    assert Space(build(0.25), 1).cell_means[1].sum() == pytest.approx(volume, rel=2e-3)


@pytest.mark.parametrize(("size", "error"), [(0.5, 2e-4), (0.25, 2e-5)])
def test_heat_on_the_sphere(size, error):
    """The first harmonic decays as exp(−2Tt)."""
    problem = Problem("heat", tilted(3, 4 * np.pi, 0.9), temperature=0.5)
    run = ddpde.solve(problem, ddpde.sphere(size=size), times=[0.3], degree=2, rtol=1e-6)
    found = run.laws[-1].expectation(lambda x: x[:, 2])
    assert found == pytest.approx(0.3 * np.exp(-0.3), abs=error)
    assert np.abs(run.history["mass"] - 1).max() < 1e-13
    assert np.diff(run.history["free_energy"]).max() < 1e-10


def test_mass_on_curved_cells_with_long_steps():
    torus = DensityLaw(3, lambda x: np.full(len(x), 1 / (4 * np.pi**2)))
    problem = Problem("tilt", torus, potential=lambda x: x[:, 0], temperature=0.2)
    run = ddpde.solve(problem, ddpde.torus(2, 0.5, size=0.4), t_end=1, degree=2, rtol=1e-3)
    assert np.abs(np.diff(run.history["mass"])).max() < 1e-14


def test_no_flux_equilibrium_on_the_disc():
    """exp(−|x|²/2T) restricted to the disc."""
    problem = Problem(
        "trap",
        tilted(2, np.pi, 0.5),
        potential=lambda x: 0.5 * (x * x).sum(axis=1),
        temperature=0.5,
    )
    run = ddpde.solve(problem, ddpde.disc(size=0.3), times=[3.0], degree=2, rtol=1e-5)

    def integral(power):
        return quad(lambda r: r**power * np.exp(-r * r), 0, 1)[0]

    found = run.laws[-1].expectation(lambda x: (x * x).sum(axis=1))
    assert found == pytest.approx(integral(3) / integral(1), abs=5e-5)


def test_transport_on_the_sphere_keeps_its_mass():
    """Drift to the north pole, no diffusion: mass is kept and the height rises as tanh."""
    problem = Problem("north", tilted(3, 4 * np.pi, 0.0), potential=lambda x: -x[:, 2])
    run = ddpde.solve(problem, ddpde.sphere(size=0.3), times=[0.5], degree=2, rtol=1e-5)
    # on the sphere z' = 1 − z², so z(t) = tanh(artanh z₀ + t), z₀ uniform on (−1, 1)
    exact = 0.5 * quad(lambda z: np.tanh(np.arctanh(z) + 0.5), -1, 1)[0]
    assert run.laws[-1].expectation(lambda x: x[:, 2]) == pytest.approx(exact, abs=2e-3)
    assert np.abs(run.history["mass"] - 1).max() < 1e-13


def test_bad_shapes_and_laws():
    with pytest.raises(MeshError, match="outer"):
        ddpde.annulus(1.0, 0.5, size=0.1)
    with pytest.raises(ProblemError, match="sampled"):
        tilted(2, 1.0, 0.0).sample(np.zeros((3, 2)))
