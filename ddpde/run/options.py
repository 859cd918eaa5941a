"""The options of a solve."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

import numpy as np
from dolfinx import mesh as dmesh

from ddpde.errors import ProblemError
from ddpde.flow import EulerianFlow, LagrangianFlow, SemiDiscrete
from ddpde.problem import Problem
from ddpde.step import JKO_METHODS, METHODS

SPACES: dict[str, Callable[[Problem, dmesh.Mesh, int, float], SemiDiscrete]] = {
    "eulerian": EulerianFlow,
    "lagrangian": LagrangianFlow,
}

MOST_INNER_STEPS = 1000
LEAST_ADAPT = 1e-12  # no mesh carries a law more exactly
MOST_STEPS = 2**30  # of a run; a smaller dt is a slip of the keyboard

_PART = (Real, lambda x: 0 < x < 1, "between 0 and 1")
_NUMBERS: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "degree": (Integral, lambda n: 1 <= n <= 12, "an integer from 1 to 12"),
    "rtol": _PART,
    "dt": (Real, lambda x: x > 0, "a positive step"),
    "inner_steps": (
        *(Integral, lambda n: 1 <= n <= MOST_INNER_STEPS),
        f"an integer from 1 to {MOST_INNER_STEPS}",
    ),
    "adapt": (Real, lambda x: LEAST_ADAPT <= x < 1, f"from {LEAST_ADAPT:g} to 1"),
    "adapt_depth": (Integral, lambda n: 1 <= n <= 12, "an integer from 1 to 12"),
    "grow": _PART,
    "steady": _PART,
}
_OPTIONAL = ("dt", "inner_steps", "adapt", "grow", "steady")

_FEATURE_TOLERANCES = (1e-10, 1e-6)  # least and greatest


@dataclass(frozen=True)
class SolverOptions:
    """How a problem is solved.

    space: "eulerian" (fixed mesh) or "lagrangian" (mesh moving with the flow; temperature 0).
    degree: of the polynomials in each cell. method: a key of `ddpde.step.METHODS` or
    `ddpde.step.JKO_METHODS`, or "auto". rtol: tolerance of a time step relative to the largest
    initial density; dt: fixed step instead of an adaptive one, and the τ of a JKO method;
    inner_steps: of the path inside a step of "jko-dynamic" and "jko-dynamic-bdf2" (4 if not given).
    adapt: tolerance of the law's L1 error on its mesh, which then follows the law; adapt_depth:
    how often a cell of the given mesh may be halved. grow: mass in the cells at an end of a box
    beyond which the box grows there. steady: the run is over once the law changes by less than
    this, relative to its peak, in a unit of s = ∫ ξ dt; later output times get the last law.
    """

    space: str = "eulerian"
    degree: int = 3
    method: str = "auto"
    rtol: float = 1e-6
    dt: float | None = None
    inner_steps: int | None = None
    adapt: float | None = None
    adapt_depth: int = 10
    grow: float | None = None
    steady: float | None = None

    def __post_init__(self) -> None:
        self._check_numbers()
        if self.space not in SPACES:
            raise ProblemError(f"space = {self.space!r}", f"one of: {', '.join(SPACES)}")
        known = ("auto", *METHODS, *JKO_METHODS)
        if self.method not in known:
            raise ProblemError(f"method = {self.method!r}", f"one of: {', '.join(known)}")
        if self.jko and self.dt is None:
            raise ProblemError(f"method = {self.method!r} needs dt, the step τ", "give dt")
        if self.jko and (self.space != "eulerian" or self.adapt or self.grow):
            raise ProblemError(
                f"method = {self.method!r} holds the law in its own way",
                "leave out space, adapt and grow",
            )
        if self.inner_steps is not None and not (
            self.jko and JKO_METHODS[self.method].has_inner_steps
        ):
            raise ProblemError(
                f"method = {self.method!r} has no inner_steps", 'use method = "jko-dynamic"'
            )

    def _check_numbers(self) -> None:
        for name, (kind, fits, wanted) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
                raise ProblemError(f"{name} = {value!r}", wanted)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> SolverOptions:
        """From keywords; ProblemError where one is no option."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise ProblemError(f"{name!r} is no option", f"{hint}one of: {', '.join(known)}")
        return cls(**settings)

    def check_steps(self, end: float) -> None:
        """ProblemError where steps of `dt` do not get to the time `end`."""
        if self.dt is not None and not end < MOST_STEPS * self.dt:
            raise ProblemError(
                f"dt = {self.dt:g}: more than 2**30 steps to t = {end:g}", "take longer steps"
            )

    @property
    def jko(self) -> bool:
        """Whether steps minimise instead of integrating."""
        return self.method in JKO_METHODS

    @property
    def feature_tolerance(self) -> float:
        """To what the energy's features are compressed: well below the error of a time step."""
        return float(np.clip(1e-2 * self.rtol, *_FEATURE_TOLERANCES))
