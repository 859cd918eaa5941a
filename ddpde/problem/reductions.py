"""Symmetry reductions: a law on R^D described by few coordinates.

A reduction maps parameters to mesh coordinates and carries the initial law along; what it does
to the energy is the business of `ddpde.energy`, so that particles never see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import gammaln, xlogy

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace
from ddpde.problem.initial import GaussianLaw, InitialLaw


class Reduction(Protocol):
    """From parameters θ in R^D to mesh coordinates."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coordinates, for axes; as many as the mesh has dimensions."""
        ...

    @property
    def lower(self) -> tuple[float, ...]:
        """Least admissible value of each coordinate (−inf where unbounded)."""
        ...

    def coordinates(self, theta: Array) -> Array:
        """Mesh coordinates (n, k) of parameters theta (n, D)."""
        ...

    def density(self, initial: InitialLaw, coordinates: np.ndarray) -> np.ndarray:
        """Density (n,) of the initial law's coordinates with respect to Lebesgue measure."""
        ...


@dataclass(frozen=True)
class Radial:
    """r = |w| for laws that rotations leave unchanged (Mei et al. 2018, Example A).

    The reduced unknown is the law of r itself: no r^{D−1} weight anywhere.
    """

    labels = ("r = |w|",)
    lower = (0.0,)

    def coordinates(self, theta: Array) -> Array:
        xp = namespace(theta)
        return xp.sqrt((theta * theta).sum(axis=1))[:, None]

    def density(self, initial: InitialLaw, coordinates: np.ndarray) -> np.ndarray:
        if not isinstance(initial, GaussianLaw) or len(set(initial.std)) > 1 or any(initial.mean):
            raise ProblemError(
                "the radial reduction needs a centred isotropic Gaussian initial law",
                "use GaussianLaw.isotropic(dim, std)",
            )
        dim, std = initial.dim, initial.std[0]
        r = coordinates[:, 0] / std  # r/std is chi-distributed with `dim` degrees of freedom
        log_norm = (1 - dim / 2) * np.log(2.0) - gammaln(dim / 2) - np.log(std)
        with np.errstate(divide="ignore"):
            return np.where(r >= 0, np.exp(xlogy(dim - 1, np.abs(r)) - 0.5 * r**2 + log_norm), 0.0)
