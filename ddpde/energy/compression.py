"""Many data nodes as few features: an interpolative decomposition.

For smooth units S = [σ(x_m; ·)] has low numerical rank: S ≈ S[:, P] X with pivot nodes P chosen
by column-pivoted QR on a sample of θ in the mesh's bounding box. Only the pivots' features are
evaluated and kept on the mesh; f = Xᵀ(S[:, P]ᵀ masses) are the predictions at all nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular
from scipy.stats import qmc

from ddpde.energy.features import NodeFeatures
from ddpde.problem import Nodes

Box = tuple[np.ndarray, np.ndarray]

_SAMPLES = (150, 450, 1500)
_CHECKS = 200
_FEW = 100  # nodes that are cheap as they are
_WORTHWHILE = 0.6  # of the nodes: a higher rank saves nothing
_SURE = 100.0  # tolerances that the measured error may reach
_MOST_NODES = 20_000  # the sample's matrix is dense


@dataclass(frozen=True, eq=False)
class Compressed:
    """features: those of the r pivot nodes; expansion X (r, M); error relative to max |S|."""

    features: NodeFeatures
    expansion: np.ndarray
    error: float


def compress(features: NodeFeatures, box: Box, tolerance: float) -> Compressed | None:
    """The decomposition to `tolerance` on the box, its error measured at other points.

    None where it does not pay, or is not accurate: then all nodes are used.
    """
    count = len(features.nodes.y)
    if not _FEW <= count <= _MOST_NODES:
        return None
    for sample in _SAMPLES:  # as few as will do
        S = features.values(box_sample(box, sample))
        triangle, order = qr(S, mode="r", pivoting=True)
        diagonal = np.abs(np.diag(triangle))
        rank = max(1, int(np.searchsorted(-diagonal, -tolerance * diagonal[0])))
        if rank > _WORTHWHILE * count:
            return None
        if rank < sample:  # else cut by the sample
            found = _from_pivots(features, box, triangle[:rank], order)
            if found.error <= _SURE * tolerance:
                return found
    return None


def _from_pivots(
    features: NodeFeatures, box: Box, triangle: np.ndarray, order: np.ndarray
) -> Compressed:
    """Expansion in the first r nodes of `order`, with the r rows of the triangular factor."""
    rank, count = triangle.shape
    pivots = order[:rank]
    expansion = np.empty((rank, count))
    expansion[:, pivots] = np.eye(rank)
    expansion[:, order[rank:]] = solve_triangular(triangle[:, :rank], triangle[:, rank:])
    nodes = features.nodes
    few = NodeFeatures(
        features.unit, Nodes(nodes.x[pivots], nodes.y[pivots], nodes.weights[pivots])
    )
    lower, upper = box
    points = lower + (upper - lower) * np.random.default_rng(0).random((_CHECKS, len(lower)))
    exact = features.values(points)
    error = float(np.abs(few.values(points) @ expansion - exact).max() / np.abs(exact).max())
    return Compressed(few, expansion, error)


def box_sample(box: Box, count: int) -> np.ndarray:
    """Points (count, k) of the box, denser towards its faces, where interpolation is hardest."""
    lower, upper = box
    uniform = qmc.Halton(len(lower), scramble=False).random(count)
    return lower + (upper - lower) * 0.5 * (1 - np.cos(np.pi * uniform))
