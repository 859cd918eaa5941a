"""Intervals, extrapolation to infinite width, and rates in N, over independent replicas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import digamma


def half_width(samples: np.ndarray, level: float = 0.05) -> np.ndarray:
    """Half width of the Student interval of the mean over axis −1, at confidence 1 − level."""
    n = samples.shape[-1]
    return stats.t.ppf(1 - level / 2, n - 1) * samples.std(axis=-1, ddof=1) / np.sqrt(n)


@dataclass(frozen=True)
class Extrapolation:
    """gap(N) = limit + rate/N: estimates, standard errors, degrees of freedom."""

    limit: float
    limit_se: float
    rate: float
    rate_se: float
    dof: float

    def critical(self, level: float) -> float:
        """Two-sided Student quantile at `level`."""
        return float(stats.t.ppf(1 - level / 2, self.dof))


def extrapolate(widths: np.ndarray, gaps: np.ndarray) -> Extrapolation:
    """Weighted least squares of gaps (n_widths, replicas) against 1/N.

    For iid neurons the law gap(N) ∝ 1/N is exact for the risk; a limit that differs from
    zero means that the PDE is not the limit. Weights and errors are from a power of N fitted to
    the replicas' variances: each width's own, of a few skewed values, goes with its mean and
    raises false alarms. Degrees of freedom are Satterthwaite's.
    """
    n_widths, replicas = gaps.shape
    mean = gaps.mean(axis=1)
    se = gaps.std(axis=1, ddof=1) / np.sqrt(replicas)
    se = np.maximum(se, 1e-15 * (1 + np.abs(mean)))
    if n_widths == 1:
        return Extrapolation(float(mean[0]), float(se[0]), 0.0, 0.0, replicas - 1)
    half = (replicas - 1) / 2
    logs = np.log(se**2) + np.log(half) - digamma(half)  # whose means are the true ones
    x = np.log(widths) - np.log(widths).mean()
    variance = np.exp(logs.mean() + x * (x @ logs) / (x @ x))
    design = np.stack([np.ones(n_widths), 1.0 / widths], axis=1)
    weighted = design.T / variance
    covariance = np.linalg.inv(weighted @ design)
    gain = covariance @ weighted
    limit, rate = gain @ mean
    limit_se, rate_se = np.sqrt(np.diag(covariance))
    parts = gain[0] ** 2 * variance
    dof = (replicas - 1) * parts.sum() ** 2 / (parts**2).sum()
    return Extrapolation(float(limit), float(limit_se), float(rate), float(rate_se), float(dof))


@dataclass(frozen=True)
class Rate:
    """Exponent p of gap ~ N^p with its bootstrap interval; nan where nothing is resolved."""

    slope: float
    low: float
    high: float

    @property
    def resolved(self) -> bool:
        """Whether every width's gap stood out of its noise, so that a slope means something."""
        return bool(np.isfinite(self.slope))


def fit_rate(
    widths: np.ndarray,
    gaps: np.ndarray,
    *,
    budget: float = 0.0,
    level: float = 0.05,
    repeats: int = 1000,
    seed: int = 0,
) -> Rate:
    """Slope of log|mean gap| against log N for gaps (n_widths, replicas), replicas resampled.

    Not resolved where a mean gap is within its Monte Carlo interval and the `budget` of all other
    errors.
    """
    mean = gaps.mean(axis=1)
    unresolved = np.abs(mean) <= half_width(gaps, level) + budget
    if len(widths) < 2 or unresolved.any():
        return Rate(np.nan, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    replicas = gaps.shape[1]
    index = rng.integers(replicas, size=(repeats, len(widths), replicas))
    resampled = np.take_along_axis(gaps[None], index, axis=2).mean(axis=2)
    weights = (mean / (gaps.std(axis=1, ddof=1) + 1e-300)) ** 2  # variance of log|gap| inverted

    def slope(values: np.ndarray) -> np.ndarray:
        x = np.log(widths) - np.average(np.log(widths), weights=weights)
        return (np.log(np.abs(values)) * (weights * x)).sum(axis=-1) / (weights * x * x).sum()

    low, high = np.quantile(slope(resampled), [level / 2, 1 - level / 2])
    return Rate(float(slope(mean)), float(low), float(high))
