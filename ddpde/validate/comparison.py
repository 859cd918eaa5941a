"""PDE and particles side by side: gaps, rates, distances, and the budget of their errors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ddpde.compare import (
    ChaosGap,
    Extrapolation,
    Rate,
    Scatter,
    SlicedW1,
    chaos_gap,
    extrapolate,
    fit_rate,
    floor,
    half_width,
    law_energy,
    scatter,
)
from ddpde.run import Trajectory
from ddpde.space import Law, Recipe
from ddpde.validate.beginning import Beginning, beginning
from ddpde.validate.case import ParticlePlan
from ddpde.validate.copies import StrongError
from ddpde.validate.experiments import Experiments
from ddpde.validate.solutions import Solutions
from ddpde.validate.spread import Spread

_FLOOR_DRAWS = 64


@dataclass(frozen=True, eq=False)
class Comparison:
    """Arrays over (n_widths, n_times) unless said otherwise.

    gap, gap_half: mean risk of the networks minus the PDE's, and its 95 % half width (the
    energy in place of the risk where there is no network).
    risk_limit, rate (n_times): the gap as limit + rate/N, and its exponent in N.
    w1, w1_half: distance of each replica's particles to the law; floor, floor_high: mean and
    97.5 % quantile of the same for independent draws. mean_gap, mean_half (n_widths, n_times, k).
    deterministic (n_times): mesh + time + truncation + step-size error of the risk.
    common_noise (n_times): variance over replicas of the first coordinate's mean, split into what
    falls with N and what does not. finite_risk: mean risk of the networks themselves;
    step_bias (n_times): what the step changes. chaos: W₂² of the marginals that the case asks for,
    at the last time, every width in turn. strong: against mean-field copies, if asked for.
    """

    widths: np.ndarray
    times: np.ndarray
    replicas: int
    gap: np.ndarray
    gap_half: np.ndarray
    risk_limit: list[Extrapolation]
    rate: list[Rate]
    w1: np.ndarray
    w1_half: np.ndarray
    floor: np.ndarray
    floor_high: np.ndarray
    w1_rate: list[Rate]
    mean_gap: np.ndarray
    mean_half: np.ndarray
    errors: dict[str, np.ndarray]
    deterministic: np.ndarray
    step_bias_ratio: np.ndarray
    finite_risk: np.ndarray
    step_bias: np.ndarray
    beginning: Beginning | None = None
    common_noise: list[Scatter] = field(default_factory=list)
    spread: Spread | None = None
    chaos: list[ChaosGap] = field(default_factory=list)
    strong: StrongError | None = None


def compare(solutions: Solutions, experiments: Experiments, mesh: Recipe, seed: int) -> Comparison:
    """Everything the verdict and the report need; on rank 0. `mesh`: the case's."""
    pde = solutions.main
    gaps = experiments.risk - observed(pde)[:, None]
    widths, n_times = experiments.widths, len(experiments.times)
    w1, floors = _distances(pde.laws, experiments, seed)
    mean = np.stack([c.mean(axis=2) for c in experiments.coordinates])  # (w, t, R, k)
    mean_gap = np.moveaxis(mean - pde.mean()[:, None, :], 2, -1)  # (w, t, k, R)
    bias = experiments.step_bias.mean(axis=-1)
    chance = half_width(experiments.risk)[-1]
    errors = {
        **solutions.errors,
        "SGD step": np.abs(bias),
        "Monte Carlo": chance,
    }
    deterministic = np.nansum([*solutions.errors.values(), np.abs(bias)], axis=0)
    return Comparison(
        widths=widths,
        times=experiments.times,
        replicas=gaps.shape[-1],
        gap=gaps.mean(axis=-1),
        gap_half=half_width(gaps),
        risk_limit=[extrapolate(widths, gaps[:, i]) for i in range(n_times)],
        rate=[fit_rate(widths, gaps[:, i], budget=deterministic[i]) for i in range(n_times)],
        w1=w1.mean(axis=-1),
        w1_half=half_width(w1),
        floor=floors.mean(axis=-1),
        floor_high=np.quantile(floors, 0.975, axis=-1),
        w1_rate=[fit_rate(widths, w1[:, i]) for i in range(n_times)],
        mean_gap=mean_gap.mean(axis=-1),
        mean_half=half_width(mean_gap),
        errors=errors,
        deterministic=deterministic,
        step_bias_ratio=np.abs(bias) / chance,
        finite_risk=experiments.risk.mean(axis=-1),
        step_bias=bias,
        common_noise=_scatter(widths, mean[..., 0]),
        strong=_strong(experiments),
        beginning=beginning(
            pde.problem,
            pde.laws[0],
            mesh,
            widths,
            gaps[:, 0],
            [c[0] for c in experiments.coordinates],
        ),
    )


def _strong(experiments: Experiments) -> StrongError | None:
    squares, bias = experiments.strong, experiments.strong_bias
    if squares is None or bias is None:
        return None
    return StrongError.of(experiments.widths, squares, np.abs(bias.mean(axis=-1)))


def marginal_gaps(law: Law, experiments: Experiments, plan: ParticlePlan) -> list[ChaosGap]:
    """Laws of k particles at the last time against k draws of `law`, for the k of the plan."""
    rng = np.random.default_rng([plan.seed, 3])
    return [
        chaos_gap(cloud[-1], law, k, rng=rng)
        for k in plan.marginals or ()
        for cloud in experiments.coordinates
    ]


def _scatter(widths: np.ndarray, mean: np.ndarray) -> list[Scatter]:
    """How replicas' means of the first coordinate (n_widths, n_times, R) differ, at each time."""
    if len(widths) < 2:
        return []
    replicas = mean.shape[-1]
    apart = (mean - mean.mean(axis=-1, keepdims=True)) * np.sqrt(replicas / (replicas - 1))
    return [scatter(widths, apart[:, i]) for i in range(mean.shape[1])]


def observed(run: Trajectory) -> np.ndarray:
    """The risk (n_times,) of a network, else the energy F without entropy; rank 0 only."""
    if run.problem.unit is not None:
        return run.risk()
    return np.array([law_energy(run.problem, law) for law in run.laws])


def _distances(
    laws: list[Law], experiments: Experiments, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of the particles (n_widths, n_times, replicas) and of independent draws (…, draws)."""
    rng = np.random.default_rng([seed, 1])
    ours, floors = [], []
    for i, law in enumerate(laws):
        distance = SlicedW1(law)
        ours.append([[distance(cloud) for cloud in c[i]] for c in experiments.coordinates])
        floors.append(
            [
                floor(law, distance, int(n), repeats=_FLOOR_DRAWS, rng=rng)
                for n in experiments.widths
            ]
        )
    return np.swapaxes(ours, 0, 1), np.swapaxes(floors, 0, 1)
