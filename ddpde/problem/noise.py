"""Noise whose strength depends on the place, and on the law: ½ ∂_i∂_j(Σ_ij ρ) in the flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array


@dataclass(frozen=True)
class SGDNoise:
    """Σ = scale · Cov[∂_f ℓ(f_ρ(x), y) ∇σ(x; θ)], the covariance of one sample's gradient.

    What stays of SGD's noise in the limit β = 1 of De Bortoli et al. 2020, with
    scale = γ^{1/(1−α)}/M for batch M, if neurons draw their samples independently; SGD proper,
    whose samples all neurons share, has a random limit instead.
    """

    scale: float

    def __post_init__(self) -> None:
        if not 0 < self.scale < float("inf"):
            raise ProblemError(f"scale = {self.scale}: must be finite and > 0")


@dataclass(frozen=True)
class GivenNoise:
    """Σ(θ) as a function: θ (n, D) -> symmetric, positive semi-definite matrices (n, D, D)."""

    covariance: Callable[[Array], Array]


Noise = SGDNoise | GivenNoise
