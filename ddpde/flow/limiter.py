"""Positivity without loss of mass or order.

Inside a cell the density is drawn towards its mean until it is nowhere negative (Zhang & Shu
2010). Should a mean itself be negative, all means are first clipped at zero and rescaled to the
old total: the clipped mass is no more than the L1 error made before, so the order stays.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI

from ddpde.space import Space


class PositivityLimiter:
    """Acts on owned coefficients (n_cells, nd) in place."""

    def __init__(self, space: Space) -> None:
        self._comm = space.comm
        self._check = space.check_values
        self._integrals, self._volumes = space.cell_means
        self._constant = 1.0 / self._check[0, 0]  # coefficient 0 of the function one

    def minimum(self, u: np.ndarray) -> float:
        """Least value over the check points of all ranks."""
        local = (u @ self._check.T).min() if len(u) else np.inf
        return self._comm.allreduce(float(local), MPI.MIN)

    def __call__(self, u: np.ndarray) -> bool:
        """Make u non-negative at the check points; True (on all ranks) if it was not."""
        least = (u @ self._check.T).min(axis=1)
        if self._comm.allreduce(float(least.min(initial=0.0)), MPI.MIN) >= 0.0:
            return False
        masses = np.einsum("ci,ci->c", self._integrals, u)
        clipped = np.maximum(masses, 0.0)
        total, kept = self._comm.allreduce(np.array([masses.sum(), clipped.sum()]))
        # `kept` > `total` only if some mean was negative
        targets = clipped * (total / kept)
        u[:, 0] += (targets - masses) / self._volumes * self._constant
        means = targets / self._volumes
        least = (u @ self._check.T).min(axis=1)
        bad = np.flatnonzero(least < 0.0)
        # a hair more than needed, so that rounding does not leave −1e-17
        shrink = (1 - 1e-12) * means[bad] / (means[bad] - least[bad])
        mean_part = np.zeros((len(bad), u.shape[1]))
        mean_part[:, 0] = means[bad] * self._constant
        u[bad] = mean_part + shrink[:, None] * (u[bad] - mean_part)
        return True
