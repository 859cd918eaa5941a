"""Spectra of flows linearised at a stationary state, against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.optimize import brentq
from scipy.special import erf, iv
from wells import T_C, line, ornstein_uhlenbeck, quadratic

import ddpde
from ddpde.problem import DensityLaw, GaussianLaw, Problem
from ddpde.problem.classics import TURN


def test_spectrum_of_ornstein_uhlenbeck():
    state = ddpde.stationary(ornstein_uhlenbeck(), line(half=6))
    found = ddpde.stability(state, count=6)
    assert found.rates == pytest.approx(-np.arange(1.0, 7.0), abs=1e-6)
    assert found.rates[:3] == pytest.approx([-1.0, -2.0, -3.0], abs=1e-9)
    assert found.stable and found.errors.max() < 1e-7


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
def test_spectrum_in_two_dimensions(cell):
    def bowl(x):
        return x[:, 0] ** 2 + 0.5 * x[:, 0] * x[:, 1] + 0.5 * x[:, 1] ** 2

    problem = Problem("ou", GaussianLaw((0.0, 0.0), (1.0, 1.0)), potential=bowl, temperature=1.0)
    state = ddpde.stationary(problem, ddpde.box((-7, -8), (7, 8), cells=(12, 12), cell=cell))
    a, b = np.linalg.eigvalsh([[2.0, 0.5], [0.5, 1.0]])
    exact = -np.sort([a, 2 * a, b, 3 * a, a + b, 4 * a])
    assert ddpde.stability(state).rates == pytest.approx(exact, abs=1e-5)


def test_spectrum_of_quadratic_interaction():
    """The mean relaxes at λ; the shape at multiples of λ + κ from two on."""
    lam, kap = 0.7, 1.3
    problem = Problem(
        "mv",
        GaussianLaw((0.5,), (0.5,)),
        potential=lambda x: lam * quadratic(x),
        interaction=lambda x, y: 0.5 * kap * (x[:, :1] - y[:, 0]) ** 2,
        temperature=0.5,
    )
    found = ddpde.stability(ddpde.stationary(problem, line(half=5)), count=4)
    assert found.rates == pytest.approx([-lam, -4.0, -6.0, -8.0], abs=1e-7)


def polynomials(x, masses, count):
    """Polynomials of degree 1 … count orthonormal under the law, and their slopes (n, count).

    By the three-term recurrence of Stieltjes.
    """
    p, slope = [np.zeros_like(x), np.ones_like(x)], [np.zeros_like(x), np.zeros_like(x)]
    b = 0.0
    for _ in range(count):
        a = masses @ (x * p[-1] ** 2)
        value = (x - a) * p[-1] - b * p[-2]
        change = p[-1] + (x - a) * slope[-1] - b * slope[-2]
        b = np.sqrt(masses @ value**2)
        p.append(value / b)
        slope.append(change / b)
    return np.stack(p[2:], axis=1), np.stack(slope[2:], axis=1)


def test_spectrum_of_a_net_against_global_polynomials():
    """The same operator in polynomials orthonormal under ρ, dense, from the formulas alone."""
    problem = ddpde.problems.erf_teacher(temperature=0.1, ridge=0.1)
    state = ddpde.stationary(problem, line(half=7, cells=60))
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = 7 * x, 7 * w
    nodes = problem.data.nodes()
    S = erf(np.outer(x, nodes.x[:, 0]) / np.sqrt(2))
    rho = state.density(x[:, None]) * w
    phi, slope = polynomials(x, rho, 30)
    K = (slope.T * rho) @ slope
    B = (phi.T * rho) @ S
    H = 0.1 * np.eye(len(K)) + (B * 2 * nodes.weights) @ B.T
    # M = I: K H h = λ h, that is H h = λ K⁻¹ h
    exact = eigh(H, np.linalg.inv(K), eigvals_only=True)[:4]
    assert ddpde.stability(state, count=4).rates == pytest.approx(-exact, rel=1e-6)


def test_exchange_of_stability():
    """Across T_c the disordered state's leading rate changes sign; the ordered one is stable."""
    exact = T_C[1.0]

    def leading(T, mean=0.0):
        state = ddpde.stationary(ddpde.problems.dawson(T, mean=mean), line())
        return ddpde.stability(state, count=2).rates[0]

    assert leading(exact - 1e-5) > 1e-6 and leading(exact + 1e-5) < -1e-6
    assert leading(exact) == pytest.approx(0, abs=1e-9)
    assert leading(0.3) == pytest.approx(0.17828567, abs=1e-7)
    assert leading(0.3, mean=0.5) == pytest.approx(-0.39520922, abs=1e-7)


def test_the_leading_rate_is_that_of_the_flow():
    """A small mean grows, in the PDE, at the rate of the linearisation."""
    problem = ddpde.problems.dawson(0.3, mean=0.0)
    state = ddpde.stationary(problem, line())
    rate = ddpde.stability(state, count=1).rates[0]

    class Tilted:
        dim = 1

        def density(self, x):
            return state.density(x) * (1 + 1e-4 * np.tanh(x[:, 0]))

    run = ddpde.solve(
        replace(problem, initial=Tilted()), line(), times=[2.0, 4.0], degree=4, rtol=1e-9
    )
    means = run.mean()[:, 0]
    assert np.log(means[2] / means[1]) / 2 == pytest.approx(rate, rel=1e-3)


def uniform(coupling, temperature, births=0.0):
    """Rates of Kuramoto's uniform law: of each mode twice −(k² + α)(T − K/2 · [k = 1])."""
    problem = replace(ddpde.problems.kuramoto(temperature, coupling), birth_death=births)
    mesh = ddpde.interval(0, TURN, cells=12)
    state = ddpde.stationary(problem, mesh, start=np.zeros(2))
    assert state.quadrature_error < 1e-12
    return ddpde.stability(state, count=4).rates


@pytest.mark.parametrize("births", [0.0, 2.0])
def test_critical_coupling_of_kuramoto(births):
    """K_c = 2T, with birth and death or without."""
    first, second = -(1 + births) * (0.5 - 0.75), -(4 + births) * 0.5
    assert uniform(1.5, 0.5, births) == pytest.approx([first, first, second, second], abs=1e-7)
    found = brentq(lambda K: uniform(K, 0.5, births)[0], 0.7, 1.4, xtol=1e-9)
    assert found == pytest.approx(1.0, abs=1e-8)


def test_rates_of_synchronised_oscillators():
    """Against the modes c_k' = −Tk² c_k + ½Kk (c₁ c_{k−1} − c̄₁ c_{k+1}), linearised; one is 0."""
    K, T, k = 1.5, 0.5, np.arange(1, 25)
    state = ddpde.stationary(ddpde.problems.kuramoto(T, K), ddpde.interval(0, TURN, cells=12))
    r = 0.7241587176263529  # K/T = 3
    c = iv(np.arange(26), K * r / T) / iv(0, K * r / T)
    shifts = 0.5 * K * k[:, None] * c[1] * (np.eye(24, k=-1) - np.eye(24, k=1))
    exact = []
    for sign in (-1, 1):  # perturbations along the law's axis of symmetry, and across
        matrix = np.diag(-T * k**2) + shifts
        matrix[:, 0] += 0.5 * K * k * (c[:-2] + sign * c[2:])
        exact.extend(np.linalg.eigvals(matrix).real)
    found = ddpde.stability(state, count=4)
    assert found.stable
    assert found.rates == pytest.approx(np.sort(exact)[::-1][:4], abs=1e-6)
    assert found.rates[0] == pytest.approx(0.0, abs=1e-9)  # a rotation costs nothing


@pytest.mark.parametrize("cell", ["quadrilateral", "triangle"])
def test_rates_on_the_torus(cell):
    """Heat: −T (j² + k²), each as often as there are such waves; corners are one point."""
    flat = DensityLaw(2, lambda x: np.full(len(x), TURN**-2))
    problem = Problem(
        "heat", flat, potential=lambda x: 0 * x[:, 0], temperature=0.3, periods=(TURN, TURN)
    )
    mesh = ddpde.box((0, 0), (TURN, TURN), cells=(5, 6), cell=cell)
    found = ddpde.stability(ddpde.stationary(problem, mesh), count=8)
    assert found.rates / 0.3 == pytest.approx([-1.0] * 4 + [-2.0] * 4, abs=1e-6)


def test_rates_with_birth_and_death():
    """Hermite functions stay eigenfunctions: −(k + αT)."""
    born = replace(ornstein_uhlenbeck(temperature=0.5), birth_death=1.0)
    found = ddpde.stability(ddpde.stationary(born, line(half=6)), count=4)
    assert found.rates == pytest.approx([-1.5, -2.5, -3.5, -4.5], abs=1e-8)
