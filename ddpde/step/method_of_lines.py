"""The method of lines: PETSc TS advances the semi-discrete flow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from petsc4py import PETSc

from ddpde.errors import SolverError
from ddpde.flow import SemiDiscrete
from ddpde.step.callbacks import own_errors
from ddpde.step.dense import DenseOutput, blend
from ddpde.step.implicit import diffusion_rate, set_implicit_part
from ddpde.step.stepper import OnStep

# a step is kept while the one wanted, relative to it, is in this range: below, it would likely be
# refused (the controller aims at 0.9 of the largest step allowed)
_KEPT = (0.95, 1.3)
_SAME = 1e-9  # part of a step by which differences of times are inexact at the most


@dataclass(frozen=True)
class Method:
    """A Runge–Kutta family of PETSc TS and its order; `implicit`: diffusion is implicit."""

    family: str
    scheme: str
    order: int
    implicit: bool


METHODS = {
    "rk3": Method("rk", "3bs", 3, implicit=False),
    "rk5": Method("rk", "5dp", 5, implicit=False),
    "rk8": Method("rk", "8vr", 8, implicit=False),
    "imex3": Method("arkimex", "3", 3, implicit=True),
    "imex4": Method("arkimex", "4", 4, implicit=True),
}


_SHORTEST, _LONGEST = 1e-20, 1e20  # steps, as in PETSc
_FLOOR = 1e-14  # of the time to reach: steps that are shorter and do not grow never reach it
_SHORTER, _SHORTEST_PART = 0.7, 0.25  # of the last step, and of the longest that was wanted
_HARDLY = 0.8  # of the last step: not worth taking it again
_FORGOTTEN = 0.98  # what is left of that one with each step
_GROWTH = 1.002  # the limit on steps grows by this with each step
_FASTER = 1.1  # and by this power of the last growth, once it is beyond what was too long


class MethodOfLines:
    """Advances `flow.state` in place; adaptive to `rtol`, or with the fixed step `dt`.

    Starts at 0, or goes on from the time and with the step of the `previous` integrator.
    """

    def __init__(
        self,
        flow: SemiDiscrete,
        method: Method,
        *,
        rtol: float,
        dt: float | None = None,
        previous: MethodOfLines | None = None,
    ) -> None:
        self._flow = flow
        self.method = method
        self._u = flow.state
        self._fixed = dt
        self._dt: float = dt or (previous._dt if previous else self._first_step(method, rtol))
        self._held = 0.0
        self._stop = self._again = False
        self._corrected = 0.0
        self._cap, self._wanted = _LONGEST, 0.0
        self._too_long, self._growth = _LONGEST, _GROWTH
        self._on_step: OnStep = lambda t, dt, u: True
        self._ts = ts = PETSc.TS().create(flow.comm)
        ts.setTime(previous._ts.getTime() if previous else 0.0)
        ts.setType(method.family)
        if method.implicit:
            ts.setARKIMEXType(method.scheme)
            set_implicit_part(ts, flow, rtol)
        else:
            ts.setRKType(method.scheme)
        ts.setRHSFunction(self._explicit_part, self._u.duplicate())
        self._rtol = rtol
        self.rescale()
        _set_options(ts, ts_adapt_type="none" if dt else "basic", ts_adapt_wnormtype="infinity")
        ts.setMaxSteps(2**30)
        ts.setExactFinalTime(PETSc.TS.ExactFinalTime.MATCHSTEP)
        ts.setErrorIfStepFails(False)
        ts.setPostStep(self._after_step)

    @property
    def status(self) -> dict[str, float]:
        """corrected: the change made to the law after the latest step, relative to its peak."""
        return {"corrected": self._corrected}

    def advance(self, t_end: float, on_step: OnStep) -> bool:
        """Go on to `t_end`, calling on_step(t, dt, u) after each accepted step.

        Returns False if on_step asked to stop. Raises SolverError where TS gives up.
        """
        self._on_step, self._stop = on_step, False
        ts = self._ts
        t = ts.getTime()
        if t_end <= t:
            return True
        ts.setMaxTime(t_end)
        step = min(self._dt, t_end - t)
        ts.setTimeStep(_equal(t_end - t, step) if self._adapts_rarely else step)
        ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_ITERATING)
        try:
            with own_errors():
                ts.solve(self._u)
        except PETSc.Error as error:
            raise SolverError(f"PETSc failed at s = {ts.getTime():.6g}: {error}") from error
        if ts.getConvergedReason() < 0:
            raise SolverError(
                f"time integration failed at s = ∫ ξ dt = {ts.getTime():.6g} "
                f"(step {ts.getTimeStep():.3g}, reason {ts.getConvergedReason()})",
                "loosen rtol, or refine the mesh",
            )
        return not self._stop

    def rescale(self) -> None:
        """Take the tolerance relative to the largest density of the present state."""
        scale = self._u.norm(PETSc.NormType.INFINITY)
        self._ts.setTolerances(rtol=self._rtol, atol=self._rtol * scale)

    def repeat(self, before: PETSc.Vec) -> None:
        """To be called by on_step: take this step again from `before`, with half its length."""
        self._limit(0.5 * self._last_step)
        self._wanted = self._cap
        self._go_back(before)

    def shorten(self, before: PETSc.Vec) -> bool:
        """To be called by on_step: take this step again from `before`, shorter, and the next ones
        so, which may grow again slowly. False where it is about as short as it may be."""
        dt = self._last_step
        self._limit(max(_SHORTER * dt, _SHORTEST_PART * self._wanted))
        if self._cap > _HARDLY * dt:
            return False
        self._go_back(before)
        return True

    def change(self, size: float) -> None:
        """To be called by on_step: it has changed the state by `size` (largest coefficient)."""
        if size > 0.0:
            self._corrected = size / self._u.norm(PETSc.NormType.INFINITY)
            self._ts.restartStep()  # the method's stored derivative belongs to the old state

    def within(self, before: PETSc.Vec) -> Callable[[float], PETSc.Vec]:
        """To be called by on_step: the states inside this step from `before`, by their times s.

        Their error is of the method's order in the step. Mass is kept; positivity is the law's.
        """
        ts, flow = self._ts, self._flow
        if not self.method.implicit:
            ends = (ts.getPrevTime(), before), (ts.getTime(), self._u)
            return DenseOutput(flow, self.method.order, *ends)
        start, end = ts.getPrevTime(), ts.getTime()
        state, change = self._u.duplicate(), self._u.duplicate()
        ts.interpolate(end, change)
        change.aypx(-1.0, self._u)  # what was done to the law after the step

        def interpolated(s: float) -> PETSc.Vec:
            ts.interpolate(s, state)
            state.axpy(blend((s - start) / (end - start)), change)
            return state

        return interpolated

    def close(self) -> None:
        """Free what PETSc holds: its callbacks would keep the flow and its mesh alive for ever."""
        self._ts.destroy()

    def _first_step(self, method: Method, rtol: float) -> float:
        """A step in which the error is about rtol, by the size of du/ds; TS corrects it."""
        rate = self._u.duplicate()
        self._flow.transport(self._u, rate)
        if self.method.implicit:
            with rate as array:
                array[:] -= diffusion_rate(self._flow, self._u).ravel()
        largest = PETSc.NormType.INFINITY
        speed = rate.norm(largest) / self._u.norm(largest)
        return 0.5 * rtol ** (1.0 / method.order) / max(speed, 1e-8)

    def _after_step(self, ts: PETSc.TS) -> None:
        t, dt = ts.getTime(), self._last_step
        if not self._u.norm() < float("inf"):
            raise SolverError(
                f"the solution is not finite at s = ∫ ξ dt = {t:.6g}",
                f"take a smaller {'dt' if self._fixed else 'rtol'}; if that fails, a finer mesh",
            )
        if self._flow.stabilise(self._u):
            ts.restartStep()  # the method's stored derivative belongs to the old state
        self._again, self._corrected = False, 0.0
        limited = dt > _FORGOTTEN * self._cap
        self._wanted = max(dt, self._wanted if limited else _FORGOTTEN * self._wanted)
        left = ts.getMaxTime() - t
        if self._fixed is None and ts.getTimeStep() <= dt < _FLOOR * left:
            raise self._below_the_floor(dt)
        go_on = self._on_step(t, dt, self._u)
        if self._again:  # not by TSRollBack: the state may have been mended
            ts.setTime(ts.getPrevTime())
            ts.setStepNumber(ts.getStepNumber() - 1)
            ts.setTimeStep(self._cap)
            ts.restartStep()
            ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_ITERATING)
            return
        if self._cap < _LONGEST:
            if self._cap > self._too_long:
                self._growth = min(self._growth**_FASTER, 2.0)
            self._limit(min(self._growth * self._cap, _LONGEST))
            ts.setTimeStep(min(ts.getTimeStep(), self._cap))
        # the last step before an output time is cut short: remember the natural size
        self._dt = self._fixed or min(self._cap, max(dt, 0.5 * self._dt))
        if self._adapts_rarely:
            self._keep_step(ts, t, dt)
        if not go_on:
            self._stop = True
            ts.setConvergedReason(PETSc.TS.ConvergedReason.CONVERGED_USER)

    @property
    def _adapts_rarely(self) -> bool:
        """Every change of the time step costs factors of the diffusion."""
        diffusion = self._flow.diffusion if self._flow.nonlinear is None else None
        implicit = self.method.implicit and self._fixed is None
        return implicit and diffusion is not None and diffusion.factorises

    def _keep_step(self, ts: PETSc.TS, t: float, dt: float) -> None:
        """Equal steps to the end, whose factors exist, until others are much better."""
        wanted, left = ts.getTimeStep(), ts.getMaxTime() - t
        if left <= 0.0:
            return
        least, most = _KEPT
        if not least < wanted / dt < most:
            self._held = _equal(left, wanted)
        elif abs(dt - self._held) > _SAME * dt:
            self._held = dt
        ts.setTimeStep(self._held if self._held < (1.0 - _SAME) * left else left)

    @property
    def _last_step(self) -> float:
        return self._ts.getTime() - self._ts.getPrevTime()

    def _go_back(self, before: PETSc.Vec) -> None:
        self._too_long, self._growth = self._last_step, _GROWTH
        before.copy(self._u)
        self._again = True

    def _below_the_floor(self, dt: float) -> SolverError:
        return SolverError(
            f"the time step is below its floor at s = ∫ ξ dt = {self._ts.getTime():.6g}: {dt:.3g}",
            "loosen rtol, refine the mesh, or shrink it to where F' is less steep",
        )

    def _limit(self, longest: float) -> None:
        if longest <= _SHORTEST:
            raise self._below_the_floor(longest)
        self._cap = longest
        self._ts.setStepLimits(_SHORTEST, longest)

    def _explicit_part(self, ts: PETSc.TS, t: float, u: PETSc.Vec, out: PETSc.Vec) -> None:
        self._flow.now = t
        self._flow.transport(u, out)


def _equal(left: float, wanted: float) -> float:
    """The longest of equal steps that are no longer than the one wanted."""
    return left / math.ceil((1.0 - _SAME) * left / wanted)


def _set_options(ts: PETSc.TS, **values: str) -> None:
    """What petsc4py can reach only through the options database, which is left as it was.

    The largest error counts, not the mean: a law fills a small part of its mesh.
    """
    options, prefix = PETSc.Options(), ts.getOptionsPrefix() or ""
    for name, value in values.items():
        options[prefix + name] = value
    ts.setFromOptions()
    for name in values:
        options.delValue(prefix + name)
