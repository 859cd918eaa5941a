"""Finite-N systems drawn in closed form: validations in milliseconds, judged by the real code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import ddpde
from ddpde.problem import GaussianInputs, GaussianLaw, Problem, RidgeUnit
from ddpde.run import SolverOptions
from ddpde.space import BoxRecipe
from ddpde.validate import Case, ParticlePlan
from ddpde.validate.comparison import compare
from ddpde.validate.experiments import Experiments
from ddpde.validate.verdict import against_particles

WIDTHS, REPLICAS = np.array([100, 200, 400]), 16


@dataclass(frozen=True)
class Limit:
    """What `compare` asks of a trajectory."""

    problem: Problem
    risks: np.ndarray
    laws: list
    means: np.ndarray

    def risk(self):
        return self.risks

    def mean(self):
        return self.means


@dataclass(frozen=True)
class Solved:
    """What `compare` asks of solutions."""

    main: Limit
    errors: dict


def gaussian_laws(means, variances):
    """Laws on a mesh of their own, projected as the solver does."""
    laws = []
    for mean, variance in zip(means, variances, strict=True):
        std = float(np.sqrt(variance))
        problem = Problem("law", GaussianLaw((float(mean),), (std,)), potential=_half_square)
        mesh = ddpde.interval(mean - 8 * std, mean + 8 * std, cells=40)
        laws.append(ddpde.solve(problem, mesh, times=[0.0]).laws[0])
    return laws


def _half_square(theta):
    return 0.5 * (theta * theta).sum(axis=1)


class QuadraticNetwork:
    """σ = w²x², y = x², w ~ N(0, ¼): M' = −24 (M − 1) M, R = 3 (M − 1)².

    u: the factor put on U in the mean-field equation, M' = −24 (uM − 1) M, R = 3 − 6M + 3uM².
    """

    times, mesh = np.array([0.0, 0.05, 0.1, 0.2]), BoxRecipe((-4.0,), (4.0,), (32,))
    problem = Problem(
        "quadratic network",
        GaussianLaw((0.0,), (0.5,)),
        RidgeUnit(lambda z: z * z, 1),
        GaussianInputs(1, lambda x: x[:, 0] ** 2, 0.0, 8),
    )

    def __init__(self, u: float = 1.0) -> None:
        M = self._flow(0.25, u)
        risks = 3 - 6 * M + 3 * u * M**2
        self.limit = Limit(self.problem, risks, gaussian_laws(0 * M, M), np.zeros((len(M), 1)))

    def _flow(self, M, u=1.0):
        growth = np.exp(24 * self.times).reshape(-1, *(1,) * np.ndim(M))
        return M * growth / (1 + u * M * (growth - 1))

    def draw(self, rng, diagonal=True, replicas=REPLICAS):
        """Risks and particles of all widths; without `diagonal`, i ≠ j alone in R_N."""
        risks, clouds = [], []
        for width in WIDTHS:
            start = 0.5 * rng.standard_normal((replicas, width))
            M0 = (start**2).mean(axis=1)
            M = self._flow(M0)
            theta = np.sqrt(M / M0)[:, :, None] * start
            risk = 3 * (M - 1) ** 2
            if not diagonal:
                risk = risk - 3 * (theta**4).mean(axis=2) / width
            risks.append(risk)
            clouds.append(theta[..., None])
        return np.stack(risks), clouds


class NoisyNeuron:
    """σ = wx, y = x, ridge λ = ½, noise T: mean and spread relax apart.

    temperature: that of the mean-field equation; the particles have ¼.
    """

    times, mesh = np.array([0.0, 0.25, 1.0]), BoxRecipe((-4.0,), (4.0,), (32,))
    start, ridge, true = (0.2, 0.25), 0.5, 0.25
    problem = Problem(
        "noisy neuron",
        GaussianLaw((0.2,), (0.5,)),
        RidgeUnit(lambda z: z, 1),
        GaussianInputs(1, lambda x: x[:, 0], 0.0, 8),
        ridge=0.5,
        temperature=0.25,
    )

    def __init__(self, temperature: float = 0.25) -> None:
        mean, spread = self._mean(), self._relaxed(2 * self.ridge, temperature)
        self.limit = Limit(
            self.problem, (mean - 1) ** 2, gaussian_laws(mean, spread), mean[:, None]
        )

    def _mean(self):
        rate, end = 2 * (1 + self.ridge), 1 / (1 + self.ridge)
        return end + (self.start[0] - end) * np.exp(-rate * self.times)

    def _relaxed(self, rate, temperature):
        decay = np.exp(-2 * rate * self.times)
        return self.start[1] * decay + temperature * (1 - decay) / rate

    def draw(self, rng):
        risks, clouds = [], []
        pull = self._relaxed(2 * (1 + self.ridge), self.true)  # of the mean, times N
        spread = self._relaxed(2 * self.ridge, self.true)
        for width in WIDTHS:
            z = rng.standard_normal((len(self.times), REPLICAS, width))
            own = z - z.mean(axis=2, keepdims=True)
            middle = self._mean()[:, None] + np.sqrt(pull)[:, None] * z.mean(axis=2)
            theta = middle[:, :, None] + np.sqrt(spread)[:, None, None] * own
            risks.append((middle - 1) ** 2)
            clouds.append(theta[..., None])
        return np.stack(risks), clouds


def compared(system, rng, seed, **options):
    """One validation of a surrogate: its case, and its comparison with particles."""
    risks, clouds = system.draw(rng, **options)
    case = Case(
        name="surrogate",
        title="surrogate",
        problem=system.problem,
        mesh=system.mesh,
        options=SolverOptions(),
        times=tuple(system.times),
        particles=ParticlePlan(tuple(int(n) for n in WIDTHS), REPLICAS, 1.0),
    )
    experiments = Experiments(
        widths=WIDTHS,
        times=system.times,
        risk=risks,
        test_risk=None,
        coordinates=clouds,
        step_bias=np.zeros(risks.shape[1:]),  # exact in time
        bias_width=200,
        wall=0.0,
        network=clouds[-1][-1, 0],
    )
    return case, compare(Solved(system.limit, {}), experiments, case.mesh, seed)


def judged(system, rng, seed, **options):
    """The checks against particles of one validation of a surrogate."""
    return against_particles(*compared(system, rng, seed, **options))
