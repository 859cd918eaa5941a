"""The strong error in a validation, from [particles] to page."""

import json

import numpy as np

import ddpde
from ddpde import report
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe
from ddpde.validate import Case, ParticlePlan, validate

EXACT = 0.0577973572522  # N E|X − X̄|² at t = 1, for every N: κ² Var of the mean, through 2 + κ


def test_copies_measure_the_strong_error(tmp_path):
    case = Case(
        name="copies",
        title="Strong error, small",
        problem=ddpde.problems.quadratic_interaction(),
        mesh=BoxRecipe((-4.0,), (5.0,), (32,)),
        options=SolverOptions(rtol=1e-6),
        times=(1.0,),
        particles=ParticlePlan((10, 20), 200, 0.0125, dtype="float64", bias_factor=2, copies=True),
    )
    verdict = validate(case, tmp_path)
    (check,) = [c for c in verdict.checks if c.name == "strong error, N → ∞"]
    assert check.passed, check
    assert "energy of particles, N → ∞" in {c.name for c in verdict.checks}  # there is no risk
    strong = json.loads((tmp_path / "summary.json").read_text())["comparison"]["strong"]
    widths, measured, half = np.array([10, 20]), *map(np.array, (strong["squared"], strong["half"]))
    assert (measured[:, 0] == 0).all()
    assert (np.abs(widths * measured[:, 1] - EXACT) < 2 * widths * half[:, 1] + 2e-3).all()
    page = report.write(tmp_path).read_text()
    assert "N E|X − X̄|² of particles and mean-field copies" in page
    assert 'id="figure-strong"' in page and "Gap of the energy over the width" in page
