"""The bank of exact solutions: each to the digits that the discretisation claims."""

import numpy as np
import pytest
from scipy.special import erf as special_erf

import ddpde
from ddpde.problem import (
    DataSet,
    GaussianInputs,
    GaussianLaw,
    Problem,
    RidgeUnit,
    identity,
    square,
)
from ddpde.problem.activations import namespace


def moment(law, observable):
    return law.expectation(observable)


def mean_variance(law):
    mean = moment(law, lambda x: x[:, 0])
    return mean, moment(law, lambda x: (x[:, 0] - mean) ** 2)


def half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


# -- 8.1 Ornstein–Uhlenbeck -------------------------------------------------------------------

OU = {  # t: m, s, F
    0.1: (0.9048374180359596, 0.2953173117305045, 0.1524809827359615),
    0.5: (0.6065306597126334, 0.4080301397071394, -0.09741091729426034),
    1.0: (0.3678794411714423, 0.4661661791908468, -0.2179152602085499),
    2.0: (0.1353352832366127, 0.4954210902778165, -0.2770141043658131),
}


def test_ornstein_uhlenbeck_line():
    problem = Problem("ou", GaussianLaw((1.0,), (0.5,)), potential=half_square, temperature=0.5)
    run = ddpde.solve(problem, ddpde.interval(-6, 6, cells=32), times=list(OU), degree=5, rtol=1e-9)
    for i, (mean, spread, energy) in enumerate(OU.values(), start=1):
        assert mean_variance(run.laws[i]) == pytest.approx((mean, spread), abs=1e-8)
        assert run.free_energy()[i] == pytest.approx(energy, abs=1e-8)


def test_ornstein_uhlenbeck_plane():
    A = np.array([[2.0, 0.5], [0.5, 1.0]])
    problem = Problem(
        "ou",
        GaussianLaw((1.0, -1.0), (np.sqrt(0.2), np.sqrt(0.5))),
        potential=lambda t: 0.5 * ((t @ A) * t).sum(axis=1),
        temperature=1.0,
    )
    mesh = ddpde.box([-6, -7], [6, 7], cells=[16, 16])
    run = ddpde.solve(problem, mesh, times=[0.25, 1.0], degree=5, rtol=1e-7)
    exact = {
        1: (0.6980561687918067, -0.8707747957391082, 0.3974695024543766, 0.7058226613646385),
        2: (0.2812760583648135, -0.5234708256137448, 0.5413873989249766, 1.005485268089195),
    }
    for i, (m1, m2, s11, s22) in exact.items():
        law = run.laws[i]
        assert moment(law, lambda x: x[:, 0]) == pytest.approx(m1, abs=1e-6)
        assert moment(law, lambda x: x[:, 1]) == pytest.approx(m2, abs=1e-6)
        assert moment(law, lambda x, m=m1: (x[:, 0] - m) ** 2) == pytest.approx(s11, abs=2e-6)
        assert moment(law, lambda x, m=m2: (x[:, 1] - m) ** 2) == pytest.approx(s22, abs=2e-6)


# -- 8.3 quadratic interaction ----------------------------------------------------------------


def test_quadratic_interaction():
    """Drift −λx − κ(x − mean): W = κ|x − y|²/2."""
    lam, kap, T, m0, s0, t = 1.0, 2.0, 0.5, 1.0, 0.25, 0.7
    problem = Problem(
        "quadratic",
        GaussianLaw((m0,), (np.sqrt(s0),)),
        potential=lambda x: 0.5 * lam * (x * x).sum(axis=1),
        interaction=lambda a, b: 0.5 * kap * (a - b.T) ** 2,
        temperature=T,
    )
    run = ddpde.solve(problem, ddpde.interval(-4, 5, cells=32), times=[t], degree=5, rtol=1e-9)
    decay = np.exp(-2 * (lam + kap) * t)
    expected = m0 * np.exp(-lam * t), s0 * decay + T * (1 - decay) / (lam + kap)
    assert mean_variance(run.laws[1]) == pytest.approx(expected, abs=1e-8)


# -- 8.6 birth and death ----------------------------------------------------------------------


def test_replicator():
    """Pure birth–death: the flow of V at T = 0 with α so large that transport is negligible."""
    alpha = 1.0

    def well(x):
        return (x[:, 0] ** 2 - 1) ** 2 / 4

    # transport is removed by slowing the potential: scale V by ε and α by 1/ε
    eps = 1e-7
    problem = Problem(
        "replicator",
        GaussianLaw((0.5,), (np.sqrt(0.5),)),
        potential=lambda x: eps * well(x),
        birth_death=alpha / eps,
    )
    run = ddpde.solve(
        problem, ddpde.interval(-4, 5, cells=64), times=[1.0, 5.0], degree=4, rtol=1e-9
    )
    for i, (m1, m2) in {
        1: (0.44873326701271, 0.614667609499),
        2: (0.49354190632748, 0.6466990836111),
    }.items():
        assert moment(run.laws[i], lambda x: x[:, 0]) == pytest.approx(m1, abs=1e-6)
        assert moment(run.laws[i], lambda x: x[:, 0] ** 2) == pytest.approx(m2, abs=1e-6)


def test_wasserstein_fisher_rao():
    """KL(·|N(0,1)): s' = 2 − 2s + a s(1 − s), m' = −m − a m s, F_T' = d with T = 1."""
    from scipy.integrate import solve_ivp

    a = 0.7
    problem = Problem(
        "wfr",
        GaussianLaw((1.0,), (np.sqrt(0.5),)),
        potential=half_square,
        temperature=1.0,
        birth_death=a,
    )
    run = ddpde.solve(
        problem, ddpde.interval(-8, 8, cells=40), times=[0.5, 1.5], degree=5, rtol=1e-9
    )
    ode = solve_ivp(
        lambda t, z: [-z[0] - a * z[0] * z[1], 2 - 2 * z[1] + a * z[1] * (1 - z[1])],
        (0, 1.5),
        [1.0, 0.5],
        t_eval=[0.5, 1.5],
        rtol=1e-12,
        atol=1e-13,
    )
    for i in (1, 2):
        assert mean_variance(run.laws[i]) == pytest.approx(ode.y[:, i - 1], abs=1e-7)


# -- 8.7 pure transport -----------------------------------------------------------------------


@pytest.mark.parametrize("space", ["lagrangian", "eulerian"])
def test_double_well_transport(space):
    problem = Problem(
        "wells",
        GaussianLaw((0.0,), (0.5,)),
        potential=lambda x: x[:, 0] ** 4 / 4 - x[:, 0] ** 2 / 2,
    )
    if space == "lagrangian":
        mesh, how = ddpde.interval(-3, 3, cells=40), {"degree": 6, "rtol": 1e-11}
        tolerance = 1e-8
    else:
        mesh, how = ddpde.interval(-3, 3, cells=120), {"degree": 4, "rtol": 1e-8}
        tolerance = 1e-5
    run = ddpde.solve(problem, mesh, times=[0.5, 1.0], space=space, **how)
    for i, value in {1: 0.35087640203089, 2: 0.48396164169618}.items():
        found = moment(run.laws[i], lambda x: x[:, 0] ** 2)
        assert found == pytest.approx(value, abs=tolerance)


# -- 8.8 networks with closed flows -----------------------------------------------------------


def test_quadratic_neuron_on_the_line():
    """(b) M' = −24(M − A)M − 4λM + 4τ/D, closed forms; here T = 2τ/D."""
    law = DataSet(np.array([[3.0**0.25]]), np.array([np.sqrt(3.0)]))  # E x⁴ = 3, y = x²
    problem = Problem("quadratic", GaussianLaw((0.0,), (0.5,)), RidgeUnit(square, input_dim=1), law)
    table = {0.02: 0.35009713045898, 0.05: 0.52532523738484, 0.1: 0.78606843994764}
    run = ddpde.solve(
        problem,
        ddpde.interval(-4, 4, cells=64),
        times=list(table),
        degree=5,
        rtol=1e-11,
        space="lagrangian",
    )
    for i, M in enumerate(table.values(), start=1):
        assert moment(run.laws[i], lambda x: x[:, 0] ** 2) == pytest.approx(M, abs=1e-10)
        assert run.risk()[i] == pytest.approx(3 * (M - 1) ** 2, abs=1e-9)


def test_quadratic_neuron_with_noise():
    """(b) with τ/D = 0.31, λ = 0.3 on a mesh: the ODE of M."""
    from scipy.integrate import solve_ivp

    tau, lam = 0.31, 0.3
    law = DataSet(np.array([[3.0**0.25]]), np.array([np.sqrt(3.0)]))
    problem = Problem(
        "quadratic",
        GaussianLaw((0.0,), (0.5,)),
        RidgeUnit(square, input_dim=1),
        law,
        temperature=2 * tau,
        ridge=lam,
    )
    run = ddpde.solve(problem, ddpde.interval(-7, 7, cells=40), times=[0.2], degree=5, rtol=1e-9)
    ode = solve_ivp(
        lambda t, M: -24 * (M - 1) * M - 4 * lam * M + 4 * tau,
        (0, 0.2),
        [0.25],
        rtol=1e-12,
        atol=1e-13,
    )
    found = moment(run.laws[1], lambda x: x[:, 0] ** 2)
    assert found == pytest.approx(ode.y[0, -1], abs=1e-7)


def test_quadratic_neuron_in_the_plane():
    """(c) matrix flow of the second moments, noiseless."""
    A = np.array([[1.0, 0.3], [0.3, 0.5]])
    data = GaussianInputs(2, lambda x: ((x @ A) * x).sum(axis=1), quadrature_points=8)
    problem = Problem(
        "quadratic",
        GaussianLaw((0.0, 0.0), (np.sqrt(0.2), np.sqrt(0.4))),
        RidgeUnit(square, input_dim=2),
        data,
    )
    mesh = ddpde.box([-3.4, -4.8], [3.4, 4.8], cells=[20, 20])
    run = ddpde.solve(problem, mesh, times=[0.05, 0.1], degree=5, rtol=1e-10, space="lagrangian")
    assert run.risk()[0] == pytest.approx(2.47, abs=1e-6)
    expected = {
        1: (0.46558350720975, 0.10322561088374, 0.54681241780725, 0.96822315524272),
        2: (0.74029002607947, 0.20637058252492, 0.59772137563795, 0.2153036528612),
    }
    for i, (m11, m12, m22, risk) in expected.items():
        law = run.laws[i]
        assert moment(law, lambda x: x[:, 0] ** 2) == pytest.approx(m11, abs=2e-6)
        assert moment(law, lambda x: x[:, 0] * x[:, 1]) == pytest.approx(m12, abs=2e-6)
        assert moment(law, lambda x: x[:, 1] ** 2) == pytest.approx(m22, abs=2e-6)
        assert run.risk()[i] == pytest.approx(risk, abs=2e-5)


@pytest.mark.parametrize("space", ["lagrangian", "eulerian"])
def test_two_homogeneous_network(space):
    """(d) θ = (a, w), σ = a w x, y = x from N(0, I): R(t) in closed form."""
    data = DataSet(np.array([[1.0]]), np.array([1.0]))
    unit = RidgeUnit(identity, input_dim=1, output_weight=True)
    problem = Problem("homogeneous", GaussianLaw.isotropic(2, 1.0), unit, data)
    table = {0.1: 0.44218142074926, 0.25: 0.11433589848622, 0.5: 0.0087257477749056}
    mesh = ddpde.box([-7, -7], [7, 7], cells=[28, 28])
    how = {"degree": 4, "rtol": 1e-9} if space == "lagrangian" else {"degree": 3, "rtol": 1e-7}
    run = ddpde.solve(problem, mesh, times=list(table), space=space, **how)
    tolerance = 1e-7 if space == "lagrangian" else 1e-4
    for i, risk in enumerate(table.values(), start=1):
        assert run.risk()[i] == pytest.approx(risk, abs=tolerance)


def test_planar_erf_network_starts_right():
    """(f) R(0) of σ = a erf(wx/√2) with its teacher."""

    def unit_erf(z):
        return special_erf(z / np.sqrt(2)) if namespace(z) is np else _jax_erf(z)

    def _jax_erf(z):
        from jax.scipy.special import erf

        return erf(z / np.sqrt(2))

    def teacher(x):
        return 0.8 * unit_erf(2 * x[:, 0]) - 0.4 * unit_erf(0.5 * x[:, 0])

    problem = Problem(
        "erf2",
        GaussianLaw((0.0, 1.0), (0.5, 0.3)),
        RidgeUnit(unit_erf, input_dim=1, output_weight=True),
        GaussianInputs(1, teacher, quadrature_points=120),
    )
    mesh = ddpde.box([-3, -1], [3, 3], cells=[16, 16])
    run = ddpde.solve(problem, mesh, times=[1.0], degree=4, rtol=1e-9, space="lagrangian")
    assert run.risk()[0] == pytest.approx(0.2306571636, abs=1e-8)
    other = ddpde.solve(
        problem, ddpde.box([-4, -1], [4, 4], cells=[48, 40]), times=[1.0], degree=3, rtol=1e-6
    )
    assert other.risk()[1] == pytest.approx(run.risk()[1], rel=2e-4)
