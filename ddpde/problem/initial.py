"""Initial laws ρ₀ of one unit's parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, erf, namespace


class InitialLaw(Protocol):
    """A law on R^D that can be sampled (particles) and evaluated (mesh)."""

    @property
    def dim(self) -> int: ...

    def sample(self, normals: Array) -> Array:
        """Parameters θ (n, D) from standard normals (n, D), NumPy or JAX."""
        ...

    def density(self, theta: np.ndarray) -> np.ndarray:
        """Density (n,) at theta (n, D)."""
        ...


@dataclass(frozen=True)
class GaussianLaw:
    """N(mean, diag(std²)) on R^D."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise ProblemError("mean and std of the initial law differ in length")
        if not all(s > 0 for s in self.std):
            raise ProblemError(f"initial standard deviations must be positive: {self.std}")

    @classmethod
    def isotropic(cls, dim: int, std: float, mean: float = 0.0) -> GaussianLaw:
        """The same mean and standard deviation in each of `dim` directions."""
        return cls((float(mean),) * dim, (float(std),) * dim)

    @property
    def dim(self) -> int:
        return len(self.mean)

    def sample(self, normals: Array) -> Array:
        xp = namespace(normals)
        mean = xp.asarray(self.mean, dtype=normals.dtype)
        return mean + xp.asarray(self.std, dtype=normals.dtype) * normals

    def density(self, theta: np.ndarray) -> np.ndarray:
        std = np.asarray(self.std)
        z = (theta - np.asarray(self.mean)) / std
        return np.exp(-0.5 * (z**2).sum(axis=1)) / np.prod(np.sqrt(2 * np.pi) * std)


@dataclass(frozen=True)
class Mixture:
    """Σ_j weights_j · components_j of Gaussian laws on R^D."""

    weights: tuple[float, ...]
    components: tuple[GaussianLaw, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.components) or not self.weights:
            raise ProblemError("a mixture needs as many weights as components, at least one")
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-12:
            raise ProblemError(f"mixture weights must be positive and sum to one: {self.weights}")
        if len({component.dim for component in self.components}) > 1:
            raise ProblemError("the components of a mixture differ in dimension")

    @property
    def dim(self) -> int:
        return self.components[0].dim

    def sample(self, normals: Array) -> Array:
        """The first `weights[0]` part of the rows from the first component, and so on."""
        xp = namespace(normals)
        ends = np.rint(np.cumsum(self.weights) * len(normals)).astype(int)
        parts = np.split(np.arange(len(normals)), ends[:-1])
        drawn = [
            component.sample(normals[part])
            for component, part in zip(self.components, parts, strict=True)
        ]
        return xp.concat(drawn, axis=0)

    def density(self, theta: np.ndarray) -> np.ndarray:
        densities = [component.density(theta) for component in self.components]
        return np.tensordot(self.weights, densities, axes=1)


@dataclass(frozen=True)
class DensityLaw:
    """A law given by its density alone, θ (n, D) -> (n,).

    On a surface the density is with respect to the surface's area. Particles can be drawn in one
    dimension, where `support` names an interval that holds all mass: by a table of its quantiles.
    """

    dim: int
    function: Callable[[np.ndarray], np.ndarray]
    support: tuple[float, float] | None = None

    def sample(self, normals: Array) -> Array:
        if self.dim != 1 or self.support is None:
            raise ProblemError(
                "this initial law is known by its density only and cannot be sampled",
                "give a GaussianLaw or a Mixture to train particles, or in one dimension a support",
            )
        xp = namespace(normals)
        points, masses = self._table
        z = normals[:, 0]
        uniform = 0.5 * (1.0 + erf(z))  # Φ(z)
        grid, below = (xp.asarray(a, dtype=normals.dtype) for a in (points, masses))
        return xp.interp(uniform, below, grid)[:, None].astype(normals.dtype)

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """4097 points of the support, and the mass below each."""
        assert self.support is not None
        points = np.linspace(*self.support, 4097)
        middle = 0.5 * (points[1:] + points[:-1])
        cells = self.function(middle[:, None])
        below = np.concatenate([[0.0], np.cumsum(cells)])
        return points, below / below[-1]

    def density(self, theta: np.ndarray) -> np.ndarray:
        return self.function(theta)
