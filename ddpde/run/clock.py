"""Output times, and the step-size schedule as a change of time: s = ∫ ξ dt.

ξ multiplies every term of the flow, so the law at time t is that of ξ = 1 at time s(t). Time
integrators see s only: a schedule that is singular at t = 0, such as t^{-1/4}, costs nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Real

import numpy as np
from scipy.integrate import IntegrationWarning, quad
from scipy.optimize import brentq

from ddpde.errors import ProblemError
from ddpde.problem.schedules import constant


def output_times(times: Sequence[float] | None, t_end: float | None) -> np.ndarray:
    """Increasing output times that begin with 0; ProblemError where they make no sense."""
    if (times is None) == (t_end is None):
        raise ProblemError("output times are not determined", "give either times or t_end")
    if times is None:
        if not (isinstance(t_end, Real) and 0 < t_end < np.inf):
            raise ProblemError(f"t_end = {t_end!r}", "give a finite time > 0")
        times = np.linspace(0.0, float(t_end), 11).tolist()
    try:
        wanted = np.asarray(times, dtype=float)
    except (TypeError, ValueError):
        wanted = np.empty(0)
    if wanted.ndim != 1 or wanted.size == 0 or not np.isfinite(wanted).all() or wanted.min() < 0:
        raise ProblemError(f"times = {times!r}", "give a list of finite times >= 0")
    if np.any(np.diff(wanted) <= 0):
        raise ProblemError(f"times = {times!r}", "they must increase")
    return wanted if wanted[0] == 0.0 else np.concatenate([[0.0], wanted])


class Clock:
    """Translates between t and s; t must be asked for in increasing order."""

    def __init__(self, schedule: Callable[[float], float]) -> None:
        self._schedule = schedule
        self._t = self._s = 0.0

    def s_of(self, times: np.ndarray) -> np.ndarray:
        """s at increasing times t that begin with 0; ProblemError where ξ is not integrable."""
        if self._schedule is constant:
            return times
        pieces = [self._between(a, b) for a, b in pairwise(times)]
        if not all(np.isfinite(piece) and piece > 0 for piece in pieces):
            raise ProblemError(
                "the schedule is not positive and integrable over the output times",
                "give ξ(t) > 0 with a finite integral",
            )
        return np.concatenate([[0.0], np.cumsum(pieces)])

    def t_of(self, s: float, latest: float) -> float:
        """t at s, known to lie between the last t asked for and `latest`."""
        if self._schedule is constant:
            return s
        missing = s - self._s
        if missing > 0:
            gap = self._between(self._t, latest) - missing
            if gap > 1e-14 * latest:
                self._t = brentq(
                    lambda t: self._between(self._t, t) - missing, self._t, latest, rtol=1e-13
                )
            else:
                self._t = latest
            self._s = s
        return self._t

    def _between(self, start: float, end: float) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # quad only warns where an integral diverges
            try:
                return float(quad(self._schedule, start, end, epsabs=0.0, epsrel=1e-12)[0])
            except IntegrationWarning:
                return np.nan
