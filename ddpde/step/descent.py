"""Along a gradient flow the free energy never rises: what becomes of a step after which it did.

The commonest cause is explicit transport at the limit of its stability: nothing else then limits
the step, the tails of the law shake at the size of the step's tolerance, and their entropy with
them. So the step is taken again, shorter, and later ones are no longer. Where the cause is another,
as on a mesh that does not resolve the law, shorter steps do not help, and none is made shorter than
a quarter of what the tolerance wants: the law is changed then until it has not risen, by
`SemiDiscrete.lower`. (To change it at once would spoil the way from an unstable state, where 1e-10
of the energy is 1e-5 of the law.)

A step that raised it by much is repeated with half its length.
"""

from __future__ import annotations

from petsc4py import PETSc

from ddpde.flow import SemiDiscrete
from ddpde.step.method_of_lines import MethodOfLines

ALLOWED = 1e-10  # rise in one step, relative to max(1, |F|)
UNSTABLE = 1e-2  # such a rise asks for a shorter step, and with fixed steps is not mended
_ATTEMPTS = 5  # halvings of one step at most


class Descent:
    """Judges each step of `stepper` by the free energy after it, from `energy` on.

    adaptive: whether `stepper` may change the length of its steps.
    """

    def __init__(
        self, flow: SemiDiscrete, stepper: MethodOfLines, energy: float, *, adaptive: bool
    ) -> None:
        self._flow, self._stepper, self._adaptive = flow, stepper, adaptive
        self._last = energy
        self._attempts = 0

    def accepts(self, u: PETSc.Vec, before: PETSc.Vec, energy: float) -> bool:
        """Whether the step from `before` to u, of free energy `energy`, counts.

        If so, u may have been changed (which `stepper` knows); if not, it will be repeated.
        """
        rise = (energy - self._last) / max(1.0, abs(self._last))
        if rise > UNSTABLE and self._repeats(before):
            return False
        if ALLOWED < rise <= UNSTABLE and self._adaptive and self._stepper.shorten(before):
            return False
        if rise > ALLOWED and (self._adaptive or rise <= UNSTABLE):
            raw = u.copy()
            energy = self._flow.lower(u, before, self._last)
            raw.axpy(-1.0, u)
            self._stepper.change(raw.norm(PETSc.NormType.INFINITY))
        self._last, self._attempts = energy, 0
        return True

    def _repeats(self, before: PETSc.Vec) -> bool:
        """Take the step again with half its length, if it may be shorter."""
        if not self._adaptive or self._attempts == _ATTEMPTS:
            return False
        self._attempts += 1
        self._stepper.repeat(before)
        return True
