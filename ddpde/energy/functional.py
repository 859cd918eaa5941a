"""The energy F[ρ] = E ℓ(f_ρ, y) + ½ ∬ W dρ dρ + ∫ r dρ and its first variation.

Every non-local term is a function of the means f_m = ∫ S_m dρ of a few feature functions, and
separable in them: a network's risk (S_m = σ(x_m; ·) on the data nodes) and a pair interaction
alike. So F' = S (∂G/∂f) + r costs O(n M).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from ddpde.energy.compression import Box, compress
from ddpde.energy.derivatives import Differentiated, differentiated
from ddpde.energy.features import FeatureMap, NodeFeatures, shaped
from ddpde.energy.hermite import HermiteRadialFeatures
from ddpde.energy.interaction import InteractionFeatures
from ddpde.errors import ProblemError
from ddpde.problem import (
    HalfSquared,
    IsotropicGaussians,
    Loss,
    Problem,
    Radial,
    RidgeUnit,
    Squared,
)
from ddpde.problem.activations import PiecewiseLinear
from ddpde.problem.losses import second_derivative

TOLERANCE = 1e-8  # of compression, relative to the largest feature or interaction
_CHEAP = 1_000_000  # numbers in S: with fewer, compressing takes longer than it saves

Reduce = Callable[[np.ndarray], np.ndarray]


class Outer(Protocol):
    """G(f) = Σ_m g_m(f_m): value, first and second derivatives (M,); `size` is M."""

    @property
    def size(self) -> int: ...

    def value(self, f: np.ndarray) -> float: ...

    def dual(self, f: np.ndarray) -> np.ndarray: ...

    def curvature(self, f: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Risk:
    """Σ_m w_m ℓ(f_m, y_m)."""

    loss: Loss
    targets: np.ndarray
    weights: np.ndarray

    @property
    def size(self) -> int:
        return len(self.targets)

    def value(self, f: np.ndarray) -> float:
        return float(self.weights @ self.loss.value(f, self.targets))

    def dual(self, f: np.ndarray) -> np.ndarray:
        return self.weights * self.loss.derivative(f, self.targets)

    def curvature(self, f: np.ndarray) -> np.ndarray:
        return self.weights * second_derivative(self.loss, f, self.targets)


@dataclass(frozen=True, eq=False)
class PairEnergy:
    """½ Σ_m s_m f_m²."""

    signs: np.ndarray

    @property
    def size(self) -> int:
        return len(self.signs)

    def value(self, f: np.ndarray) -> float:
        return float(0.5 * self.signs @ f**2)

    def dual(self, f: np.ndarray) -> np.ndarray:
        return self.signs * f

    def curvature(self, f: np.ndarray) -> np.ndarray:
        return self.signs


def _serial(partial: np.ndarray) -> np.ndarray:
    return partial


class Energy:
    """The energy of a problem for a law carried by points.

    Shapes: n points; S (n, r) the features kept on them, r = `size`; masses (n,) = ∫ of ρ
    against each point's shape function; f (M,) the means of all features. r = M, or fewer where
    the number of `points` of all ranks is given: then data nodes are compressed where it pays.
    Interactions always are, both to `tolerance`, and `compression_error` is what was measured.
    `box` bounds the mesh (needed by interactions and by compression); `reduce` adds an array over
    the ranks.
    """

    def __init__(
        self,
        problem: Problem,
        box: Box | None = None,
        reduce: Reduce = _serial,
        tolerance: float = TOLERANCE,
        points: int = 0,
    ) -> None:
        self._problem = problem
        self.reduce = reduce
        self._terms: list[tuple[FeatureMap, Outer]] = []
        self._expansion: np.ndarray | None = None  # X (r, M) of a compressed network
        self.compression_error = 0.0
        if problem.unit is not None:
            self._terms.append(_network(problem))
            self._compress(box, tolerance, points)
        if problem.interaction is not None:
            if box is None:
                raise ProblemError("an interaction needs the bounding box of the mesh")
            pair = InteractionFeatures(problem.interaction, box, tolerance)
            self.compression_error = max(self.compression_error, pair.error)
            self._terms.append((pair, PairEnergy(pair.signs)))

    def _compress(self, box: Box | None, tolerance: float, points: int) -> None:
        """Replace the network's features by those of a few pivot nodes, where that pays."""
        features, outer = self._terms[0]
        if points * outer.size < _CHEAP or box is None or not isinstance(features, NodeFeatures):
            return
        compressed = compress(features, box, tolerance)
        if compressed is not None:
            self._terms[0] = (compressed.features, outer)
            self._expansion = compressed.expansion
            self.compression_error = compressed.error

    @property
    def interacting(self) -> bool:
        """Whether F' depends on the law at all."""
        return bool(self._terms)

    @property
    def size(self) -> int:
        """r, the number of features kept on the points."""
        return sum(self._kept())

    def _kept(self) -> list[int]:
        """Of each term."""
        sizes = [outer.size for _, outer in self._terms]
        if self._expansion is not None:
            sizes[0] = len(self._expansion)
        return sizes

    def features(self, points: np.ndarray) -> np.ndarray:
        """S (n, r) at mesh coordinates (n, k)."""
        blocks = [feature.values(points) for feature, _ in self._terms]
        return np.hstack(blocks) if blocks else np.zeros((len(points), 0))

    def difference(self, found: np.ndarray, exact: np.ndarray) -> float:
        """Relative error in F' that features `found` in place of `exact` ones (n, r) make."""
        ends = np.cumsum(self._kept())[:-1]
        parts = zip(self.terms, np.split(found, ends, 1), np.split(exact, ends, 1), strict=True)
        return max(term.difference(a, b) for term, a, b in parts)

    @property
    def terms(self) -> list[FeatureMap]:
        """The nonlocal terms, whose features stand side by side in S."""
        return [feature for feature, _ in self._terms]

    def features_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """S (n, r) and its derivatives (n, k, r)."""
        if not self._terms:
            return np.zeros((len(points), 0)), np.zeros((*points.shape, 0))
        blocks = [feature.values_and_gradients(points) for feature, _ in self._terms]
        return np.hstack([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks], axis=2)

    def predictions(self, S: np.ndarray, masses: np.ndarray) -> np.ndarray:
        """f_m = ∫ S_m dρ, added over the ranks; for a network, its outputs at the data nodes."""
        return self.expanded(S.T @ masses)

    def expanded(self, part: np.ndarray) -> np.ndarray:
        """f_m from a rank's part (r,) of the means of the features kept."""
        kept = self.reduce(part)
        X = self._expansion
        return kept if X is None else np.concatenate([X.T @ kept[: len(X)], kept[len(X) :]])

    def risk(self, f: np.ndarray) -> float:
        """E ℓ(f, y): the network's part of the energy, without the regulariser."""
        return sum(outer.value(part) for outer, part in self._split(f) if isinstance(outer, Risk))

    def nonlocal_energy(self, f: np.ndarray) -> float:
        """G(f): risk and pair energy."""
        return sum(outer.value(part) for outer, part in self._split(f))

    def dual(self, f: np.ndarray) -> np.ndarray:
        """The numbers (r,) through which points interact: ∂G/∂f, on the features kept."""
        parts = [outer.dual(part) for outer, part in self._split(f)]
        if self._expansion is not None:
            parts[0] = self._expansion @ parts[0]
        return np.concatenate(parts) if parts else f

    def dual_from(self, part: np.ndarray) -> np.ndarray:
        """The dual (r,) from a rank's part (r,) of the means of the features kept."""
        if self._linear is None:
            return self.dual(self.expanded(part))
        matrix, constant = self._linear
        return matrix @ self.reduce(part) + constant

    @cached_property
    def _linear(self) -> tuple[np.ndarray, np.ndarray] | None:
        """With a squared loss the dual is linear in the means of the features kept: the matrix
        X ∂²G/∂f² Xᵀ (r, r) and the constant (r,), which save a compressed network the products
        with all its data nodes."""
        X = self._expansion
        if X is None or len(self._terms) > 1:
            return None
        if not isinstance(self._problem.loss, Squared | HalfSquared):
            return None
        zero = np.zeros(X.shape[1])
        return (X * self.curvature(zero)) @ X.T, self.dual(zero)

    def curvature(self, f: np.ndarray) -> np.ndarray:
        """The diagonal ∂²G/∂f² (M,)."""
        parts = [outer.curvature(part) for outer, part in self._split(f)]
        return np.concatenate(parts) if parts else f

    def dual_change(self, f: np.ndarray, change: np.ndarray) -> np.ndarray:
        """How the dual (r,) changes with the means: ∂²G/∂f² times `change` (M,)."""
        curved = self.curvature(f) * change
        X = self._expansion
        if X is None:
            return curved
        return np.concatenate([X @ curved[: X.shape[1]], curved[X.shape[1] :]])

    @property
    def sampled(self) -> bool:
        """Whether the network's features are those of single samples, as SGD sees them."""
        return self._problem.unit is not None and self._problem.reduction is None

    def sampling_covariance(self, f: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Covariance (K, K) over the data of ∂ℓ(f_m, y_m) a_m, for rows a of slopes (K, M)."""
        risk = self._terms[0][1]
        assert self.sampled and isinstance(risk, Risk)
        weighted = slopes[:, : risk.size] * risk.dual(f[: risk.size])
        mean = weighted.sum(axis=1)
        return (weighted / risk.weights) @ weighted.T - np.outer(mean, mean)

    def local(self, points: np.ndarray) -> np.ndarray:
        """r(θ) = ridge · |θ|² + potential(θ) at points (n, k)."""
        out = self._problem.ridge * (points**2).sum(axis=1)
        if self._problem.potential is not None:
            out = out + shaped("potential", self._problem.potential(points), len(points))
        return out

    def drift(self, points: np.ndarray, gradients: np.ndarray, dual: np.ndarray) -> np.ndarray:
        """−∇F' (n, k) at points, from the features' gradients (n, k, r) there."""
        out = -(gradients @ dual) - 2 * self._problem.ridge * points
        if self._problem.potential is not None:
            out -= self._potential_and_slope(points)[1][:, :, 0]
        return out

    @cached_property
    def _potential_and_slope(self) -> Differentiated:
        potential = self._problem.potential
        assert potential is not None
        return differentiated(lambda points: potential(points)[:, None])

    def _split(self, f: np.ndarray) -> list[tuple[Outer, np.ndarray]]:
        return [(outer, f[part]) for outer, part in self._parts]

    @cached_property
    def _parts(self) -> list[tuple[Outer, slice]]:
        """The terms' places among the means f."""
        outers = [outer for _, outer in self._terms]
        ends = np.cumsum([outer.size for outer in outers]).tolist()
        return [
            (outer, slice(end - outer.size, end)) for outer, end in zip(outers, ends, strict=True)
        ]


def _network(problem: Problem) -> tuple[FeatureMap, Risk]:
    """Features of the network: in closed form where the reduction has one, else on nodes."""
    unit, data = problem.unit, problem.data
    assert unit is not None and data is not None
    if problem.reduction is None:
        nodes = data.nodes()
        return NodeFeatures(unit, nodes), Risk(problem.loss, nodes.y, nodes.weights)
    if (
        isinstance(problem.reduction, Radial)
        and isinstance(data, IsotropicGaussians)
        and isinstance(unit, RidgeUnit)
        and isinstance(unit.activation, PiecewiseLinear)
        and unit.dim == data.dim
    ):
        features = HermiteRadialFeatures(data.dim, data.delta, unit.activation)
        return features, Risk(problem.loss, features.targets, features.weights)
    raise ProblemError(
        f"no reduced features for {type(problem.reduction).__name__} with this unit and data law",
        "solve without reduction, or use a piecewise-linear ridge unit on isotropic Gaussians",
    )
