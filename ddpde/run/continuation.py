"""Branches of stationary states over temperature: followed, and switched at bifurcations.

A branch is a curve of solutions (f, T) of R(f, T) = 0 (`ddpde.run.stationary`). It is followed by
its arclength, so that folds are no obstacle: a step along the tangent, then Newton on R = 0
together with one linear equation that fixes the progress. Distances are measured in what a step
does to the law: |δf|² = Var_ρ(δF'/T), the square of its relative change, and |δT| = δT/T.

Where an eigenvalue of ∂R/∂f changes sign and the branch does not turn back, another branch
crosses: its temperature is a root of that eigenvalue, and it leaves along the null vector v. Its
first point solves R(f, T) = 0, ⟨v, f − f_c⟩ = ε for f and T, whichever side of T_c it bends to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from dolfinx import mesh as dmesh
from scipy.optimize import brentq

from ddpde.comm import log
from ddpde.errors import ProblemError, SolverError
from ddpde.problem import Problem
from ddpde.run.stationary import (
    NEUTRAL,
    GibbsFamily,
    Point,
    StationaryState,
    first_means,
    make_state,
    newton,
)
from ddpde.space import Law

_ENERGY = ("unit", "data", "loss", "ridge", "potential", "interaction", "reduction")
_FIRST, _SHORTEST = 0.05, 1e-6  # steps of arclength
_KICK = 0.05  # ε: first distance from a branch point
_LIMIT = 2000  # points of a branch


@dataclass(frozen=True, eq=False)
class Critical:
    """A branch point: its temperature, the state there, and the null vector v (M,)."""

    temperature: float
    state: StationaryState
    direction: np.ndarray


@dataclass(eq=False)
class Branch:
    """A curve of stationary states; `states` in its order, bifurcations and ends included."""

    states: list[StationaryState] = field(default_factory=list)
    critical: list[Critical] = field(default_factory=list)

    def at(self, temperature: float) -> list[StationaryState]:
        """The states at one of the temperatures that were asked for (several past a fold)."""
        close = 1e-12 * abs(temperature)
        return [s for s in self.states if abs(s.temperature - temperature) <= close]

    @property
    def temperatures(self) -> np.ndarray:
        """(n_states,)"""
        return np.array([state.temperature for state in self.states])


def continuation(
    problem_at: Callable[[float], Problem],
    mesh: dmesh.Mesh,
    temperatures: Sequence[float],
    start: StationaryState | Law | np.ndarray | None = None,
    *,
    degree: int = 4,
    rtol: float = 1e-12,
    switch: bool = True,
    longest: float = 0.3,
) -> list[Branch]:
    """Follow stationary states from the first of the temperatures to the last.

    Parameters: `problem_at` maps T to a problem of that temperature (where only the temperature
    differs the features are computed once); `temperatures` (at least two), each of which
    gets a state on every branch that passes it; `start` as in `stationary`, for the first of
    them; `switch`: follow the branches that cross at bifurcations, too, in both directions;
    `longest`: of the steps, as a relative change of the law.

    Returns the first branch, then those that left it, two a bifurcation.
    Raises SolverError where there is no state to start from.
    """
    wanted = np.asarray(temperatures, dtype=float)
    if wanted.ndim != 1 or len(wanted) < 2 or not (wanted > 0).all() or wanted[0] == wanted[-1]:
        raise ProblemError(
            f"temperatures = {list(temperatures)}", "give at least two positive ones, in order"
        )
    follower = _Follower(problem_at, mesh, wanted, degree, rtol, longest)
    family = follower.family(wanted[0])
    f = first_means(problem_at(wanted[0]), family, start)
    relax = not isinstance(start, StationaryState | np.ndarray)
    first, iterations = newton(family.at(f, wanted[0]), rtol, relax=relax)
    main = Branch([make_state(first, iterations, rtol)])
    towards = np.append(np.zeros(len(f)), wanted[-1] - wanted[0])
    follower.follow(main, first, towards)
    branches = [main]
    for critical in main.critical if switch else []:
        for sign in (1.0, -1.0):
            other = follower.switched(critical, sign)
            if other is not None:
                branches.append(other)
    return branches


class _Follower:
    """Points (f, T) as vectors y (M + 1,)."""

    def __init__(
        self,
        problem_at: Callable[[float], Problem],
        mesh: dmesh.Mesh,
        wanted: np.ndarray,
        degree: int,
        rtol: float,
        longest: float,
    ) -> None:
        self._problem_at, self._mesh, self._degree = problem_at, mesh, degree
        self._rtol, self._longest = rtol, longest
        self._wanted = wanted
        self._range = wanted.min() * (1 - 1e-12), wanted.max() * (1 + 1e-12)
        self._last: tuple[Problem, GibbsFamily] | None = None

    def family(self, temperature: float) -> GibbsFamily:
        """The Gibbs laws at a temperature; those of the last one where the energy is the same."""
        problem = self._problem_at(temperature)
        if abs(problem.temperature - temperature) > 1e-12 * temperature:
            raise ProblemError(
                f"problem_at({temperature:g}) has temperature {problem.temperature:g}",
                "it must return a problem of the temperature that it is given",
            )
        if self._last is not None:
            before, family = self._last
            if all(getattr(before, name) == getattr(problem, name) for name in _ENERGY):
                return family
        family = GibbsFamily(problem, self._mesh, self._degree)
        self._last = problem, family
        return family

    def point(self, y: np.ndarray) -> Point:
        return self.family(y[-1]).at(y[:-1], y[-1])

    def follow(self, branch: Branch, point: Point, towards: np.ndarray) -> None:
        """Append to `branch` what lies beyond `point` until the range of temperatures ends."""
        y, step = _vector(point), _FIRST
        tangent = self._tangent(point, _covector(point, towards))
        while len(branch.states) < _LIMIT and step > _SHORTEST:
            found = self._advance(point, tangent, step)
            if found is None:
                step *= 0.5
                continue
            after, iterations = found
            ahead = self._tangent(after, _covector(after, _vector(after) - y))
            passed = self._passed(point, after, step)
            if passed is None or _covector(point, tangent) @ ahead < 0.8 * _length(point, ahead):
                step *= 0.5  # too far to interpolate, or turned too much
                continue
            critical = None
            turned = tangent[-1] * ahead[-1] <= 0
            if not turned and _negative(point) != _negative(after):
                critical = self._locate(point, after)
            reached = [*passed, after] if self._inside(after) else passed
            states = [make_state(each, iterations, self._rtol) for each in reached]
            if critical is not None and self._inside(critical.state.point):
                branch.critical.append(critical)
                states.append(critical.state)
            rising = after.temperature > point.temperature
            branch.states += sorted(states, key=lambda s: s.temperature, reverse=not rising)
            if not self._inside(after):
                return
            point, y, tangent = after, _vector(after), ahead
            if iterations <= 4:
                step = min(1.5 * step, self._longest)
        log.warning("the branch was left at temperature %g, unfinished", point.temperature)

    def switched(self, critical: Critical, sign: float) -> Branch | None:
        """The branch that leaves a branch point along ± its null vector."""
        base = critical.state.point
        kick = sign * np.append(critical.direction, 0.0)
        covector = _covector(base, kick)
        y0 = _vector(base)
        found = self._bordered(y0 + _KICK * kick, covector, float(covector @ y0) + _KICK)
        if found is None:
            log.warning("no branch found beside T = %g", critical.temperature)
            return None
        point, iterations = found
        branch = Branch([critical.state])
        if self._inside(point):
            branch.states.append(make_state(point, iterations, self._rtol))
            self.follow(branch, point, _vector(point) - y0)
        return branch

    def _inside(self, point: Point) -> bool:
        return self._range[0] <= point.temperature <= self._range[1]

    def _advance(self, point: Point, tangent: np.ndarray, step: float) -> tuple[Point, int] | None:
        """The branch's point at arclength `step` beyond `point`."""
        covector = _covector(point, tangent)
        guess = _vector(point) + step * tangent
        if not guess[-1] > 0:
            return None
        return self._bordered(guess, covector, float(covector @ guess))

    def _bordered(
        self, y: np.ndarray, covector: np.ndarray, value: float
    ) -> tuple[Point, int] | None:
        """Newton on R(f, T) = 0, covector·(f, T) = value; None where it does not converge soon."""
        for iteration in range(12):
            if not (np.isfinite(y).all() and y[-1] > 0):
                return None
            point = self.point(y)
            if point.size <= point.tolerance(self._rtol):
                return point, iteration
            matrix = np.vstack([self._derivative(point), covector])
            y = y - _solve(point, matrix, np.append(point.residual, covector @ y - value))
        return None

    def _derivative(self, point: Point) -> np.ndarray:
        """∂R/∂(f, T) (M, M + 1); in T by a difference, for any dependence of the problem on T."""
        h = 1e-5 * point.temperature
        y, unit = _vector(point), np.append(np.zeros(len(point.f)), 1.0)
        slope = (self.point(y + h * unit).residual - self.point(y - h * unit).residual) / (2 * h)
        return np.hstack([point.jacobian, slope[:, None]])

    def _tangent(self, point: Point, covector: np.ndarray) -> np.ndarray:
        """The unit tangent on which `covector` is positive."""
        matrix = np.vstack([self._derivative(point), covector])
        right = np.append(np.zeros(len(point.f)), 1.0)
        tangent = _solve(point, matrix, right)
        return tangent / _length(point, tangent)

    def _passed(self, before: Point, after: Point, step: float) -> list[Point] | None:
        """States at the wanted temperatures between two points; None where one is not found."""
        low, high = sorted([before.temperature, after.temperature])
        inside = (self._wanted > low) & (self._wanted < high)
        out = []
        for T in self._wanted[inside]:
            part = (T - before.temperature) / (after.temperature - before.temperature)
            try:
                found, _ = newton(
                    self.family(T).at((1 - part) * before.f + part * after.f, T), self._rtol
                )
            except SolverError:
                return None
            if _length(before, _vector(found) - _vector(before)) > 1.5 * step:
                return None  # that is another branch
            out.append(found)
        return out

    def _locate(self, before: Point, after: Point) -> Critical:
        """Where between two points an eigenvalue crosses zero."""
        index = min(_negative(before), _negative(after))

        def at(T: float) -> Point:
            part = (T - before.temperature) / (after.temperature - before.temperature)
            guess = (1 - part) * before.f + part * after.f
            return newton(self.family(T).at(guess, T), self._rtol)[0]

        ends = [(each.spectrum[0][index], each.temperature) for each in (before, after)]
        if ends[0][0] * ends[1][0] > 0:  # one end is within NEUTRAL of the branch point
            T = min((abs(value), T) for value, T in ends)[1]
        else:
            T = brentq(lambda T: at(T).spectrum[0][index], ends[0][1], ends[1][1], xtol=1e-15)
        point = at(T)
        null = point.spectrum[1][:, index]
        null = null / _length(point, np.append(null, 0.0))
        return Critical(float(T), make_state(point, 0, self._rtol), null)


def _vector(point: Point) -> np.ndarray:
    """(f, T) (M + 1,)."""
    return np.append(point.f, point.temperature)


def _covector(point: Point, y: np.ndarray) -> np.ndarray:
    """The metric of the module's head applied to a displacement y (M + 1,)."""
    T = point.temperature
    weighted = point.curvature * (point.covariance @ (point.curvature * y[:-1])) / T**2
    return np.append(weighted, y[-1] / T**2)


def _length(point: Point, y: np.ndarray) -> float:
    return float(np.sqrt(y @ _covector(point, y)))


def _negative(point: Point) -> int:
    return int((point.spectrum[0] < -NEUTRAL).sum())


def _solve(point: Point, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The bordered system (M + 1,); where a symmetry leaves a direction free, without a move there.

    Where G is convex ∂R/∂f has no eigenvalue below one, and there is no need of that.
    """
    if point.curvature.min(initial=0.0) >= 0:
        return np.linalg.solve(matrix, right)
    return np.linalg.lstsq(matrix, right, rcond=1e-8)[0]


def phase_diagram(
    branches: Sequence[Branch],
    observable: Callable[[StationaryState], float] | None = None,
    *,
    label: str = "mean",
) -> Any:
    """An observable (default: mean of the first coordinate) over temperature, as a figure.

    Parameters: `branches`, of `continuation`; `observable`, a function of a state; `label`, what
    the vertical axis says. Returns a matplotlib Figure, which `savefig` writes.
    Stable states solid, unstable ones dashed, branch points marked. Observables that are
    expectations must be evaluated on all ranks: call it there.
    """
    import matplotlib.pyplot as plt

    value = observable or (lambda state: float(state.mean[0]))
    figure, axes = plt.subplots(figsize=(6.0, 4.0))
    drawn = set()
    for branch in branches:
        for states, stable in _stretches(branch.states):
            style: dict[str, Any] = {
                "linestyle": "-" if stable else (0, (4, 3)),
                "color": "#1f4e79",
            }
            if stable not in drawn:
                style["label"] = "stable" if stable else "unstable"
                drawn.add(stable)
            T = [state.temperature for state in states]
            axes.plot(T, [value(state) for state in states], linewidth=1.8, **style)
        for critical in branch.critical:
            at = critical.temperature, value(critical.state)
            axes.plot(*at, "o", color="#b3452c", zorder=3)
            axes.annotate(
                f"$T_c$ = {critical.temperature:.8g}",
                at,
                xytext=(8, 10),
                textcoords="offset points",
                color="#b3452c",
            )
    axes.set(xlabel="temperature $T$", ylabel=label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    return figure


def _stretches(
    states: Sequence[StationaryState],
) -> Iterator[tuple[list[StationaryState], bool]]:
    """Parts of a branch that are stable or unstable throughout; neighbours share their ends."""
    for stable, group in groupby(
        pairwise(states), lambda pair: not (pair[0].unstable or pair[1].unstable)
    ):
        run = list(group)
        yield [run[0][0], *(after for _, after in run)], stable
