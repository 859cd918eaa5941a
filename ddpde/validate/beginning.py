"""The risk gap of independent neurons at t = 0: exact for every N, the diagonal of U included.

Before training N (E R_N − R(ρ₀)) = E_(x,y)[½ ℓ'' Var_{θ∼ρ₀} σ(x; θ)]; for the squared loss that is
∫U(θ, θ) dρ₀ − ∬U dρ₀ dρ₀, from i = j alone. The limit N → ∞ cannot tell a risk that
lost this term; the gap at t = 0 can, once its first order in μ^N − ρ₀ is taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from scipy import stats
from scipy.optimize import nnls

from ddpde.errors import DdpdeError, ProblemError
from ddpde.problem import GaussianLaw, Problem
from ddpde.problem.data import sample
from ddpde.problem.losses import second_derivative
from ddpde.run import fluctuations
from ddpde.space import Law, Recipe

_BATCHES, _DRAWS = 32, 1024
_MOST = 20_000_000  # values of the unit at a time


@dataclass(frozen=True)
class Beginning:
    """N times the risk gap at t = 0: measured, expected, and their standard errors.

    count: how many networks it is from, effectively. gain: by how much less the gap varies
    without its first order (the median over the widths).
    """

    rate: float
    rate_se: float
    expected: float
    expected_se: float
    count: float
    gain: float

    def excess(self, level: float, budget: float = 0.0) -> float:
        """Difference over what chance explains at `level`.

        What is left of the gap is quadratic in μ^N − ρ₀, a sum of weighted χ², as skewed as χ²₁ at
        most: its quantiles, those of χ² with `count` degrees of freedom, not a normal law's. Test
        samples of the risk add to that what the standard error has in excess.
        """
        difference = self.rate - self.expected
        tail = 1 - level / 2 if difference > 0 else level / 2
        quadratic = abs(self.expected * (stats.chi2.ppf(tail, self.count) / self.count - 1))
        more = max(self.rate_se**2 - 2 * self.expected**2 / self.count, 0.0) + self.expected_se**2
        chance = np.hypot(quadratic, stats.norm.ppf(1 - level / 2) * np.sqrt(more))
        return float(max(abs(difference) - budget, 0.0) / chance)


def beginning(
    problem: Problem,
    law: Law,
    recipe: Recipe,
    widths: np.ndarray,
    gaps: np.ndarray,
    clouds: list[np.ndarray],
) -> Beginning | None:
    """From gaps (n_widths, replicas) at t = 0 and the neurons' mesh coordinates, (R, N, k) a width.

    `law`: the initial law; `recipe`: of the case's mesh.

    None where there is no network of independent Gaussian neurons, or its first order is not
    available (neurons outside the mesh, interactions, parts the linearised flow does not know).
    """
    if (
        problem.unit is None
        or problem.interaction is not None
        or not isinstance(problem.initial, GaussianLaw)
    ):
        return None
    try:
        first = fluctuations(problem, recipe.build(MPI.COMM_SELF), times=[0.0])
        carried = np.stack([first.carried(cloud)[0, 0] for cloud in clouds])
    except DdpdeError:
        return None
    rest = gaps - carried
    scaled = widths[:, None] * rest
    # test samples of the risk add a variance that grows as N²
    seen = scaled.var(axis=1, ddof=1)
    design = np.stack([np.ones(len(widths)), widths.astype(float) ** 2], axis=1)
    fitted = design @ nnls(design / seen[:, None], np.ones(len(widths)))[0]
    weights = (1 / fitted) / (1 / fitted).sum()
    expected, expected_se = independent_gap(problem, law)
    return Beginning(
        rate=float(weights @ scaled.mean(axis=1)),
        rate_se=float(np.sqrt(weights**2 @ seen / gaps.shape[1])),
        expected=expected,
        expected_se=expected_se,
        count=float(gaps.shape[1] / (weights**2).sum()),
        gain=float(np.median(gaps.var(axis=1) / rest.var(axis=1))),
    )


def independent_gap(problem: Problem, law: Law, seed: int = 0) -> tuple[float, float]:
    """E[½ ℓ'' Var σ] and its standard error, from the unit alone: 0 where quadratures exist.

    Without reduction θ is integrated over the initial `law`'s points and (x, y) over the data's
    nodes; else, or where there are none, over raw samples.
    """
    assert problem.data is not None
    try:
        if problem.reduction is None:
            nodes = problem.data.nodes()
            points, masses = law.points(5)
            kept = masses > 1e-12 * masses.max()
            points, masses = points[kept], masses[kept] / masses[kept].sum()
            if len(points) * len(nodes.y) <= _MOST:
                return float(
                    nodes.weights @ _curved(problem, nodes.x, nodes.y, points, masses)
                ), 0.0
    except ProblemError:
        pass
    rng, values = np.random.default_rng([seed, 2]), []
    equal = np.full(_DRAWS, 1 / _DRAWS)
    for _ in range(_BATCHES):
        x, y = sample(problem.data, rng, _DRAWS)
        theta = problem.initial.sample(rng.standard_normal((_DRAWS, problem.initial.dim)))
        biased = _curved(problem, x, y, theta, equal)
        values.append(np.mean(biased) * _DRAWS / (_DRAWS - 1))
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(_BATCHES))


def _curved(
    problem: Problem, x: np.ndarray, y: np.ndarray, theta: np.ndarray, masses: np.ndarray
) -> np.ndarray:
    """½ ℓ'' Var σ (m,) at data (x, y) under weighted points theta."""
    assert problem.unit is not None
    outputs = problem.unit(x, theta)
    mean = masses @ outputs
    variance = masses @ (outputs - mean) ** 2
    return 0.5 * second_derivative(problem.loss, mean, y) * variance
