"""How much N neurons fluctuate around the mean-field limit: the central limit theorem, solved.

With μ^N the empirical law of N neurons, √N (μ^N − μ) → ω, a Gaussian field that follows the
linearised flow (Rotskoff & Vanden-Eijnden 2018, Prop. 3.7): it starts as the fluctuation of
independent draws, and noise feeds it. For an observable χ at time t let g solve the adjoint
equation (`flow.adjoint`) backwards from g(t) = χ. Then, s = ∫ ξ dt,

    N Var ∫χ dμ^N_t → Var_{μ₀}(g(0)) + 2T ∫₀ᵗ ∫|∇g|² dμ ds                (independent neurons)
      + N (ε/B) ∫₀ᵗ ξ Var_{(x,y)} [ ∂ℓ ∫ ∇g·∇_θ σ(x; ·) dμ ] ds            (batches of SGD)

Each batch of B samples moves all neurons at once, so that the last part of Var ∫χ dμ^N does not
fall with N: the coefficient of ε/B is reported apart.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from dolfinx import mesh as dmesh
from petsc4py import PETSc
from scipy.interpolate import CubicHermiteSpline, make_interp_spline

from ddpde.comm import progress
from ddpde.errors import ProblemError
from ddpde.flow import Adjoint, EulerianFlow
from ddpde.flow.diffusion import Diffusion
from ddpde.problem import Problem
from ddpde.run.clock import Clock
from ddpde.run.solver import output_times
from ddpde.step import METHODS, Method, MethodOfLines

Observable = Callable[[np.ndarray], np.ndarray]

RISK = "risk"
_FINER = 0.01  # tolerance of the law's own path, relative


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Covariances (n_times, K, K) of K observables, in the order of `names`.

    initial, diffusion: of √N (∫χ dμ^N − ∫χ dμ), from the initial draws and from the temperature.
    sgd: of ∫χ dμ^N itself, in units of ε/B, step size over batch; nan where ξ is not finite, None
    for reduced problems, whose features are not single samples. The risk counts to first order in
    ω.
    """

    names: tuple[str, ...]
    times: np.ndarray
    initial: np.ndarray
    diffusion: np.ndarray
    sgd: np.ndarray | None

    def covariance(self, width: int, *, step_size: float = 0.0, batch: int = 1) -> np.ndarray:
        """Of the observables of `width` neurons trained by SGD (n_times, K, K); 0: exact flow."""
        total = (self.initial + self.diffusion) / width
        if step_size:
            if self.sgd is None:
                raise ProblemError(
                    "SGD's noise is not known for a reduced problem", "leave step_size out"
                )
            total = total + step_size / batch * self.sgd
        return total

    def variance(self, width: int, *, step_size: float = 0.0, batch: int = 1) -> np.ndarray:
        """The diagonals (n_times, K) of `covariance`."""
        whole = self.covariance(width, step_size=step_size, batch=batch)
        return np.einsum("tkk->tk", whole)


def fluctuations(
    problem: Problem,
    mesh: dmesh.Mesh,
    *,
    times: Sequence[float],
    observables: Mapping[str, Observable] | None = None,
    inputs: np.ndarray | None = None,
    degree: int = 4,
    rtol: float = 1e-7,
) -> Fluctuations:
    """Solve the linearised flow of `problem` on `mesh` for the fluctuations at `times`.

    Observables: the risk of a network; `observables`, names and functions χ (n, k) -> (n,) of the
    mesh coordinates; the outputs f(x) at `inputs` (m, d), named f0, f1, … Costs a backward solve
    an output time, in which each observable takes a few times the work of the flow itself, and
    memory for the state at every step.

    Raises ProblemError for birth and death, or where there is nothing to observe.
    """
    outputs = output_times(times, None)
    clock = Clock(problem.schedule)
    stops = clock.s_of(outputs)
    chosen = _observables(problem, observables or {}, inputs)
    with_risk = problem.unit is not None and problem.interaction is None
    names = (*([RISK] if with_risk else []), *chosen)
    if not names:
        raise ProblemError("there is nothing to observe", "give observables")
    flow = EulerianFlow(problem, mesh, degree)
    adjoint = Adjoint(flow)
    path = _follow(flow, stops, rtol)
    fixed = [flow.space.project(function) for function in chosen.values()]
    parts = []
    with progress("fluctuations") as bar:
        for index, (t, stop) in enumerate(zip(outputs, stops, strict=True)):
            adjoint.at(path(stop))
            last = [adjoint.risk_variation()] if with_risk else []
            backward = _Backward(flow, adjoint, path, stop, np.stack(last + fixed))
            parts.append(backward.covariances(problem, t, rtol))
            bar.to((index + 1) / len(stops))
    initial, diffusion, sgd = (np.stack(part) for part in zip(*parts, strict=True))
    return Fluctuations(
        names=names,
        times=outputs,
        initial=initial,
        diffusion=2 * problem.temperature * diffusion,
        sgd=sgd if flow.energy.sampled else None,
    )


def _observables(
    problem: Problem, given: Mapping[str, Observable], inputs: np.ndarray | None
) -> dict[str, Observable]:
    chosen = dict(given)
    if inputs is None:
        return chosen
    unit = problem.unit
    if unit is None or problem.reduction is not None:
        raise ProblemError("outputs f(x) need a network without reduction", "leave inputs out")
    if inputs.ndim != 2 or inputs.shape[1] != unit.input_dim:
        raise ProblemError(f"inputs of shape {inputs.shape}", f"give (m, {unit.input_dim})")

    def output(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
        return unit(x, theta)[:, 0]

    return chosen | {f"f{i}": partial(output, x[None]) for i, x in enumerate(inputs)}


class _Path:
    """The law's coefficients at any s: cubic between the accepted steps of the flow."""

    def __init__(self) -> None:
        self.s: list[float] = []
        self._states: list[np.ndarray] = []
        self._rates: list[np.ndarray] = []

    def append(self, s: float, u: np.ndarray, rate: np.ndarray) -> None:
        self.s.append(s)
        self._states.append(u.copy())
        self._rates.append(rate)

    def __call__(self, s: float) -> np.ndarray:
        if len(self.s) == 1:
            return self._states[0]
        i = min(max(bisect_right(self.s, s) - 1, 0), len(self.s) - 2)
        ends = slice(i, i + 2)
        piece = CubicHermiteSpline(self.s[ends], self._states[ends], self._rates[ends])
        return piece(min(max(s, self.s[i]), self.s[i + 1]))


def _follow(flow: EulerianFlow, stops: np.ndarray, rtol: float) -> _Path:
    """Solve the flow to the last stop and keep its steps."""
    path, rate = _Path(), flow.state.duplicate()

    def keep(s: float, ds: float, u: PETSc.Vec) -> bool:
        flow.transport(u, rate)
        shaped, change = flow.coefficients(u), flow.coefficients(rate).copy()
        if flow.diffusion is not None:
            change -= flow.temperature * flow.diffusion.apply(shaped)
        path.append(s, shaped, change)
        return True

    keep(0.0, 0.0, flow.state)
    # cubics between steps of order 4 and 5 lose accuracy, and noise is integrated at these steps
    stepper = MethodOfLines(flow, _method(flow), rtol=_FINER * rtol)
    try:
        for stop in stops:
            stepper.advance(stop, keep)
    finally:
        stepper.close()
    return path


def _method(flow: EulerianFlow) -> Method:
    return METHODS["rk5" if flow.diffusion is None else "imex4"]


class _Backward:
    """The adjoint equation in r = stop − s; offers what `MethodOfLines` needs of a flow.

    `last` (K, n_cells, nd): the observables χ.
    """

    def __init__(
        self, flow: EulerianFlow, adjoint: Adjoint, path: _Path, stop: float, last: np.ndarray
    ) -> None:
        self._flow, self._adjoint, self._path, self._stop = flow, adjoint, path, stop
        self.comm, self.temperature, self.local_shape = flow.comm, flow.temperature, last.shape
        self.diffusion = None if flow.diffusion is None else _Stacked(flow.diffusion)
        self.state = PETSc.Vec().createMPI((last.size, None), comm=flow.comm)
        self.state.setArray(last.ravel())
        self.at(0.0)

    def covariances(self, problem: Problem, t: float, rtol: float) -> tuple[np.ndarray, ...]:
        """Go back to s = 0: of the initial draws, of diffusion, of SGD (K, K)."""
        s, noise = [self._stop], [self._noise()]

        def on_step(r: float, dr: float, u: PETSc.Vec) -> bool:
            self.at(r)
            s.append(self._stop - r)
            noise.append(self._noise())
            return True

        stepper = _Dated(self, _method(self._flow), rtol=rtol)
        try:
            # between the flow's own steps the law is a smooth function of time
            for before in [s for s in self._path.s if s < self._stop * (1 - 1e-12)][::-1]:
                stepper.advance(self._stop - before, on_step)
        finally:
            stepper.close()
        self._adjoint.at(self._path(0.0))
        initial = self._adjoint.covariance(self._functions(self.state))
        if len(s) == 1:
            return initial, *np.zeros_like(noise[0])
        clock, increasing = Clock(problem.schedule), np.array(s[::-1])
        xi = np.array([problem.schedule(clock.t_of(float(at), t)) for at in increasing])
        values = np.array(noise[::-1])  # (steps, 2, K, K)
        singular = not np.isfinite(xi).all()
        values[:, 1] *= 0.0 if singular else xi[:, None, None]  # s_k² = ε ξ · ξ dt
        curve = make_interp_spline(increasing, values, k=min(5, len(s) - 1 - len(s) % 2))
        diffusion, sgd = curve.integrate(increasing[0], increasing[-1])
        return initial, diffusion, np.full_like(sgd, np.nan) if singular else sgd

    def _noise(self) -> np.ndarray:
        """What diffusion and SGD add at this time (2, K, K)."""
        g = self._functions(self.state)
        out = np.zeros((2, len(g), len(g)))
        if self.temperature > 0:
            out[0] = self._adjoint.dirichlet(g)
        if self._flow.energy.sampled:
            out[1] = self._adjoint.sampling(g)
        return out

    def at(self, r: float) -> None:
        """Linearise around the law at s = stop − r."""
        self._adjoint.at(self._path(self._stop - r))

    def transport(self, u: PETSc.Vec, out: PETSc.Vec) -> None:
        with out as array:
            array[:] = self._adjoint.transport(self._functions(u)).ravel()

    def stabilise(self, u: PETSc.Vec) -> bool:
        return False

    def _functions(self, u: PETSc.Vec) -> np.ndarray:
        return u.getArray(readonly=True).reshape(self.local_shape)


@dataclass(frozen=True)
class _Stacked:
    """A `Diffusion` of several functions (K, n_cells, nd)."""

    single: Diffusion

    def apply(self, u: np.ndarray) -> np.ndarray:
        return np.stack([self.single.apply(part) for part in u])

    def solve(self, shift: float, factor: float, b: np.ndarray) -> np.ndarray:
        return np.stack([self.single.solve(shift, factor, part) for part in b])


class _Dated(MethodOfLines):
    """The method of lines for an equation whose coefficients depend on time."""

    def _explicit_part(self, ts: PETSc.TS, t: float, u: PETSc.Vec, out: PETSc.Vec) -> None:
        self._flow.at(t)
        super()._explicit_part(ts, t, u, out)
