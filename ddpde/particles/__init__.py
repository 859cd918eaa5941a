"""Finite-N systems: a problem as N particles, in JAX; docs/particles.md has the equations.

    train(problem, N, replicas=…, step_size=ε, times=…, seed=…, system=…) -> Ensemble

simulates one of these, which differ in what a step is:

- `SGD`: the recursion of a network on mini-batches: one pass, several passes over a data set, or
  the full batch; noisy and regularised; samples common to all neurons, or each its own;
- `Regime`: the width-dependent step sizes of De Bortoli et al. 2020, for `SGD`;
- `Diffusion`: the same in continuous time, √Σ dB independent across neurons or common to them;
- `Langevin`: mean-field Langevin dynamics with exact forces: networks, potentials, interactions;
- `GradientFlow`: the noiseless flow as an ODE, fixed or adaptive steps;
- birth and death: `Problem.birth_death` in `SGD` and `Langevin`, `Reinjection` beside it;
- `Conic`: particles of weight and position for unnormalised and signed measures.

`LawPath` puts a given law, such as the PDE's, in place of the particles' own: mean-field copies
that see the same initial parameters, samples and noise. `predict` and `risk` evaluate networks.

A replica is the same whatever runs beside it, on any number of MPI ranks (`comm`), and after a
restart (`checkpoint`): its random numbers are counters. Nothing here knows of the PDE's
potentials or of meshes: units are differentiated on raw samples.
"""

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
from ddpde.particles.kept_steps import keep_compiled
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
    "keep_compiled",
    "predict",
    "risk",
    "train",
]
