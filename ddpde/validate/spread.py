"""How much networks of one width differ from each other: predicted and measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from mpi4py import MPI
from scipy import stats

from ddpde.particles import SGD, Langevin, risk
from ddpde.problem import Problem
from ddpde.run import Fluctuations, fluctuations
from ddpde.validate.case import Case, ParticlePlan
from ddpde.validate.experiments import Experiments


@dataclass(frozen=True, eq=False)
class Spread:
    """Variances over replicas (n_widths, n_times, K) of the risk and of the means.

    predicted: by the central limit theorem, to leading order in 1/N and in the step; measured:
    over the replicas, `freedom` degrees of freedom.
    """

    names: tuple[str, ...]
    predicted: np.ndarray
    measured: np.ndarray
    freedom: int

    def misfit(self, level: float) -> np.ndarray:
        """Measured over predicted variance (n_widths, n_times, K) in units of what chance explains
        at `level`, either way: at most 1 where both agree."""
        ratio = self.measured / self.predicted
        low, high = stats.chi2.ppf([level / 2, 1 - level / 2], self.freedom) / self.freedom
        return np.maximum(ratio / high, low / ratio)


def predicted_fluctuations(case: Case) -> Fluctuations | None:
    """The prediction for a case that asks for it, on its fixed mesh; collective."""
    if case.particles is None or not case.particles.fluctuations:
        return None
    fixed = case if case.options.space == "eulerian" else case.cross_check
    assert fixed is not None  # the reader of cases saw to it
    return fluctuations(
        case.problem,
        fixed.mesh.build(MPI.COMM_WORLD),
        times=case.times,
        observables={label: partial(_coordinate, j) for j, label in enumerate(case.problem.labels)},
        degree=fixed.options.degree,
        rtol=fixed.options.rtol,
    )


def spread(
    problem: Problem, plan: ParticlePlan, predicted: Fluctuations, experiments: Experiments
) -> Spread:
    """Both, at every width."""
    means = np.stack([c.mean(axis=2) for c in experiments.coordinates])  # (w, t, R, k)
    measured = means.var(axis=2, ddof=1)
    if len(predicted.names) > measured.shape[-1]:  # the risk comes first
        risk = [_risk(problem, plan, c).var(axis=-1, ddof=1) for c in experiments.coordinates]
        measured = np.concatenate([np.stack(risk)[..., None], measured], axis=-1)
    whole = isinstance(plan.system, Langevin) or (
        isinstance(plan.system, SGD) and plan.system.sampling == "full"
    )
    variances = [
        predicted.variance(n, step_size=0.0 if whole else plan.step(n), batch=plan.batch)
        for n in plan.widths
    ]
    return Spread(predicted.names, np.stack(variances), measured, plan.replicas - 1)


def _risk(problem: Problem, plan: ParticlePlan, theta: np.ndarray) -> np.ndarray:
    """Of each replica (n_times, R) on the same samples: they are no source of differences."""
    law, count = problem.data, plan.risk_samples
    assert law is not None  # there is a risk
    replicas = range(theta.shape[1])
    same = [risk(problem, theta[:, [r]], law, samples=count, seed=plan.seed)[0] for r in replicas]
    return np.concatenate(same, axis=1)


def _coordinate(j: int, points: np.ndarray) -> np.ndarray:
    return points[:, j]
