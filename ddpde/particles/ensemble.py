"""What training returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Independent systems of one width at the save times.

    times (n_times,); theta (n_times, replicas, N, D), in the precision of the training;
    weights (n_times, replicas, N): particle i has mass weights/N (None: all have 1/N);
    wall: seconds that `train` took, of which `compile` went into compilation
    and the initial parameters.
    """

    problem: str
    width: int
    step_size: float
    batch: int
    seed: int
    times: np.ndarray
    theta: np.ndarray
    wall: float
    compile: float
    weights: np.ndarray | None = None

    @property
    def replicas(self) -> int:
        """How many systems were simulated."""
        return self.theta.shape[1]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during training; `ensemble` holds the save times that were reached (maybe none)."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        reached = f"t = {ensemble.times[-1]:g}" if len(ensemble.times) else "no save time"
        super().__init__(f"training interrupted; reached {reached}")
