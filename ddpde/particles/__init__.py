"""Finite-N training: the same problem as particles, by stochastic gradient descent in JAX.

Nothing here knows of potentials or meshes: the unit is differentiated on raw samples.
"""

from ddpde.errors import MissingDependencyError

try:
    import jax  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("the particles need JAX", "pip install jax") from error

from ddpde.particles.ensemble import Ensemble, Interrupted
from ddpde.particles.evaluate import predict, risk
from ddpde.particles.training import train

__all__ = ["Ensemble", "Interrupted", "predict", "risk", "train"]
