"""Periodic coordinates: noisy Kuramoto on the circle, heat on the torus."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import iv

import ddpde
from ddpde.errors import MeshError, ProblemError
from ddpde.problem import DensityLaw, Problem
from ddpde.problem.classics import TURN, kuramoto


def order(law):
    """|∫ e^{iθ} dρ|."""
    c = law.expectation(lambda x: np.cos(x[:, 0]))
    s = law.expectation(lambda x: np.sin(x[:, 0]))
    return float(np.hypot(c, s))


@pytest.mark.parametrize(("ratio", "r"), [(2.5, 0.5897079877827436), (3.0, 0.7241587176263529)])
def test_synchronised_state(ratio, r):
    T = 0.5
    run = ddpde.solve(
        kuramoto(T, ratio * T), ddpde.interval(0, TURN, cells=12), times=[200.0], degree=5
    )
    assert order(run.laws[-1]) == pytest.approx(r, abs=1e-6)
    expected = 0.5 * ratio * r**2 - np.log(TURN * iv(0, ratio * r))
    assert run.free_energy()[-1] / T == pytest.approx(expected, abs=1e-7)
    assert run.history["boundary_mass"].max() == 0.0


def test_transient_against_fourier_modes():
    """c_k' = −T k² c_k + (K k/2) c_1 (c_{k−1} − c_{k+1}), for a law symmetric about 1."""
    K, T, modes = 1.5, 0.5, 24

    def rate(t, c):
        full = np.concatenate([[1.0], c, [0.0]])
        k = np.arange(1, modes + 1)
        return -T * k**2 * c + 0.5 * K * k * c[0] * (full[:-2] - full[2:])

    start = np.zeros(modes)
    start[0] = 0.2
    ode = solve_ivp(rate, (0, 3), start, t_eval=[1.0, 3.0], method="LSODA", rtol=1e-11, atol=1e-13)
    run = ddpde.solve(
        kuramoto(T, K), ddpde.interval(0, TURN, cells=16), times=[1.0, 3.0], degree=5, rtol=1e-9
    )
    for i in (1, 2):
        assert order(run.laws[i]) == pytest.approx(ode.y[0, i - 1], abs=1e-7)
        second = run.laws[i].expectation(lambda x: np.cos(2 * (x[:, 0] - 1)))
        assert second == pytest.approx(ode.y[1, i - 1], abs=1e-7)


def test_heat_and_drift_on_the_flat_torus():
    """A product law, translation along one coordinate being impossible for a gradient: decay."""
    law = DensityLaw(2, lambda x: (1 + np.cos(x[:, 0]) * np.cos(x[:, 1])) / TURN**2)
    problem = Problem("heat", law, temperature=0.3, periods=(TURN, TURN))
    mesh = ddpde.box([0, 0], [TURN, TURN], cells=[8, 6])
    run = ddpde.solve(problem, mesh, times=[0.7], degree=4, rtol=1e-8)
    found = run.laws[-1].expectation(lambda x: np.cos(x[:, 0]) * np.cos(x[:, 1]))
    assert found == pytest.approx(0.25 * np.exp(-2 * 0.3 * 0.7), abs=1e-7)


def test_one_periodic_coordinate_on_triangles():
    law = DensityLaw(2, lambda x: (1 + np.cos(x[:, 0])) / TURN)
    problem = Problem("heat", law, temperature=0.3, periods=(TURN, None))
    mesh = ddpde.box([0, 0], [TURN, 1], cells=[16, 3], cell="triangle")
    run = ddpde.solve(problem, mesh, times=[0.5], degree=2, rtol=1e-6)
    found = run.laws[-1].expectation(lambda x: np.cos(x[:, 0]))
    assert found == pytest.approx(0.5 * np.exp(-0.3 * 0.5), abs=1e-5)
    assert np.abs(run.history["mass"] - 1).max() < 1e-11


def test_wrong_periods():
    with pytest.raises(MeshError, match="one period"):
        ddpde.solve(kuramoto(0.5, 1.0), ddpde.interval(0, 6, cells=8), t_end=1.0)
    with pytest.raises(ProblemError, match="periods"):
        Problem("p", DensityLaw(1, lambda x: x[:, 0]), periods=(1.0, 2.0))
