"""The problem: everything that determines both the PDE and the particle system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array
from ddpde.problem.data import DataLaw
from ddpde.problem.initial import InitialLaw
from ddpde.problem.internal import InternalEnergy
from ddpde.problem.losses import Loss, Squared, check_derivative
from ddpde.problem.noise import Noise, SGDNoise
from ddpde.problem.reductions import Reduction
from ddpde.problem.schedules import constant
from ddpde.problem.units import Unit


@dataclass(frozen=True)
class Problem:
    """A gradient flow of laws on R^D, first of all training of a wide two-layer network.

    Energy F[ρ] = E ℓ(f_ρ(x), y) + ∫ r dρ + ½ ∬ W dρ dρ with f_ρ(x) = ∫ σ(x; θ) ρ(dθ) and
    r(θ) = ridge · |θ|² + potential(θ); free energy F_T = F + T ∫ ρ log ρ + ∫ h(ρ), h = `internal`;
    flow ∂_t ρ = ξ(t) {∇·(ρ ∇F'[ρ]) + T Δρ + ΔP(ρ) − α ρ (F_T'[ρ] − ∫ F_T'[ρ] dρ)} with the
    pressure P(ρ) = ρ h'(ρ) − h(ρ) and α = `birth_death`; with `noise` of covariance Σ, in
    addition ½ ξ(t)² Σ_ij ∂_i∂_j(Σ_ij ρ), and then the free energy may rise.

    The measure has `mass` times the initial law to begin with. With conserved = False birth and
    death is −α ρ F_T'[ρ], without the mean, and changes the mass (Chizat & Bach 2018).

    Any of network (`unit` and `data`), potential and interaction may be missing.
    `periods` makes coordinates circles: one length (or None) a coordinate; the mesh must span
    exactly one period, and the functions above must have it.
    `potential` maps θ (n, D) to (n,), `interaction` maps θ (n, D), θ' (m, D) to the symmetric
    W (n, m); both in functions that NumPy and JAX share. An interaction of finite rank r may
    offer `factors`, θ (n, D) -> left (n, r), right (n, r) with W(θ, θ') = left(θ) · right(θ'):
    N particles then cost O(N r) instead of O(N²).
    In the symbols of Mei et al. 2018: T = 2τ/D, ridge = λ, ℓ = (y − f)².
    """

    name: str
    initial: InitialLaw
    unit: Unit | None = None
    data: DataLaw | None = None
    loss: Loss = field(default_factory=Squared)
    ridge: float = 0.0
    potential: Callable[[Array], Array] | None = None
    interaction: Callable[[Array, Array], Array] | None = None
    temperature: float = 0.0
    internal: InternalEnergy | None = None
    noise: Noise | None = None
    birth_death: float = 0.0
    mass: float = 1.0
    conserved: bool = True
    schedule: Callable[[float], float] = constant
    periods: tuple[float | None, ...] = ()
    reduction: Reduction | None = None
    test_data: DataLaw | None = None
    parameters: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("temperature", "ridge", "birth_death"):
            value = getattr(self, name)
            if value < 0 or not np.isfinite(value):
                raise ProblemError(f"{name} = {value}: must be finite and >= 0")
        if self.periods and len(self.periods) != self.mesh_dim:
            raise ProblemError(
                f"{len(self.periods)} periods for {self.mesh_dim} coordinates",
                "give one length or None for each coordinate",
            )
        if (self.unit is None) != (self.data is None):
            raise ProblemError(
                "a network needs both a unit and a data law", "give both, or neither"
            )
        if self.unit is not None and self.data is not None:
            self._check_network(self.unit, self.data)
        if self.reduction is not None and (self.temperature or self.ridge or self.internal):
            # T Δ on R^D becomes T (∂_r² − (D−1)/r ∂_r ·) on the law of r: not this drift
            raise ProblemError(
                "reductions are available for temperature = ridge = 0 only, without internal energy"
            )
        if not 0 < self.mass < np.inf:
            raise ProblemError(f"mass = {self.mass}: must be finite and > 0")
        if not self.conserved and not self.birth_death:
            raise ProblemError(
                "conserved = False: transport and diffusion conserve mass", "give birth_death"
            )
        if self.noise is not None:
            self._check_noise(self.noise)

    def _check_noise(self, noise: Noise) -> None:
        others = [n for n in ("reduction", "internal", "birth_death") if getattr(self, n)]
        if others:
            raise ProblemError(
                f"noise of covariance Σ together with {' and '.join(others)}", "leave one out"
            )
        if isinstance(noise, SGDNoise) and self.unit is None:
            raise ProblemError("SGD's noise needs a network", "give unit and data, or GivenNoise")

    def _check_network(self, unit: Unit, data: DataLaw) -> None:
        check_derivative(self.loss)
        if unit.input_dim != data.input_dim:
            raise ProblemError(
                f"the unit takes inputs in R^{unit.input_dim}, the data live in R^{data.input_dim}"
            )
        if unit.dim != self.initial.dim:
            raise ProblemError(
                f"the unit has {unit.dim} parameters, the initial law {self.initial.dim}"
            )

    @property
    def normalised(self) -> bool:
        """Whether the measure is a probability at all times."""
        return self.mass == 1 and self.conserved

    @property
    def diffuses(self) -> bool:
        """Whether the flow has diffusion of any kind, which methods for transport cannot do."""
        return self.temperature > 0 or self.internal is not None or self.noise is not None

    @property
    def mesh_dim(self) -> int:
        """Dimension of the meshes this problem is solved on."""
        return self.initial.dim if self.reduction is None else len(self.reduction.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the mesh coordinates, for axes."""
        if self.reduction is not None:
            return self.reduction.labels
        return tuple(f"θ{j + 1}" for j in range(self.mesh_dim))

    @property
    def lower(self) -> tuple[float, ...]:
        """Least admissible mesh coordinates."""
        return (-np.inf,) * self.mesh_dim if self.reduction is None else self.reduction.lower

    @property
    def terms(self) -> dict[str, object]:
        """Which terms it has, in JSON's types: for the record of a run."""
        return {
            "dimension": self.initial.dim,
            "labels": list(self.labels),
            "periods": list(self.periods) or [None] * self.mesh_dim,
            "reduction": type(self.reduction).__name__ if self.reduction else None,
            "network": self.unit is not None,
            "loss": type(self.loss).__name__,
            "potential": self.potential is not None,
            "interaction": self.interaction is not None,
            "ridge": self.ridge,
            "temperature": self.temperature,
            "internal": self.internal is not None,
            "noise": self.noise is not None,
            "birth_death": self.birth_death,
            "mass": self.mass,
            "conserved": self.conserved,
            "schedule": self.schedule is not constant,
        }

    def coordinates(self, theta: Array) -> Array:
        """Mesh coordinates (n, mesh_dim) of parameters theta (n, D)."""
        return theta if self.reduction is None else self.reduction.coordinates(theta)

    def initial_density(self, coordinates: np.ndarray) -> np.ndarray:
        """ρ₀ (n,) at mesh coordinates (n, mesh_dim)."""
        if self.reduction is None:
            return self.initial.density(coordinates)
        return self.reduction.density(self.initial, coordinates)
