"""Error budgets against true errors: the bank's exact solutions."""

from dataclasses import replace

import numpy as np
import pytest
from exact_bank import (
    attraction,
    entropy,
    erf_neuron,
    linear_neuron,
    oscillators,
    ou,
    quadratic_neuron,
    radial,
    samples,
)

import ddpde
from ddpde.problem.classics import ornstein_uhlenbeck
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe

ROUNDING = 1e-12


def compare(case, cells, degree, rtol):
    """(quantity, true errors, estimates, bounds) over times, where the exact value is known."""
    problem, (low, high), times, exact = case
    budget = ddpde.error_budget(
        problem,
        BoxRecipe((low,), (high,), (cells,)),
        options=SolverOptions(degree=degree, rtol=rtol),
        times=times,
    )
    yield from compared(budget, exact)


def compared(budget, exact):
    """The same of a budget."""
    run = budget.main
    points = [law.points() for law in run.laws]
    found = {
        "energy": run.energy(),
        "mean": run.mean(),
        "second_moment": np.array([masses @ x**2 for x, masses in points]),
    }
    for quantity, value in exact.items():
        yield (
            quantity,
            np.abs(found[quantity] - value).ravel(),
            budget.estimate(quantity).ravel(),
            budget.bound(quantity).ravel(),
        )


BANK = [ou, attraction, linear_neuron, quadratic_neuron, erf_neuron, oscillators]
SETTINGS = [(12, 3, 1e-5), (24, 2, 1e-5), (24, 3, 1e-5), (24, 4, 1e-7)]


def test_within_a_factor_three_on_the_bank():
    """Every single value, also where an error passes through zero; and the bound."""
    count = 0
    for case in BANK:
        for cells, degree, rtol in SETTINGS:
            for quantity, error, estimate, bound in compare(case(), cells, degree, rtol):
                said = f"{case.__name__}, {cells} cells, degree {degree}, {rtol}: {quantity}"
                known = error > ROUNDING  # nan is not
                assert (error[known] <= 3 * bound[known]).all(), said
                ratio = error[known] / estimate[known]
                assert ((ratio >= 1 / 3) & (ratio <= 3)).all(), said
                count += known.sum()
    assert count > 200


def test_isotropic_gaussians():
    """The known values to their digits: 1e-9 of the risk, 1e-7 of the mean."""
    digits = {"energy": 2e-9, "mean": 2e-7}
    for quantity, error, estimate, _ in compare(radial(), 24, 2, 1e-5):
        known = error > digits[quantity]
        assert known.any()
        assert (error[known] <= 3 * estimate[known]).all() and (
            error[known] >= estimate[known] / 3
        ).all()


@pytest.mark.parametrize(
    ("case", "points"), [(erf_neuron, 6), (erf_neuron, 10), (quadratic_neuron, 2)]
)
def test_quadrature_of_the_data(case, points):
    """With too few nodes the error is theirs, in every quantity."""
    problem, (low, high), times, exact = case()
    problem = replace(problem, data=replace(problem.data, quadrature_points=points))
    options = SolverOptions(degree=4, rtol=1e-6)
    budget = ddpde.error_budget(
        problem, BoxRecipe((low,), (high,), (32,)), options=options, times=times
    )
    for quantity, error, estimate, _ in compared(budget, exact):
        data = np.abs(getattr(budget, quantity)["data"]).ravel()
        known = error > 1e-5
        assert known.any() or quantity == "mean"  # which symmetry keeps at 0 in one case
        for found in (estimate, data):
            ratio = error[known] / found[known]
            assert ((ratio > 1 / 3) & (ratio < 3)).all(), quantity


@pytest.mark.parametrize("dt", [None, 0.01])
def test_compression_of_the_data(dt):
    """4000 samples in a few features, to a tolerance that follows `rtol`: counts as time."""
    problem, (low, high), times, exact = samples(4000)
    options = SolverOptions(degree=3, rtol=1e-4, dt=dt)
    box = BoxRecipe((low,), (high,), (80,))
    budget = ddpde.error_budget(problem, box, options=options, times=times)
    assert budget.main.settings["features"] < 20
    for quantity, error, estimate, _ in compared(budget, exact):
        parts = getattr(budget, quantity)
        assert all(
            np.abs(parts["time"]).max() > np.abs(parts[p]).max() for p in parts if p != "time"
        )
        known = error > 2e-11
        ratio = error[known] / estimate[known]
        assert known.any() and ((ratio > 1 / 3) & (ratio < 3)).all(), quantity


def test_truncation_by_a_narrow_box():
    """Ornstein–Uhlenbeck on a box that cuts the law: the wider box sees it."""
    problem, _, times, exact = ou()
    box = BoxRecipe((-2.2,), (3.2,), (16,))
    budget = ddpde.error_budget(
        problem, box, options=SolverOptions(degree=4, rtol=1e-7), times=times
    )
    error = np.abs(budget.main.energy() - exact["energy"])[-1]
    assert error > 1e-5
    assert 1 / 3 < error / abs(budget.energy["truncation"][-1]) < 3


def test_nothing_cut_off_needs_no_run():
    problem, (low, high), times, _ = oscillators()
    budget = ddpde.error_budget(
        problem, BoxRecipe((low,), (high,), (8,)), options=SolverOptions(rtol=1e-4), times=times
    )
    assert not budget.energy["truncation"].any() and not budget.density["truncation"].any()
    assert budget.density["mesh"][-1] > 0


def test_fixed_steps_in_the_plane():
    """A fixed step's error by half of it; a mesh of half as many cells again; no data law."""
    mean, T, t = (1.0, -0.5), 0.5, 0.5
    problem = ornstein_uhlenbeck(mean, (0.6, 0.5), T)
    budget = ddpde.error_budget(
        problem,
        BoxRecipe((-5.0, -5.0), (5.0, 5.0), (12, 12)),
        options=SolverOptions(degree=3, method="imex3", dt=0.05),
        times=[t],
    )
    assert set(budget.energy) == {"mesh", "time", "truncation"}
    variances = np.array([0.36, 0.25]) * np.exp(-2 * t) + T * (1 - np.exp(-2 * t))
    means = np.array(mean) * np.exp(-t)
    energy = 0.5 * (variances + means**2).sum() + T * entropy(variances).sum()
    for found, exact, estimate in (
        (budget.main.energy()[1], energy, budget.estimate()[1]),
        (budget.main.mean()[1], means, budget.estimate("mean")[1]),
    ):
        ratio = np.abs(found - exact) / estimate
        assert np.all((ratio > 1 / 3) & (ratio < 3))


def test_halved_steps_know_the_order():
    """A method of first order: twice the difference to half the step, to a few per cent."""
    problem = ornstein_uhlenbeck((1.0,), (0.6,), 0.5)
    budget = ddpde.error_budget(
        problem,
        BoxRecipe((-5.0,), (6.0,), (24,)),
        options=SolverOptions(method="jko-quantile", dt=0.05),
        times=[0.5],
    )
    error = budget.main.mean()[1, 0] - np.exp(-0.5)
    assert budget.mean["time"][1, 0] == pytest.approx(error, rel=0.05)


def test_a_part_without_a_companion_is_not_measured():
    problem, (low, high), *_ = ou()
    budget = ddpde.error_budget(
        problem,
        BoxRecipe((low,), (high,), (12,)),
        options=SolverOptions(rtol=1e-13, space="eulerian"),
        times=[1e-3],
    )
    assert np.isnan(budget.energy["time"]).all() and np.isfinite(budget.bound()).all()
