"""Optimal transport between small weighted clouds: exact, and debiased Sinkhorn.

Both form the n·m matrix of costs: for a few thousand points, to check what scales.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import logsumexp

from ddpde.errors import MissingDependencyError, ProblemError, SolverError

_MOST = 50_000_000  # entries of the cost matrix


def wasserstein(
    x: np.ndarray,
    y: np.ndarray,
    a: np.ndarray | None = None,
    b: np.ndarray | None = None,
    *,
    order: int = 2,
    iterations: int = 2_000_000,
) -> float:
    """W_order, 1 or 2, between clouds x (n, k) and y (m, k) of weights a (n,) and b (m,).

    By the network simplex of POT, of order n³ at worst; weights are equal by default. Raises
    SolverError where it stops without an optimum (POT only warns), ProblemError for bad weights or
    clouds too large, MissingDependencyError without POT.
    """
    try:
        import ot
    except ImportError as error:
        raise MissingDependencyError("exact optimal transport needs POT", "pip install POT") from (
            error
        )
    if order not in (1, 2):
        raise ProblemError(f"order = {order}", "1 or 2")
    cost, a, b = _clouds(x, y, a, b)
    if order == 1:
        cost = np.sqrt(cost)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once more, and by name, below
        value, said = ot.emd2(a, b, cost, numItermax=iterations, log=True)
    if said["warning"] is not None or said["result_code"] != 1:
        raise SolverError(
            f"optimal transport between {len(a)} and {len(b)} points is not optimal: "
            f"{said['warning']}",
            "allow more iterations, or take fewer points",
        )
    return float(max(value, 0.0) ** (1 / order))


def sinkhorn_divergence(
    x: np.ndarray,
    y: np.ndarray,
    a: np.ndarray | None = None,
    b: np.ndarray | None = None,
    *,
    blur: float,
    tolerance: float = 1e-9,
    iterations: int = 10_000,
) -> float:
    """S = OT(a, b) − ½ OT(a, a) − ½ OT(b, b), entropic transport with cost |x − y|² and ε = blur².

    Between W₂² (blur → 0) and a squared kernel distance; nonnegative, zero for equal clouds
    (Feydy et al. 2019). Damped fixed-point iteration on the logarithms, O(nm) each, until the
    potentials change by `tolerance · ε`; SolverError where they do not.
    """
    if not blur > 0:
        raise ProblemError(f"blur = {blur}: must be positive")
    epsilon = blur**2

    def entropic(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> float:
        cost = _clouds(x, y, a, b)[0]
        f, g = np.zeros(len(a)), np.zeros(len(b))
        with np.errstate(divide="ignore"):
            log_a, log_b = np.log(a), np.log(b)
        for _ in range(iterations):
            new_f = -epsilon * logsumexp((g - cost) / epsilon + log_b, axis=1)
            new_g = -epsilon * logsumexp((f - cost.T) / epsilon + log_a, axis=1)
            change = max(np.abs(new_f - f).max(), np.abs(new_g - g).max())
            f, g = 0.5 * (f + new_f), 0.5 * (g + new_g)
            if change < tolerance * epsilon:
                return float(a @ f + b @ g)
        raise SolverError(
            f"Sinkhorn's iteration still moves by {change / epsilon:.1e} ε after {iterations} "
            "iterations",
            "take a larger blur, or allow more iterations",
        )

    _, a, b = _clouds(x, y, a, b)
    own = entropic(x, a, x, a) + entropic(y, b, y, b)
    return entropic(x, a, y, b) - 0.5 * own


def _clouds(
    x: np.ndarray, y: np.ndarray, a: np.ndarray | None, b: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances (n, m) and the weights, checked."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or 0 in (len(x), len(y)):
        raise ProblemError(f"clouds of shapes {x.shape} and {y.shape}", "give (n, k) and (m, k)")
    if len(x) * len(y) > _MOST:
        raise ProblemError(
            f"{len(x)} times {len(y)} costs do not fit", "take fewer points, or another distance"
        )
    weights = []
    for cloud, given in ((x, a), (y, b)):
        w = np.full(len(cloud), 1.0 / len(cloud)) if given is None else np.asarray(given, float)
        if w.shape != (len(cloud),) or not (w.min() >= 0 and abs(w.sum() - 1) < 1e-9):
            raise ProblemError("weights must be nonnegative, sum to one, and be one a point")
        weights.append(w)
    squares = (x**2).sum(axis=1)[:, None] + (y**2).sum(axis=1) - 2 * x @ y.T
    return np.maximum(squares, 0.0), weights[0], weights[1] * (weights[0].sum() / weights[1].sum())
