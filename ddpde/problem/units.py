"""Units σ(x; θ): one neuron of the network, written once for NumPy and JAX."""

from __future__ import annotations

from collections.abc import Callable
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

        A unit may also offer `parts` and `total`, as RidgeUnit does: particles are then faster.
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
        parts = self.parts(theta.T)
        out = self._hidden(x, parts)
        return (parts[0] * out).T if self.output_weight else out.T

    def parts(self, theta: Array) -> tuple[Array, ...]:
        """([a (n,),] [b (n,),] w (d, n)) of transposed parameters theta (D, n)."""
        first_w = self.bias + self.output_weight
        return (*(theta[j] for j in range(first_w)), theta[first_w:])

    def total(
        self, x: Array, parts: tuple[Array, ...], seam: Callable[[Array], Array] | None = None
    ) -> Array:
        """Σ_i σ(x; θ_i) (M,): with output weights one product, a·σ is never formed.

        `seam`, an identity, is put around ⟨w, x⟩ (M, n): for who differentiates there.
        """
        out = self._hidden(x, parts, seam)
        return out @ parts[0] if self.output_weight else out.sum(axis=1)

    def _hidden(
        self, x: Array, parts: tuple[Array, ...], seam: Callable[[Array], Array] | None = None
    ) -> Array:
        """activation(⟨w, x⟩ + b), as (M, n), so that transposed parameters stay as they are."""
        w = parts[-1]
        z = namespace(w).asarray(x, dtype=w.dtype) @ w
        z = z if seam is None else seam(z)
        return self.activation(z + parts[-2] if self.bias else z)
