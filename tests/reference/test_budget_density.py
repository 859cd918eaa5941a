"""Error budgets of the density, in L1, against true errors."""

from dataclasses import dataclass, replace

import basix
import numpy as np
import pytest
from exact_bank import TURN, bell, ou

import ddpde
from ddpde.problem import DensityLaw, Problem
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe


def l1_error(law, exact):
    """Of a law's density against exact(x) -> (c, q) at positions (c, q, k)."""
    reference, weights = basix.make_quadrature(basix.CellType[law.cell], 2 * law.degree + 9)
    x, density, volume = law.at(reference)
    return (np.abs(density - exact(x)) * volume * weights).sum()


def test_density():
    """Of the law itself, in L1: each part sees its own error, their sum the whole."""
    problem, _, times, exact = ou()
    means = exact["mean"][:, 0]
    variances = exact["second_moment"][:, 0] - means**2
    wide, narrow = (-6.0, 6.0), (-2.2, 3.2)
    for part, (low, high), cells, degree, rtol in (
        ("mesh", wide, 12, 3, 1e-6),
        ("mesh", wide, 24, 2, 1e-5),
        ("time", wide, 60, 4, 1e-4),
        ("truncation", narrow, 16, 4, 1e-7),
    ):
        options = SolverOptions(degree=degree, rtol=rtol)
        box = BoxRecipe((low,), (high,), (cells,))
        budget = ddpde.error_budget(problem, box, options=options, times=times)
        laws = zip(budget.main.laws, means, variances, strict=True)
        error = np.array([l1_error(law, bell(*at)) for law, *at in laws])
        assert (error[1:] < 3 * budget.estimate("density")[1:]).all(), part
        assert (error[1:] > budget.estimate("density")[1:] / 3).all(), part
        for other in budget.density:
            assert other == part or budget.density[other][-1] < budget.density[part][-1], other


def seen(budget, law, exact, part):
    """The L1 error of the last law, by that part within a factor 3; the others are smaller."""
    ratio = l1_error(law, exact) / budget.estimate("density")[-1]
    assert 1 / 3 < ratio < 3
    assert not budget.missing.get("density")
    last = {name: values[-1] for name, values in budget.density.items()}
    assert max(last, key=lambda name: np.nan_to_num(last[name])) == part


@dataclass(frozen=True)
class Sphere:
    """A mesh without a finer one, as from a file."""

    size: float

    def build(self, comm):
        return ddpde.sphere(size=self.size, comm=comm)

    def finer(self, factor=1.5):
        return None

    def wider(self, least, periods=()):
        return None


@pytest.mark.parametrize(
    ("size", "options", "part"),
    [
        (0.5, SolverOptions(degree=1, rtol=1e-5), "mesh"),
        (0.4, SolverOptions(degree=3, method="imex3", dt=1.0), "time"),
    ],
)
def test_density_on_a_surface(size, options, part):
    """The first harmonic decays as exp(−2Tt). (The cells' shape is not the sphere's: 4e-4.)"""
    pytest.importorskip("gmsh")
    T, t = 0.5, 1.0

    def harmonic(x, decay):
        return (1 + 0.9 * decay * x[..., 2] / np.linalg.norm(x, axis=-1)) / (2 * TURN)

    problem = Problem("heat", DensityLaw(3, lambda x: harmonic(x, 1.0)), temperature=T)
    budget = ddpde.error_budget(problem, Sphere(size), options=options, times=[t])
    law = budget.main.laws[-1]
    seen(budget, law, lambda x: harmonic(x, np.exp(-2 * T * t)), part)
    assert set(budget.missing) == {"truncation"}


@pytest.mark.parametrize(
    ("cells", "options", "part"),
    [
        (6, SolverOptions(degree=2, rtol=1e-6), "mesh"),
        (16, SolverOptions(degree=4, method="imex3", dt=0.5), "time"),
    ],
)
def test_density_of_a_signed_pair(cells, options, part):
    """Heat on two circles, the sheets of a signed measure, with a tilt of its own on each."""
    T, t = 0.3, 1.0

    def waves(x, decay):
        return (1 + decay * (0.5 + 0.4 * x[..., 1]) * np.cos(x[..., 0])) / (2 * TURN)

    problem = Problem(
        "heat", DensityLaw(2, lambda x: waves(x, 1.0)), temperature=T, periods=(TURN, None)
    )
    circles = BoxRecipe((0.0,), (TURN,), (cells,), signed=True)
    budget = ddpde.error_budget(problem, circles, options=options, times=[t])
    seen(budget, budget.main.laws[-1], lambda x: waves(x, np.exp(-T * t)), part)


def test_a_density_that_moves_has_a_named_reason():
    problem, (low, high), times, _ = ou()
    options = SolverOptions(space="lagrangian", rtol=1e-4)
    box = BoxRecipe((low,), (high,), (8,))
    cold = replace(problem, temperature=0.0)
    budget = ddpde.error_budget(cold, box, options=options, times=times[:2])
    assert all(np.isnan(values).all() for values in budget.density.values())
    assert "moved" in budget.missing["density"]
