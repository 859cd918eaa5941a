"""Between which ends of a pair of vertices the mobility of a movement lies."""

from __future__ import annotations

import numpy as np

from ddpde.flow.vertices import VertexFlow
from ddpde.step.monotone import Graph

_PRESENT = 1e-10  # of the peak: less is a tail


def upwinding(flow: VertexFlow, mu: np.ndarray, peak: float) -> np.ndarray:
    """How much of a pair's mobility (e,) is of the end the flux leaves: 0 where μ is smooth."""
    both = flow.shared(mu)
    a, b = both[flow.local_pairs].T
    present = np.minimum(a, b) > _PRESENT * peak
    steep = np.divide(a - b, a + b, out=np.ones_like(a), where=present) ** 2
    return steep if flow.temperature > 0 else steep * _driven(flow, mu)


def _driven(flow: VertexFlow, mu: np.ndarray) -> np.ndarray:
    """How much of the force between the ends of a pair (e,) is not that of their pressures.

    Pressure moves mass to where less is, and a mean mobility draws none where there is none.
    """
    pressure = Graph(0.0, flow.problem.internal, 1.0).pressure(mu)
    field = flow.features.field(flow.energy.dual(flow.predictions(mu))) + flow.local_energy
    parts = flow.shared(np.stack([field, pressure], axis=1))[flow.local_pairs]
    field, pressure = np.abs(parts[:, 0] - parts[:, 1]).T
    both = field + pressure
    return np.divide(field, both, out=np.zeros_like(both), where=both > 0)
