"""Which steps to take again: along a gradient flow the free energy may not rise.

A rise is first held to be the step's fault (explicit transport at the limit of its stability does
it, within the tolerance), and the step is repeated with half its length. Where that does not help
the fault is the mesh's: a law narrower than its cells cannot fall for ever. Such a step is taken,
and so are twice as many as the time before, until a repeat helps again; of all steps no more than
about a tenth are repeated, so that steps cannot shrink for ever.
"""

from __future__ import annotations

from ddpde.step.method_of_lines import MethodOfLines

ALLOWED = 1e-10  # rise in one step, relative to max(1, |F|)
_FIRST, _SHARE = 20.0, 0.1  # repeats that are allowed at first, and more with each step
_ATTEMPTS = 5  # halvings of one step at most


class Descent:
    """Judges each attempted step by the free energy after it, from `energy` on."""

    def __init__(self, energy: float) -> None:
        self._last = energy
        self._attempts = self._rest = 0
        self._pause = 1
        self._budget = _FIRST  # of repeats

    def refuses(self, energy: float, stepper: MethodOfLines) -> bool:
        """Whether the step that ends with this free energy is to be repeated."""
        rises = energy - self._last > ALLOWED * max(1.0, abs(self._last))
        if rises and not self._rest and self._attempts < _ATTEMPTS and self._budget >= 1.0:
            self._attempts += 1
            self._budget -= 1.0
            return True
        self._budget += _SHARE
        if rises and self._rest:
            self._rest -= 1
        elif rises:
            self._rest, self._pause = self._pause, 2 * self._pause
            stepper.release()
        elif self._attempts:
            self._pause = 1
        self._attempts, self._last = 0, energy
        return False
