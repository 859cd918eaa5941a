"""The finite-N systems, each a small description: what is simulated for a problem.

A system declares what a step consists of; `train` is the same for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np

from ddpde.errors import ProblemError
from ddpde.particles.birth_death import Reinjection
from ddpde.particles.forces import Terms, network
from ddpde.particles.randomness import SAMPLING, initial_parameters
from ddpde.particles.recursion import (
    Advance,
    advance,
    no_network,
    on_minibatches,
    on_nodes,
    on_own_samples,
    with_gradient_noise,
)
from ddpde.particles.sweep import sweep
from ddpde.problem import DataSet, InitialLaw, Problem
from ddpde.problem.noise import SGDNoise

NOISES = ("common", "independent")


@dataclass(frozen=True)
class System(ABC):
    """What `train` asks of a system. State of one replica: an array (rows, N), θ (D, N) first."""

    integral_rates: ClassVar[bool] = False  # s_k = ∫ ξ over the step instead of ε ξ(kε)
    follows_law: ClassVar[bool] = True  # whether a given law may replace the particles' own

    def resolved(self, problem: Problem) -> System:
        """The system with what it leaves open taken from the problem."""
        return self

    def check(self, problem: Problem, batch: int, step_size: float) -> None:
        """Raise ProblemError where the problem asks for something this system cannot do."""
        refuse(problem, "internal")
        if not problem.normalised:
            raise ProblemError(
                f"the particles of problem {problem.name!r} would carry a changing mass",
                "only Conic particles do, which have a mass of their own",
            )

    def initial(self, law: InitialLaw, width: int, dtype: Any) -> Callable[[jax.Array], jax.Array]:
        """A function of a replica's key: its state at t = 0."""
        return initial_parameters(law, width, dtype)

    @abstractmethod
    def advance(self, terms: Terms, batch: int) -> Advance:
        """See `ddpde.particles.recursion.advance`."""

    def samples(self, problem: Problem, batch: int, width: int) -> int:
        """Samples that a neuron's gradient is taken on in a step: what a step costs."""
        return batch

    def weights(self, state: np.ndarray, dim: int) -> np.ndarray | None:
        """Masses (…, N) of the particles times N, from states (…, rows, N); None: all one."""
        return None


@dataclass(frozen=True)
class SGD(System):
    """Stochastic gradient descent of a network, noisy and regularised as the problem says.

    sampling: "fresh": every step sees `batch` new samples of the data law (one pass; of a data
    set: drawn with replacement); "reshuffled": passes over a data set, each in a new order;
    "full": the whole data set, or the law's quadrature, at every step.
    noise: "common": the samples of a step are the same for all neurons, which is what SGD does;
    "independent": each neuron draws its own (fresh ones), at O(N² batch) a step.
    Potentials and interactions act in full; birth and death as in `ddpde.particles.birth_death`,
    on the samples of the step.
    """

    sampling: str = "fresh"
    noise: str = "common"
    reinjection: Reinjection | None = None

    def __post_init__(self) -> None:
        _one_of("sampling", self.sampling, SAMPLING)
        _one_of("noise", self.noise, NOISES)
        if self.noise == "independent" and self.sampling != "fresh":
            raise ProblemError(
                f"independent noise with sampling {self.sampling!r}",
                "neurons that draw their own samples draw fresh ones: sampling='fresh'",
            )

    def check(self, problem: Problem, batch: int, step_size: float) -> None:
        super().check(problem, batch, step_size)
        _, law = network(problem)
        _check_birth_death(problem, self.reinjection)
        noise = problem.noise
        if self.sampling == "full" or not isinstance(noise, SGDNoise):
            refuse(problem, "noise")
        elif not np.isclose(step_size / batch, noise.scale, rtol=1e-6):
            raise ProblemError(
                f"SGD of step_size = {step_size:g} and batch = {batch} has noise of scale "
                f"{step_size / batch:g}, the problem's is {noise.scale:g}",
                "choose step_size / batch = scale",
            )
        if self.sampling == "reshuffled" and not isinstance(law, DataSet):
            raise ProblemError(
                f"sampling 'reshuffled' of problem {problem.name!r}: its data are no data set",
                "make one: DataSet(*ddpde.problem.data.sample(law, rng, count))",
            )

    def advance(self, terms: Terms, batch: int) -> Advance:
        if self.noise == "independent":
            forces = on_own_samples(terms, batch)
        elif self.sampling == "full":
            forces = on_nodes(terms)
        else:
            forces = on_minibatches(terms, self.sampling, batch)
        general = advance(terms, forces, self.reinjection)
        others = (terms.potential, terms.interaction, terms.birth_death, self.reinjection)
        if self.noise == "common" and self.sampling != "full" and not any(others):
            return sweep(terms, self.sampling, batch, general)
        return general

    def samples(self, problem: Problem, batch: int, width: int) -> int:
        if self.sampling == "full":
            return node_count(problem)
        return batch * width if self.noise == "independent" else batch


@dataclass(frozen=True)
class Langevin(System):
    """Mean-field Langevin dynamics dX = −ξ ∇F'[μ](X) dt + √(2Tξ) dB by Euler–Maruyama.

    For any mixture of network (on its whole data set or quadrature), potential and interaction:
    McKean–Vlasov particles, Dawson's, Ornstein–Uhlenbeck, Kuramoto's (angles are not wrapped).
    With birth and death; at T > 0 the density that their rates need is that of the particles
    smoothed by N(0, h² I), h = `bandwidth`, at O(N²) a step.
    """

    reinjection: Reinjection | None = None
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not (np.isfinite(self.bandwidth) and self.bandwidth > 0):
            raise ProblemError(f"bandwidth = {self.bandwidth}: must be finite and > 0")

    def check(self, problem: Problem, batch: int, step_size: float) -> None:
        super().check(problem, batch, step_size)
        refuse(problem, "noise")
        _check_birth_death(problem, self.reinjection, self.bandwidth)

    def advance(self, terms: Terms, batch: int) -> Advance:
        forces = no_network if terms.unit is None else on_nodes(terms)
        return advance(terms, forces, self.reinjection, self.bandwidth)

    def samples(self, problem: Problem, batch: int, width: int) -> int:
        pairs = width if self.bandwidth else 0
        return pairs + (node_count(problem) if problem.unit is not None else 1)


@dataclass(frozen=True)
class Diffusion(System):
    """The continuous-time system with SGD's own noise, by Euler–Maruyama (De Bortoli et al. 2020):

        dW^k = −ξ(t) { h(W^k, μ) dt + scale^{1/2} Σ^{1/2}(W^k, μ) dB^k },   h = ∇F'[μ],

    Σ the covariance of one sample's gradient. SGD of batch M and step ε has scale ε/M.
    noise: "independent": the B^k are (the paper's system, which has a McKean–Vlasov limit);
    "common": one Brownian sheet on the data for all neurons, with the covariance between neurons
    that real SGD has; its limit is random.
    scale: by default that of the problem's `SGDNoise`.
    Needs a data set or a law with a quadrature.
    """

    scale: float | None = None
    noise: str = "independent"

    def __post_init__(self) -> None:
        _one_of("noise", self.noise, NOISES)
        if self.scale is not None and not (np.isfinite(self.scale) and self.scale >= 0):
            raise ProblemError(f"scale = {self.scale}: must be finite and >= 0")

    def resolved(self, problem: Problem) -> System:
        noise = problem.noise
        if self.scale is None and isinstance(noise, SGDNoise):
            return replace(self, scale=noise.scale)
        return self

    def check(self, problem: Problem, batch: int, step_size: float) -> None:
        super().check(problem, batch, step_size)
        network(problem)
        given = problem.noise.scale if isinstance(problem.noise, SGDNoise) else None
        if self.scale is None or (problem.noise and given != self.scale):
            raise ProblemError(
                f"Diffusion of scale {self.scale}, the noise of problem {problem.name!r} is "
                f"{problem.noise}",
                "give scale, or the problem noise=SGDNoise(scale)",
            )
        refuse(problem, "birth_death")

    def advance(self, terms: Terms, batch: int) -> Advance:
        assert self.scale is not None
        forces = with_gradient_noise(terms, self.noise == "common", self.scale)
        return advance(terms, forces, None)

    def samples(self, problem: Problem, batch: int, width: int) -> int:
        normals = 1 if self.noise == "common" else 8
        return normals * node_count(problem)


def node_count(problem: Problem) -> int:
    """Number of samples in the data set, or the quadrature."""
    return len(network(problem)[1].nodes().y)


def refuse(problem: Problem, *names: str) -> None:
    """Raise where the problem has one of these terms."""
    for name in names:
        if getattr(problem, name, None):
            raise ProblemError(
                f"this finite-N system does not know the {name} of problem {problem.name!r}",
                "see the systems in ddpde.particles",
            )


def _check_birth_death(
    problem: Problem, reinjection: Reinjection | None, bandwidth: float | None = None
) -> None:
    if problem.temperature and (reinjection or (problem.birth_death and bandwidth is None)):
        raise ProblemError(
            "birth and death of particles at temperature > 0 needs the density at each of them",
            "give Langevin a bandwidth (without reinjection), or set temperature = 0",
        )
    if bandwidth is not None and not (problem.temperature and problem.birth_death):
        raise ProblemError(
            f"bandwidth = {bandwidth:g} without birth and death at temperature > 0",
            "leave the bandwidth out",
        )
    if reinjection is not None and reinjection.law.dim != problem.initial.dim:
        raise ProblemError(
            f"reinjection from a law on R^{reinjection.law.dim}, the particles live in "
            f"R^{problem.initial.dim}"
        )


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ProblemError(f"{name} = {value!r}: one of {', '.join(choices)}")
