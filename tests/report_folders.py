"""Small finished validations and runs, for the tests of the report."""

from dataclasses import replace
from pathlib import Path

import ddpde
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe
from ddpde.validate import Acceptance, Case, CrossCheck, ParticlePlan, validate

REFERENCE = {
    "times": [0.1, 0.25, 0.5],
    "risk": [1.338979564, 1.202827831, 1.127389274],
    "mean": [0.9798265, 1.1204062, 1.2562459],
}


def gaussians(folder: Path, **changes) -> Path:
    """A line in r with everything: particles, reference, second method."""
    case = Case(
        name="small_gaussians",
        title="Isotropic Gaussians, small",
        problem=ddpde.problems.isotropic_gaussians(),
        mesh=BoxRecipe((0.0,), (4.0,), (32,)),
        options=SolverOptions(rtol=1e-5),
        times=(0.1, 0.25, 0.5),
        particles=ParticlePlan((20, 40, 80), 6, 5e-4, batch=16, bias_factor=2, risk_samples=500),
        cross_check=CrossCheck(
            BoxRecipe((0.2,), (1.6,), (16,)), SolverOptions(space="lagrangian", rtol=1e-6)
        ),
        acceptance=Acceptance(level=1e-9, w1_over_floor=100.0, cross_check_rtol=1e-2),
        reference=REFERENCE,
        source=Path("case.toml"),
    )
    validate(replace(case, **changes), folder)
    return folder


def digits(folder: Path) -> Path:
    """A plane of parameters, on real data."""
    case = Case(
        name="small_digits",
        title="Digits, small",
        problem=ddpde.problems.digits_pca(),
        mesh=BoxRecipe((-3.0, -3.0), (3.0, 3.0), (6, 6)),
        options=SolverOptions(rtol=1e-3),
        times=(0.5, 1.0),
        particles=ParticlePlan((20, 40), 4, 0.05, batch=8, bias_factor=2),
    )
    validate(case, folder)
    return folder


def fluctuating(folder: Path, **changes) -> Path:
    """Variances over replicas, predicted and measured."""
    case = Case(
        name="small_erf",
        title="Fluctuations, small",
        problem=ddpde.problems.erf_teacher(label_noise=0.5),
        mesh=BoxRecipe((-2.0,), (3.5,), (20,)),
        options=SolverOptions(rtol=1e-5),
        times=(0.25, 0.5),
        particles=ParticlePlan(
            (20, 40), 60, 0.025, batch=16, bias_factor=2, risk_samples=2000, fluctuations=True
        ),
        acceptance=Acceptance(level=1e-3, w1_over_floor=100.0),
    )
    validate(replace(case, **changes), folder)
    return folder


def run_only(folder: Path) -> Path:
    """A plain run."""
    problem = ddpde.problems.isotropic_gaussians()
    ddpde.solve(problem, ddpde.interval(0, 3, cells=24), t_end=0.5, rtol=1e-4, folder=folder)
    return folder


def plain(folder: Path, problem: ddpde.Problem, mesh, times=(0.1, 0.3), **settings) -> Path:
    """A plain run of any problem, coarse."""
    coarse = {"degree": 2, "rtol": 1e-2}
    ddpde.solve(problem, mesh, times=times, folder=folder, **(coarse | settings))
    return folder


def well(folder: Path) -> Path:
    """A validation without a network: a second method, nothing trained."""
    case = Case(
        name="small_well",
        title="A well, small",
        problem=ddpde.problems.ornstein_uhlenbeck(mean=(1.0,), std=(0.6,)),
        mesh=BoxRecipe((-4.0,), (5.0,), (18,)),
        options=SolverOptions(rtol=1e-3),
        times=(0.2, 0.5),
        cross_check=CrossCheck(BoxRecipe((-4.0,), (5.0,), (24,)), SolverOptions(rtol=1e-3)),
    )
    validate(case, folder)
    return folder
