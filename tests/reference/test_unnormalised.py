"""Measures of any mass, and signed ones as pairs: Wasserstein–Fisher–Rao flows."""

from dataclasses import replace

import numpy as np
import pytest

import ddpde
from ddpde.errors import MeshError, ProblemError
from ddpde.problem import DensityLaw, GaussianLaw, Problem
from ddpde.step import JKO_METHODS

TURN = 2 * np.pi
SPIKES = ((0.5, 1.0), (0.3, 2.5), (0.4, 4.5))
SIGNED_SPIKES = ((0.8, 1.0), (-0.6, 2.5), (0.5, 4.5))
ALPHA, BETA = 1.0, 0.1  # ∂_t ν = β ∇·(ν ∇J') − 4 α J' ν


def kernel(x):
    """Σ_{|k| <= 4} e^{ikx}, and a user's function: NumPy and JAX alike."""
    xp = x.__array_namespace__()
    return 1 + 2 * sum(xp.cos(k * x) for k in range(1, 5))


def slope(x):
    return -2 * sum(k * np.sin(k * x) for k in range(1, 5))


def deconvolution(spikes, sheets):
    """J[ν] = ½ ∬ φ(x − x') (ν − ν*)(ν − ν*) + penalty |ν|, and the constant that F leaves out."""

    def sign(theta):
        return theta[:, 1] if sheets else 1.0

    def interaction(theta, other):
        waves = kernel(theta[:, :1] - other[:, 0])
        return waves * theta[:, 1:] * other[:, 1] if sheets else waves

    def potential(theta):
        return -sign(theta) * sum(w * kernel(theta[:, 0] - x) for w, x in spikes) + 0.2 * sheets

    problem = Problem(
        "deconvolution",
        DensityLaw(1 + sheets, lambda theta: np.full(len(theta), 1 / (TURN * (1 + sheets)))),
        interaction=interaction,
        potential=potential,
        periods=(TURN, None) if sheets else (TURN,),
        schedule=lambda t: BETA,
        birth_death=4 * ALPHA / BETA,
        mass=0.4 if sheets else 0.2,
        conserved=False,
    )
    places, weights = np.array([x for _, x in spikes]), np.array([w for w, _ in spikes])
    return problem, 0.5 * weights @ kernel(places[:, None] - places) @ weights


def particles(spikes, x, signs, masses, penalty, times):
    """θ' = −β s J₀', r' = −2α r (s J₀ + penalty): (masses |ν|, loss) at the times, by RK4."""
    places, weights = np.array([p for _, p in spikes]), np.array([w for w, _ in spikes])

    def rates(x, m):
        between, to = x[:, None] - x, x[:, None] - places
        field = kernel(between) @ (signs * m) - kernel(to) @ weights
        force = slope(between) @ (signs * m) - slope(to) @ weights
        return -BETA * signs * force, -4 * ALPHA * m * (signs * field + penalty)

    def loss(x, m):
        both, w = np.concatenate([x, places]), np.concatenate([signs * m, -weights])
        return 0.5 * w @ kernel(both[:, None] - both) @ w + penalty * m.sum()

    out, t, dt = [], 0.0, 4e-3
    for stop in times:
        while t < stop - 1e-12:
            k1 = rates(x, masses)
            k2 = rates(x + dt / 2 * k1[0], masses + dt / 2 * k1[1])
            k3 = rates(x + dt / 2 * k2[0], masses + dt / 2 * k2[1])
            k4 = rates(x + dt * k3[0], masses + dt * k3[1])
            x = x + dt / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
            masses = masses + dt / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
            t += dt
        out.append((masses.sum(), loss(x, masses)))
    return np.array(out), x, masses


def positive(run):
    peak = max(law.peak() for law in run.laws)
    assert run.history["minimum"].min() >= -1e-14 * peak
    assert np.diff(run.history["free_energy"]).max() <= 1e-10


def test_deconvolution_on_the_circle():
    problem, constant = deconvolution(SPIKES, sheets=False)
    times = [0.1, 0.3, 0.6]
    mesh = ddpde.interval(0, TURN, cells=32)
    run = ddpde.solve(problem, mesh, times=times, degree=4, rtol=1e-8)
    mass = [law.expectation(lambda x: np.ones(len(x))) for law in run.laws]
    loss = run.free_energy() + constant
    assert (loss[0], mass[0]) == pytest.approx((2.1792652515, 0.2), rel=1e-9)
    assert (loss[1], mass[1]) == pytest.approx((1.4630551745, 0.3888368771), rel=1e-7)
    count = 64
    x = TURN * np.arange(count) / count
    found, _, _ = particles(SPIKES, x, np.ones(count), np.full(count, 0.2 / count), 0.0, times)
    assert mass[1:] == pytest.approx(found[:, 0], rel=1e-5)
    assert loss[1:] == pytest.approx(found[:, 1], rel=1e-5)
    positive(run)


def test_problem_of_the_catalogue():
    """The same deconvolution as a network on Fourier coefficients: the loss is its risk."""
    problem = ddpde.problems.deconvolution()
    mesh = ddpde.interval(0, TURN, cells=32)
    run = ddpde.solve(problem, mesh, times=[0.1], degree=4, rtol=1e-8)
    assert run.risk() == pytest.approx([2.1792652515, 1.4630551745], rel=1e-7)
    assert run.history["mass"][-1] == pytest.approx(0.3888368771, rel=1e-7)
    for wrong in ({"places": (1.0,)}, {"frequencies": 0}, {"beta": 0.0}):
        with pytest.raises(ProblemError):
            ddpde.problems.deconvolution(**wrong)


def test_signed_deconvolution_on_the_circle():
    problem, constant = deconvolution(SIGNED_SPIKES, sheets=True)
    times = [0.1, 0.3, 0.6]
    mesh = ddpde.signed(ddpde.interval(0, TURN, cells=32))
    run = ddpde.solve(problem, mesh, times=times, degree=4, rtol=1e-8)
    count = 64
    x = np.tile(TURN * np.arange(count) / count, 2)
    signs = np.repeat([1.0, -1.0], count)
    masses = np.full(2 * count, 0.4 / (2 * count))
    found, x, masses = particles(SIGNED_SPIKES, x, signs, masses, 0.2, times)
    assert run.free_energy()[1:] + constant == pytest.approx(found[:, 1], rel=1e-5)
    assert run.history["mass"][-1] == pytest.approx(found[-1, 0], rel=1e-5)
    for k in (0, 1, 3):  # of ν = ν₊ − ν₋ itself
        ours = run.laws[-1].expectation(lambda y, k=k: y[:, 1] * np.cos(k * y[:, 0]))
        assert ours == pytest.approx((signs * masses) @ np.cos(k * x), abs=1e-5)
    positive(run)


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
def test_signed_measures_on_the_torus(cell):
    """φ = (1 + 2 cos x)(1 + 2 cos y), one spike of each sign, against particles."""
    spikes = np.array([[1.0, 2.0], [4.0, 3.0]])
    weights = np.array([0.7, -0.5])

    def wave(a, b):
        xp = a.__array_namespace__()
        return (1 + 2 * xp.cos(a[:, :1] - b[:, 0])) * (1 + 2 * xp.cos(a[:, 1:2] - b[:, 1]))

    problem = Problem(
        "torus",
        DensityLaw(3, lambda theta: np.full(len(theta), 0.5 / TURN**2)),
        interaction=lambda a, b: wave(a, b) * a[:, 2:] * b[:, 2],
        potential=lambda a: -a[:, 2] * (wave(a, spikes) @ weights),
        periods=(TURN, TURN, None),
        birth_death=2.0,
        mass=0.3,
        conserved=False,
    )
    mesh = ddpde.signed(ddpde.box([0, 0], [TURN, TURN], cells=[10, 10], cell=cell))
    t_end = 0.2
    run = ddpde.solve(problem, mesh, times=[t_end], degree=3, rtol=1e-6)
    line = TURN * np.arange(16) / 16
    flat = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    x, signs = np.tile(flat, (2, 1)), np.repeat([1.0, -1.0], len(flat))
    m = np.full(len(x), 0.3 / len(x))

    def rates(x, m):
        places, w = np.vstack([x, spikes]), np.concatenate([signs * m, -weights])
        d = x[:, None] - places
        c, s = 1 + 2 * np.cos(d), -2 * np.sin(d)
        field = (c[..., 0] * c[..., 1]) @ w
        force = np.stack([(s[..., 0] * c[..., 1]) @ w, (c[..., 0] * s[..., 1]) @ w], axis=1)
        return -signs[:, None] * force, -2.0 * m * signs * field

    steps = 40
    for _ in range(steps):
        dt = t_end / steps
        k1 = rates(x, m)
        k2 = rates(x + dt / 2 * k1[0], m + dt / 2 * k1[1])
        x, m = x + dt * k2[0], m + dt * k2[1]
    assert run.history["mass"][-1] == pytest.approx(m.sum(), rel=1e-3)
    for observable in (lambda y: np.cos(y[:, 0]), lambda y: np.sin(y[:, 1] - y[:, 0])):
        ours = run.laws[-1].expectation(lambda y, f=observable: y[:, 2] * f(y))
        assert ours == pytest.approx((signs * m) @ observable(x), abs=1e-3)
    positive(run)


def test_conserved_mass_other_than_one():
    """Without a nonlinearity the flow is linear: twice the mass, twice the law."""
    plain = Problem(
        "ou",
        GaussianLaw((0.5,), (0.4,)),
        potential=lambda theta: 0.5 * (theta * theta).sum(axis=1),
        temperature=0.3,
    )
    mesh = ddpde.interval(-4, 4, cells=16)
    one, two = (
        ddpde.solve(problem, mesh, times=[0.5], rtol=1e-8)
        for problem in (plain, replace(plain, mass=2.0))
    )
    assert two.laws[-1].values == pytest.approx(2 * one.laws[-1].values, abs=1e-8)
    cold = replace(plain, temperature=0.0, mass=2.0)
    moving = ddpde.solve(cold, mesh, times=[0.5], space="lagrangian")
    assert moving.history["mass"] == pytest.approx(2.0, rel=1e-13)


def test_what_is_refused():
    law, mesh = GaussianLaw((0.0,), (0.5,)), ddpde.interval(-4, 4, cells=8)
    two = Problem("two", law, mass=2.0, temperature=1.0, ridge=1.0)
    with pytest.raises(ProblemError, match="mass"):
        Problem("no mass", law, mass=0.0)
    with pytest.raises(ProblemError, match="birth_death"):
        Problem("nothing changes mass", law, conserved=False)
    with pytest.raises(ProblemError, match="probabilities"):
        ddpde.stationary(two, mesh)
    with pytest.raises(ProblemError, match="JKO"):
        ddpde.solve(two, mesh, t_end=1.0, method=next(iter(JKO_METHODS)), dt=0.1)
    with pytest.raises(MeshError, match="no room"):
        ddpde.signed(ddpde.box([0, 0, 0], [1, 1, 1], cells=[2, 2, 2]))
