"""A case: everything a validation needs, as objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddpde.particles import Regime, System
from ddpde.problem import Problem
from ddpde.run import SolverOptions
from ddpde.space import Recipe


@dataclass(frozen=True)
class ParticlePlan:
    """Finite-N training to set against the PDE.

    widths: the N, increasing. step_size: ε of the recursion, or the `Regime` that makes it depend
    on N. system: what is simulated (None: SGD of a network, else Langevin dynamics), batch samples
    a step. fluctuations: set the variance over replicas against the central limit theorem's.
    bias_factor: the same training is
    repeated with step_size · bias_factor to measure the bias of the step. risk_samples: raw
    test samples per replica for the risk, where the data law is not a data set. marginals: the k of
    which the law of k particles is compared with k independent draws of the PDE's law. copies:
    measure the strong error, against copies in the PDE's law.
    """

    widths: tuple[int, ...]
    replicas: int
    step_size: float | Regime
    seed: int = 0
    batch: int = 1
    dtype: str = "float32"
    bias_factor: int = 4
    risk_samples: int = 20000
    system: System | None = None
    fluctuations: bool = False
    marginals: tuple[int, ...] | None = None
    copies: bool = False

    def step(self, width: int) -> float:
        """ε at a width."""
        if isinstance(self.step_size, Regime):
            return self.step_size.step_size(width)
        return self.step_size


@dataclass(frozen=True)
class CrossCheck:
    """A second, independent discretisation of the same PDE."""

    mesh: Recipe
    options: SolverOptions


@dataclass(frozen=True)
class OtherMethod:
    """Another way to solve the same PDE, set beside the main one.

    tolerance: of its risk (of its free energy, without a network) against the main run's, relative
    to the largest of the main run.
    """

    label: str
    mesh: Recipe
    options: SolverOptions
    tolerance: float


@dataclass(frozen=True)
class Acceptance:
    """What counts as agreement.

    reference_rtol: relative error of risk and mean allowed against reference.json;
    cross_check_rtol: the same for the cross-check; level: family-wise probability of a false
    alarm in the comparison with particles; w1_over_floor: allowed ratio of the mean W1 distance
    at the largest width to that of as many independent draws of the PDE's law; w1_tolerance: a
    distance that passes whatever that floor; limit: "law" where the particles are to tend to the
    PDE's law, "random" where they are to differ from it by noise common to all of them.
    """

    reference_rtol: float = 1e-3
    cross_check_rtol: float = 1e-6
    level: float = 0.01
    w1_over_floor: float = 2.0
    w1_tolerance: float = 0.0
    limit: str = "law"


@dataclass(frozen=True)
class Case:
    """One validation: problem, mesh, solver, particles, acceptance."""

    name: str
    title: str
    problem: Problem
    mesh: Recipe
    options: SolverOptions
    times: tuple[float, ...]
    particles: ParticlePlan | None = None
    cross_check: CrossCheck | None = None
    methods: tuple[OtherMethod, ...] = ()
    acceptance: Acceptance = field(default_factory=Acceptance)
    reference: dict[str, Any] | None = None
    source: Path | None = None
