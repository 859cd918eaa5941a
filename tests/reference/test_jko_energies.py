"""JKO steps with more than entropy and potentials: crowds, birth and death, non-local energies."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import ddpde
from ddpde.problem import GaussianLaw, Logistic, Problem
from ddpde.problem.catalogue import erf_teacher
from ddpde.problem.classics import kuramoto, quadratic_interaction
from ddpde.problem.initial import DensityLaw
from ddpde.problem.internal import Congestion
from ddpde.step import JKO_METHODS


def crowd(mean, std):
    """At most density 1, in |θ|²/2."""
    return Problem(
        name="crowd",
        initial=GaussianLaw(mean, std),
        potential=lambda theta: 0.5 * (theta**2).sum(axis=1),
        internal=Congestion(1.0),
    )


def keeps_below(run):
    assert run.laws[-1].values.max() < 1 + 1e-9  # degree one: modes bound the density
    assert run.history["minimum"].min() >= 0
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert np.diff(run.history["free_energy"]).max() < 0


def test_crowd_on_a_line_tends_to_quantile_steps():
    problem = crowd((1.0,), (0.5,))
    # `jko-quantile`, 48 cells of degree 3, dt = 0.0125
    energy, mean = 0.23649839, 0.60837262
    gaps = []
    for cells, tau in ((100, 0.1), (200, 0.05)):
        mesh = ddpde.interval(-3, 3, cells=cells)
        run = ddpde.solve(problem, mesh, times=[0.5], method="jko", dt=tau)
        keeps_below(run)
        gaps.append([run.free_energy()[-1] - energy, run.mean()[-1, 0] - mean])
    assert np.all(np.divide(gaps[0], gaps[1]) > 1.6)  # of first order in τ and in the mesh
    assert np.all(np.abs(gaps[1]) < 0.03)


@pytest.mark.parametrize("method", ("jko", "jko-entropic"))
def test_a_crowd_that_starts_too_dense(method):
    """The first step brings N(1, 0.3²), of density 1.33, below 1; then as quantile steps do."""
    energy, mean = 0.23032278, 0.61391325  # `jko-quantile`, 48 cells of degree 3, dt = 0.05
    gaps = []
    for cells, tau in ((100, 0.1), (200, 0.05)):
        mesh = ddpde.interval(-3, 3, cells=cells)
        run = ddpde.solve(crowd((1.0,), (0.3,)), mesh, times=[tau, 0.5], method=method, dt=tau)
        assert run.laws[0].values.max() > 1.3
        assert run.laws[1].values.max() < 1 + 1e-8
        assert run.laws[2].values.max() < 1 + 1e-8
        assert np.abs(run.history["mass"] - 1).max() < 1e-12
        assert np.diff(run.history["free_energy"]).max() < 0
        gaps.append([run.free_energy()[-1] - energy, run.mean()[-1, 0] - mean])
    assert np.all(np.divide(gaps[0], gaps[1]) > 1.6)
    assert np.all(np.abs(gaps[1]) < 0.03)


@pytest.mark.parametrize("method", ("jko", "jko-entropic"))
def test_a_crowd_that_starts_too_dense_in_the_plane(method):
    mesh = ddpde.box((-2, -2), (2, 2), cells=(24, 24))
    problem = crowd((0.5, 0.0), (0.3, 0.3))
    run = ddpde.solve(problem, mesh, times=[0.25, 1.0], method=method, dt=0.25)
    assert run.laws[0].values.max() > 1.5
    assert max(law.values.max() for law in run.laws[1:]) < 1 + 1e-8
    assert np.abs(run.history["mass"] - 1).max() < 1e-12
    assert np.diff(run.history["free_energy"]).max() < 0


def test_a_crowd_in_short_steps():
    """A kernel much narrower than the cells that are full: it is widened."""
    problem = replace(erf_teacher(0.1, ridge=0.1), internal=Congestion(1.0))
    falls = []
    for method in ("jko", "jko-entropic"):
        mesh = ddpde.interval(-4, 4, cells=80)
        run = ddpde.solve(problem, mesh, times=[1e-3], method=method, dt=2e-4)
        falls.append(-np.diff(run.history["free_energy"])[2:])
        assert np.abs(run.history["mass"] - 1).max() < 1e-12
        assert run.history["minimum"].min() >= 0
        assert run.laws[-1].values.max() < 1 + 1e-8
    assert np.all(falls[1] > 0)
    assert falls[1].mean() == pytest.approx(falls[0].mean(), rel=0.35)


def test_crowd_fills_a_disc():
    """At rest it has density 1 where |θ|² < 1/π: the energy is 1/4π."""
    mesh = ddpde.box((-3, -3), (3, 3), cells=(32, 32))
    run = ddpde.solve(crowd((0.5, 0.0), (0.6, 0.6)), mesh, times=[6.0], method="jko", dt=0.25)
    keeps_below(run)
    assert run.free_energy()[-1] == pytest.approx(0.25 / np.pi, abs=2.5e-3)
    x, masses = run.laws[-1].points()
    assert masses[np.hypot(*(x - run.mean()[-1]).T) < 0.8].sum() > 0.995


def relaxing(rate):
    """To N(0, 1), by transport, diffusion and birth and death."""
    return Problem(
        name="relaxing",
        initial=GaussianLaw((1.0,), (0.5,)),
        potential=lambda theta: 0.5 * theta[:, 0] ** 2,
        temperature=1.0,
        birth_death=rate,
    )


def relaxed(variance, mean):
    """Those at t = ½ of a Gaussian in `relaxing(1.0)`: s' = 2 − 2s + s (1 − s), m' = −m − m s."""

    def rate(t, y):
        return [2 - 2 * y[0] + y[0] * (1 - y[0]), -y[1] - y[1] * y[0]]

    return solve_ivp(rate, (0, 0.5), [variance, mean], rtol=1e-10).y[:, -1]


BIRTHS = pytest.mark.parametrize(
    "method, order, cells",
    (("jko", 1, 300), ("jko-bdf2", 2, 300), ("jko-dynamic", 1, 180), ("jko-entropic", 1, 300)),
)


def solved(problem, mesh, t_end, method, tau):
    """Two inner steps where a method has any."""
    inner = {"inner_steps": 2} if method.startswith("jko-dynamic") else {}
    return ddpde.solve(problem, mesh, times=[t_end], method=method, dt=tau, **inner)


@BIRTHS
def test_birth_and_death_against_the_flow_of_gaussians(method, order, cells):
    """Its variance and mean, and the order in τ."""
    exact = relaxed(0.25, 1.0)
    mesh = ddpde.interval(-6, 6, cells=cells)
    found, laws = [], []
    for count in (40, 80, 160):
        run = solved(relaxing(1.0), mesh, 0.5, method, 0.5 / count)
        x, masses = run.laws[-1].points(4)
        mean = masses @ x[:, 0]
        found.append([masses @ (x[:, 0] - mean) ** 2, mean])
        laws.append(run.laws[-1].values)
        assert np.abs(run.history["mass"] - 1).max() < 1e-12
        assert np.diff(run.history["free_energy"]).max() < 0
    slope = np.log2(np.abs(laws[1] - laws[0]).sum() / np.abs(laws[2] - laws[1]).sum())
    assert abs(slope - order) < 0.1, slope
    limit = found[2] + np.subtract(found[2], found[1]) / (2**order - 1)
    assert np.all(np.abs(limit - exact) < 0.6 * (12 / cells) ** 2)


def test_birth_and_death_along_paths_of_second_order():
    """As above, from a Gaussian whose tails need not grow as much."""
    problem = replace(relaxing(1.0), initial=GaussianLaw((0.5,), (0.7,)))
    _, mean = relaxed(0.49, 0.5)
    mesh, laws = ddpde.interval(-6, 6, cells=120), []
    for count in (10, 20, 40):
        run = ddpde.solve(problem, mesh, times=[0.5], method="jko-dynamic-bdf2", dt=0.5 / count)
        assert np.diff(run.history["free_energy"]).max() < 0
        laws.append(run.laws[-1].values)
    slope = np.log2(np.abs(laws[1] - laws[0]).sum() / np.abs(laws[2] - laws[1]).sum())
    assert 1.9 < slope < 2.25, slope
    assert abs(run.mean()[-1, 0] - mean) < 2e-4


@BIRTHS
@pytest.mark.parametrize("temperature", (0.0, 0.1))
def test_birth_and_death_against_the_method_of_lines(temperature, method, order, cells):
    """A network: what is born follows its risk."""
    problem = replace(erf_teacher(temperature, ridge=0.1), birth_death=2.0)
    mesh = ddpde.interval(-3, 4, cells=64)
    exact = ddpde.solve(problem, mesh, times=[0.3], degree=3, rtol=1e-6).free_energy()[-1]
    mesh, found, laws = ddpde.interval(-3, 4, cells=cells), [], []
    for tau in (0.02, 0.01, 0.005):
        run = solved(problem, mesh, 0.3, method, tau)
        found.append(run.free_energy()[-1])
        laws.append(run.laws[-1].values)
        assert np.diff(run.history["free_energy"]).max() < 0
    # upwind at temperature 0: what is left there is the mesh's
    slope = np.log2(np.abs(laws[1] - laws[0]).sum() / np.abs(laws[2] - laws[1]).sum())
    assert abs(slope - order) < 0.15, slope
    limit = found[2] + (found[2] - found[1]) / (2**order - 1)
    assert abs(limit - exact) < (1e-3 if temperature == 0 else 1e-4)


@pytest.mark.parametrize(
    "method", ("jko-upwind", "jko-bdf2", "jko-dynamic", "jko-dynamic-bdf2", "jko-entropic")
)
@pytest.mark.parametrize("tau", (1e-4, 1e-2, 1.0, 10.0))
def test_birth_and_death_keep_mass_sign_and_descent(tau, method):
    for T in (0.0, 0.01, 1.0):
        problem = replace(erf_teacher(T, ridge=0.1), birth_death=1.0)
        run = solved(problem, ddpde.interval(-5, 5, cells=100), 3 * tau, method, tau)
        assert np.abs(run.history["mass"] - 1).max() < 1e-12
        assert run.history["minimum"].min() >= 0
        assert np.diff(run.history["free_energy"]).max() <= 1e-10


@pytest.fixture(scope="module")
def nonlocal_problems():
    """Problems with what the method of lines finds at t = ½, and how far a step of 0.1 may be."""
    found = []
    for problem, bound in (
        (quadratic_interaction(), 0.013),
        (replace(erf_teacher(0.05, ridge=0.1), loss=Logistic()), 4e-4),
    ):
        mesh = ddpde.interval(-5, 6, cells=40)
        run = ddpde.solve(problem, mesh, times=[0.5], degree=4, rtol=1e-6)
        found.append((problem, run.free_energy()[-1], bound))
    return found


@pytest.mark.parametrize("method", JKO_METHODS)
def test_interactions_and_a_logistic_risk(method, nonlocal_problems):
    for problem, exact, bound in nonlocal_problems:
        mesh = ddpde.interval(-5, 6, cells=16 if "quantile" in method else 160)
        run = ddpde.solve(problem, mesh, times=[0.5], degree=4, method=method, dt=0.1)
        assert abs(run.free_energy()[-1] - exact) < bound
        assert np.diff(run.history["free_energy"]).max() < 0


@pytest.mark.parametrize("method", ("jko", "jko-upwind", "jko-bdf2", "jko-dynamic", "jko-entropic"))
def test_a_circle(method):
    """Oscillators that attract each other, against the method of lines."""
    problem = kuramoto()

    def solved(cells, **settings):
        mesh = ddpde.interval(0, 2 * np.pi, cells=cells)
        run = ddpde.solve(problem, mesh, times=[1.0], **settings)
        x, masses = run.laws[-1].points(4)
        return run, np.array([masses @ np.cos(x[:, 0]), masses @ np.sin(x[:, 0])])

    _, exact = solved(24, degree=4, rtol=1e-6)
    off = []
    for cells, tau in ((60, 0.1), (120, 0.05)):
        run, order = solved(cells, method=method, dt=tau)
        off.append(np.abs(order - exact).max())
        assert np.abs(run.history["mass"] - 1).max() < 1e-12
        assert np.diff(run.history["free_energy"]).max() < 0
        assert run.history["boundary_mass"].max() == 0
    assert off[1] < 4e-4
    assert off[1] < 0.9 * off[0]


def test_a_torus():
    """cos(x + 2y) decays like exp(−5Tt), also across the corners."""
    problem = Problem(
        name="heat",
        initial=DensityLaw(2, lambda x: (1 + 0.3 * np.cos(x @ [1, 2])) / (4 * np.pi**2)),
        temperature=0.2,
        periods=(2 * np.pi, 2 * np.pi),
    )
    decays = []
    for cells in (16, 32):
        mesh = ddpde.box((0, 0), (2 * np.pi, 2 * np.pi), cells=(cells, cells))
        run = ddpde.solve(problem, mesh, times=[0.5], method="jko-bdf2", dt=0.05)
        x, masses = run.laws[-1].points(4)
        decays.append(2 * masses @ np.cos(x @ [1, 2]) / 0.3)
    errors = np.array(decays) - np.exp(-0.5)
    assert abs(errors[1]) < 0.3 * abs(errors[0])
    assert abs(errors[1]) < 0.01
