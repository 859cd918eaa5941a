"""Stationary states, branches, stability and certificates against closed forms."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.optimize import brentq
from scipy.special import erf, gamma, iv

import ddpde
from ddpde.errors import MeshError, ProblemError, SolverError
from ddpde.problem import DataSet, DensityLaw, GaussianLaw, Mixture, Problem, RidgeUnit
from ddpde.problem.activations import identity, tanh
from ddpde.problem.classics import TURN
from ddpde.run.stationary import newton

ROOT = Path(__file__).parents[2]
PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
MPIRUN = shutil.which("mpirun", path=PLACES)
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    # Open MPI counts cores and minds root; MPICH does not look at these
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def line(half=3.5, cells=40):
    return ddpde.interval(-half, half, cells=cells)


def quadratic(theta):
    return 0.5 * (theta**2).sum(axis=1)


def ornstein_uhlenbeck(temperature=0.5):
    return Problem("ou", GaussianLaw((1.0,), (0.5,)), potential=quadratic, temperature=temperature)


def second_moment(state):
    return state.expectation(lambda x: x[:, 0] ** 2)


# ---------------------------------------------------------------- fixed points

# Dawson, theta = 1: T: m, <x²>, F(m), F(0)
DAWSON = {
    0.1: (0.9410911404346914, 0.9250439316297957, -0.1749808558216355, -0.03658026611695934),
    0.2: (0.851478857176514, 0.8264974316977073, -0.1775423915903718, -0.1078178912619159),
    0.3: (0.705495273208884, 0.7004540895791528, -0.2176667597302203, -0.1921367200009862),
    0.4: (0.4471064266633859, 0.5508023511877192, -0.2882580529967584, -0.2849505005798264),
    0.45: (0.1597584721072392, 0.4686925663644658, -0.3338687513103283, -0.3338199046636479),
}


@pytest.mark.parametrize("temperature", DAWSON)
def test_dawson_both_states(temperature):
    m, x2, ordered_energy, disordered_energy = DAWSON[temperature]
    ordered = ddpde.stationary(ddpde.problems.dawson(temperature), line())
    disordered = ddpde.stationary(ddpde.problems.dawson(temperature, mean=0.0), line())
    assert ordered.mean[0] == pytest.approx(m, abs=1e-11)
    assert second_moment(ordered) == pytest.approx(x2, abs=1e-11)
    assert ordered.free_energy == pytest.approx(ordered_energy, abs=1e-13)
    assert disordered.free_energy == pytest.approx(disordered_energy, abs=1e-13)
    assert disordered.mean[0] == pytest.approx(0, abs=1e-10)
    assert (ordered.unstable, disordered.unstable) == (0, 1)


def test_a_solve_ends_in_the_stationary_state():
    problem = ddpde.problems.dawson(0.3, mean=1.0)
    state = ddpde.stationary(problem, line())
    run = ddpde.solve(problem, line(cells=28), times=[16.0], degree=4)
    assert run.mean()[-1, 0] == pytest.approx(state.mean[0], abs=1e-3)
    assert run.free_energy()[-1] == pytest.approx(state.free_energy, abs=1e-5)
    again = ddpde.stationary(problem, line(), start=run.laws[-1])
    assert again.mean[0] == pytest.approx(state.mean[0], abs=1e-11)


def test_no_interaction_is_solved_at_once():
    state = ddpde.stationary(ornstein_uhlenbeck(), line(half=6))
    assert state.iterations == 0 and state.f.size == 0
    assert state.free_energy == pytest.approx(-0.28618247146235, abs=1e-13)
    x = np.linspace(-2, 2, 9)[:, None]
    exact = GaussianLaw((0.0,), (np.sqrt(0.5),)).density(x)
    assert state.density(x) == pytest.approx(exact, rel=1e-12)
    assert state.law.expectation(lambda x: x[:, 0] ** 2) == pytest.approx(0.5, abs=1e-9)
    assert state.law.points()[1].sum() == pytest.approx(1, abs=1e-13)


def test_erf_net_gibbs_state():
    """Mei et al.: their T and F are half of ours, their λ is ours."""
    problem = ddpde.problems.erf_teacher(temperature=0.1, ridge=0.1)
    state = ddpde.stationary(problem, line(half=7))
    assert state.risk == pytest.approx(0.055975210912, abs=1e-11)
    assert state.mean[0] == pytest.approx(0.908296049919, abs=1e-11)
    variance = second_moment(state) - state.mean[0] ** 2
    assert variance == pytest.approx(0.314418382546, abs=1e-11)
    assert state.free_energy / 2 == pytest.approx(0.043074704808, abs=1e-11)
    assert state.quadrature_error < 1e-11


@pytest.mark.parametrize("temperature", [1e-1, 1e-2, 1e-3])
def test_newton_needs_no_good_start(temperature):
    problem = ddpde.problems.erf_teacher(temperature=temperature, ridge=0.01, mean=-3.0)
    state = ddpde.stationary(problem, line(half=7, cells=100))
    assert state.residual < 1e-12 and state.iterations < 20


@dataclass(frozen=True)
class Halved:
    """c/2 (f − y)²."""

    c: float

    def value(self, f, y):
        return 0.5 * self.c * (f - y) ** 2

    def derivative(self, f, y):
        return self.c * (f - y)

    def second_derivative(self, f, y):
        return self.c + 0.0 * f


def test_tanh_posterior():
    """Prior N(0, 1), N (c/2)(f − y)² with f = ∫ tanh dμ."""
    problem = Problem(
        "tanh",
        GaussianLaw((0.0,), (1.0,)),
        unit=RidgeUnit(tanh, 1),
        data=DataSet(np.ones((1, 1)), np.array([0.8])),
        loss=Halved(10.0),
        potential=quadratic,
        temperature=1.0,
    )
    state = ddpde.stationary(problem, line(half=10))
    assert state.f[0] == pytest.approx(0.59900908879358, abs=1e-12)
    assert state.mean[0] == pytest.approx(0.95096537948988, abs=1e-12)
    assert second_moment(state) == pytest.approx(1.5136862310569, abs=1e-12)
    # theirs is relative to the normalised prior
    relative = state.free_energy + 0.5 * np.log(2 * np.pi)
    assert relative == pytest.approx(0.71953470952797, abs=1e-12)


def test_logistic_net_in_two_dimensions():
    problem = ddpde.problems.digits_pca(loss="logistic", temperature=0.02)
    states = [
        ddpde.stationary(problem, ddpde.box((-7, -7), (7, 7), cells=(n, n), cell=cell))
        for n, cell in [(20, "quadrilateral"), (16, "triangle")]
    ]
    assert states[0].free_energy == pytest.approx(states[1].free_energy, rel=1e-9)
    assert states[0].mean == pytest.approx(states[1].mean, abs=1e-8)


# ---------------------------------------------------------------- branches

T_C = {
    0.25: 0.1568884837024832,
    0.5: 0.2645048765534835,
    1.0: 4 * (gamma(0.75) / gamma(0.25)) ** 2,
    2.0: 0.8157865947053232,
    3.0: 1.163004921282326,
    4.0: 1.505412744882946,
}


@pytest.mark.parametrize("theta", T_C)
def test_critical_temperature_of_dawson(theta):
    exact = T_C[theta]
    branches = ddpde.continuation(
        lambda T: ddpde.problems.dawson(T, theta, mean=0.0),
        line(half=4.5, cells=48),
        [1.4 * exact, 0.7 * exact],
    )
    (critical,) = branches[0].critical
    assert critical.temperature == pytest.approx(exact, abs=1e-12)
    assert len(branches) == 3
    ends = [branch.states[-1].mean[0] for branch in branches]
    assert ends[0] == pytest.approx(0, abs=1e-10)
    assert ends[1] == pytest.approx(-ends[2], abs=1e-10) and abs(ends[1]) > 0.3
    assert [b.states[-1].unstable for b in branches] == [1, 0, 0]


def test_branches_of_dawson_pass_the_wanted_temperatures():
    branches = ddpde.continuation(
        lambda T: ddpde.problems.dawson(T, mean=0.0), line(), [0.6, *sorted(DAWSON)[::-1]]
    )
    for T, (m, x2, ordered, disordered) in DAWSON.items():
        (middle,), (one,), (other,) = (branch.at(T) for branch in branches)
        assert middle.free_energy == pytest.approx(disordered, abs=1e-12)
        assert one.mean[0] == pytest.approx(-other.mean[0], abs=1e-10)
        for state in (one, other):
            assert abs(state.mean[0]) == pytest.approx(m, abs=1e-10)
            assert second_moment(state) == pytest.approx(x2, abs=1e-10)
            assert state.free_energy == pytest.approx(ordered, abs=1e-12)
    figure = ddpde.phase_diagram(branches)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["stable", "unstable"]


def test_a_fold_is_passed():
    """A tilted well: the state on the wrong side ends in a fold, and comes back unstable."""

    def tilted(x):
        return x[:, 0] ** 4 / 4 - x[:, 0] ** 2 / 2 - 0.02 * x[:, 0]

    (branch,) = ddpde.continuation(
        lambda T: replace(ddpde.problems.dawson(T, mean=-1.0), potential=tilted),
        line(),
        [0.1, 0.3, 0.6],
    )
    assert not branch.critical
    assert [state.unstable for state in branch.at(0.1)] == [0, 1]
    assert [state.unstable for state in branch.at(0.3)] == [0, 1]
    assert not branch.at(0.6)
    assert 0.37 < branch.temperatures.max() < 0.38


def test_a_continuous_symmetry():
    """|x|⁴/4 − |x|²/2 in the plane: ⟨|x|²⟩ = 2T at T_c = 1/π; ordered states come in a circle."""

    def well(x):
        r2 = (x**2).sum(axis=1)
        return r2**2 / 4 - r2 / 2

    def attraction(x, y):
        return 0.5 * ((x[:, None, :] - y) ** 2).sum(axis=2)

    problem = Problem(
        "plane",
        GaussianLaw((0.0, 0.0), (0.5, 0.5)),
        potential=well,
        interaction=attraction,
        temperature=0.1,
    )
    mesh = ddpde.box((-3.5, -3.5), (3.5, 3.5), cells=(14, 14))
    branches = ddpde.continuation(lambda T: replace(problem, temperature=T), mesh, [0.6, 0.1])
    assert branches[0].critical[0].temperature == pytest.approx(1 / np.pi, abs=1e-12)
    states = [branch.states[-1] for branch in branches]
    assert [state.unstable for state in states] == [2, 0, 0]
    there = replace(problem, initial=GaussianLaw((0.3, 0.9), (0.5, 0.5)))
    states.append(ddpde.stationary(there, mesh))
    radii = [np.hypot(*state.mean) for state in states]
    assert radii == pytest.approx([0, *[0.8813509] * 3], abs=1e-7)
    # turning costs nothing: that rate is zero, the others are negative
    assert ddpde.stability(states[-1], count=2).rates == pytest.approx([0, -1.0208945], abs=1e-6)


# ---------------------------------------------------------------- stability


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


# ---------------------------------------------------------------- certificates


def linear_problem(mean):
    """y = x, σ = wx: F' = 2E[(f − y)x] w vanishes as soon as the mean weight is one."""
    x = np.array([[-1.0], [0.5], [2.0]])
    return Problem(
        "linear",
        GaussianLaw((mean,), (0.4,)),
        unit=RidgeUnit(identity, 1),
        data=DataSet(x, x[:, 0]),
    )


def law_of(initial, mesh):
    """`initial` as a law on the mesh."""
    problem = Problem("law", initial, potential=quadratic)
    return ddpde.solve(problem, mesh, times=[0.0], degree=4).laws[0]


def test_certificate_of_a_linear_net():
    good = law_of(GaussianLaw((1.0,), (0.4,)), ddpde.interval(-3, 5, cells=64))
    certificate = ddpde.optimality(linear_problem(1.0), good)
    assert abs(certificate.gap) < 1e-9 and certificate.support_excess < 1e-9
    bad = law_of(GaussianLaw((0.8,), (0.4,)), ddpde.interval(-3, 5, cells=64))
    certificate = ddpde.optimality(linear_problem(0.8), bad)
    # F' = −2 · 0.2 · E x² w with E x² = 1.75: least at the upper end of the mesh
    assert certificate.where[0] == 5
    assert certificate.gap == pytest.approx(0.7 * (5 - 0.8), rel=1e-8)
    assert certificate.gap >= 0.2**2 * 1.75  # F − min F


def test_certificate_of_the_erf_net():
    """The gap bounds the risk (whose infimum is zero), falls, and the teacher's own is small."""
    problem = ddpde.problems.erf_teacher()
    mesh = ddpde.interval(-4, 6, cells=80)
    run = ddpde.solve(
        problem, ddpde.interval(-1.5, 2.5, cells=24), times=[2, 20], space="lagrangian", degree=4
    )
    early, late = (ddpde.optimality(problem, law, mesh) for law in run.laws[1:])
    assert early.gap >= run.risk()[1] and late.gap >= run.risk()[2]
    assert late.gap < early.gap and late.support_excess < early.support_excess
    assert ddpde.optimality(problem, run.laws[-1]).gap <= late.gap + 1e-12
    teacher = Mixture((0.5, 0.5), (GaussianLaw((1.0,), (0.05,)), GaussianLaw((3.0,), (0.05,))))
    certificate = ddpde.optimality(problem, law_of(teacher, ddpde.interval(-4, 6, cells=400)))
    assert certificate.gap < 1e-3 and certificate.support_excess < 1e-3


def test_kuramoto_on_the_circle():
    """K/T = 3: r = I₁(Kr/T)/I₀(Kr/T); the ordered states come in a circle."""
    K, T = 3.0, 1.0
    problem = Problem(
        "kuramoto",
        GaussianLaw((1.0,), (0.5,)),
        interaction=lambda x, y: -K * np.cos(x[:, :1] - y[:, 0]),
        temperature=T,
        periods=(2 * np.pi,),
    )
    state = ddpde.stationary(problem, line(half=np.pi))
    order = np.hypot(*(state.expectation(lambda x, g=g: g(x[:, 0])) for g in (np.cos, np.sin)))
    assert order == pytest.approx(0.7241587176263529, abs=1e-11)
    assert state.free_energy == pytest.approx(-1.997941067974023, abs=1e-12)
    assert state.unstable == 0
    assert ddpde.stationary(problem, line(half=np.pi), start=0 * state.f).unstable == 2


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


# ---------------------------------------------------------------- refusals and ranks


def test_refusals():
    with pytest.raises(ProblemError, match="optimality"):
        ddpde.stationary(ddpde.problems.erf_teacher(), line())
    with pytest.raises(MeshError, match="1D mesh for a problem with 2"):
        ddpde.stationary(ddpde.problems.digits_pca(), line())
    with pytest.raises(ProblemError, match="shape"):
        ddpde.stationary(ddpde.problems.dawson(), line(), start=np.zeros(7))
    many = replace(
        linear_problem(1.0), data=DataSet(np.ones((3001, 1)), np.ones(3001)), temperature=0.1
    )
    with pytest.raises(ProblemError, match="3001 features"):
        ddpde.stationary(many, line())
    with pytest.raises(ProblemError, match="temperature"):
        ddpde.continuation(lambda T: ddpde.problems.dawson(0.3), line(), [0.2, 0.3])
    with pytest.raises(ProblemError, match="two positive"):
        ddpde.continuation(ddpde.problems.dawson, line(), [0.2])
    with pytest.raises(ProblemError, match="temperature = 0"):
        problem = ddpde.problems.dawson(0.3)
        ddpde.optimality(problem, ddpde.stationary(problem, line()).law)
    family = ddpde.stationary(ddpde.problems.dawson(0.3), line()).point.family
    with pytest.raises(SolverError, match="no stationary state"):
        newton(family.at(np.array([1e3, 0.0, 0.0]), 0.3), 1e-12, limit=1)


def test_documentation(tmp_path, monkeypatch):
    """The page's code runs, and says what the page says."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/stationary.md").read_text()
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.S)), {})
    assert (tmp_path / "dawson.png").stat().st_size < 120_000
    assert (ROOT / "docs/dawson.png").stat().st_size < 120_000


TWO_RANKS = """
from dataclasses import replace
from mpi4py import MPI
import numpy as np
import ddpde
plane = ddpde.stationary(
    ddpde.problems.digits_pca(temperature=0.05), ddpde.box((-6, -6), (6, 6), cells=(9, 8))
)
line = ddpde.interval(-3.5, 3.5, cells=40)
well = ddpde.stationary(ddpde.problems.dawson(0.3), line)
again = ddpde.stationary(ddpde.problems.dawson(0.3), line, start=well.law)
rates = ddpde.stability(well, count=2).rates.tolist()
circle = ddpde.interval(0, 2 * np.pi, cells=12)
born = replace(ddpde.problems.kuramoto(), birth_death=1.0)
rates += ddpde.stability(ddpde.stationary(born, circle), count=3).rates[1:].tolist()
if MPI.COMM_WORLD.rank == 0:
    mass = plane.law.points()[1].sum()
    print(repr([float(v) for v in (plane.free_energy, *plane.mean, well.mean[0], again.mean[0],
                                   mass, *rates)]))
else:
    assert plane.law is None
"""


@pytest.mark.skipif(MPIRUN is None, reason="no mpirun")
def test_two_ranks_give_the_serial_state():
    results = [
        subprocess.run(
            [*launcher, sys.executable, "-c", TWO_RANKS],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for launcher in ([], [MPIRUN, "-n", "2"])
    ]
    one, two = (np.array(eval(r.stdout)) if r.returncode == 0 else r.stderr for r in results)
    assert two == pytest.approx(one, rel=1e-9)
    assert two[3] == pytest.approx(DAWSON[0.3][0], abs=1e-10)
