"""Particles of weight and position: Chizat & Bach 2018, Chizat 2019.

A measure ν = (1/N) Σ s_i r_i² δ(θ_i) that need not have mass one. With J' = F'[ν]:

    r_i' = −2 α r_i (s_i J'(θ_i) + penalty_i),      θ_i' = −β (s_i ∇J'(θ_i) + ∇penalty_i),

s_i = ±1 fixed, penalty_i = penalty + ridge |θ_i|². Then the law follows
∂_t ν = β ∇·(ν ∇J') − 4 α J' ν (cone metric; α = β = 1 is the Euclidean metric of 2-homogeneous
units, projected to the sphere).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ddpde.errors import ProblemError
from ddpde.particles.forces import Terms, external_force, network_force
from ddpde.particles.randomness import SAMPLING, minibatches
from ddpde.particles.recursion import Advance, Chunk
from ddpde.particles.systems import System, node_count, refuse
from ddpde.problem import DataSet, InitialLaw, Problem


@dataclass(frozen=True)
class Conic(System):
    """Weight–position particles; `Ensemble.weights` holds s_i r_i².

    alpha, beta: speeds of growth and of motion; alpha is by default what the problem's birth and
    death with conserved = False says, α = birth_death/4, or 1 where it has none; mass: of ν at the
    start, r_i² = mass for all i, by default the problem's;
    signed: every second particle has s_i = −1 (mass is then that of |ν|); penalty: of the total
    variation; sampling as of `SGD`, "full" by default. Steps are r ← r exp(−2 α … s),
    θ ← θ − β … s.
    """

    alpha: float | None = None
    beta: float = 1.0
    mass: float | None = None
    signed: bool = False
    penalty: float = 0.0
    sampling: str = "full"
    follows_law: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "penalty"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ProblemError(f"{name} = {value}: must be finite and >= 0")
        if self.mass is not None and not (np.isfinite(self.mass) and self.mass > 0):
            raise ProblemError(f"mass = {self.mass}: must be finite and > 0")
        if self.sampling not in SAMPLING:
            raise ProblemError(f"sampling = {self.sampling!r}: one of {', '.join(SAMPLING)}")

    def resolved(self, problem: Problem) -> System:
        alpha = problem.birth_death / 4 if problem.birth_death else 1.0
        return replace(
            self,
            alpha=alpha if self.alpha is None else self.alpha,
            mass=problem.mass if self.mass is None else self.mass,
        )

    def check(self, problem: Problem, batch: int, step_size: float) -> None:
        refuse(problem, "internal", "temperature", "noise")
        if problem.birth_death and (problem.conserved or self.alpha != problem.birth_death / 4):
            raise ProblemError(
                f"weights grow at α = {self.alpha:g}, which is no birth_death = "
                f"{problem.birth_death:g} with conserved = {problem.conserved}",
                "leave alpha out, and give the problem conserved = False",
            )
        if self.sampling == "reshuffled" and not isinstance(problem.data, DataSet):
            raise ProblemError(f"sampling 'reshuffled' of problem {problem.name!r}: no data set")

    def samples(self, problem: Problem, batch: int, width: int) -> int:
        if problem.unit is None:
            return 1
        return node_count(problem) if self.sampling == "full" else batch

    def initial(self, law: InitialLaw, width: int, dtype: Any) -> Callable[[jax.Array], jax.Array]:
        positions, mass = super().initial(law, width, dtype), self.mass
        assert mass is not None

        def initial(key: jax.Array) -> jax.Array:
            radii = jnp.full((1, width), np.sqrt(mass), dtype)
            return jnp.concatenate([positions(key), radii])

        return initial

    def weights(self, state: np.ndarray, dim: int) -> np.ndarray:
        r = state[..., dim, :]
        return self._signs(r.shape[-1], r.dtype) * r**2

    def _signs(self, width: int, dtype: Any) -> np.ndarray:
        signs = np.ones(width, dtype)
        if self.signed:
            signs[1::2] = -1.0
        return signs

    def advance(self, terms: Terms, batch: int) -> Advance:
        nodes = (
            terms.network[1].nodes() if terms.unit is not None and self.sampling == "full" else None
        )

        growth = self.alpha
        assert growth is not None

        def run(state: jax.Array, key: jax.Array, chunk: Chunk) -> tuple[jax.Array, jax.Array]:
            first, steps, rates, *_ = chunk
            dtype = state.dtype
            signs = jnp.asarray(self._signs(state.shape[1], dtype))
            if nodes is not None:
                x, y, p = (jnp.asarray(a, dtype) for a in (nodes.x, nodes.y, nodes.weights))
            elif terms.unit is not None:
                law = terms.network[1]
                x, y = minibatches(law, self.sampling, key, first, len(rates), batch, dtype)

            def step(j: jax.Array, state: jax.Array) -> jax.Array:
                theta, r, rate = state[:-1], state[-1], rates[j]
                mass = signs * r**2 / len(r)
                value, gradient = external_force(terms, theta, mass=mass)
                if terms.unit is not None:
                    sample = (x, y, p) if nodes is not None else (x[j], y[j], 1.0 / batch)
                    more, slope = network_force(terms, theta, *sample, mass=mass)
                    value, gradient = value + more, gradient + slope
                value = signs * value + self.penalty + terms.ridge * (theta * theta).sum(axis=0)
                gradient = signs * gradient + 2.0 * terms.ridge * theta
                theta = theta - self.beta * rate * gradient
                return jnp.concatenate([theta, (r * jnp.exp(-2.0 * growth * rate * value))[None]])

            state = jax.lax.fori_loop(jnp.uint32(0), steps, step, state)
            return state, jnp.isfinite(state).all()

        return run
