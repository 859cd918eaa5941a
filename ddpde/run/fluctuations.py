"""How much N neurons fluctuate around the mean-field limit: the central limit theorem, solved.

With μ^N the empirical law of N neurons, √N (μ^N − μ) → ω, a Gaussian field that follows the
linearised flow (Rotskoff & Vanden-Eijnden 2018, Prop. 3.7): it starts as the fluctuation of
independent draws, and noise feeds it. For an observable χ at time t let g solve the adjoint
equation (`flow.adjoint`) backwards from g(t) = χ. Then, s = ∫ ξ dt,

    N Var ∫χ dμ^N_t → Var_{μ₀}(g(0)) + 2T ∫₀ᵗ ∫|∇g|² dμ ds                (independent neurons)
      + ∫₀ᵗ ∫ α|V − V̄| {(g − ḡ)² + Var_μ(g)} dμ ds    (births and deaths, V = F' + T log μ)
      + N (ε/B) ∫₀ᵗ ξ Var_{(x,y)} [ ∂ℓ ∫ ∇g·∇_θ σ(x; ·) dμ ] ds            (batches of SGD)

Each batch of B samples moves all neurons at once, so that the last part of Var ∫χ dμ^N does not
fall with N: the coefficient of ε/B is reported apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from dolfinx import mesh as dmesh

from ddpde.comm import progress, sum_over_ranks
from ddpde.errors import ProblemError
from ddpde.flow import Adjoint, EulerianFlow
from ddpde.problem import Problem
from ddpde.run.backward import Backward, follow
from ddpde.run.clock import Clock, output_times
from ddpde.space import PointLoads, Space
from ddpde.space.quadrature import legendre, tabulate

Observable = Callable[[np.ndarray], np.ndarray]

RISK = "risk"


@dataclass(frozen=True, eq=False)
class Fluctuations:
    """Covariances (n_times, K, K) of K observables, in the order of `names`.

    initial, diffusion: of √N (∫χ dμ^N − ∫χ dμ), from the initial draws and from the temperature, or
    from births and deaths, in steps so short that at most one happens in each.
    sgd: of ∫χ dμ^N itself, in units of ε/B, step size over batch; nan where ξ is not finite, None
    for reduced problems, whose features are not single samples. The risk counts to first order in
    ω.
    """

    names: tuple[str, ...]
    times: np.ndarray
    initial: np.ndarray
    diffusion: np.ndarray
    sgd: np.ndarray | None
    _space: Space = field(repr=False)
    _influence: np.ndarray = field(repr=False)  # g(0) (n_times, K, n_cells, nd)
    _mean: np.ndarray = field(repr=False)  # of g(0) under the initial law (n_times, K)

    def carried(self, clouds: np.ndarray) -> np.ndarray:
        """What initial neurons (…, N, k) do to the observables to first order: (n_times, K, …).

        The empirical mean of g(0) minus its mean under the initial law: of mean zero exactly for
        independent draws. Subtracted from the observables of the networks that grew from these
        neurons it takes away their `initial` variance, and leaves their O(1/N) bias: a control
        variate. Collective, the clouds alike on all ranks. MeshError for neurons outside.
        """
        space, leading = self._space, clouds.shape[:-2]
        points = clouds.reshape(-1, clouds.shape[-1])
        which, cells, reference = PointLoads(space).locate(points)
        basis = tabulate(legendre(space.cell, space.degree), reference)
        out = np.zeros((*self._influence.shape[:2], len(points)))
        for at_time, influence in zip(out, self._influence, strict=True):
            for values, g in zip(at_time, influence, strict=True):
                values[which] = np.einsum("pi,pi->p", basis, g[cells])
        out = sum_over_ranks(space.comm, out).reshape(*out.shape[:2], *clouds.shape[:-1])
        mean = self._mean.reshape(*self._mean.shape, *(1,) * len(leading))
        return out.mean(axis=-1) - mean

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

    Birth and death at temperature > 0 are those of particles whose bandwidth is so short, and
    number so large, that their smoothed density is the law's (`ddpde.particles.Langevin`).
    Raises ProblemError where there is nothing to observe.
    """
    outputs = output_times(times, None)
    clock = Clock(problem.schedule)
    stops = clock.s_of(outputs)
    chosen = _observables(problem, observables or {}, inputs)
    with_risk = problem.unit is not None and problem.interaction is None
    names = (*([RISK] if with_risk else []), *chosen)
    if not names:
        raise ProblemError("there is nothing to observe", "give observables")
    if not problem.normalised:
        raise ProblemError("the central limit theorem is for probabilities", "take mass = 1")
    if problem.internal is not None or problem.noise is not None:
        raise ProblemError(
            "the central limit theorem is not known here with an internal energy, or noise of "
            "covariance Σ",
            "take a problem without them",
        )
    flow = EulerianFlow(problem, mesh, degree)
    adjoint = Adjoint(flow)
    path = follow(flow, stops, rtol)
    fixed = [flow.space.project(function) for function in chosen.values()]
    parts = []
    with progress("fluctuations") as bar:
        for index, (t, stop) in enumerate(zip(outputs, stops, strict=True)):
            adjoint.at(path(stop))
            last = [adjoint.risk_variation()] if with_risk else []
            backward = Backward(flow, adjoint, path, stop, np.stack(last + fixed))
            parts.append((*backward.covariances(problem, t, rtol), *backward.influence()))
            bar.to((index + 1) / len(stops))
    initial, diffusion, sgd, influence, mean = (np.stack(part) for part in zip(*parts, strict=True))
    return Fluctuations(
        names=names,
        times=outputs,
        initial=initial,
        diffusion=diffusion,
        sgd=sgd if flow.energy.sampled else None,
        _space=flow.space,
        _influence=influence,
        _mean=mean,
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
