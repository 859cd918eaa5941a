"""Finite-N systems."""

from ddpde.errors import MissingDependencyError

try:
    import jax  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("the particles need JAX", "pip install jax") from error

from ddpde.particles.birth_death import Reinjection
from ddpde.particles.conic import Conic
from ddpde.particles.ensemble import Ensemble, Interrupted
from ddpde.particles.evaluate import predict, risk
from ddpde.particles.gradient_flow import GradientFlow
from ddpde.particles.meanfield import LawPath
from ddpde.particles.regimes import PowerDecay, Regime
from ddpde.particles.systems import SGD, Diffusion, Langevin, System
from ddpde.particles.training import train

__all__ = [
    "SGD",
    "Conic",
    "Diffusion",
    "Ensemble",
    "GradientFlow",
    "Interrupted",
    "Langevin",
    "LawPath",
    "PowerDecay",
    "Regime",
    "Reinjection",
    "System",
    "predict",
    "risk",
    "train",
]
