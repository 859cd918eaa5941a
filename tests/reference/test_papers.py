"""Solutions of the papers' problems to all digits of their known values."""

from dataclasses import replace

import numpy as np
import pytest

import ddpde
from ddpde.problem.catalogue import erf_teacher, isotropic_gaussians

MEI = {  # Mei et al. 2018: Δ -> t: (risk, mean radius)
    0.8: {
        0.0: (1.704481708, 0.7950161),
        0.1: (1.338979564, 0.9798265),
        0.25: (1.202827831, 1.1204062),
        0.5: (1.127389274, 1.2562459),
        1.0: (1.070607064, 1.4228712),
        2.0: (1.011429250, 1.6589909),
        5.0: (0.699686768, 2.3560443),
    },
    0.2: {
        0.0: (2.181405918, 0.7950161),
        0.1: (0.657997627, 1.1603054),
        0.25: (0.437957920, 1.3333336),
        0.5: (0.399288746, 1.4254191),
        1.0: (0.395327685, 1.4632537),
        2.0: (0.395228571, 1.4683088),
        5.0: (0.395167816, 1.4680082),
    },
}

ERF = {  # noiseless: t -> risk, mean, variance
    1: (0.062320490652, 0.788126513925, 0.060480014517),
    2: (0.035364837930, 0.948612567585, 0.047975362193),
    5: (0.012515345254, 1.201051289410, 0.034654030159),
    10: (0.004873016865, 1.390864426957, 0.029301054566),
}


def variance(law):
    mean = law.expectation(lambda x: x[:, 0])
    return law.expectation(lambda x: (x[:, 0] - mean) ** 2)


@pytest.mark.parametrize("delta", MEI)
def test_mei2018_lagrangian(delta):
    table = MEI[delta]
    run = ddpde.solve(
        isotropic_gaussians(delta=delta),
        ddpde.interval(0.2, 1.6, cells=64),
        times=list(table),
        degree=6,
        rtol=1e-10,
        space="lagrangian",
    )
    risk, mean = np.array(list(table.values())).T
    assert np.abs(run.risk() / risk - 1).max() < 1e-6
    assert np.abs(run.mean()[:, 0] / mean - 1).max() < 1e-6


def test_mei2018_eulerian():
    table = MEI[0.8]
    run = ddpde.solve(
        isotropic_gaussians(), ddpde.interval(0, 6, cells=192), times=list(table), rtol=1e-7
    )
    risk, mean = np.array(list(table.values())).T
    assert np.abs(run.risk() / risk - 1).max() < 1e-5
    assert np.abs(run.mean()[:, 0] / mean - 1).max() < 1e-4


def test_mei2018_eulerian_where_the_law_condenses():
    """Δ = 0.2: the law becomes a Dirac; the risk still converges on a fixed mesh."""
    table = MEI[0.2]
    run = ddpde.solve(
        isotropic_gaussians(delta=0.2), ddpde.interval(0.2, 2.2, cells=200), times=list(table)
    )
    risk, mean = np.array(list(table.values())).T
    assert np.abs(run.risk() / risk - 1).max() < 1e-3
    assert np.abs(run.mean()[:, 0] / mean - 1).max() < 1e-3


def test_mei2018_failing_initialisation():
    """κ = 0.1 with the dented ramp: all mass collapses to r = 0 and R = 1 + σ(0)² = 7.25."""
    run = ddpde.solve(
        isotropic_gaussians(dim=320, delta=0.5, kappa=0.1, activation="dented_ramp"),
        ddpde.interval(0.0, 0.5, cells=100),
        times=[0.5],
        degree=2,
    )
    assert run.risk()[-1] == pytest.approx(7.25, abs=2e-2)


def test_mass_that_reaches_the_centre_stays_there():
    """On a mesh that moves: exact, and through the arrival in few steps."""
    problem = isotropic_gaussians(dim=320, delta=0.5, kappa=0.1, activation="dented_ramp")
    run = ddpde.solve(
        problem,
        ddpde.interval(0.05, 0.15, cells=16),
        times=[0.01, 0.05],
        space="lagrangian",
        degree=6,
        rtol=1e-8,
    )
    assert run.risk()[-1] == 7.25
    assert 0.0 < run.mean()[1, 0] < 0.05
    assert run.mean()[-1, 0] < 1e-12
    assert len(run.history["t"]) < 100
    assert np.all(np.diff(run.free_energy()) <= 0)


@pytest.mark.parametrize("space", ["lagrangian", "eulerian"])
def test_erf_neuron_without_noise(space):
    if space == "lagrangian":
        mesh, how = ddpde.interval(-1.9, 2.9, cells=48), {"degree": 6, "rtol": 1e-11}
    else:
        mesh, how = ddpde.interval(-2, 4, cells=256), {"degree": 4, "rtol": 1e-8}
    run = ddpde.solve(erf_teacher(), mesh, times=list(ERF), space=space, **how)
    for i, (risk, mean, spread) in enumerate(ERF.values(), start=1):
        assert run.risk()[i] == pytest.approx(risk, rel=1e-8)
        assert run.mean()[i, 0] == pytest.approx(mean, rel=1e-10)
        assert variance(run.laws[i]) == pytest.approx(spread, rel=1e-9)


def test_singular_schedule_is_a_change_of_time():
    """ξ = t^{-1/4}: the law at t is that of ξ = 1 at s = (4/3) t^{3/4}."""
    problem = replace(erf_teacher(), schedule=lambda t: t**-0.25)
    times = [(0.75 * s) ** (4 / 3) for s in ERF]
    mesh = ddpde.interval(-1.9, 2.9, cells=48)
    run = ddpde.solve(problem, mesh, times=times, space="lagrangian", degree=6, rtol=1e-11)
    assert run.risk()[1:] == pytest.approx([risk for risk, _, _ in ERF.values()], rel=1e-8)
    assert run.times[1:] == pytest.approx(times)
    steps = run.history["t"]  # of which one ends at each output time
    nearest = steps[np.abs(steps[:, None] - run.times).argmin(axis=0)]
    assert nearest == pytest.approx(run.times, rel=1e-10)
    assert np.all(np.diff(run.history["t"]) > 0)


def test_erf_neuron_reaches_its_gibbs_state():
    """MMN's T = τ/D = 0.05, λ = 0.1: here temperature 2τ/D = 0.1, and F is twice theirs."""
    run = ddpde.solve(
        erf_teacher(temperature=0.1, ridge=0.1),
        ddpde.interval(-4, 5, cells=32),
        times=[60.0],
        degree=4,
        rtol=1e-8,
    )
    assert run.risk()[-1] == pytest.approx(0.055975210912, abs=1e-9)
    assert run.mean()[-1, 0] == pytest.approx(0.908296049919, abs=1e-8)
    assert variance(run.laws[-1]) == pytest.approx(0.314418382546, abs=1e-8)
    assert run.free_energy()[-1] == pytest.approx(2 * 0.043074704808, abs=1e-9)
