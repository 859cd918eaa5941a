"""Step sizes that depend on the width: De Bortoli, Durmus, Fontaine & Simsekli 2020."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.schedules import PowerDecay


@dataclass(frozen=True)
class Regime:
    """W_{n+1} = W_n − γ N^β (n + 1/ε)^{−α} ∇R̂^N,   ε = γ_{α,β}(N) = γ^{1/(1−α)} N^{(β−1)/(1−α)}.

    ∇R̂^N is 1/N times the gradient of F', so that the step on F' is γ N^{β−1} (n + 1/ε)^{−α} =
    ε (1 + nε)^{−α}: SGD of step size ε in the natural time t = nε, with ξ(t) = (1 + t)^{−α}. Hence

        problem = Problem(..., schedule=regime.schedule)
        times = regime.nearest([1.0, 5.0], width)
        train(problem, width, step_size=regime.step_size(width), times=times, batch=M, ...)

    is the recursion, exactly. β < 1: the limit N → ∞ is the noiseless flow; β = 1: ε does not
    depend on N, and gradient noise of scale `limit_scale(M)` stays (see `Diffusion`).
    """

    gamma: float
    alpha: float = 0.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.gamma) and self.gamma > 0):
            raise ProblemError(f"gamma = {self.gamma}: must be finite and > 0")
        if not 0 <= self.alpha < 1:
            raise ProblemError(f"alpha = {self.alpha}: must lie in [0, 1)")
        if not 0 <= self.beta <= 1:
            raise ProblemError(f"beta = {self.beta}: must lie in [0, 1]")

    def step_size(self, width: int) -> float:
        """ε = γ_{α,β}(N)."""
        return float((self.gamma * width ** (self.beta - 1.0)) ** (1.0 / (1.0 - self.alpha)))

    @property
    def schedule(self) -> PowerDecay:
        """ξ(t) = (1 + t)^{−α}."""
        return PowerDecay(self.alpha)

    def limit_scale(self, batch: int) -> float:
        """γ^{1/(1−α)}/M, the factor of ξ² Σ in the limit's diffusion; 0 for β < 1."""
        return self.step_size(1) / batch if self.beta == 1 else 0.0

    def nearest(self, times: Sequence[float] | np.ndarray, width: int) -> np.ndarray:
        """The multiples of the step size that are nearest to the given times."""
        step = self.step_size(width)
        return np.unique(np.rint(np.asarray(times, dtype=float) / step)) * step
