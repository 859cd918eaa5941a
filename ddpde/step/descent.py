"""Along a gradient flow the free energy never rises: what becomes of a step after which it did.

A rise of more than a hundredth of the step's tolerance is held to be the step's error (explicit
transport beyond the limit of its stability makes it), and an adaptive step is repeated with half
its length. A smaller rise, or one that repeats do not mend, is taken from the law by a small
change, `SemiDiscrete.lower`. At positive temperature that change may be no more than a few times
the step's tolerance; where it would be more, or where there is none, the step stands as it is, and
the rise with it: a law that its mesh resolves has no such steps, and another must not be moved, nor
stopped, for the sake of its energy.

A law narrower than its cells cannot fall for ever. So a series of repeats in vain is followed by a
pause, twice as long each time, until a repeat helps again, and of all steps no more than about a
tenth are repeated: else steps would shrink for ever.
"""

from __future__ import annotations

from petsc4py import PETSc

from ddpde.flow import SemiDiscrete
from ddpde.step.method_of_lines import MethodOfLines

ALLOWED = 1e-10  # rise in one step, relative to max(1, |F|)
UNSTABLE = 1e-2  # such a rise is not to be mended
_PART = 1e-2  # of a step's tolerance: a greater rise is held to be its error
_MOST = 10.0  # step's tolerances, relative to the peak: a change that may be made
_FIRST, _SHARE = 20.0, 0.1  # repeats that are allowed at first, and more with each step
_ATTEMPTS = 5  # halvings of one step at most


class Descent:
    """Judges each step of `stepper` by the free energy after it, from `energy` on.

    tolerance: of a step; None where steps cannot be repeated.
    """

    def __init__(
        self, flow: SemiDiscrete, stepper: MethodOfLines, energy: float, tolerance: float | None
    ) -> None:
        self._flow, self._stepper, self._tolerance = flow, stepper, tolerance
        self._last = energy
        # at a front, without temperature, the mesh's error is far above the step's
        self._most = None
        if tolerance is not None and flow.temperature > 0:
            self._most = _MOST * tolerance
        self._attempts = self._rest = 0
        self._pause = 1
        self._budget = _FIRST  # of repeats

    def accepts(self, u: PETSc.Vec, before: PETSc.Vec, energy: float) -> bool:
        """Whether the step from `before` to u, of free energy `energy`, counts.

        If so, u may have been changed (which `stepper` knows); if not, it will be repeated.
        """
        scale = max(1.0, abs(self._last))
        rise = (energy - self._last) / scale
        if rise <= ALLOWED:
            self._last = energy
            self._settle(helped=True)
            return True
        beyond = self._tolerance is not None and rise > _PART * self._tolerance
        if beyond and self._repeats(before):
            return False
        lowered = self._lowered(u) if rise <= UNSTABLE else None
        if lowered is None and not beyond and self._repeats(before):
            return False
        self._last = energy if lowered is None else lowered
        self._settle(helped=lowered is not None and not beyond)
        return True

    def _lowered(self, u: PETSc.Vec) -> float | None:
        """Take from u what it has too much, and return its free energy.

        None, and no change, where that is not found or would be too much.
        """
        raw = u.copy()
        lowered = self._flow.lower(u, self._last)
        if lowered is None:
            return None
        infinity, change = PETSc.NormType.INFINITY, raw.copy()
        change.axpy(-1.0, u)
        size = change.norm(infinity)
        if self._most is not None and size > self._most * u.norm(infinity):
            raw.copy(u)
            return None
        self._stepper.change(size)
        return lowered

    def _repeats(self, before: PETSc.Vec) -> bool:
        """Take the step again, if that may help."""
        can = self._tolerance is not None and not self._rest
        if not (can and self._attempts < _ATTEMPTS and self._budget >= 1.0):
            return False
        self._attempts += 1
        self._budget -= 1.0
        self._stepper.repeat(before)
        return True

    def _settle(self, *, helped: bool) -> None:
        """Count a step that is done with."""
        self._budget += _SHARE
        if helped and self._attempts:
            self._pause = 1
        elif not helped and self._rest:
            self._rest -= 1
        elif not helped:
            self._rest, self._pause = self._pause, 2 * self._pause
            self._stepper.release()
        self._attempts = 0
