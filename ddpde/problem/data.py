"""Data laws of (x, y).

A law is sampled as a push-forward of standard normals and uniforms, so that the same few
lines serve NumPy and JAX, and the caller owns the random numbers. For the mean-field side a
law may offer `nodes()`: a quadrature of itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array, namespace


@dataclass(frozen=True)
class Nodes:
    """Quadrature of a data law: x (M, d), y (M,), weights (M,) that sum to one."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray


class DataLaw(Protocol):
    """A law of (x, y). `normals` and `uniforms` say how many of each one sample consumes."""

    @property
    def input_dim(self) -> int: ...

    @property
    def normals(self) -> int: ...

    @property
    def uniforms(self) -> int: ...

    def draw(self, normals: Array, uniforms: Array) -> tuple[Array, Array]:
        """Samples x (m, d) and y (m,) from normals (m, `normals`) and uniforms (m, `uniforms`)."""
        ...

    def nodes(self) -> Nodes:
        """A quadrature of the law; ProblemError where none is practical."""
        ...


def sample(law: DataLaw, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` independent samples x (count, d), y (count,) in NumPy."""
    normals = rng.standard_normal((count, law.normals))
    return law.draw(normals, rng.random((count, law.uniforms)))


@dataclass(frozen=True)
class IsotropicGaussians:
    """y = ±1 with probability ½; x | y ~ N(0, (1 + yΔ)² I_d)  (Mei et al. 2018, Example A)."""

    dim: int
    delta: float

    uniforms = 1

    def __post_init__(self) -> None:
        if self.dim < 2:
            raise ProblemError(f"dim = {self.dim}: isotropic Gaussians need dim >= 2")
        if not 0 <= self.delta < 1:
            raise ProblemError(f"delta = {self.delta}: must lie in [0, 1)")

    @property
    def input_dim(self) -> int:
        return self.dim

    @property
    def normals(self) -> int:
        return self.dim

    def draw(self, normals: Array, uniforms: Array) -> tuple[Array, Array]:
        y = namespace(normals).where(uniforms[:, 0] < 0.5, 1.0, -1.0).astype(normals.dtype)
        return (1.0 + self.delta * y)[:, None] * normals, y

    def nodes(self) -> Nodes:
        raise ProblemError(
            f"no quadrature of isotropic Gaussians in dimension {self.dim} is practical",
            "use the radial reduction (ddpde.problems.isotropic_gaussians does)",
        )


@dataclass(frozen=True, eq=False)
class DataSet:
    """The empirical law of samples x (M, d), y (M,): sampled with replacement, exact nodes."""

    x: np.ndarray
    y: np.ndarray

    normals = 0
    uniforms = 1

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, _reals(name, getattr(self, name)))
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1] or len(self.y) == 0:
            raise ProblemError(
                f"data of shapes x {self.x.shape}, y {self.y.shape}", "give x (M, d) and y (M,)"
            )
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise ProblemError("the data hold NaN or infinity", "clean them first")

    @property
    def input_dim(self) -> int:
        return self.x.shape[1]

    def draw(self, normals: Array, uniforms: Array) -> tuple[Array, Array]:
        xp = namespace(uniforms)
        size = len(self.y)
        # min: rounding of a uniform just below one may reach `size`
        index = xp.minimum(xp.floor(uniforms[:, 0] * size).astype("int32"), size - 1)
        x = xp.asarray(self.x, dtype=uniforms.dtype)
        y = xp.asarray(self.y, dtype=uniforms.dtype)
        return x[index], y[index]

    def nodes(self) -> Nodes:
        return Nodes(self.x, self.y, np.full(len(self.y), 1.0 / len(self.y)))


def _reals(name: str, values: object) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise ProblemError(f"{name} of the data is no array of real numbers")
    return array.astype(float, copy=False)


@dataclass(frozen=True)
class GaussianInputs:
    """x ~ N(0, I_d), y = teacher(x) + label_noise · N(0, 1).

    `teacher` maps x (m, d) to (m,) with operations that NumPy and JAX share.
    `quadrature_points` per direction: the Gauss–Hermite rule behind `nodes()`.
    """

    dim: int
    teacher: Callable[[Array], Array]
    label_noise: float = 0.0
    quadrature_points: int = 64

    uniforms = 0

    def __post_init__(self) -> None:
        if self.dim < 1 or not self.label_noise >= 0:
            raise ProblemError(
                f"dim = {self.dim}, label_noise = {self.label_noise}: "
                "need dim >= 1 and label_noise >= 0"
            )

    @property
    def input_dim(self) -> int:
        return self.dim

    @property
    def normals(self) -> int:
        return self.dim + (self.label_noise > 0)

    def draw(self, normals: Array, uniforms: Array) -> tuple[Array, Array]:
        x = normals[:, : self.dim]
        y = self.teacher(x)
        return x, (y + self.label_noise * normals[:, self.dim] if self.label_noise else y)

    def nodes(self) -> Nodes:
        if self.dim > 3:
            raise ProblemError(
                f"a tensor quadrature in input dimension {self.dim} is not practical",
                "use a DataSet of samples, or a problem with a reduction",
            )
        z, w = np.polynomial.hermite_e.hermegauss(self.quadrature_points)
        w = w / w.sum()
        grids = np.meshgrid(*[np.arange(len(z))] * self.dim, indexing="ij")
        index = np.stack([g.ravel() for g in grids], axis=1)
        noise_z, noise_w = np.zeros(1), np.ones(1)
        if self.label_noise:
            noise_z, noise_w = np.polynomial.hermite_e.hermegauss(8)
            noise_w = noise_w / noise_w.sum()
        x = np.repeat(z[index], len(noise_z), axis=0)
        weights = np.outer(w[index].prod(axis=1), noise_w).ravel()
        y = self.teacher(x) + self.label_noise * np.tile(noise_z, len(index))
        keep = weights > 1e-18 * weights.max()  # the far tail of the rule weighs nothing
        return Nodes(x[keep], y[keep], weights[keep])
