"""Minimising movements: ρ' = argmin W₂²(·, ρ)/(2τ) + F_T, each scheme with its own law and W₂."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from dolfinx import mesh as dmesh
from mpi4py import MPI
from petsc4py import PETSc

from ddpde.energy import Energy
from ddpde.errors import ProblemError
from ddpde.flow.entropic import EntropicFlow
from ddpde.flow.quantile import QuantileFlow
from ddpde.flow.vertices import VertexFlow
from ddpde.problem import Problem
from ddpde.space import Law
from ddpde.step.dynamic import DynamicProximal
from ddpde.step.dynamic_bdf2 import DynamicBdf2
from ddpde.step.entropic import EntropicProximal
from ddpde.step.halving import Halving
from ddpde.step.lagged import LaggedProximal
from ddpde.step.lagged_bdf2 import LaggedBdf2
from ddpde.step.method_of_lines import METHODS
from ddpde.step.quantile import QuantileBdf2, QuantileMidpoint, QuantileProximal
from ddpde.step.stepper import OnStep


class DiscreteLaw(Protocol):
    """A problem on a mesh with a law as state; `SemiDiscrete` without rates."""

    truncated_mass: float
    feature_error: float
    energy: Energy

    @property
    def comm(self) -> MPI.Comm: ...

    @property
    def state(self) -> PETSc.Vec: ...

    def diagnostics(self, u: PETSc.Vec) -> dict[str, float]: ...

    def law(self, t: float, u: PETSc.Vec) -> Law | None: ...


class Proximal(Protocol):
    """One step: this rank's part of the new state from that of the old one, and τ.

    `iterations` and `residual` tell of the latest step; SolverError where the residual stays
    above the tolerance.
    """

    @property
    def iterations(self) -> int: ...

    @property
    def residual(self) -> float: ...

    def __call__(self, u: np.ndarray, tau: float, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Scheme:
    """A JKO method: its order in τ, how it holds a law, how it minimises.

    flow(problem, mesh, degree, tolerance of the energy's features); step(flow), with the
    keyword inner_steps where it `has_inner_steps`. takes: of what not every method has, BIRTHS and
    CROWDS.
    """

    order: int
    flow: Callable[[Problem, dmesh.Mesh, int, float], Any]
    step: Callable[..., Proximal]
    takes: frozenset[str] = frozenset()
    has_inner_steps: bool = False


BIRTHS, CROWDS = "birth and death", "a largest density"
_BIRTHS, _CROWDS = frozenset({BIRTHS}), frozenset({CROWDS})
_BOTH = _BIRTHS | _CROWDS
JKO_METHODS = {
    "jko": Scheme(1, VertexFlow, LaggedProximal, _BOTH),
    "jko-upwind": Scheme(1, VertexFlow, partial(LaggedProximal, upwind=True), _BOTH),
    "jko-bdf2": Scheme(2, VertexFlow, LaggedBdf2, _BIRTHS),
    "jko-dynamic": Scheme(1, VertexFlow, DynamicProximal, _BIRTHS, has_inner_steps=True),
    "jko-dynamic-bdf2": Scheme(2, VertexFlow, DynamicBdf2, _BIRTHS, has_inner_steps=True),
    "jko-quantile": Scheme(1, QuantileFlow, QuantileProximal, _CROWDS),
    "jko-quantile-midpoint": Scheme(2, QuantileFlow, QuantileMidpoint, _CROWDS),
    "jko-quantile-bdf2": Scheme(2, QuantileFlow, QuantileBdf2, _CROWDS),
    "jko-entropic": Scheme(1, EntropicFlow, EntropicProximal, _BOTH),
}


def check_energy(method: str, problem: Problem) -> None:
    """ProblemError where a JKO method does not have what is in the problem's energy or flow."""
    if problem.noise is not None or not problem.normalised:
        raise ProblemError(
            "JKO steps minimise a free energy among probabilities: no noise of covariance Σ, no "
            "other mass than one",
            f"one of: auto, {', '.join(METHODS)}",
        )
    asked = {
        BIRTHS: problem.birth_death > 0,
        CROWDS: problem.internal is not None and not problem.internal.smooth,
    }
    for what in [what for what, given in asked.items() if given]:
        able = [name for name, scheme in JKO_METHODS.items() if what in scheme.takes]
        if method not in able:
            raise ProblemError(
                f"method = {method!r} does not take {what}", f"use one of: {', '.join(able)}"
            )


class JkoStepper:
    """Implements `Stepper`: equal steps of at most `tau` to each time asked for, shorter ones where
    those are not found."""

    def __init__(self, flow: DiscreteLaw, step: Proximal, tau: float) -> None:
        self._flow, self._step, self._tau = flow, Halving(step), tau
        self._s = 0.0

    @property
    def status(self) -> dict[str, float]:
        return {"iterations": self._step.iterations, "residual": self._step.residual}

    def advance(self, t_end: float, on_step: OnStep) -> bool:
        start, u = self._s, self._flow.state
        count = int(np.ceil((t_end - start) / self._tau * (1 - 1e-9)))
        tau = (t_end - start) / max(count, 1)
        for k in range(1, count + 1):
            u.setArray(self._step(u.getArray(readonly=True).copy(), tau))
            self._s = t_end if k == count else start + k * tau
            if not on_step(self._s, tau, u):
                return False
        return True

    def close(self) -> None:
        self._step.close()
