"""Propagation of chaos itself: W₂ between the law of k of N particles and k independent draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import stats

from ddpde.compare.transport import wasserstein
from ddpde.errors import ProblemError

_GROUPS = 8
_MOST = 400  # points of a cloud: six transport problems a group cost some seconds in all


class Draws(Protocol):
    """What is drawn from: a `Law`."""

    def sample(self, count: int, rng: np.random.Generator) -> np.ndarray: ...


@dataclass(frozen=True)
class ChaosGap:
    """W₂²(P^k_N, ρ^⊗k), debiased: one estimate `squares` (G,) from each of G groups of replicas.

    floor: mean W₂² between two clouds as large of one law, which the estimates are free of.
    points: of each of these clouds.
    """

    k: int
    width: int
    squares: np.ndarray
    floor: float
    points: int

    @property
    def squared(self) -> float:
        """The mean estimate; of either sign where nothing is resolved."""
        return float(self.squares.mean())

    @property
    def distance(self) -> float:
        """W₂, 0 where the estimate of its square is negative."""
        return float(np.sqrt(max(self.squared, 0.0)))

    def half_width(self, level: float = 0.05) -> float:
        """Of the interval of W₂² at `level`, Student's over the groups."""
        count = len(self.squares)
        error = self.squares.std(ddof=1) / np.sqrt(count)
        return float(stats.t.ppf(1 - level / 2, count - 1) * error)

    @property
    def resolved(self) -> bool:
        """Whether chance at 5 % does not explain the estimate."""
        return self.squared > self.half_width()


def chaos_gap(
    particles: np.ndarray, law: Draws, k: int, *, rng: np.random.Generator, most: int = _MOST
) -> ChaosGap:
    """From particles (replicas, N, d), exchangeable, against independent draws of `law`.

    A group's replicas are halved; P, P' are the k-tuples (i, i + 1, …) of either half, Q, Q' as
    many tuples of the law, at most `most` each. With W₂² between clouds by exact transport,

        mean of W₂²(P, Q), W₂²(P, Q'), W₂²(P', Q), W₂²(P', Q') − ½ W₂²(P, P') − ½ W₂²(Q, Q')

    has mean zero where the laws agree, whatever the tuples of a replica have in common. For laws of
    one location-scale family on the line it has the mean |m − m'|² + (1 − β)(σ − σ')², β the floor
    over 2σ²: what bias is left makes it smaller. At least four replicas; needs POT.
    """
    if particles.ndim != 3:
        raise ProblemError(f"particles of shape {particles.shape}", "give (replicas, N, d)")
    replicas, width, dim = particles.shape
    if not 1 <= k <= width:
        raise ProblemError(f"k = {k} of {width} particles", "from 1 to N")
    if replicas < 4:
        raise ProblemError(f"{replicas} replicas", "at least four: two groups of two halves")
    halves = 2 * min(_GROUPS, replicas // 2)
    size = replicas // halves
    points = min(most, size * width)
    places = (np.arange(width)[:, None] + np.arange(k)) % width
    clouds = []
    for part in particles[: halves * size].reshape(halves, size, width, dim).astype(float):
        tuples = part[:, places].reshape(size * width, k * dim)
        clouds.append(tuples[rng.choice(len(tuples), points, replace=False)])
    draws = law.sample(halves * points * k, rng).reshape(halves, points, k * dim)
    squares, floors = [], []
    for j in range(0, halves, 2):
        ours, theirs = clouds[j : j + 2], draws[j : j + 2]
        across = [wasserstein(p, q) ** 2 for p in ours for q in theirs]
        floors.append((wasserstein(*ours) ** 2 + wasserstein(*theirs) ** 2) / 2)
        squares.append(np.mean(across) - floors[-1])
    return ChaosGap(k, width, np.array(squares), float(np.mean(floors)), points)
