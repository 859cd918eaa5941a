"""The gradient flow of N particles as an ordinary differential equation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.ode import odeint

from ddpde.errors import ProblemError
from ddpde.particles.forces import Terms, external_force, network_force
from ddpde.particles.meanfield import at
from ddpde.particles.recursion import Advance, Chunk
from ddpde.particles.systems import System, node_count, refuse
from ddpde.problem import Problem


@dataclass(frozen=True)
class GradientFlow(System):
    """θ_i' = −ξ(t) ∇F'[μ](θ_i), the network on its whole data set or quadrature; T = 0.

    rtol None: the classical Runge–Kutta method of order 4 with steps `step_size`; else Dormand &
    Prince's pair of orders 5 and 4 (jax.experimental.ode), whose steps hold an error of `rtol`
    relative to max(|θ|, 1), between points of time a multiple of `step_size` apart.
    """

    rtol: float | None = None
    integral_rates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.rtol is not None and not 0 < self.rtol < 1:
            raise ProblemError(f"rtol = {self.rtol}: must lie in (0, 1)")

    def check(self, problem: Problem, batch: int, step_size: float) -> None:
        super().check(problem, batch, step_size)
        refuse(problem, "temperature", "birth_death", "noise")

    @property
    def follows_law(self) -> bool:  # type: ignore[override]
        """A given law is a function of t, the adaptive method knows s = ∫ξ only."""
        return self.rtol is None

    def samples(self, problem: Problem, batch: int, width: int) -> int:
        evaluations = 4 if self.rtol is None else 30
        return evaluations * (node_count(problem) if problem.unit is not None else 1)

    def advance(self, terms: Terms, batch: int) -> Advance:
        nodes = None if terms.unit is None else terms.network[1].nodes()

        def velocity(theta: jax.Array, cloud: Any = None) -> jax.Array:
            gradient = 2.0 * terms.ridge * theta
            if nodes is not None:
                x, y, p = (jnp.asarray(a, theta.dtype) for a in (nodes.x, nodes.y, nodes.weights))
                gradient = gradient + network_force(terms, theta, x, y, p, cloud=cloud)[1]
            if terms.potential is not None or terms.interaction is not None:
                gradient = gradient + external_force(terms, theta, cloud)[1]
            return -gradient

        return _fixed(velocity) if self.rtol is None else _adaptive(velocity, self.rtol)


def _fixed(velocity: Callable[..., jax.Array]) -> Advance:
    def run(theta: jax.Array, key: jax.Array, chunk: Chunk) -> tuple[jax.Array, jax.Array]:
        first, steps, rates, step_size, path = chunk

        def step(j: jax.Array, theta: jax.Array) -> jax.Array:
            s, t = rates[j], (first + j).astype(theta.dtype) * step_size
            law = [at(path, t + c * step_size) for c in (0.0, 0.5, 1.0)]
            k1 = velocity(theta, law[0])
            k2 = velocity(theta + 0.5 * s * k1, law[1])
            k3 = velocity(theta + 0.5 * s * k2, law[1])
            k4 = velocity(theta + s * k3, law[2])
            return theta + (s / 6.0) * (k1 + 2.0 * k2 + 2.0 * k3 + k4)

        theta = jax.lax.fori_loop(jnp.uint32(0), steps, step, theta)
        return theta, jnp.isfinite(theta).all()

    return run


def _adaptive(velocity: Callable[..., jax.Array], rtol: float) -> Advance:
    def run(theta: jax.Array, key: jax.Array, chunk: Chunk) -> tuple[jax.Array, jax.Array]:
        whole = chunk.rates.sum()
        span = jnp.stack([jnp.zeros((), theta.dtype), whole])
        end = odeint(lambda t, _: velocity(t), theta, span, rtol=rtol, atol=rtol, mxstep=100_000)[1]
        theta = jnp.where(whole > 0, end, theta)
        return theta, jnp.isfinite(theta).all()

    return run


def integrals(schedule: Callable[[float], float], step_size: float, first: int, steps: int) -> Any:
    """∫ ξ over each of the steps first … first + steps − 1, (steps,)."""
    from scipy.integrate import quad

    edges = [(first + j) * step_size for j in range(steps + 1)]
    pairs = pairwise(edges)
    return np.array([quad(schedule, a, b, epsrel=1e-12)[0] for a, b in pairs])
