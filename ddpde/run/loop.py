"""The time loop: from output time to output time, with a look at every step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from petsc4py import PETSc

from ddpde.comm import Progress, log
from ddpde.errors import SolverError
from ddpde.run.clock import Clock
from ddpde.run.system import System
from ddpde.run.trajectory import Recorder
from ddpde.step import UNSTABLE

_MANY = 50  # output times, beyond which adaptive steps do not end at each
_CALM = 2  # steps in which little changes, before a law counts as steady


class Loop:
    """Takes `system` through the output `times`, and tells `recorder` of its steps and outputs.

    stops: the same times in s = ∫ ξ dt. steady: the change in a unit of s, relative to the peak,
    below which the law counts as steady; None for never. A gradient flow (`descends`) whose free
    energy rises by much is unstable: SolverError.
    """

    def __init__(
        self,
        system: System,
        recorder: Recorder,
        clock: Clock,
        times: np.ndarray,
        stops: np.ndarray,
        *,
        steady: float | None,
        descends: bool,
    ) -> None:
        self._system, self._recorder, self._clock = system, recorder, clock
        self._times, self._stops = times, stops
        self._steady, self._descends = steady, descends
        # where they are few, ending a step at each is cheap, and more accurate than what is inside
        self._dense = system.adaptive and len(times) > _MANY
        self._goal = 0.0  # the output time that a step may end at next
        self._good_t = 0.0  # of the state before the step being made
        self._calm = 0  # steps in a row in which little changed
        self.steady_at: float | None = None

    def run(self, bar: Progress, interrupted: Callable[[], bool]) -> bool:
        """To the last output time; False where `interrupted` ended it before."""
        self._bar, self._interrupted = bar, interrupted
        flow = self._system.flow
        self._recorder.step({"t": 0.0, "dt": 0.0} | self._system.scalars(flow.state))
        last = len(self._times) - 1
        for goal in sorted({0, last}) if self._dense else range(last + 1):
            self._goal = self._times[goal]
            if self.steady_at is None and not self._reaches(self._stops[goal]):
                return False
            self._put_out(goal)
        return True

    def last_good(self) -> str:
        """Keep the state before the step that failed; says where."""
        system = self._system
        return self._recorder.rescue(system.flow.law(self._good_t, system.good))

    def _reaches(self, stop: float) -> bool:
        """Advance to s = `stop`, or until the law is steady; False where interrupted."""
        if stop == 0 or self._system.advance(stop, self._on_step, self._interrupted):
            return True
        if self._calm < _CALM:
            return False
        self.steady_at = self._good_t
        log.info("%s: steady at t = %.6g", self._bar.label, self.steady_at)
        return True

    def _on_step(self, s: float, ds: float, u: PETSc.Vec) -> bool:
        """After each step: judge it, record it; False where the integrator should stop."""
        scalars = self._system.judged(u)
        if scalars is None:
            return True
        row = {"t": self._clock.t_of(s, self._goal), "dt": ds} | scalars
        if self._descends:
            self._must_fall(row)
        if self._dense:
            self._pass_by(s)
        if self._steady is not None:
            calm = self._system.change(u) <= self._steady * ds
            self._calm = self._calm + 1 if calm else 0
        self._recorder.step(row)
        self._bar.to(s / self._stops[-1])
        self._good_t = row["t"]
        mesh_is_due = self._system.settle(u)
        return not (self._interrupted() or self._calm >= _CALM or mesh_is_due)

    def _must_fall(self, row: dict[str, float]) -> None:
        """The free energy cannot rise: where it does by much, the step is unstable."""
        energy, before = row["free_energy"], self._recorder.latest("free_energy")
        if not energy <= before + UNSTABLE * max(1.0, abs(before)):
            remedy = "take a smaller rtol"
            if not self._system.adaptive:
                remedy = "take a smaller dt (rk and imex methods without dt follow rtol)"
            raise SolverError(
                f"the time integration is unstable at t = {row['t']:.6g}: "
                f"the free energy rose from {before:.6g} to {energy:.6g}",
                f"{remedy}; if that fails, take a finer mesh",
            )

    def _pass_by(self, end: float) -> None:
        """Put out the laws at the output times, but the last, that the step to s = `end` passes."""
        first = len(self._recorder.outputs)
        passed = range(first, int(np.searchsorted(self._stops[:-1], end)))
        if not passed:
            return
        between = self._system.within()
        for place in passed:
            u = between(self._stops[place])
            law = self._system.flow.law(self._times[place], u)
            self._recorder.output(self._times[place], law, {"dt": 0.0} | self._system.scalars(u))

    def _put_out(self, goal: int) -> None:
        """Put out the present law at the output times up to `goal` that have none."""
        for t in self._times[len(self._recorder.outputs) : goal + 1]:
            if self.steady_at is not None:
                self._recorder.repeat(t)
            self._recorder.output(t, self._system.flow.law(t, self._system.flow.state))
