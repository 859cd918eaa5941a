"""Units σ(x; θ): one neuron of the network, written once for NumPy and JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ddpde.problem.activations import Activation, Array, namespace


class Unit(Protocol):
    """A neuron. `dim` is D, the number of its parameters; `input_dim` is d."""

    @property
    def dim(self) -> int: ...

    @property
    def input_dim(self) -> int: ...

    def __call__(self, x: Array, theta: Array) -> Array:
        """σ(x_m; θ_i) as an array (n, M) for x (M, d) and theta (n, D).

        Must use only operations that NumPy and JAX share (see `namespace`): the mesh side
        evaluates it with NumPy, the particles differentiate it with JAX.
        """
        ...


@dataclass(frozen=True)
class RidgeUnit:
    """σ(x; θ) = a · activation(⟨w, x⟩ + b), with θ = ([a,] [b,] w).

    Without `output_weight` a = 1, without `bias` b = 0 (Mei et al. 2018, Example A: neither).
    """

    activation: Activation
    input_dim: int
    bias: bool = False
    output_weight: bool = False

    @property
    def dim(self) -> int:
        return self.input_dim + self.bias + self.output_weight

    def __call__(self, x: Array, theta: Array) -> Array:
        first_w = self.bias + self.output_weight
        xp = namespace(theta)
        # as (M, n): particles keep parameters transposed, and XLA then transposes nothing
        z = xp.asarray(x, dtype=theta.dtype) @ theta[:, first_w:].T
        if self.bias:
            z = z + theta[:, first_w - 1]
        out = self.activation(z).T
        return theta[:, :1] * out if self.output_weight else out
