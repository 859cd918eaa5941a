"""How far a law is from the global minimum: the certificate against closed forms."""

import pytest
from wells import linear_problem, quadratic

import ddpde
from ddpde.problem import GaussianLaw, Mixture, Problem


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
