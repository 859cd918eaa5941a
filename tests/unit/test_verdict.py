"""Each check of a verdict turns red by what it is about, at its bound and not before."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI
from scipy import stats
from surrogates import QuadraticNetwork, compared

import ddpde
from ddpde.compare import Extrapolation, Scatter, cloud_energy, law_energy
from ddpde.compare.statistics import Rate
from ddpde.particles import SGD
from ddpde.problem import GaussianInputs, GaussianLaw, Problem, RidgeUnit, identity
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe
from ddpde.validate import Acceptance, Case, Check, ParticlePlan
from ddpde.validate.beginning import independent_gap
from ddpde.validate.case import OtherMethod
from ddpde.validate.comparison import _scatter
from ddpde.validate.experiments import run_experiments
from ddpde.validate.solutions import Solutions
from ddpde.validate.spread import Spread, spread
from ddpde.validate.verdict import judge

MESH, OPTIONS = BoxRecipe((-2.0,), (3.0,), (16,)), SolverOptions(degree=2, rtol=1e-3)


@pytest.fixture(scope="module")
def run():
    problem = ddpde.problems.erf_teacher()
    return ddpde.solve(problem, MESH.build(MPI.COMM_SELF), times=[0.1, 0.2], options=OPTIONS)


def case_of(run, **changes):
    return Case("c", "c", run.problem, MESH, OPTIONS, tuple(run.times), **changes)


def red(case, solutions, comparison=None):
    """The names of the checks that fail."""
    return [c.name for c in judge(case, solutions, comparison).checks if not c.passed]


def changed(run, name, values):
    return replace(run, history=run.history | {name: values})


def test_what_was_not_measured_does_not_pass():
    assert not Check("c", np.nan, 1.0, "").passed
    assert Check("c", 1.0, 1.0, "").passed and not Check("c", 1.0 + 1e-15, 1.0, "").passed


def test_invariants_of_the_run(run):
    case, history = case_of(run), run.history
    assert red(case, Solutions(run, None, {})) == []
    peak = max(law.peak() for law in run.laws)
    rising = history["free_energy"].copy()
    rising[-1] = rising[-2] + 1e-9
    for name, values, check in (
        ("mass", history["mass"] * (1 + 1e-9), "mass"),
        ("minimum", history["minimum"] - 1e-13 * peak, "positivity"),
        ("free_energy", rising, "energy decay"),
    ):
        assert red(case, Solutions(changed(run, name, values), None, {})) == [check]


def scaled(run, factor):
    """The run with another risk."""
    return replace(run, outputs=run.outputs | {"risk": factor * run.outputs["risk"]})


def test_two_methods_agree_to_the_tolerance_asked_for(run):
    case = case_of(run, acceptance=Acceptance(reference_rtol=1e-3))
    assert red(case, Solutions(run, scaled(run, 1.0009), {})) == []
    assert red(case, Solutions(run, scaled(run, 1.0011), {})) == ["both PDE methods agree"]


def test_other_methods_are_judged_by_the_largest_of_the_main_run(run):
    case = case_of(run, methods=(OtherMethod("other", MESH, OPTIONS, 1e-3),))
    risk = run.outputs["risk"]
    assert risk.max() > 1.01 * risk.min()
    shifted = replace(run, outputs=run.outputs | {"risk": risk + 0.00099 * risk.max()})
    assert red(case, Solutions(run, None, {}, (shifted,))) == []
    shifted = replace(run, outputs=run.outputs | {"risk": risk + 0.00101 * risk.max()})
    assert red(case, Solutions(run, None, {}, (shifted,))) == ["other"]


def test_reference_at_the_times_that_both_have(run):
    reference = {"times": [0.2, 9.0], "risk": [float(run.risk()[-1]), 1.0]}
    case = case_of(run, reference=reference)
    assert red(case, Solutions(run, None, {})) == []
    assert red(case, Solutions(scaled(run, 1.0011), None, {})) == ["PDE: risk against reference"]


@pytest.fixture(scope="module")
def surrogate():
    return compared(QuadraticNetwork(), np.random.default_rng(3), 3)


def test_exact_risks_of_finite_networks(run, surrogate):
    _, comparison = surrogate
    exact = {"times": list(comparison.times), "widths": [100, 200, 400]}
    for part, expected in ((0.99, []), (4.0, ["risk at finite N"])):
        known = comparison.finite_risk + part * comparison.gap_half
        case = case_of(run, reference=exact | {"finite_risk": known.tolist()})
        assert red(case, Solutions(run, None, {}), comparison) == expected


def common(value, error):
    return Scatter(0.0, 0.0, value, error, 0.01, Rate(np.nan, np.nan, np.nan))


def test_a_random_limit_needs_noise_and_another_law(run, surrogate):
    _, comparison = surrogate
    case = case_of(run, acceptance=Acceptance(limit="random"))
    solutions = Solutions(run, None, {})
    far = replace(comparison, w1=3.0 * comparison.floor)
    near = replace(comparison, w1=1.9 * comparison.floor)
    noise, chance = [common(0.0, 1.0), common(0.5, 0.2)], [common(0.5, 0.2), common(0.5, 0.22)]
    assert red(case, solutions, replace(far, common_noise=noise)) == []
    assert red(case, solutions, replace(far, common_noise=chance)) == [
        "noise common to all particles"
    ]
    assert red(case, solutions, replace(near, common_noise=noise)) == ["another law than the PDE's"]


def test_a_false_alarm_in_the_family_has_the_level_asked_for(run, surrogate):
    """Bonferroni: each of four times is tested at a quarter of it."""
    _, comparison = surrogate
    name, times = "risk of particles, N → ∞", len(comparison.times)
    for level, expected in ((0.0099 / 4, [name]), (0.0101 / 4, [])):
        limit = stats.norm.ppf(1 - level / 2)
        fits = [Extrapolation(limit, 1.0, 0.0, 0.0, 1e9)] + [
            Extrapolation(0.0, 1.0, 0.0, 0.0, 1e9)
        ] * (times - 1)
        measured = replace(
            comparison,
            risk_limit=fits,
            beginning=None,
            deterministic=np.zeros(times),
            step_bias_ratio=np.zeros(times),
        )
        assert red(case_of(run), Solutions(run, None, {}), measured) == expected


def test_a_verdict_is_kept_on_the_same_files_code_and_libraries(tmp_path, monkeypatch):
    from ddpde.validate import kept

    file = tmp_path / "case.toml"
    file.write_text("a = 1")
    case = SimpleNamespace(source=file)
    first = kept.fingerprint(case)
    (tmp_path / "README.md").write_text("words")
    assert kept.fingerprint(case) == first
    (tmp_path / "build.py").write_text("")
    second = kept.fingerprint(case)
    (tmp_path / "build.py").rename(tmp_path / "other.py")
    third = kept.fingerprint(case)
    monkeypatch.setattr(kept, "_code", lambda: "changed")
    fourth = kept.fingerprint(case)
    monkeypatch.setattr(kept, "libraries", lambda: {"jax": "0.0"})
    assert len({first, second, third, fourth, kept.fingerprint(case)}) == 5


def test_fluctuations_between_the_quantiles_of_chi_squared():
    low, high = stats.chi2.ppf([0.005, 0.995], 15) / 15
    predicted = np.full((1, 1, 3), 2.0)
    both = Spread(("a", "b", "c"), predicted, predicted * [low, 1.0, high], 15)
    np.testing.assert_allclose(both.misfit(0.01)[0, 0, [0, 2]], 1.0)
    assert both.misfit(0.01)[0, 0, 1] < 1


def test_measured_variances_are_unbiased():
    clouds = np.array([0.0, 1.0, 2.0, 5.0]).reshape(1, 4, 1, 1)
    predicted = SimpleNamespace(names=("mean",), variance=lambda n, **step: np.ones((1, 1)))
    plan = ParticlePlan((1,), 4, 0.1, system=SGD())
    problem = Problem("p", GaussianLaw((0.0,), (1.0,)))
    found = spread(problem, plan, predicted, SimpleNamespace(coordinates=[clouds]))
    assert found.measured.item() == pytest.approx(np.var([0, 1, 2, 5], ddof=1))
    assert found.freedom == 3


def test_common_noise_is_split_from_unbiased_variances():
    """Two widths determine own/N + common."""
    mean = np.random.default_rng(5).standard_normal((2, 1, 4))
    (found,) = _scatter(np.array([10, 40]), mean)
    split = [found.own / 10 + found.common, found.own / 40 + found.common]
    np.testing.assert_allclose(split, mean.var(axis=-1, ddof=1)[:, 0])


def well(**parts):
    """V = x²/2, and a spring between each two."""
    return Problem(
        "well",
        GaussianLaw((0.4,), (0.5,)),
        potential=lambda x: 0.5 * (x * x).sum(axis=-1),
        **parts,
    )


def test_energies_of_laws_and_of_clouds():
    """½ ∬ ½ (x − y)² dρ dρ = ½ Var ρ; of a cloud, its own variance."""

    def spring(x, y):
        return 0.5 * ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=-1)

    problem = well(interaction=spring)
    cloud = np.array([[[-1.0], [0.5], [2.0]]])
    local = 0.5 * (cloud**2).mean()
    assert cloud_energy(problem, cloud) == pytest.approx([local + 0.5 * cloud.var()])
    law = ddpde.solve(well(), ddpde.interval(-4, 5, cells=24), times=[0.0]).laws[0]
    assert law_energy(problem, law) == pytest.approx(0.5 * (0.16 + 0.25) + 0.5 * 0.25, abs=1e-6)


def test_bias_of_the_step_is_that_of_one_step_size():
    """Euler's factors (1 − ε)ᵏ and (1 − 4ε)^{k/4}: their difference is 3 of what ε makes."""
    step, t = 0.01, 0.4
    plan = ParticlePlan((8, 16), 2, step, dtype="float64")
    found = run_experiments(well(), plan, np.array([0.0, t]), MPI.COMM_SELF)
    fine, coarse = (1 - step) ** (2 * t / step), (1 - 4 * step) ** (t / (2 * step))
    expected = found.risk[1] * [[1.0], [coarse / fine]] - found.risk[1]
    np.testing.assert_allclose(found.step_bias, expected / 3, atol=1e-12)
    assert found.bias_width == 16


def test_risk_gap_of_independent_linear_neurons():
    """σ = wx, squared loss: N (E R_N − R) = Var(w) E x²."""
    data = GaussianInputs(1, lambda x: x[:, 0], 0.0, 8)
    problem = Problem("linear", GaussianLaw((0.4,), (0.5,)), RidgeUnit(identity, 1), data)
    law = ddpde.solve(problem, ddpde.interval(-4, 5, cells=24), times=[0.0]).laws[0]
    gap, error = independent_gap(problem, law)
    assert gap == pytest.approx(0.25, abs=1e-6) and error == 0.0
