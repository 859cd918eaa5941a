"""Diffusion as the implicit part of an additive Runge–Kutta method of PETSc TS."""

from __future__ import annotations

import numpy as np
from petsc4py import PETSc

from ddpde.flow import SemiDiscrete

_NEWTON = 1e-2  # error of a Newton iteration relative to the time step's tolerance
_MOST = 60  # iterations
_PATIENCE = 15  # iterations that are cheaper than new factors


def set_implicit_part(ts: PETSc.TS, flow: SemiDiscrete, rtol: float) -> None:
    """Let TS solve du/ds + diffusion(u) = b in its stages; `rtol` is that of the time steps."""
    part = _Linear(flow) if flow.nonlinear is None else _Nonlinear(flow)
    ts.setIFunction(part.residual, flow.state.duplicate())
    part.set_solver(ts, rtol)


def diffusion_rate(flow: SemiDiscrete, u: PETSc.Vec) -> np.ndarray:
    """What diffusion takes from du/ds (local_shape)."""
    shaped = u.getArray(readonly=True).reshape(flow.local_shape)
    if flow.nonlinear is not None:
        return flow.nonlinear.rate(shaped)
    assert flow.diffusion is not None
    return flow.temperature * flow.diffusion.apply(shaped)


class _Part:
    def __init__(self, flow: SemiDiscrete) -> None:
        self._flow = flow

    def residual(self, ts, t, u, rate, out):  # type: ignore[no-untyped-def]
        self._flow.now = t
        with out as array:
            array[:] = rate.getArray(readonly=True) + diffusion_rate(self._flow, u).ravel()


class _Linear(_Part):
    """A direct solve a stage.

    TS asks for the x of F(x) = shift (x − z) + diffusion(x) = 0, where only TS knows z. As the
    equation is linear the guess does not matter, and the rate that goes with x = 0 is −shift z:
    (shift + diffusion) x = shift z is solved without applying the diffusion to anything.
    """

    def set_solver(self, ts: PETSc.TS, rtol: float) -> None:
        assert self._flow.diffusion is not None
        self._diffusion = self._flow.diffusion
        self._shift = 1.0
        self._at_zero = False
        self._residual = self._flow.state.duplicate()
        sizes = self._flow.state.getSizes()
        jacobian = PETSc.Mat().createPython((sizes, sizes), self)
        jacobian.setUp()
        ts.setIJacobian(self.set_shift, jacobian)
        snes = ts.getSNES()
        snes.setType("python")
        snes.setPythonContext(self)

    def set_shift(self, ts, t, u, rate, shift, jac, pre):  # type: ignore[no-untyped-def]
        self._shift = shift

    def residual(self, ts, t, u, rate, out):  # type: ignore[no-untyped-def]
        if self._at_zero:
            rate.copy(out)
        else:
            super().residual(ts, t, u, rate, out)

    def solve(self, snes, b, x):  # type: ignore[no-untyped-def]
        """Called by SNES."""
        x.zeroEntries()
        self._at_zero = True
        snes.computeFunction(x, self._residual)
        self._at_zero = False
        jacobian, preconditioner, _ = snes.getJacobian()
        snes.computeJacobian(x, jacobian, preconditioner)  # tells the shift
        right = -self._residual.getArray(readonly=True).reshape(self._flow.local_shape)
        with x as array:
            array[:] = self._diffusion.solve(self._shift, self._flow.temperature, right).ravel()
        snes.setConvergedReason(PETSc.SNES.ConvergedReason.CONVERGED_ITS)


class _Nonlinear(_Part):
    """Simplified Newton iterations: factors are kept over stages and steps while they do.

    Until iterations are so slow that new factors are cheaper (Hairer & Wanner, Solving ODEs II,
    IV.8). Those of another shift serve as well: a step of the iteration is scaled as if mass were
    all that it changes, so that mass is conserved.
    """

    def set_solver(self, ts: PETSc.TS, rtol: float) -> None:
        assert self._flow.nonlinear is not None
        self._nonlinear = self._flow.nonlinear
        self._tolerance = _NEWTON * rtol
        self._shift = self._formed = 0.0
        self._residual, self._change = self._flow.state.duplicate(), self._flow.state.duplicate()
        self._ksp = self._nonlinear.solver()
        sizes = self._flow.state.getSizes()
        jacobian = PETSc.Mat().createPython((sizes, sizes), self)
        jacobian.setUp()
        ts.setIJacobian(self.set_shift, jacobian)
        ts.setMaxSNESFailures(-1)  # a smaller step mends it
        snes = ts.getSNES()
        snes.setType("python")
        snes.setPythonContext(self)

    def set_shift(self, ts, t, u, rate, shift, jac, pre):  # type: ignore[no-untyped-def]
        self._shift = shift

    def solve(self, snes, b, x):  # type: ignore[no-untyped-def]
        """Called by SNES."""
        jacobian, preconditioner, _ = snes.getJacobian()
        snes.computeJacobian(x, jacobian, preconditioner)  # tells the shift
        reasons = PETSc.SNES.ConvergedReason
        before, reason = None, reasons.DIVERGED_MAX_IT
        for _ in range(_MOST):
            snes.computeFunction(x, self._residual)
            if not self._formed:
                self._form(x)
            self._ksp.solve(self._residual, self._change)
            self._change.scale(self._formed / self._shift)
            x.axpy(-1.0, self._change)
            size, allowed = self._change.norm(), self._tolerance * x.norm()
            if self._ksp.getConvergedReason() < 0 or not size < float("inf"):
                reason = reasons.DIVERGED_LINEAR_SOLVE
                break
            ratio = size / before if before else 0.5
            if ratio < 1.0 and size * ratio / (1.0 - ratio) <= allowed:
                reason = reasons.CONVERGED_SNORM_RELATIVE
                break
            slow = before is not None and size * ratio**_PATIENCE > allowed
            before = size
            if slow:
                self._formed, before = 0.0, None  # form them anew, here
        if reason < 0:
            self._formed = 0.0
        snes.setConvergedReason(reason)

    def _form(self, x: PETSc.Vec) -> None:
        shaped = x.getArray(readonly=True).reshape(self._flow.local_shape)
        matrix = self._nonlinear.jacobian(shaped)
        matrix.shift(self._shift)
        self._ksp.setOperators(matrix)
        self._formed = self._shift
