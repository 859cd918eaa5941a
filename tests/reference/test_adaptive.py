"""Meshes that follow the law and boxes that grow, against exact solutions."""

import basix
import numpy as np
import pytest

import ddpde
from ddpde.errors import ProblemError
from ddpde.problem import GaussianLaw, Problem

TEMPERATURE = 0.5
NARROW, START = 0.02, 1.5


def half_square(x):
    return 0.5 * (x * x).sum(axis=1)


def narrow(dim=1):
    """Ornstein–Uhlenbeck from a Gaussian three hundred times narrower than the half box."""
    law = GaussianLaw((START,) * dim, (NARROW,) * dim)
    return Problem("narrow", law, potential=half_square, temperature=TEMPERATURE)


def error(law, mean, variance):
    """∫ |ρ_h − N(mean, variance I)|."""
    reference, weights = basix.make_quadrature(basix.CellType[law.cell], 2 * law.degree + 8)
    x, density, volume = law.at(reference)
    z = ((x - mean) ** 2).sum(axis=-1) / variance
    exact = np.exp(-z / 2) / (2 * np.pi * variance) ** (law.gdim / 2)
    return float((np.abs(density - exact) * volume * weights).sum())


def errors(run):
    """L1 errors of a run of `narrow` at its output times."""
    decay = np.exp(-run.times)
    variance = NARROW**2 * decay**2 + TEMPERATURE * (1 - decay**2)
    triples = zip(run.laws, START * decay, variance, strict=True)
    return np.array([error(*triple) for triple in triples])


def smallest(law):
    """Length of the shortest edge along the first coordinate."""
    return np.ptp(law.geometry[..., 0], axis=1).min()


@pytest.mark.parametrize(
    ("degree", "tolerance"), [(1, 2e-2), (2, 1e-3), (3, 1e-4), (4, 1e-5), (5, 1e-5), (6, 1e-6)]
)
def test_narrow_law_on_a_line(degree, tolerance):
    mesh = ddpde.interval(-6, 6, cells=12)
    run = ddpde.solve(
        narrow(),
        mesh,
        times=[1e-4, 1e-3, 1e-2, 0.1, 1.0],
        degree=degree,
        rtol=1e-3 * tolerance,
        adapt=tolerance,
    )
    assert errors(run).max() < 2 * tolerance, errors(run)
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert np.diff(run.history["free_energy"]).max() < tolerance
    uniform = 12 / smallest(run.laws[0])
    assert run.history["cells"].max() < uniform / 5


def test_narrow_law_in_the_plane():
    run = ddpde.solve(
        narrow(2),
        ddpde.box([-6, -6], [6, 6], cells=[12, 12]),
        times=[1e-3, 0.1, 1.0],
        degree=4,
        rtol=1e-5,
        adapt=2e-3,
    )
    assert errors(run).max() < 4e-3, errors(run)
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert run.history["cells"].max() < (12 / smallest(run.laws[0])) ** 2 / 40
    assert run.history["cells"][-1] < run.history["cells"][0]  # coarser as the law widens


def test_mass_that_concentrates():
    """Pure transport: the mesh becomes finer where the peaks form, at ±1."""
    problem = Problem(
        "double well",
        GaussianLaw((0.0,), (0.5,)),
        potential=lambda x: (x**4 / 4 - x**2 / 2).sum(axis=1),
    )
    mesh = ddpde.interval(-3, 3, cells=12)
    run = ddpde.solve(problem, mesh, times=[0.5, 1.0], degree=4, rtol=1e-7, adapt=1e-4)
    second = [law.expectation(lambda x: x[:, 0] ** 2) for law in run.laws[1:]]
    assert np.allclose(second, [0.35087640203089, 0.48396164169618], atol=2e-5)
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    last = run.laws[-1].geometry
    size = np.ptp(last[..., 0], axis=1)
    at = lambda x: size[np.argmin(np.abs(last.mean(axis=1)[:, 0] - x))]  # noqa: E731
    assert at(1.0) <= at(0.0) / 4


def test_a_law_that_crosses_the_domain():
    """A drift to the right: fine cells travel with the law and are given up behind it."""
    law = GaussianLaw((-4.0,), (0.05,))
    problem = Problem("wind", law, potential=lambda x: -4.0 * x[:, 0], temperature=1e-4)
    mesh = ddpde.interval(-6, 6, cells=12)
    run = ddpde.solve(problem, mesh, times=[0.5, 1.0], degree=5, rtol=1e-6, adapt=1e-4)
    for law, t in zip(run.laws, run.times, strict=True):
        assert error(law, -4.0 + 4.0 * t, 0.05**2 + 2e-4 * t) < 5e-4
        centres = law.geometry.mean(axis=1)[:, 0]
        sizes = np.ptp(law.geometry[..., 0], axis=1)
        assert abs(centres[np.argmin(sizes)] - (-4.0 + 4.0 * t)) < 0.6
        assert len(sizes) < 12 / sizes.min() / 5


def test_a_box_that_grows_with_a_spreading_law():
    law = GaussianLaw((0.5, 0.0), (0.5, 0.4))
    free = Problem("heat", law, potential=lambda x: 0.0 * x[:, 0], temperature=0.5)
    mesh = ddpde.box([-2, -2], [3, 2], cells=[10, 8])
    run = ddpde.solve(free, mesh, times=[0.5, 1.5], degree=4, rtol=1e-7, grow=1e-10)
    for law, t in zip(run.laws, run.times, strict=True):
        for axis, (mean, std) in enumerate([(0.5, 0.5), (0.0, 0.4)]):
            assert law.expectation(lambda x, a=axis: x[:, a]) == pytest.approx(mean, abs=1e-6)
            variance = law.expectation(lambda x, a=axis, m=mean: (x[:, a] - m) ** 2)
            assert variance == pytest.approx(std**2 + t, rel=1e-6)
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    x = run.laws[-1].geometry[..., 0]
    assert x.min() < -5 and x.max() > 6
    assert np.allclose(np.ptp(x, axis=1), 0.5)


def test_a_box_grows_to_the_initial_law_and_keeps_natural_ends():
    """The radius of Mei et al. starts near 0.8: the box need not reach there, nor below 0."""
    problem = ddpde.problems.isotropic_gaussians()
    run = ddpde.solve(
        problem, ddpde.interval(0.0, 0.5, cells=8), times=[0.5], rtol=1e-8, grow=1e-9, degree=4
    )
    x = run.laws[-1].geometry[..., 0]
    assert x.min() == 0.0 and x.max() > 1.2
    assert run.risk()[-1] == pytest.approx(1.127389274, abs=1e-6)


def test_growth_and_adaptation_together():
    law = GaussianLaw((0.0,), (0.01,))
    free = Problem("heat", law, potential=lambda x: 0.0 * x[:, 0], temperature=0.5)
    mesh = ddpde.interval(-1, 1, cells=2)
    run = ddpde.solve(free, mesh, times=[1.0], degree=4, rtol=1e-7, adapt=1e-5, grow=1e-9)
    assert error(run.laws[-1], 0.0, 1e-4 + 1.0) < 2e-5
    assert run.laws[-1].geometry.max() > 5


def test_the_circle():
    """Periodic coordinates: against a fine uniform mesh."""
    problem = ddpde.problems.kuramoto(temperature=0.05, coupling=2.0)
    settings = {"times": [2.0], "degree": 4, "rtol": 1e-7}
    turn = 2 * np.pi
    fine = ddpde.solve(problem, ddpde.interval(0, turn, cells=96), **settings)
    run = ddpde.solve(problem, ddpde.interval(0, turn, cells=6), adapt=1e-5, **settings)
    assert run.free_energy()[-1] == pytest.approx(fine.free_energy()[-1], abs=1e-6)
    assert run.history["cells"].max() < 60


def test_order_in_time_survives_a_change_of_mesh():
    """Fixed steps: the error of a moment falls as the method's order says."""

    def mean_square(steps):
        run = ddpde.solve(
            Problem(
                "wide", GaussianLaw((1.5,), (0.3,)), potential=half_square, temperature=TEMPERATURE
            ),
            ddpde.interval(-6, 6, cells=6),
            times=[1.0],
            degree=5,
            dt=1.0 / steps,
            method="imex3",
            adapt=1e-8,
        )
        assert (np.diff(run.history["cells"]) != 0).any()
        return run.laws[-1].expectation(lambda x: x[:, 0] ** 2)

    decay = np.exp(-2.0)
    exact = (1.5**2 + 0.09) * decay + TEMPERATURE * (1 - decay)
    found = np.abs([mean_square(n) - exact for n in (32, 64, 128)])
    slopes = np.log2(found[:-1] / found[1:])
    assert slopes.min() > 2.7, (found, slopes)


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"adapt": 0.0}, ProblemError, "adapt"),
        ({"adapt": 1e-3, "adapt_depth": 0}, ProblemError, "adapt_depth"),
        ({"grow": 2.0}, ProblemError, "grow"),
        ({"adapt": 1e-3, "space": "lagrangian"}, ProblemError, "eulerian"),
    ],
)
def test_settings_that_make_no_sense(settings, kind, message):
    law = GaussianLaw((0.0,), (0.5,))
    with pytest.raises(kind, match=message):
        ddpde.solve(
            Problem("p", law, potential=half_square),
            ddpde.interval(-3, 3, cells=10),
            t_end=1.0,
            **settings,
        )


def test_narrow_law_on_triangles():
    mesh = ddpde.box([-6, -6], [6, 6], cells=[8, 8], cell="triangle")
    run = ddpde.solve(
        narrow(2), mesh, times=[1e-3, 0.05], degree=3, rtol=2e-5, adapt=5e-3, adapt_depth=8
    )
    assert errors(run).max() < 5e-3, errors(run)
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert run.history["cells"].max() < (12 / smallest(run.laws[0])) ** 2 / 20
    assert run.history["cells"][-1] < run.history["cells"].max()


def test_narrow_law_in_space():
    law = GaussianLaw((START,) * 3, (0.1,) * 3)
    problem = Problem("narrow", law, potential=half_square, temperature=TEMPERATURE)
    mesh = ddpde.box([-6] * 3, [6] * 3, cells=[6] * 3)
    run = ddpde.solve(problem, mesh, times=[2e-3], degree=3, rtol=1e-3, adapt=1e-1)
    last = run.laws[-1]
    decay = np.exp(-2e-3)
    variance = 0.01 * decay**2 + TEMPERATURE * (1 - decay**2)
    assert error(last, START * decay, variance) < 1e-1
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert run.history["cells"].max() < (12 / smallest(last)) ** 3 / 50


def test_a_network_on_few_cells():
    """Mei et al. 2018 on 12 coarse cells: the risk that 384 uniform ones give."""
    problem = ddpde.problems.isotropic_gaussians()
    mesh = ddpde.interval(0, 6, cells=12)
    run = ddpde.solve(problem, mesh, times=[0.5], degree=4, rtol=1e-7, adapt=1e-4)
    assert run.risk()[-1] == pytest.approx(1.127389274, abs=1e-8)
    assert run.history["cells"].max() < 40
