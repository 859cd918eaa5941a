"""What falls with N and what does not: own noise of the neurons against noise common to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ddpde.compare.statistics import Rate, fit_rate


@dataclass(frozen=True)
class Scatter:
    """Mean square deviation v(N) = own/N + common, of replicas at several widths.

    own, common and their standard errors; rate: the exponent of the root mean square in N, nan
    where the common part is resolved (one power of N is then the wrong law), or nothing is.
    """

    own: float
    own_se: float
    common: float
    common_se: float
    level: float
    rate: Rate

    @property
    def floored(self) -> bool:
        """Whether replicas fluctuate by an amount that no width removes."""
        return self.common > stats.norm.ppf(1 - self.level) * self.common_se

    def __str__(self) -> str:
        if self.floored:
            return (
                f"common-noise floor: RMS {np.sqrt(self.common):.3g} at every width, "
                f"and {np.sqrt(max(self.own, 0.0)):.3g} N^(−1/2) of the neurons' own"
            )
        if not self.rate.resolved:
            return "not resolved"
        return f"RMS ∝ N^{self.rate.slope:.2f} [{self.rate.low:.2f}, {self.rate.high:.2f}]"


def scatter(
    widths: np.ndarray, deviations: np.ndarray, *, budget: float = 0.0, level: float = 0.01
) -> Scatter:
    """Split the mean squares of deviations (n_widths, replicas) from the mean-field limit.

    Weighted least squares of v(N) against 1/N, the weights from the fit itself (the variance of a
    mean square of R normal deviations is 2v²/R; three rounds are enough). SGD whose batches move
    all neurons at once leaves `common`: it is named, not fitted by a power of N. `budget`: error
    of the limit itself, below which a deviation says nothing. At least two widths.
    """
    replicas = deviations.shape[1]
    squares = deviations**2
    v = squares.mean(axis=1)
    design = np.stack([1.0 / widths, np.ones(len(widths))], axis=1)
    model = v
    for _ in range(3):
        weighted = design / model[:, None]
        covariance = np.linalg.inv(weighted.T @ weighted)
        own, common = covariance @ weighted.T @ (v / model)
        model = np.maximum(design @ [own, common], 1e-3 * v)
    own_se, common_se = np.sqrt(2 / replicas * np.diag(covariance))
    split = Scatter(
        float(own),
        float(own_se),
        float(common - budget**2),
        float(common_se),
        level,
        Rate(np.nan, np.nan, np.nan),
    )
    if split.floored:
        return split
    rate = fit_rate(widths, squares, budget=budget**2)
    halved = Rate(rate.slope / 2, rate.low / 2, rate.high / 2)
    return Scatter(split.own, split.own_se, split.common, split.common_se, level, halved)


def step_extrapolated(fine: np.ndarray, coarse: np.ndarray, factor: float) -> np.ndarray:
    """Values at step size 0 from those at ε (fine) and factor · ε (coarse), arrays alike.

    First order in ε (Richardson); replica by replica, so that runs from the same initial neurons
    share their scatter. What is left is O(ε²).
    """
    return fine - (coarse - fine) / (factor - 1)
