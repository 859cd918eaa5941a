"""A minimising movement that is not found is taken as two of half its length, and so on.

A step of a JKO scheme may be too long: where the energy is not convex for it, where laws condense
into cells that a kernel or a path does not resolve, or where the inner iteration just fails. Each
of the shorter steps is a minimising movement for its own τ, so that mass, sign and the decay of
the free energy are kept as they are, and the flow is followed the more closely. Lengths are τ/2ᵏ
at multiples of themselves; the k that was needed is where the next step begins. A longer one is
tried again after a success, where that fails after 2, 4, … of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ddpde.errors import SolverError

if TYPE_CHECKING:
    from ddpde.step.movements import Proximal

_DEEPEST = 10  # halvings of a step


class Halving:
    """Implements `Proximal` by a `step` that may raise SolverError.

    `iterations`: of the latest step with all its parts and failures; `residual`: the largest.
    """

    iterations, residual = 0, 0.0

    def __init__(self, step: Proximal) -> None:
        self._step = step
        self._depth = 0  # the present length is τ/2^depth
        self._successes, self._patience = 0, 1
        self._lengthened = False

    def __call__(self, u: np.ndarray, tau: float) -> np.ndarray:
        """As the step's. SolverError where parts of τ/2^_DEEPEST are not found either."""
        self.iterations, self.residual = 0, 0.0
        done, first = 0, None  # done: in units of the shortest length
        while done < 1 << _DEEPEST:
            self._lengthen(done)
            try:
                u = self._step(u, tau / (1 << self._depth))
            except SolverError as error:
                first = first or error
                if self._depth == _DEEPEST:
                    shortest = tau / (1 << _DEEPEST)
                    raise SolverError(
                        f"{first.what}; nor was one of {shortest:.3g} found", first.remedy
                    ) from error
                self._depth += 1
                self._patience = 2 * self._patience if self._lengthened else 1
                self._successes, self._lengthened = 0, False
                continue
            finally:
                self.iterations += self._step.iterations
            self.residual = max(self.residual, self._step.residual)
            self._patience = 1 if self._lengthened else self._patience
            self._successes, self._lengthened = self._successes + 1, False
            done += 1 << (_DEEPEST - self._depth)
        return u

    def close(self) -> None:
        """Free what the step holds."""
        close = getattr(self._step, "close", None)
        if close is not None:
            close()

    def _lengthen(self, done: int) -> None:
        """Try twice the length, where it is time and place for it."""
        twice = 1 << (_DEEPEST - self._depth + 1)
        if self._depth and self._successes >= self._patience and done % twice == 0:
            self._depth -= 1
            self._successes, self._lengthened = 0, True
