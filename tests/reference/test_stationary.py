"""Stationary states against closed forms, on ranks, and what is refused."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from on_ranks import needs_mpirun, python
from wells import DAWSON, line, linear_problem, ornstein_uhlenbeck, quadratic, second_moment

import ddpde
from ddpde.errors import MeshError, ProblemError, SolverError
from ddpde.problem import DataSet, GaussianLaw, Problem, RidgeUnit
from ddpde.problem.activations import tanh
from ddpde.run.stationary import newton

ROOT = Path(__file__).parents[2]


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
    found = plane.free_energy, *plane.mean, well.mean[0], again.mean[0], mass, *rates
    print([float(v) for v in found])
else:
    assert plane.law is None
"""


@needs_mpirun
def test_two_ranks_give_the_serial_state():
    one, two = (np.array(json.loads(python(ranks, "-c", TWO_RANKS))) for ranks in (0, 2))
    assert two == pytest.approx(one, rel=1e-9)
    assert two[3] == pytest.approx(DAWSON[0.3][0], abs=1e-10)
