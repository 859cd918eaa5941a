"""The problem: everything that determines both the PDE and the particle system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ddpde.errors import ProblemError
from ddpde.problem.activations import Array
from ddpde.problem.data import DataLaw
from ddpde.problem.initial import InitialLaw
from ddpde.problem.losses import Loss, Squared
from ddpde.problem.reductions import Reduction
from ddpde.problem.units import Unit


def constant(t: float) -> float:
    """The schedule ξ = 1."""
    return 1.0


@dataclass(frozen=True)
class Problem:
    """Training of a wide two-layer network f_ρ(x) = ∫ σ(x; θ) ρ(dθ).

    Energy F[ρ] = E ℓ(f_ρ(x), y) + ∫ r dρ with r(θ) = ridge · |θ|², free energy
    F_T = F + T ∫ ρ log ρ, flow ∂_t ρ = ξ(t) {∇·(ρ ∇F'[ρ]) + T Δρ}.
    In the symbols of Mei et al. 2018: T = 2τ/D, ridge = λ, ℓ = (y − f)².
    """

    name: str
    unit: Unit
    data: DataLaw
    initial: InitialLaw
    loss: Loss = field(default_factory=Squared)
    ridge: float = 0.0
    temperature: float = 0.0
    schedule: Callable[[float], float] = constant
    reduction: Reduction | None = None
    test_data: DataLaw | None = None
    parameters: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.temperature < 0 or not np.isfinite(self.temperature):
            raise ProblemError(f"temperature = {self.temperature}: must be finite and >= 0")
        if self.ridge < 0 or not np.isfinite(self.ridge):
            raise ProblemError(f"ridge = {self.ridge}: must be finite and >= 0")
        if self.unit.input_dim != self.data.input_dim:
            raise ProblemError(
                f"the unit takes inputs in R^{self.unit.input_dim}, "
                f"the data live in R^{self.data.input_dim}"
            )
        if self.unit.dim != self.initial.dim:
            raise ProblemError(
                f"the unit has {self.unit.dim} parameters, the initial law {self.initial.dim}"
            )
        if self.reduction is not None and (self.temperature > 0 or self.ridge > 0):
            # T Δ on R^D becomes T (∂_r² − (D−1)/r ∂_r ·) on the law of r: not this drift
            raise ProblemError("reductions are available for temperature = ridge = 0 only")

    @property
    def mesh_dim(self) -> int:
        """Dimension of the meshes this problem is solved on."""
        return self.unit.dim if self.reduction is None else len(self.reduction.labels)

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

    def coordinates(self, theta: Array) -> Array:
        """Mesh coordinates (n, mesh_dim) of parameters theta (n, D)."""
        return theta if self.reduction is None else self.reduction.coordinates(theta)

    def initial_density(self, coordinates: np.ndarray) -> np.ndarray:
        """ρ₀ (n,) at mesh coordinates (n, mesh_dim)."""
        if self.reduction is None:
            return self.initial.density(coordinates)
        return self.reduction.density(self.initial, coordinates)
