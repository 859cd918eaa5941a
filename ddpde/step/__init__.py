"""Steps in time."""

import ddpde.space  # noqa: F401  (MPI before DOLFINx)
from ddpde.step.descent import UNSTABLE, Descent
from ddpde.step.method_of_lines import METHODS, Method, MethodOfLines
from ddpde.step.movements import JKO_METHODS, JkoStepper, check_energy
from ddpde.step.stepper import OnStep, Stepper

__all__ = [
    "JKO_METHODS",
    "METHODS",
    "UNSTABLE",
    "Descent",
    "JkoStepper",
    "Method",
    "MethodOfLines",
    "OnStep",
    "Stepper",
    "check_energy",
]
