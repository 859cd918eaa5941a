"""Entropy of a density given by its values at quadrature points."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy


def entropy(density: np.ndarray, weights: np.ndarray) -> float:
    """∫ ρ log ρ from values and quadrature weights of equal shape.

    Values below zero (rounding, after the positivity limiter) count as zero.
    """
    positive = np.maximum(density, 0.0)
    return float(np.sum(weights * xlogy(positive, positive)))
